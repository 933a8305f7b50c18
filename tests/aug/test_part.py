"""What was drawn for a batch, for a part of it."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.aug.apr_p import APRP
from fourier_robust.aug.apr_s import APRS
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.gaussian_noise import GaussianNoise
from fourier_robust.aug.part import part
from fourier_robust.aug.standard import CropFlip
from fourier_robust.errors import UserError

SHAPE = (12, 3, 16, 16)


def test_parts_see_what_the_whole_sees(generator: torch.Generator) -> None:
    images, labels = torch.rand(SHAPE, generator=generator), torch.arange(12)
    aug = Chain(single=APRS(), crop=CropFlip(), noise=GaussianNoise())
    params = aug.sample(SHAPE, generator)
    whole = aug.apply(images, labels, params).images
    for rows in (slice(0, 4), slice(4, 8), slice(8, 12)):
        own = aug.apply(images[rows], labels[rows], part(params, 12, rows)).images
        assert torch.allclose(own, whole[:, rows], atol=1e-6)


def test_a_partner_stays_in_its_part_and_every_permutation_is_as_likely(generator: torch.Generator) -> None:
    step, seen = APRP(), dict[tuple[int, ...], int]()
    for _ in range(2400):
        params = step.sample((6, 3, 8, 8), generator)
        assert torch.equal(part(params, 6, slice(0, 6))["partner"], params["partner"])
        own = tuple(part(params, 6, slice(3, 6))["partner"].tolist())
        seen[own] = seen.get(own, 0) + 1
    assert sorted(seen) == [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    assert max(abs(count - 400) for count in seen.values()) < 5 * (400 * 5 / 6) ** 0.5


def test_global_pairs_keep_the_permutation_of_the_whole(generator: torch.Generator) -> None:
    chain = Chain(APRP(), global_pairs=True)
    params = chain.sample(SHAPE, generator)
    own = part(params, 12, slice(4, 8))["views"]
    assert torch.equal(own["anyone"], params["views"]["partner"][4:8])
    assert own["mix"] == params["views"]["mix"]
    with pytest.raises(ValueError, match="global_pairs"):
        Chain(global_pairs=True, crop=CropFlip())


def test_seeds_are_a_parts_own_and_what_is_not_drawn_image_by_image_is_refused() -> None:
    first, second = (part({"attack": 5, "share": 0.3}, 4, rows) for rows in (slice(0, 2), slice(2, 4)))
    assert first == {"attack": 5, "share": 0.3}
    assert second["attack"] != 5
    assert second["share"] == 0.3
    with pytest.raises(UserError, match="angle is not drawn image by image"):
        part({"angle": torch.zeros(3)}, 4, slice(0, 2))
