"""Snow: falling flakes, drawn twice, over a whitened image."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch

from fourier_robust.corruption.base import Params, check_images, map_values, parameters, to_greys, truncate
from fourier_robust.corruption.motion import motion_blur
from fourier_robust.corruption.zoom import clipped_zoom


class _Weather(NamedTuple):
    mean: float  # of the normal field
    deviation: float
    zoom: float
    threshold: float  # flakes are what lies above
    radius: int  # of the motion blur
    sigma: float
    keep: float  # share of the image that is not whitened


class Snow:
    """Flakes from an enlarged and thresholded normal field, blurred downwards, plus the same turned by 180 degrees.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); `scipy.ndimage.zoom`, ImageMagick's MotionBlurImage and OpenCV's
        RGB to grey in their order.
    Deviates: as `MotionBlur` and `ZoomBlur`; one level on at most 1 value in 100,000 (three sizes, five severities).
    """

    TABLES: ClassVar[dict[int, tuple[_Weather, ...]]] = {
        32: (
            _Weather(0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            _Weather(0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            _Weather(0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            _Weather(0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            _Weather(0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        64: (
            _Weather(0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            _Weather(0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            _Weather(0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            _Weather(0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            _Weather(0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        224: (
            _Weather(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            _Weather(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            _Weather(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            _Weather(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            _Weather(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.weather = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"noise": (B,H,W) float32 standard normal, "angle": (B,) float64 in [-135,-45) degrees}."""
        batch, _, height, width = shape
        device = generator.device
        return {
            "noise": torch.randn(batch, height, width, generator=generator, device=device),
            "angle": torch.rand(batch, generator=generator, device=device, dtype=torch.float64).mul_(90).sub_(135),
        }

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        check_images(images)
        flakes = self.flakes(params["noise"].to(images.device, non_blocking=True), params["angle"])
        return map_values(self._snow, images, flakes)

    def flakes(self, noise: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        """The (B,1,H,W) uint8 layer of flakes that a draw stands for."""
        weather = self.weather
        field = clipped_zoom(noise * weather.deviation + weather.mean, weather.zoom, (1, 2))
        field.mul_(field >= weather.threshold)
        return motion_blur(truncate(field)[:, None], angle, weather.radius, weather.sigma)

    def _snow(self, levels: torch.Tensor, flakes: torch.Tensor) -> torch.Tensor:
        keep, greys = self.weather.keep, to_greys(levels, torch.float32)
        luma = greys[:, :1] * 0.299 + greys[:, 1:2] * 0.587 + greys[:, 2:] * 0.114
        white = torch.maximum(greys, luma.mul_(1.5).add_(0.5)).mul_(1 - keep)
        layer = to_greys(flakes)
        return truncate(greys.mul_(keep).add_(white).double().add_(layer).add_(layer.flip(2, 3)))
