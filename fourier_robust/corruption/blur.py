"""Blurs by a fixed kernel."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from fourier_robust.corruption.base import Params, map_levels, parameters, to_greys, truncate


class DefocusBlur:
    """Convolution with a disk of some radius whose edge is softened by a small Gaussian.

    Published quirks kept: the radii 0.3, 0.4 and 0.5 hold one pixel only, so severities 1 to 3 are the softening
    alone (a 3x3 Gaussian); the kernel is float32 and sums to slightly more than 1, which keeps flat areas at their
    level in spite of the truncation.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); make_cifar_c.py, `cv2.filter2D` on float64 (border reflected
        without its edge pixel).
    Deviates: nothing measurable: sums of mirrored pixels are formed first, as integers.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, float], ...]]] = {
        32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))  # radius, sigma of the softening, in pixels
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (radius, softening) = parameters(self.TABLES, size, severity)
        self.kernel = disk_kernel(radius, softening)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._blur, images)

    def _blur(self, levels: torch.Tensor) -> torch.Tensor:
        reach = len(self.kernel) // 2
        padded = levels.to(torch.int16)
        for axis in (1, 2):
            length = levels.shape[axis]
            outside = torch.arange(-reach, length + reach, device=levels.device).abs_()
            mirrored = length - 1 - (outside - (length - 1)).abs_()
            padded = padded.index_select(axis, mirrored)
        total = torch.zeros(levels.shape, dtype=torch.float64, device=levels.device)
        # The kernel is symmetric in both axes: one product per distinct (|dy|, |dx|).
        for dx in range(reach + 1):
            columns = _mirrored_sum(padded, 2, reach, dx)
            for dy in range(reach + 1):
                weight = float(self.kernel[reach + dy, reach + dx])
                if weight > 2.0**-53:
                    total.add_(_mirrored_sum(columns, 1, reach, dy).double().mul_(weight / 255))
        return truncate(total)


def _mirrored_sum(padded: torch.Tensor, axis: int, reach: int, offset: int) -> torch.Tensor:
    """x(i - offset) + x(i + offset) along an axis padded by `reach` on both ends; x(i) itself for offset 0."""
    length = padded.shape[axis] - 2 * reach
    left = padded.narrow(axis, reach - offset, length)
    return left + padded.narrow(axis, reach + offset, length) if offset else left


def disk_kernel(radius: float, softening: float) -> np.ndarray:
    """The disk ``x^2 + y^2 <= radius^2`` of sum 1 after a 3x3 Gaussian of sigma `softening`: (2n+1, 2n+1) float32."""
    reach = int(radius) + 1
    line = np.arange(-reach - 1, reach + 2)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    soft = np.exp(-0.5 * np.array([1.0, 0.0, 1.0]) / softening**2)
    soft = (soft / soft.sum()).astype(np.float32)
    for axis in (1, 0):
        disk = soft[1] * disk + soft[0] * (np.roll(disk, 1, axis) + np.roll(disk, -1, axis))
    return disk[1:-1, 1:-1]


class GaussianBlur:
    """Separable Gaussian blur, cut off at 4 sigma, edge pixels repeated.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `DefocusBlur`; scikit-image `gaussian`, i.e. `scipy.ndimage.gaussian_filter` in float64. Its order of
        additions is followed, because in flat areas the last bit decides whether truncation takes off a level.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (0.4, 0.6, 0.7, 0.8, 1)}  # sigma in pixels

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, sigma = parameters(self.TABLES, size, severity)
        reach = int(4 * sigma + 0.5)
        weights = np.exp(-0.5 / sigma**2 * np.arange(-reach, reach + 1) ** 2)
        self.weights: list[float] = (weights / weights.sum()).tolist()

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._blur, images)

    def _blur(self, levels: torch.Tensor) -> torch.Tensor:
        reach = len(self.weights) // 2
        greys = to_greys(levels)
        for axis in (1, 2):
            length = levels.shape[axis]
            nearest = torch.arange(-reach, length + reach, device=levels.device).clamp_(0, length - 1)
            padded = greys.index_select(axis, nearest)
            greys.mul_(self.weights[reach])
            for offset in range(reach, 0, -1):
                greys.add_(_mirrored_sum(padded, axis, reach, offset).mul_(self.weights[reach - offset]))
        return truncate(greys)
