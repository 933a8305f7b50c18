"""Ring power with its derivative written out: one transform each way, where autograd of `torch.fft` takes two back."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from fourier_robust.fourier.rings import ring_index, ring_sums


class RingPower(torch.autograd.Function):
    """(N,H,W) float32 or float64 -> (N,K+1), `fourier_robust.fourier.rings.ring_power`; differentiable once.

    With w the derivative by ring, that by pixels is twice the inverse transform of w(ring of u,v) times the spectrum.
    """

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor) -> torch.Tensor:
        """(N,H,W) -> (N,K+1)."""
        spectrum = torch.fft.rfft2(images, norm="ortho")
        ctx.save_for_backward(spectrum)
        ctx.size = images.shape[-2:]
        return ring_sums((spectrum * spectrum.conj()).real, images.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """(N,K+1) -> (N,H,W)."""
        (spectrum,) = ctx.saved_tensors
        weights = (2 * gradient).index_select(1, _rings(*ctx.size, gradient.device)).view(spectrum.shape)
        return torch.fft.irfft2(spectrum * weights, s=ctx.size, norm="ortho")


@functools.lru_cache(maxsize=8)
def _rings(height: int, width: int, device: torch.device) -> torch.Tensor:
    return ring_index(height, width).flatten().to(device)
