"""The corruptions by name, and images between the tests' NumPy and the package's torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reference.corruptions import OPENCV

from fourier_robust.corruption.blur import DefocusBlur, GaussianBlur
from fourier_robust.corruption.digital import Contrast, JpegCompression, Pixelate, Saturate
from fourier_robust.corruption.elastic import ElasticTransform
from fourier_robust.corruption.frost import Frost
from fourier_robust.corruption.glass import GlassBlur
from fourier_robust.corruption.motion import MotionBlur
from fourier_robust.corruption.noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise
from fourier_robust.corruption.snow import Snow
from fourier_robust.corruption.spatter import Spatter
from fourier_robust.corruption.weather import Brightness, Fog
from fourier_robust.corruption.zoom import ZoomBlur

KINDS: dict[str, Any] = {
    "gaussian_noise": GaussianNoise,
    "shot_noise": ShotNoise,
    "impulse_noise": ImpulseNoise,
    "defocus_blur": DefocusBlur,
    "glass_blur": GlassBlur,
    "motion_blur": MotionBlur,
    "zoom_blur": ZoomBlur,
    "snow": Snow,
    "frost": Frost,
    "fog": Fog,
    "brightness": Brightness,
    "contrast": Contrast,
    "elastic_transform": ElasticTransform,
    "pixelate": Pixelate,
    "jpeg_compression": JpegCompression,
    "speckle_noise": SpeckleNoise,
    "gaussian_blur": GaussianBlur,
    "spatter": Spatter,
    "saturate": Saturate,
}


def needs_opencv(name: str) -> None:
    """Skip where the reference of this corruption cannot be computed."""
    if name in OPENCV:
        pytest.importorskip("cv2", reason="OpenCV cannot be imported", exc_type=ImportError)


def from_levels(levels: np.ndarray) -> torch.Tensor:
    """(N,H,W,3) uint8 -> (N,3,H,W) float32."""
    return torch.from_numpy(np.ascontiguousarray(levels.transpose(0, 3, 1, 2))).float().div(255)


def to_array(images: torch.Tensor) -> np.ndarray:
    """(N,3,H,W) float32 on the grey grid -> (N,H,W,3) uint8; fails off the grid."""
    levels = images.mul(255).round()
    assert torch.equal(levels.div(255), images), "values off the grid k/255"
    assert images.dtype == torch.float32
    return np.ascontiguousarray(levels.to(torch.uint8).permute(0, 2, 3, 1).numpy())
