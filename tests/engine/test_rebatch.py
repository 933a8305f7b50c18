"""Batches of one size: the same images in the same order."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.dataset.base import Batch
from fourier_robust.engine.rebatch import Rebatch


def batches(*lengths: int, side: int = 2) -> list[Batch]:
    first, found = 0, []
    for length in lengths:
        indices = torch.arange(first, first + length)
        found.append(Batch(indices.float().view(-1, 1, 1, 1).expand(-1, 3, side, side), indices % 10, indices))
        first += length
    return found


def rebatched(given: list[Batch], size: int) -> list[Batch]:
    rebatch = Rebatch(size)
    return [ready for batch in given for ready in rebatch.add(batch)] + rebatch.rest()


@pytest.mark.parametrize("lengths", [(3,), (4, 4), (1, 1, 1, 1, 1), (9, 1), (3, 6, 0, 2, 13)])
def test_full_batches_and_a_rest(lengths: tuple[int, ...]) -> None:
    found = rebatched(batches(*lengths), 4)
    total = sum(lengths)
    assert [len(batch.labels) for batch in found] == [4] * (total // 4) + [total % 4] * (total % 4 > 0)
    for images, labels, indices in found:
        assert torch.equal(images[:, 0, 0, 0], indices.float())
        assert torch.equal(labels, indices % 10)
    assert torch.equal(torch.cat([batch.indices for batch in found]), torch.arange(total))


def test_a_full_batch_is_not_copied() -> None:
    given = batches(4, 4)
    assert all(one is other for one, other in zip(rebatched(given, 4), given, strict=True))


def test_images_of_another_size_start_a_batch() -> None:
    found = rebatched([*batches(3), *batches(2, side=5), *batches(2, side=5)], 4)
    assert [tuple(batch.images.shape) for batch in found] == [(3, 3, 2, 2), (4, 3, 5, 5)]


def test_images_on_another_device_start_a_batch() -> None:
    (there,) = batches(2)
    elsewhere = there._replace(images=there.images.to("meta"))
    found = rebatched([there, elsewhere, elsewhere], 4)
    assert [(len(batch.labels), batch.images.device.type) for batch in found] == [(2, "cpu"), (4, "meta")]


def test_a_batch_is_ready_as_soon_as_it_is_full() -> None:
    rebatch = Rebatch(3)
    assert [len(rebatch.add(batch)) for batch in batches(2, 2, 1, 1, 7)] == [0, 1, 0, 1, 2]
    assert [len(batch.labels) for batch in rebatch.rest()] == [1]
    assert rebatch.rest() == []
