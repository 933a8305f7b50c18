"""Motion blur: a one-sided Gaussian along a line of random direction."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from fourier_robust.corruption.base import Params, check_images, parameters, to_greys, to_levels

_PIECE = 32  # images at a time
_HALF = 0.5 / 257  # grey levels: half a step of 16 bits
_TAIL = 1e-6  # share of the kernel that may be cut off: 0.0003 grey levels at most


class MotionBlur:
    """Mean of the pixels along a line that starts at each pixel, Gaussian weights falling with the distance.

    Published quirks kept: the line's points are rounded to whole pixels, so a small radius knows few directions (27 to
    127 different lines at 32 pixels); a radius beyond 3 sigma changes nothing, so severities 3 and 4 of the 32-pixel
    table are one.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261), where ImageMagick's MotionBlurImage does it (edge pixels
        repeated, sums rounded to 16 bits, which are cut to 8).
    Deviates: float32 sums: one level on at most 2 values in 10,000 (ImageMagick 6.9, three sizes, five severities).
    """

    TABLES: ClassVar[dict[int, tuple[tuple[int, float], ...]]] = {
        32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),  # radius and sigma in pixels
        64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (self.radius, self.sigma) = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"angle": (B,) float64 in [-45,45) degrees, clockwise from the right}."""
        drawn = torch.rand(shape[0], generator=generator, device=generator.device, dtype=torch.float64)
        return {"angle": drawn.mul_(90).sub_(45)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        check_images(images)
        blurred = motion_blur(to_levels(images), params["angle"], self.radius, self.sigma)
        return to_greys(blurred, torch.float32)


def motion_blur(levels: torch.Tensor, angles: torch.Tensor, radius: int, sigma: float) -> torch.Tensor:
    """Blur (B,C,H,W) uint8 along B directions.

    The images are taken in the order of their angles: neighbours then share most of their line's rounded points, and
    each point is one weighted addition of a shifted view for all that share it.

    Args:
        levels: grey levels.
        angles: (B,) degrees, clockwise from the right.
        radius: the line has ``2 radius + 1`` points.
        sigma: of the weights, in pixels.

    Returns:
        (B,C,H,W) uint8, contiguous.
    """
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    weights = weights[: int(np.argmax(np.cumsum(weights) > 1 - _TAIL)) + 1]
    degrees = angles.double().cpu().numpy()
    order = np.argsort(degrees)
    result = torch.empty(levels.shape, dtype=torch.uint8, device=levels.device)
    for part in np.split(order, range(_PIECE, len(order), _PIECE)) if len(order) else ():
        members = torch.from_numpy(part).to(levels.device)
        result[members] = _blur(levels[members], _lines(degrees[part], len(weights)), weights)
    return result


def _lines(degrees: np.ndarray, points: int) -> np.ndarray:
    """(B, points, 2): whole offsets, rows and columns."""
    radians = degrees * (math.pi / 180)
    direction = np.stack((np.sin(radians), np.cos(radians)), -1)
    return np.ceil(np.arange(points)[:, None] * direction[:, None] - 0.5).astype(np.int64)


def _blur(levels: torch.Tensor, lines: np.ndarray, weights: np.ndarray) -> torch.Tensor:
    height, width = levels.shape[2:]
    (top, left), (bottom, right) = np.maximum(-lines.min((0, 1)), 0), np.maximum(lines.max((0, 1)), 0)
    margins = [int(margin) for margin in (left, right, top, bottom)]
    padded = functional.pad(levels.float(), margins, mode="replicate")
    total = torch.zeros(levels.shape, device=levels.device)
    for point, weight in enumerate(weights.tolist()):
        places = lines[:, point] + (top, left)
        first = 0
        for last in (*np.flatnonzero(np.diff(places, axis=0).any(1)) + 1, len(places)):  # images with one place in turn
            y, x = places[first]
            total[first:last].add_(padded[first:last, :, y : y + height, x : x + width], alpha=weight)
            first = last
    return total.add_(_HALF).to(torch.uint8)
