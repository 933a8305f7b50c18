"""Each corruption against its definition, image by image, on images that truncation is sensitive to."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption.kinds import KINDS, from_levels, to_array
from PIL import Image
from reference.corruptions import DETERMINISTIC, RANDOM, box_pixels, jpeg_file, varied_images

from fourier_robust.corruption import jpeg
from fourier_robust.corruption.base import map_levels
from fourier_robust.corruption.digital import Pixelate

IMAGES = varied_images()
SEVERITIES = range(1, 6)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_ones_are_equal(name: str, severity: int) -> None:
    expected = np.stack([DETERMINISTIC[name](image, severity) for image in IMAGES])
    assert np.array_equal(to_array(KINDS[name](severity).apply(from_levels(IMAGES), {})), expected)


@pytest.mark.realdata
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_ones_are_equal_on_cifar(name: str, realdata: Path) -> None:
    with tarfile.open(realdata / "cifar10_test.tar") as archive:
        member = next(member for member in archive if member.name.endswith(".webp"))
        sheet = np.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB"))
    images = sheet.reshape(20, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(500, 32, 32, 3)[:100]
    for severity in SEVERITIES:
        expected = np.stack([DETERMINISTIC[name](image, severity) for image in images])
        assert np.array_equal(to_array(KINDS[name](severity).apply(from_levels(images), {})), expected)


FEW = IMAGES[::4]  # SciPy's Poisson quantile takes 20 ms an image


def draws(name: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    params = KINDS[name](1).sample((len(FEW), 3, 32, 32), torch.Generator().manual_seed(3))
    return {key: value.to(dtype) for key, value in params.items()}


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", RANDOM)
def test_same_draw_same_image(name: str, severity: int) -> None:
    """float64 arithmetic: equal. float32, the default: one level on at most 2 in 100,000 values (truncation)."""
    params = draws(name, torch.float64)
    (draw,) = (value.permute(0, 2, 3, 1).numpy() for value in params.values())
    expected = np.stack([RANDOM[name](image, severity, values) for image, values in zip(FEW, draw, strict=True)])
    corruption, images = KINDS[name](severity), from_levels(FEW)
    assert np.array_equal(to_array(corruption.apply(images, params)), expected)
    single = to_array(corruption.apply(images, draws(name, torch.float32)))
    apart = np.abs(single.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 2e-5


@pytest.mark.parametrize("quality", [1, 10, 40, 50, 75, 95, 100])
@pytest.mark.parametrize("shape", [(32, 32), (64, 48), (33, 47), (28, 28), (41, 34)])
def test_jpeg_equals_pillow_at_any_size(shape: tuple[int, int], quality: int) -> None:
    rng = np.random.default_rng(quality)
    rough = rng.integers(0, 256, (4, *shape, 3)).astype(np.uint8)
    y, x = np.mgrid[: shape[0], : shape[1]]
    smooth = np.stack([(5 * x + 3 * y) % 256, (2 * y) % 256, 255 - (x + y) % 256], -1).astype(np.uint8)
    images = np.concatenate([rough, smooth[None]])
    expected = np.stack([jpeg_file(image, quality) for image in images])
    out = map_levels(lambda levels: jpeg.round_trip(levels, quality), from_levels(images))
    assert np.array_equal(to_array(out), expected)


@pytest.mark.parametrize("share", [0.95, 0.6, 0.5, 0.3, 0.25, 0.11])
@pytest.mark.parametrize("shape", [(32, 32), (64, 48), (33, 47)])
def test_pixelate_equals_pillow_at_any_size_and_share(shape: tuple[int, int], share: float) -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, *shape, 3)).astype(np.uint8)
    corruption = Pixelate(1)
    corruption.share = share
    expected = np.stack([box_pixels(image, share) for image in images])
    assert np.array_equal(to_array(corruption.apply(from_levels(images), {})), expected)
