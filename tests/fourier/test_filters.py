"""Low-pass, high-pass and band noise: which frequencies stay, strict and inclusive, and refusals."""

from __future__ import annotations

import math

import pytest
import torch

from fourier_robust.fourier.basis import fourier_basis
from fourier_robust.fourier.filters import band_noise, high_pass, low_pass, radius_of
from fourier_robust.fourier.rings import ring_power

SIZES = [(12, 12), (11, 11), (10, 13)]


def wave(down: int, across: int, height: int = 12, width: int = 12) -> torch.Tensor:
    return fourier_basis(torch.tensor([[down, across]]), height, width, "mixed", torch.float64)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("shape", ["disc", "square"])
@pytest.mark.parametrize("strict", [True, False])
def test_the_filter_by_a_loop_over_the_centred_plane(
    height: int, width: int, shape: str, strict: bool, generator: torch.Generator
) -> None:
    images = torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)
    mask = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            down, across = row - height // 2, column - width // 2
            distance = math.hypot(down, across) if shape == "disc" else max(abs(down), abs(across))
            mask[row, column] = distance < 4 if strict else distance <= 4
    spectrum = torch.fft.fftshift(torch.fft.fft2(images), dim=(-2, -1))
    expected = torch.fft.ifft2(torch.fft.ifftshift(spectrum * mask, dim=(-2, -1))).real
    low = low_pass(images, 4, strict, shape)
    assert torch.allclose(low, expected, atol=1e-12)
    assert torch.allclose(low + high_pass(images, 4, strict, shape), images, atol=1e-12)
    assert torch.allclose(low_pass(low, 4, strict, shape), low, atol=1e-12)


def test_the_edge() -> None:
    at, corner = wave(3, 4), wave(5, 5)  # radii 5 and 7.07; both 5 or less a side
    nothing = torch.zeros_like(at)
    assert torch.allclose(low_pass(at, 5), nothing, atol=1e-12)
    assert torch.allclose(low_pass(at, 5, strict=False), at, atol=1e-12)
    assert torch.allclose(low_pass(corner, 5, False), nothing, atol=1e-12)
    assert torch.allclose(low_pass(corner, 5, False, "square"), corner, atol=1e-12)
    assert torch.allclose(high_pass(corner, 5, True, "square"), corner, atol=1e-12)


def test_an_inclusive_square_is_a_centred_square_of_coefficients() -> None:
    inside = (radius_of(32, 32, "square") <= 13).sum()
    assert int(inside) == 27 * 14  # the right half, with its first column, of 27 x 27


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype, generator: torch.Generator) -> None:
    images = torch.rand(3, 9, 8, generator=generator, dtype=dtype)
    assert low_pass(images, 2).dtype == high_pass(images, 2).dtype == dtype
    assert band_noise((3, 9, 8), 1, 2, 1.0, generator, dtype).dtype == dtype


@pytest.mark.parametrize("filtered", [low_pass, high_pass])
def test_filters_refuse(filtered: object) -> None:
    images = torch.ones(1, 3, 32, 32)
    with pytest.raises(ValueError, match="radius=-1: must be at least 0"):
        filtered(images, -1)
    with pytest.raises(ValueError, match="must be at least 0"):
        filtered(images, math.nan)
    with pytest.raises(ValueError, match="shape must be one of disc, square"):
        filtered(images, 3, True, "ring")
    with pytest.raises(TypeError, match="float32 or float64"):
        filtered(images.half(), 3)


def test_an_empty_band_is_refused() -> None:
    images = torch.ones(1, 3, 32, 32)
    with pytest.raises(ValueError, match="radius=0 keeps nothing of 32x32 pixels"):
        low_pass(images, 0)
    assert torch.allclose(low_pass(images, 0, strict=False), images)  # DC
    with pytest.raises(ValueError, match="radius=23 keeps nothing of 32x32 pixels"):
        high_pass(images, 23)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("first", "last"), [(0, 0), (2, 2), (3, 5), (6, 99)])
def test_band_noise_lies_in_its_band(
    height: int, width: int, first: int, last: int, generator: torch.Generator
) -> None:
    noise = band_noise((4, 3, height, width), first, last, 8.0, generator, torch.float64)
    assert torch.allclose(noise.square().sum((-2, -1)), torch.full((4, 3), 64.0, dtype=torch.float64), rtol=1e-12)
    power = ring_power(noise)
    assert torch.allclose(power[..., first : last + 1].sum(-1), power.sum(-1), rtol=1e-12)
    outside = torch.cat([power[..., :first], power[..., last + 1 :]], -1)
    assert outside.sum() < 1e-20


def test_band_noise_is_its_draw() -> None:
    one, same, other = (
        band_noise((2, 3, 16, 16), 2, 4, 1.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one[0, 0], one[0, 1], atol=1e-3)  # each channel has its own


def test_band_noise_refuses(generator: torch.Generator) -> None:
    for first, last in ((5, 4), (-1, 3), (24, 30)):
        with pytest.raises(
            ValueError, match=rf"band {first} to {last} is empty: rings of 32x32 pixels run from 0 to 23"
        ):
            band_noise((32, 32), first, last, 1.0, generator)
    with pytest.raises(ValueError, match="norm=-1"):
        band_noise((32, 32), 1, 2, -1, generator)
    with pytest.raises(TypeError, match="float32 or float64"):
        band_noise((32, 32), 1, 2, 1, generator, torch.float16)
