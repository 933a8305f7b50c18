"""Each corruption against its definition, image by image, on images that truncation is sensitive to."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption.kinds import KINDS, from_levels, needs_opencv, to_array
from PIL import Image
from reference.corruptions import (
    DETERMINISTIC,
    RANDOM,
    corrupted,
    jpeg_compression,
    pixelate,
    varied_at,
    varied_images,
)

from fourier_robust.corruption import jpeg
from fourier_robust.corruption.base import map_levels
from fourier_robust.corruption.digital import Pixelate

IMAGES = varied_images()
FEW = IMAGES[::4]  # SciPy's Poisson quantile takes 20 ms an image
SEVERITIES = range(1, 6)
# Largest share of values that may be one grey level off (and 3 more), given the same draw; 0 where not named.
SHARES = {
    "gaussian_noise": 2e-5,  # float32 before a truncating cast
    "speckle_noise": 2e-5,
    "shot_noise": 2e-5,
    "motion_blur": 2e-4,
    "snow": 2e-4,
    "fog": 2e-4,  # float32 draws
    "zoom_blur": 2e-5,
    "elastic_transform": 5e-4,
    "spatter": 2e-5,
    "defocus_blur": 2e-5,  # the order of up to 441 additions
}


def compare(name: str, severity: int, size: int, images: np.ndarray, dtype: torch.dtype | None = None) -> None:
    """Draw, apply, and hold against the reference with the same draw."""
    needs_opencv(name)
    corruption = KINDS[name](severity, size)
    assert corruption.table_size == size
    shape = (len(images), 3, *images.shape[1:3])
    params = corruption.sample(shape, torch.Generator().manual_seed(3))
    if dtype:
        params = {key: value.to(dtype) if value.is_floating_point() else value for key, value in params.items()}
    out = to_array(corruption.apply(from_levels(images), params))
    draws = [{key: value[row].numpy() for key, value in params.items()} for row in range(len(images))]
    expected = np.stack(
        [corrupted(name, image, severity, size, **draw) for image, draw in zip(images, draws, strict=True)]
    )
    apart = np.abs(out.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).sum() <= apart.size * SHARES.get(name, 0) + 3 * (SHARES.get(name, 0) > 0)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", KINDS)
def test_at_32_pixels(name: str, severity: int) -> None:
    compare(name, severity, 32, IMAGES if name in DETERMINISTIC else FEW)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", KINDS)
def test_at_64_pixels(name: str, severity: int) -> None:
    compare(name, severity, 64, varied_at(64)[:: 1 if name in DETERMINISTIC else 5])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", KINDS)
def test_at_224_pixels(name: str, severity: int) -> None:
    """A smooth image, a noisy one and a white one; the references take up to a second each."""
    compare(name, severity, 224, varied_at(224)[[1, 6, 11]])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "shot_noise", "impulse_noise"])
def test_noises_in_float64_are_equal(name: str, severity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHARES, name, 0)
    compare(name, severity, 32, FEW, torch.float64)


@pytest.mark.realdata
@pytest.mark.parametrize("name", [*DETERMINISTIC, *RANDOM])
def test_on_cifar(name: str, realdata: Path) -> None:
    with tarfile.open(realdata / "cifar10_test.tar") as archive:
        member = next(member for member in archive if member.name.endswith(".webp"))
        sheet = np.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB"))
    images = sheet.reshape(20, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(500, 32, 32, 3)
    for severity in SEVERITIES:
        compare(name, severity, 32, images[:100] if name in DETERMINISTIC else images[:20])


@pytest.mark.parametrize("quality", [1, 10, 40, 50, 75, 95, 100])
@pytest.mark.parametrize("shape", [(32, 32), (64, 48), (33, 47), (28, 28), (41, 34), (127, 129), (129, 128)])
def test_jpeg_equals_pillow_at_any_size(shape: tuple[int, int], quality: int) -> None:
    rng = np.random.default_rng(quality)
    rough = rng.integers(0, 256, (4, *shape, 3)).astype(np.uint8)
    y, x = np.mgrid[: shape[0], : shape[1]]
    smooth = np.stack([(5 * x + 3 * y) % 256, (2 * y) % 256, 255 - (x + y) % 256], -1).astype(np.uint8)
    images = np.concatenate([rough, smooth[None]])
    expected = np.stack([jpeg_compression(image, quality) for image in images])
    out = map_levels(lambda levels: jpeg.round_trip(levels, quality), from_levels(images))
    assert np.array_equal(to_array(out), expected)


@pytest.mark.parametrize("share", [0.95, 0.6, 0.5, 0.3, 0.25, 0.11])
@pytest.mark.parametrize("shape", [(32, 32), (64, 48), (33, 47)])
def test_pixelate_equals_pillow_at_any_size_and_share(shape: tuple[int, int], share: float) -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, *shape, 3)).astype(np.uint8)
    corruption = Pixelate(1)
    corruption.share = share
    expected = np.stack([pixelate(image, share) for image in images])
    assert np.array_equal(to_array(corruption.apply(from_levels(images), {})), expected)
