"""Blurs by a fixed kernel."""

from __future__ import annotations

import functools
from typing import ClassVar, Literal

import numpy as np
import torch

from fourier_robust.corruption.base import Params, by_channel, map_levels, parameters, to_greys, truncate


class DefocusBlur:
    """Convolution with a disk of some radius whose edge is softened by a small Gaussian.

    Published quirks kept: the radii 0.3, 0.4 and 0.5 hold one pixel only, so severities 1 to 3 at 32 pixels are the
    softening alone (a 3x3 Gaussian); the kernel is float32, and its last bits decide whether truncation takes a level
    off flat areas; from a radius of 8 on it sums to 1.01, so the image gets brighter.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); make_cifar_c.py, `cv2.filter2D` on float64 (border reflected
        without its edge pixel).
    Deviates: nothing measurable: sums of mirrored pixels are formed first, as integers.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, float], ...]]] = {
        32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),  # radius, sigma of the softening, in pixels
        64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (radius, softening) = parameters(self.TABLES, size, severity)
        self.kernel = disk_kernel(radius, softening)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(lambda levels: by_channel(self._blur, levels), images)

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
    """The disk ``x^2 + y^2 <= radius^2`` of sum 1 after a small Gaussian of sigma `softening`: (2n+1, 2n+1) float32.

    Up to a radius of 8 the Gaussian has 3x3 taps on a grid of 17x17, from there 5x5 on a grid that just holds the disk.
    From a radius of 8 on it reaches over the grid's edge, which is mirrored: the kernel's sum is then above 1.
    """
    line, taps = (np.arange(-8, 9), 1) if radius <= 8 else (np.arange(-int(radius), int(radius) + 1), 2)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    soft = np.exp(-0.5 * np.arange(taps + 1) ** 2 / softening**2)
    soft = (soft / (2 * soft.sum() - soft[0])).astype(np.float32)
    for axis in (1, 0):
        width = [(taps, taps) if dim == axis else (0, 0) for dim in (0, 1)]
        padded = np.pad(disk, width, mode="reflect")
        shifted = [np.roll(padded, offset, axis) for offset in range(-taps, taps + 1)]
        mirrored = sum(
            (soft[i] * (shifted[taps - i] + shifted[taps + i]) for i in range(1, taps + 1)), soft[0] * padded
        )
        disk = np.take(mirrored, np.arange(len(line)) + taps, axis)
    edge = len(line) // 2 - max(0, int(np.abs(line[disk.any(0)]).max()))
    return disk[edge : len(line) - edge, edge : len(line) - edge]


class GaussianBlur:
    """Separable Gaussian blur, cut off at 4 sigma, edge pixels repeated.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `DefocusBlur`; scikit-image `gaussian`, i.e. `scipy.ndimage.gaussian_filter` in float64. Its order of
        additions is followed, because in flat areas the last bit decides whether truncation takes off a level.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (0.4, 0.6, 0.7, 0.8, 1),  # sigma in pixels
        64: (0.5, 0.75, 1, 1.25, 1.5),
        224: (1, 2, 3, 4, 6),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, sigma = parameters(self.TABLES, size, severity)
        self.weights = gaussian_weights(sigma)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(lambda levels: blur_levels(levels, self.weights), images)


def gaussian_weights(sigma: float, cut: float = 4) -> list[float]:
    """The 2n+1 weights of `scipy.ndimage.gaussian_filter`, cut off at `cut` sigmas; sum 1."""
    reach = int(cut * sigma + 0.5)
    weights = np.exp(-0.5 / sigma**2 * np.arange(-reach, reach + 1) ** 2)
    return (weights / weights.sum()).tolist()


def blur_levels(levels: torch.Tensor, weights: list[float]) -> torch.Tensor:
    """Gaussian blur of uint8 (C,H,W,B), edges repeated -> the same, truncated; in SciPy's order of additions."""
    return by_channel(lambda part: _gaussian(part, weights), levels)


def _gaussian(levels: torch.Tensor, weights: list[float]) -> torch.Tensor:
    greys, reach = to_greys(levels), len(weights) // 2
    for axis in (1, 2) if reach else ():
        length = greys.shape[axis]
        nearest = torch.arange(-reach, length + reach, device=greys.device).clamp_(0, length - 1)
        padded = greys.index_select(axis, nearest)
        greys.mul_(weights[reach])
        for offset in range(reach, 0, -1):
            greys.add_(_mirrored_sum(padded, axis, reach, offset).mul_(weights[reach - offset]))
    return truncate(greys)


@functools.cache
def smoother(length: int, sigma: float, cut: float, border: Literal["nearest", "reflect"]) -> torch.Tensor:
    """(length, length) float64 matrix of `scipy.ndimage.gaussian_filter1d`, for fields where no last bit matters."""
    weights = gaussian_weights(sigma, cut)
    reach = len(weights) // 2
    rows = torch.arange(length).repeat_interleave(len(weights))
    columns = rows + torch.arange(-reach, reach + 1).repeat(length)
    if border == "nearest":
        columns.clamp_(0, length - 1)
    else:  # ... 1 0 | 0 1 2 ...
        columns = columns.remainder(2 * length)
        columns = torch.minimum(columns, 2 * length - 1 - columns)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.index_put_((rows, columns), torch.tensor(weights * length, dtype=torch.float64), accumulate=True)
