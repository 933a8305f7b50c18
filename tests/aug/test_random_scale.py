"""Random zoom against Pillow's linear resize, and its law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.aug.random_scale import RandomScale, linear_weights

FILL = 0.25


def by_pillow(plane: torch.Tensor, scale: float, fill: float) -> torch.Tensor:
    """(H,W) on a wide margin of `fill`, whose part about the middle Pillow resizes to (H,W)."""
    height, width = plane.shape
    margin = 3 * max(height, width)
    wide = np.full((height + 2 * margin, width + 2 * margin), fill, np.float32)
    wide[margin : margin + height, margin : margin + width] = plane.numpy()
    across, down = width / scale / 2, height / scale / 2
    x, y = margin + width / 2, margin + height / 2
    image = Image.fromarray(wide).resize(
        (width, height), Image.Resampling.BILINEAR, box=(x - across, y - down, x + across, y + down)
    )
    return torch.from_numpy(np.array(image))


def interior(scale: float, length: int) -> slice:
    """Where Pillow's tent, which ends at the box, is not cut off."""
    edge = math.ceil(max(1.0, scale))
    return slice(edge, length - edge)


@pytest.mark.parametrize("scale", [0.4, 0.5, 0.77, 1.0, 1.3, 2.0, 3.1])
def test_equals_pillow(scale: float, generator: torch.Generator) -> None:
    images = torch.rand(2, 3, 16, 20, generator=generator)
    before = images.clone()
    found = RandomScale(fill=FILL).apply(images, {"scale": torch.tensor([scale, 1.0])})
    rows, columns = interior(scale, 16), interior(scale, 20)
    for channel in range(3):
        expected = by_pillow(images[0, channel], scale, FILL)
        assert torch.allclose(found[0, channel, rows, columns], expected[rows, columns], atol=2e-5)
    assert torch.equal(found[1], images[1])
    assert torch.equal(images, before)


def test_a_shrunk_image_lies_in_the_middle_of_grey() -> None:
    (found,) = RandomScale(fill=FILL).apply(torch.ones(1, 1, 16, 16), {"scale": torch.tensor([0.5])})
    assert (found[0, 6:10, 6:10] == 1).all()
    for edge in (found[0, :3], found[0, -3:], found[0, :, :3], found[0, :, -3:]):
        assert (edge == FILL).all()
    assert torch.allclose(found, found.flip(1), atol=1e-6)
    assert torch.allclose(found, found.flip(2), atol=1e-6)


def test_shrinking_averages_and_so_shows_no_aliases() -> None:
    """Stripes of one pixel become grey; sampled without a wider tent they would be other stripes, up to 0.5 from it."""
    stripes = (torch.arange(32) % 2).float().expand(1, 1, 32, 32)
    (found,) = RandomScale().apply(stripes, {"scale": torch.tensor([0.4])})
    assert (found[0, 12:20, 12:20] - 0.5).abs().max() < 0.05


def test_weights_are_shares() -> None:
    weights = linear_weights(torch.tensor([0.3, 0.5, 1.0, 1.7]), 12)
    assert torch.allclose(weights[2], torch.eye(12))
    assert (weights >= 0).all()
    assert weights.sum(2).max() <= 1 + 1e-6
    assert torch.allclose(weights[3].sum(1), torch.ones(12))  # an enlarged image leaves nothing uncovered


def test_factors_are_log_uniform_and_replayed(generator: torch.Generator) -> None:
    step = RandomScale((0.5, 2.0))
    drawn = step.sample((40_000, 3, 4, 4), generator)["scale"].log() / math.log(2)
    assert drawn.min() >= -1 - 1e-6
    assert drawn.max() <= 1 + 1e-6
    assert float(drawn.mean()) == pytest.approx(0, abs=5 * 2 / math.sqrt(12 * 40_000))
    assert float(drawn.std()) == pytest.approx(2 / math.sqrt(12), rel=0.02)
    images = torch.rand(5, 3, 8, 8, generator=generator)
    params = step.sample((5, 3, 8, 8), generator)
    whole = step.apply(images, params)
    assert torch.equal(whole, step.apply(images, params))
    one = step.apply(images[2:3], {"scale": params["scale"][2:3]})
    assert torch.allclose(one[0], whole[2], atol=1e-6)


def test_factor_one_is_the_identity(generator: torch.Generator) -> None:
    images = torch.rand(4, 3, 7, 9, generator=generator)
    step = RandomScale((1.0, 1.0))
    assert torch.equal(step.apply(images, step.sample((4, 3, 7, 9), generator)), images)


@pytest.mark.parametrize(
    ("named", "value"),
    [("scale", (0.0, 1.0)), ("scale", (2.0, 1.0)), ("scale", (1.0, math.inf)), ("fill", -0.1), ("fill", 1.5)],
)
def test_bad_settings_are_named(named: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{named} "):
        RandomScale(**{named: value})
