"""Enlarge against torchvision's resize and a loop over images."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import functional as vision

from fourier_robust.aug.enlarge import Enlarge


@pytest.mark.parametrize("pixels", [8, 40])
def test_equals_resize_crop_flip(pixels: int, generator: torch.Generator) -> None:
    images = torch.rand(6, 3, pixels, pixels, generator=generator)
    before, step = images.clone(), Enlarge(20, 16)
    params = step.sample((6, 3, pixels, pixels), generator)
    assert 0 < int(params["flip"].sum()) < 6 or params["flip"].shape == (6,)
    result = step.apply(images, params)
    for row, image in enumerate(before):
        wide = vision.resize(image, [20, 20], antialias=True)
        wanted = vision.crop(wide, int(params["top"][row]), int(params["left"][row]), 16, 16)
        wanted = vision.hflip(wanted) if params["flip"][row] else wanted
        torch.testing.assert_close(result[row], wanted)
    assert torch.equal(images, before)


def test_corners_reach_every_place() -> None:
    params = Enlarge(6, 4).sample((400, 3, 2, 2), torch.Generator().manual_seed(0))
    for name in ("top", "left"):
        assert set(params[name].tolist()) == {0, 1, 2}
    assert 0.4 < float(params["flip"].float().mean()) < 0.6


def test_the_identity_and_a_replay(generator: torch.Generator) -> None:
    images = torch.rand(3, 3, 8, 8, generator=generator)
    step = Enlarge(8, 8, flip=0)
    assert torch.equal(step.apply(images, step.sample((3, 3, 8, 8), generator)), images)
    step = Enlarge(12, 8)
    params = step.sample((3, 3, 8, 8), generator)
    assert torch.equal(step.apply(images, params), step.apply(images, params))


@pytest.mark.parametrize(("resize", "size", "flip"), [(8, 9, 0.5), (8, 0, 0.5), (8, 8, 1.5)])
def test_refusals(resize: int, size: int, flip: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        Enlarge(resize, size, flip)
