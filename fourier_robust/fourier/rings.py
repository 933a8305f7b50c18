"""Rings of equal spatial frequency: which Fourier coefficients they hold, and the power of images in them.

Frequencies are whole numbers of cycles per image along each axis, whatever H and W; a coefficient (u,v) belongs to the
ring ``round(sqrt(u^2 + v^2))``. Ring 0 is the mean (DC) alone.
"""

from __future__ import annotations

import functools
import math

import torch

from fourier_robust.fourier.spectrum import half_power


def ring_index(height: int, width: int) -> torch.Tensor:
    """(H, W//2+1) int64: the ring of each coefficient of `torch.fft.rfft2`."""
    down = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64)
    across = torch.fft.rfftfreq(width, 1 / width, dtype=torch.float64)
    return torch.hypot(down[:, None], across).round().long()


def multiplicity(width: int) -> torch.Tensor:
    """(W//2+1,) int64: how many coefficients of the full transform a column of `torch.fft.rfft2` stands for, 1 or 2."""
    columns = torch.arange(width // 2 + 1)
    return torch.where((columns == 0) | (2 * columns == width), 1, 2)


def num_rings(height: int, width: int) -> int:
    """K: rings run from 0 to K; 23 for 32x32, 158 for 224x224."""
    return round(math.hypot(height // 2, width // 2))


def ring_counts(height: int, width: int) -> torch.Tensor:
    """(K+1,) int64: coefficients of the full transform per ring; their sum is H W."""
    weights = multiplicity(width).expand(height, -1)
    return torch.bincount(ring_index(height, width).flatten(), weights.flatten().double()).long()


def ring_power(images: torch.Tensor) -> torch.Tensor:
    """Power per ring of the unitary Fourier transform; differentiable.

    Args:
        images: (...,H,W) float32 or float64.

    Returns:
        (...,K+1) of the same dtype; the sum over all rings is the sum of squares of the image (Parseval).

    Raises:
        TypeError: another dtype; half precision has no Fourier transform on a CPU.
    """
    return ring_sums(half_power(images), images.shape[-1])


def ring_sums(half: torch.Tensor, width: int) -> torch.Tensor:
    """Sums per ring of values that are even in the frequency.

    Args:
        half: (...,H,W//2+1) float32 or float64, one value for each coefficient of `torch.fft.rfft2`.
        width: W.

    Returns:
        (...,K+1) of the same dtype.
    """
    matrix = _ring_matrix if torch.compiler.is_compiling() else _cached_ring_matrix
    return half.flatten(-2) @ matrix(half.shape[-2], width, half.dtype, half.device)


def _ring_matrix(height: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(H*(W//2+1), K+1): 1 or 2 where a coefficient belongs to a ring, else 0."""
    index = ring_index(height, width)
    matrix = torch.zeros(index.numel(), num_rings(height, width) + 1, dtype=dtype)
    weights = multiplicity(width).expand(height, -1).to(dtype)
    return matrix.scatter_(1, index.view(-1, 1), weights.reshape(-1, 1)).to(device)


_cached_ring_matrix = functools.lru_cache(maxsize=8)(_ring_matrix)
