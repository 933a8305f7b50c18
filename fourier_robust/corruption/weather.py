"""Fog and brightness; snow and frost have files of their own."""

from __future__ import annotations

from typing import ClassVar

import torch

from fourier_robust.corruption.base import Params, map_levels, map_values, parameters, to_greys, truncate
from fourier_robust.corruption.hsv import from_hsv, to_hsv
from fourier_robust.corruption.plasma import plasma


class Brightness:
    """Adds a constant to the value channel of HSV, clipped at 1.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); make_cifar_c.py with scikit-image's `rgb2hsv` and `hsv2rgb` in
        float64, operation by operation: 0.2 is exactly 51 levels, so the last bit decides many a truncation.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (0.05, 0.1, 0.15, 0.2, 0.3),
        64: (0.1, 0.2, 0.3, 0.4, 0.5),
        224: (0.1, 0.2, 0.3, 0.4, 0.5),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.shift = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._brighten, images)

    def _brighten(self, levels: torch.Tensor) -> torch.Tensor:
        hsv = to_hsv(levels)
        return from_hsv(hsv._replace(value=hsv.value.add_(self.shift).clamp_(0, 1)))


class Fog:
    """Adds a plasma cloud of some strength and scales the sum back to the image's own maximum.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `Brightness`, in float64. The cloud map is the smallest power of two that holds the image (32, 64 and 256
        in the published scripts), cropped at its upper left.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, float], ...]]] = {
        32: ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),  # strength, decay of the cloud's details
        64: ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        224: ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (self.strength, self.decay) = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"uniform": (B,M,M) float32 in [-1,1), one draw per place of the cloud map}."""
        side = 1 << (max(shape[2:]) - 1).bit_length()
        drawn = torch.rand(shape[0], side, side, generator=generator, device=generator.device)
        return {"uniform": drawn.mul_(2).sub_(1)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_values(self._veil, images, params["uniform"])

    def _veil(self, levels: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        height, width = levels.shape[2:]
        greys = to_greys(levels)
        highest = greys.amax((1, 2, 3), keepdim=True)
        cloud = plasma(uniform.double(), self.decay)[:, None, :height, :width]
        return truncate(greys.add_(cloud, alpha=self.strength).mul_(highest).div_(highest + self.strength))
