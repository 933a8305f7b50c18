"""The corruptions by name, and images between the tests' NumPy and the package's torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fourier_robust.corruption.blur import DefocusBlur, GaussianBlur
from fourier_robust.corruption.digital import Contrast, JpegCompression, Pixelate, Saturate
from fourier_robust.corruption.noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise
from fourier_robust.corruption.weather import Brightness

KINDS: dict[str, Any] = {
    "gaussian_noise": GaussianNoise,
    "shot_noise": ShotNoise,
    "impulse_noise": ImpulseNoise,
    "defocus_blur": DefocusBlur,
    "brightness": Brightness,
    "contrast": Contrast,
    "pixelate": Pixelate,
    "jpeg_compression": JpegCompression,
    "speckle_noise": SpeckleNoise,
    "gaussian_blur": GaussianBlur,
    "saturate": Saturate,
}


def from_levels(levels: np.ndarray) -> torch.Tensor:
    """(N,H,W,3) uint8 -> (N,3,H,W) float32."""
    return torch.from_numpy(np.ascontiguousarray(levels.transpose(0, 3, 1, 2))).float().div(255)


def to_array(images: torch.Tensor) -> np.ndarray:
    """(N,3,H,W) float32 on the grey grid -> (N,H,W,3) uint8; fails off the grid."""
    levels = images.mul(255).round()
    assert torch.equal(levels.div(255), images), "values off the grid k/255"
    assert images.dtype == torch.float32
    return np.ascontiguousarray(levels.to(torch.uint8).permute(0, 2, 3, 1).numpy())
