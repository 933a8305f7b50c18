"""Amplitude, phase and power of images under the unitary Fourier transform over (H,W).

Unitary (``norm="ortho"``): the sum of power is the sum of squares of the image, and the transform of a gradient is the
gradient with respect to the Fourier coefficients.
"""

from __future__ import annotations

import torch


def check_real(images: torch.Tensor) -> None:
    """Refuse what has no Fourier transform everywhere.

    Raises:
        TypeError: not float32 or float64; half precision has no Fourier transform on a CPU.
        ValueError: fewer than two dimensions.
    """
    if images.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"images are {images.dtype}: a Fourier transform needs float32 or float64")
    if images.ndim < 2:
        raise ValueError(f"images must be (...,H,W), got shape {tuple(images.shape)}")


def amplitude(images: torch.Tensor) -> torch.Tensor:
    """Modulus of each coefficient: (...,H,W) float32 or float64 -> the same; not centred, DC at [0,0].

    Raises:
        TypeError, ValueError: as `check_real`.
    """
    check_real(images)
    return torch.fft.fft2(images, norm="ortho").abs()


def phase(images: torch.Tensor) -> torch.Tensor:
    """Angle of each coefficient in [-pi,pi], radians: (...,H,W) float32 or float64 -> the same; not centred.

    Raises:
        TypeError, ValueError: as `check_real`.
    """
    check_real(images)
    return torch.fft.fft2(images, norm="ortho").angle()


def half_power(images: torch.Tensor) -> torch.Tensor:
    """Squared modulus of the coefficients of `torch.fft.rfft2`; differentiable.

    Args:
        images: (...,H,W) float32 or float64.

    Returns:
        (...,H,W//2+1) of the same dtype; `whole_plane` gives the rest.

    Raises:
        TypeError, ValueError: as `check_real`.
    """
    check_real(images)
    return torch.view_as_real(torch.fft.rfft2(images, norm="ortho")).square().sum(-1)


def whole_plane(half: torch.Tensor, width: int) -> torch.Tensor:
    """The power of all coefficients, centred, from that of half of them (power is even in the frequency).

    Args:
        half: (...,H,W//2+1), as `half_power` gives it.
        width: W.

    Returns:
        (...,H,W), frequency (u,v) at [H//2+u, W//2+v].
    """
    mirrored = half[..., 1 : (width + 1) // 2].flip(-1).flip(-2).roll(1, -2)
    return torch.fft.fftshift(torch.cat([half, mirrored], -1), dim=(-2, -1))
