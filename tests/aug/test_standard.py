"""Random crop and flip against a loop over images and rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fourier_robust.aug import image_ops
from fourier_robust.aug.standard import CropFlip


def by_hand(images: torch.Tensor, params: dict[str, Any], padding: int, fill: float) -> torch.Tensor:
    """Pixel (y, x) of the output is pixel (y + top - padding, x' + left - padding) of the input; x' = x or mirrored."""
    result = np.full(images.shape, fill, np.float32)
    _, _, height, width = images.shape
    for index, image in enumerate(images.numpy()):
        down, right = (int(params[name][index]) - padding for name in ("top", "left"))
        for y in range(height):
            for x in range(width):
                from_x = (width - 1 - x if params["flip"][index] else x) + right
                if 0 <= y + down < height and 0 <= from_x < width:
                    result[index, :, y, x] = image[:, y + down, from_x]
    return torch.from_numpy(result)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 14)])
@pytest.mark.parametrize(
    ("padding", "fill", "flip"), [(4, 128 / 255, 0.5), (0, 0.0, 0.5), (2, 0.0, 0.0), (5, 1.0, 1.0)]
)
def test_equals_the_loop(
    height: int, width: int, padding: int, fill: float, flip: float, generator: torch.Generator
) -> None:
    images = torch.rand(48, 3, height, width, generator=generator)
    before = images.clone()
    step = CropFlip(padding, fill, flip)
    params = step.sample(tuple(images.shape), generator)
    expected = by_hand(images, params, padding, fill)
    assert torch.equal(step.apply(images, params), expected)
    assert torch.equal(step.apply(images.contiguous(memory_format=torch.channels_last), params), expected)
    assert torch.equal(images, before)


def test_nothing_to_do_is_the_identity(generator: torch.Generator) -> None:
    images = torch.rand(8, 3, 6, 6, generator=generator)
    step = CropFlip(padding=0, flip=0)
    ours = step.apply(images, step.sample(tuple(images.shape), generator))
    assert torch.equal(ours, images)
    assert ours.data_ptr() != images.data_ptr()


def test_slices_and_single_images_give_the_same(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(20, 3, 8, 8, generator=generator)
    step = CropFlip()
    params = step.sample(tuple(images.shape), generator)
    whole = step.apply(images, params)
    monkeypatch.setattr(image_ops, "_CACHE_VALUES", 3 * images[0].numel())
    assert torch.equal(step.apply(images, params), whole)
    for index in range(len(images)):
        one = slice(index, index + 1)
        assert torch.equal(step.apply(images[one], {name: value[one] for name, value in params.items()}), whole[one])


def test_every_window_and_both_directions_are_equally_likely() -> None:
    count = 81_000
    step = CropFlip()
    params, again = (step.sample((count, 3, 32, 32), torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(params[name], again[name]) for name in params)
    windows = torch.bincount(params["top"] * 9 + params["left"], minlength=81)
    assert len(windows) == 81
    assert (windows - count / 81).abs().max() < 5 * (count / 81) ** 0.5
    assert params["flip"].double().mean().item() == pytest.approx(0.5, abs=0.009)  # five standard deviations


@pytest.mark.parametrize(
    ("arguments", "named"), [({"padding": -1}, "padding"), ({"fill": 128}, "fill"), ({"flip": 2}, "flip")]
)
def test_bad_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named} "):
        CropFlip(**arguments)
