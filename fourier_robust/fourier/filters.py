"""Low-pass, high-pass, and noise of one band of rings."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch

from fourier_robust.fourier.rings import num_rings, ring_index
from fourier_robust.fourier.spectrum import check_real

Shape = Literal["disc", "square"]


def radius_of(height: int, width: int, shape: Shape = "disc") -> torch.Tensor:
    """(H,W//2+1) float64: how far each coefficient of `torch.fft.rfft2` is from DC, cycles per image.

    Args:
        height: H.
        width: W.
        shape: ``disc`` is sqrt(u^2 + v^2), ``square`` max(abs(u), abs(v)).

    Raises:
        ValueError: an unknown `shape`.
    """
    if shape not in get_args(Shape):
        raise ValueError(f"shape must be one of {', '.join(get_args(Shape))}, got {shape!r}")
    down = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64).round().abs()[:, None]
    across = torch.fft.rfftfreq(width, 1 / width, dtype=torch.float64).round().abs()
    return torch.hypot(down, across) if shape == "disc" else torch.maximum(down, across)


def low_pass(images: torch.Tensor, radius: float, strict: bool = True, shape: Shape = "disc") -> torch.Tensor:
    """Keep the frequencies below `radius`; each channel by itself, not clipped.

    Args:
        images: (...,H,W) float32 or float64.
        radius: cycles per image, not rounded.
        strict: keep those below `radius`; otherwise those at it too.
        shape: as in `radius_of`.

    Returns:
        (...,H,W) of the same dtype.

    Raises:
        TypeError, ValueError: as `check_real`; an unknown `shape`, a radius below 0, or one that keeps nothing.

    Source:
        The strict disc is that of Wang et al., "High-Frequency Component Helps Explain the Generalization of
        Convolutional Neural Networks", CVPR 2020 (released code). The square with an inclusive radius r is the
        centred square of 2 r + 1 coefficients a side, the low-pass of Yin et al., NeurIPS 2019.
    """
    check_real(images)
    return _keep(images, _inside(images, radius, strict, shape), radius)


def high_pass(images: torch.Tensor, radius: float, strict: bool = True, shape: Shape = "disc") -> torch.Tensor:
    """What `low_pass` with the same settings takes away, so both sum to the images.

    Raises:
        TypeError, ValueError: as `low_pass`.

    Deviates: Yin et al.'s high-pass is no complement (a square around the highest frequency); it is not offered.
    """
    check_real(images)
    return _keep(images, ~_inside(images, radius, strict, shape), radius)


def band_noise(
    shape: tuple[int, ...],
    first: int,
    last: int,
    norm: float,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """White Gaussian noise of the rings `first` to `last` only, with a given L2 norm per channel.

    Args:
        shape: (...,H,W).
        first: innermost ring, 0 is DC.
        last: outermost ring, at least `first`.
        norm: L2 norm over (H,W), at least 0.
        generator: of the draws; its device is that of the noise.
        dtype: float32 or float64.

    Returns:
        `shape`, of `dtype`.

    Raises:
        TypeError: another dtype.
        ValueError: an empty band, a norm below 0.
    """
    height, width = shape[-2:]
    if not 0 <= first <= last or first > num_rings(height, width):
        reach = num_rings(height, width)
        raise ValueError(f"band {first} to {last} is empty: rings of {height}x{width} pixels run from 0 to {reach}")
    if norm < 0 or not math.isfinite(norm):
        raise ValueError(f"norm={norm}: must be at least 0")
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype={dtype}: a Fourier transform needs float32 or float64")
    index = ring_index(height, width).to(generator.device)
    inside = (first <= index) & (index <= last)
    noise = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
    noise = torch.fft.irfft2(torch.fft.rfft2(noise) * inside, s=(height, width))
    return noise * (norm / noise.flatten(-2).norm(dim=-1)[..., None, None])


def _inside(images: torch.Tensor, radius: float, strict: bool, shape: Shape) -> torch.Tensor:
    if not radius >= 0:
        raise ValueError(f"radius={radius}: must be at least 0")
    distance = radius_of(images.shape[-2], images.shape[-1], shape).to(images.device)
    return distance < radius if strict else distance <= radius


def _keep(images: torch.Tensor, kept: torch.Tensor, radius: float) -> torch.Tensor:
    height, width = images.shape[-2:]
    if not kept.any():
        raise ValueError(f"radius={radius} keeps nothing of {height}x{width} pixels: that band is empty")
    return torch.fft.irfft2(torch.fft.rfft2(images) * kept, s=(height, width))
