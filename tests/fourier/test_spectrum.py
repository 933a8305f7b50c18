"""Amplitude, phase, power: the basis trick, Parseval, odd and oblong sizes, refusals."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.fourier.rings import num_rings, ring_counts, ring_index, ring_power, ring_sums
from fourier_robust.fourier.spectrum import amplitude, half_power, phase, whole_plane

SIZES = [(8, 8), (7, 7), (6, 9), (9, 6), (5, 8), (1, 4)]


def some(height: int, width: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=generator, dtype=dtype)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_gradient_by_fourier_coefficients_is_the_transform_of_the_gradient(
    height: int, width: int, generator: torch.Generator
) -> None:
    images = some(height, width, generator)
    weights = some(height, width, generator)

    def scalar(pixels: torch.Tensor) -> torch.Tensor:
        return (weights * pixels).sin().sum() + pixels.pow(3).mean()

    pixels = images.clone().requires_grad_()
    (by_pixels,) = torch.autograd.grad(scalar(pixels), pixels)
    coefficients = torch.fft.fft2(images, norm="ortho").requires_grad_()
    (by_coefficients,) = torch.autograd.grad(scalar(torch.fft.ifft2(coefficients, norm="ortho").real), coefficients)
    assert (by_coefficients - torch.fft.fft2(by_pixels, norm="ortho")).abs().max() < 1e-12


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_amplitude_and_phase_make_up_the_image(height: int, width: int, generator: torch.Generator) -> None:
    images = some(height, width, generator)
    rebuilt = torch.fft.ifft2(torch.polar(amplitude(images), phase(images)), norm="ortho")
    assert (rebuilt.real - images).abs().max() < 1e-12
    assert rebuilt.imag.abs().max() < 1e-12


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_parseval(height: int, width: int, generator: torch.Generator) -> None:
    images = some(height, width, generator)
    squares = images.square().sum((-2, -1))
    assert torch.allclose(amplitude(images).square().sum((-2, -1)), squares, rtol=1e-12)
    assert torch.allclose(whole_plane(half_power(images), width).sum((-2, -1)), squares, rtol=1e-12)
    assert torch.allclose(ring_power(images).sum(-1), squares, rtol=1e-12)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_whole_plane_is_the_centred_power(height: int, width: int, generator: torch.Generator) -> None:
    images = some(height, width, generator)
    centred = torch.fft.fftshift(torch.fft.fft2(images, norm="ortho"), dim=(-2, -1)).abs().square()
    assert torch.allclose(whole_plane(half_power(images), width), centred, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_ring_sums_by_a_loop_over_the_whole_plane(height: int, width: int, generator: torch.Generator) -> None:
    images = some(height, width, generator)
    plane = torch.fft.fft2(images, norm="ortho").abs().square()
    expected = torch.zeros(2, 3, num_rings(height, width) + 1, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            down = row - height if 2 * row > height else row
            across = column - width if 2 * column > width else column
            expected[..., round((down**2 + across**2) ** 0.5)] += plane[..., row, column]
    assert torch.allclose(ring_sums(half_power(images), width), expected, rtol=1e-12)


def test_the_number_of_rings_and_their_counts() -> None:
    assert [num_rings(size, size) for size in (28, 32, 64, 96, 224)] == [20, 23, 45, 68, 158]
    counts = [1, 8, 12, 16, 32, 28, 40, 40, 48, 68, 56, 72, 68, 88, 88, 84, 94, 64, 44, 32, 16, 20, 4, 1]
    assert ring_counts(32, 32).tolist() == counts
    assert ring_index(32, 32).shape == (32, 17)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype, generator: torch.Generator) -> None:
    images = some(6, 5, generator, dtype)
    assert {found(images).dtype for found in (amplitude, phase, half_power, ring_power)} == {dtype}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("function", [amplitude, phase, half_power, ring_power])
def test_other_dtypes_are_refused(function: object, dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match="a Fourier transform needs float32 or float64"):
        function(torch.ones(4, 4, dtype=dtype))


def test_fewer_than_two_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(\.\.\.,H,W\), got shape \(4,\)"):
        amplitude(torch.ones(4))
