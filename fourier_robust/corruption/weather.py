"""Brightness; the other weather corruptions join it here."""

from __future__ import annotations

from typing import ClassVar

import torch

from fourier_robust.corruption.base import Params, map_levels, parameters
from fourier_robust.corruption.hsv import from_hsv, to_hsv


class Brightness:
    """Adds a constant to the value channel of HSV, clipped at 1.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); make_cifar_c.py with scikit-image's `rgb2hsv` and `hsv2rgb` in
        float64, operation by operation: 0.2 is exactly 51 levels, so the last bit decides many a truncation.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (0.05, 0.1, 0.15, 0.2, 0.3)}

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
