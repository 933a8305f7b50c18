"""Gaussian noise of random strength: the baseline that makes a network insensitive to high frequencies."""

from __future__ import annotations

import math
from typing import Literal

import torch

from fourier_robust.aug.views import Params


class GaussianNoise:
    """Adds white noise whose standard deviation is uniform in [0, sigma], and clips to [0,1].

    Args:
        sigma: largest standard deviation, in [0,1] pixels, finite, >= 0; the paper's is 0.1 (CIFAR-10), 0.4 (ImageNet).
        per: who shares a strength: the ``batch``, the paper's "at each iteration", or nobody (``image``).

    Raises:
        ValueError: an argument outside its range.

    Source:
        Yin et al., "A Fourier Perspective on Model Robustness in Computer Vision", NeurIPS 2019, "Gaussian data
        augmentation".
    """

    def __init__(self, sigma: float = 0.1, per: Literal["batch", "image"] = "batch") -> None:
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f"sigma must be finite and at least 0, got {sigma}")
        if per not in ("batch", "image"):
            raise ValueError(f"per must be batch or image, got {per!r}")
        self.sigma, self.per = sigma, per

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """`sigma` ((B,) float32, pixels) and `noise` ((B,C,H,W) float32, standard normal)."""
        count = 1 if self.per == "batch" else shape[0]
        strength = self.sigma * torch.rand(count, generator=generator)
        return {"sigma": strength.expand(shape[0]), "noise": torch.randn(shape, generator=generator)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,C,H,W) float32 in [0,1] -> the same; `images` is left unchanged."""
        sigma, noise = (params[name].to(images.device, non_blocking=True) for name in ("sigma", "noise"))
        return torch.addcmul(images, noise, sigma[:, None, None, None]).clamp_(0, 1)
