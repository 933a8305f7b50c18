"""Zoom blur, and the zoom into the centre that snow uses too."""

from __future__ import annotations

import functools
import math
from typing import ClassVar

import numpy as np
import torch

from fourier_robust.corruption.base import Params, by_channel, map_levels, parameters, to_greys, truncate


class ZoomBlur:
    """Mean of the image and of its enlargements by 1, 1.01, 1.02 and so on, each cropped to the centre.

    Published quirk kept: the sum starts with the image itself and an enlargement by 1, so the unzoomed image counts
    twice.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); `scipy.ndimage.zoom` of order 1, float32 sums in its order.
    Deviates: interpolates along the rows, then along the columns, in float32; equal in flat areas.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, float], ...]]] = {
        32: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),  # numpy.arange(1, stop, step)
        64: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        224: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (stop, step) = parameters(self.TABLES, size, severity)
        self.factors: list[float] = np.arange(1, stop, step).tolist()

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(lambda levels: by_channel(self._blur, levels), images)

    def _blur(self, levels: torch.Tensor) -> torch.Tensor:
        greys = to_greys(levels, torch.float32)
        total = torch.zeros_like(greys)
        for factor in self.factors:
            total.add_(clipped_zoom(greys, factor, (1, 2)))
        count = torch.full((), len(self.factors) + 1, dtype=torch.float32, device=levels.device)
        return truncate(total.add_(greys).div_(count))


def clipped_zoom(values: torch.Tensor, factor: float, axes: tuple[int, int]) -> torch.Tensor:
    """Enlarge two axes of a float tensor by linear interpolation and keep the centre of the original size."""
    for axis in axes:
        low, high, weight = _taps(values.shape[axis], factor)
        if torch.equal(low, torch.arange(len(low))) and not weight.any():
            continue
        shape = [-1 if dim == axis else 1 for dim in range(values.dim())]
        weight = weight.to(values).view(shape)
        low, high = (index.to(values.device, non_blocking=True) for index in (low, high))
        values = torch.lerp(values.index_select(axis, low), values.index_select(axis, high), weight)
    return values


@functools.cache
def _taps(length: int, factor: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each of `length` outputs: two source pixels (int64) and the second one's weight (float64)."""
    crop = math.ceil(length / factor)
    first = (length - crop) // 2
    enlarged = round(crop * factor)
    trim = (enlarged - length) // 2
    places = (np.arange(length) + trim) * ((crop - 1) / (enlarged - 1))
    low = np.minimum(np.floor(places).astype(np.int64), crop - 1)
    high = np.minimum(low + 1, crop - 1)
    return torch.from_numpy(low + first), torch.from_numpy(high + first), torch.from_numpy(places - low)
