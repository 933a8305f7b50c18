"""C-bar corruptions by cubic splines: enlarged colour channels, and a blur along circles."""

from __future__ import annotations

import functools
import math
from typing import ClassVar

import torch

from fourier_robust.corruption.bar import Shape, cubic, cut, map_images, mesh
from fourier_robust.corruption.base import Params, parameters


class TransverseChromaticAbberation:
    """Enlarges two of the three colour channels about the middle, one of them twice as much; which, is random.

    Published quirks kept: the cubic spline is laid through the pixels as if they were its coefficients, so all three
    channels are blurred, the one of scale 1 too; scipy rounds to the nearest level here, nothing is cut off; the
    enlarged side is rounded to whole pixels, and an odd excess is cropped by one pixel more on the far end.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; transverse_chromatic_abberation (its spelling), in CIFAR-10-C-bar only,
        with `scipy.ndimage.zoom` of uint8, its order of operations followed: one value in 36 of the channel of scale 1
        lies between two levels but for its last bit.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (1, 2, 5, 9, 10)}

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        excess = strength * 0.5 / 10
        self.scales = (1.0, 1.0 + excess / 2, 1.0 + excess)

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"channels": (B,3) int64: the channel that each of the three scales falls to}."""
        return {"channels": torch.rand((shape[0], 3), generator=generator, device=generator.device).argsort(-1)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._enlarge, images, params)

    def _enlarge(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        result, image = torch.empty_like(levels), torch.arange(len(levels), device=levels.device)
        for scale, channel in zip(self.scales, params["channels"].unbind(1), strict=True):
            result[image, channel] = _zoom(levels[image, channel], scale)
        return result


def _zoom(levels: torch.Tensor, scale: float) -> torch.Tensor:
    """(B,H,W) uint8, enlarged by `scale` >= 1 and cropped to the middle H x W."""
    places = []
    for place, length in zip(mesh(levels), levels.shape[1:], strict=True):
        large = round(length * scale)
        start = (large - length) // 2
        step = torch.full((), (length - 1) / (large - 1), dtype=torch.float64, device=levels.device)
        places.append(cubic((place.flatten() + start) * step, length))
    values = levels.double()
    total = torch.zeros_like(values)
    for row, row_weight in places[0]:
        rows = values.index_select(1, row) * row_weight[:, None]
        for column, column_weight in places[1]:
            total += rows.index_select(2, column) * column_weight
    return (total + 0.5).clamp_(0, 255).to(torch.uint8)


class CircularMotionBlur:
    """The weighted mean of 21 rotations about the middle, black from outside, by up to c degrees to both sides.

    Published quirk kept: the sum of the float32 images is divided by the weights' sum in float32, and the cut takes a
    level off flat areas where this falls below it, which it does for 82 of the 256 grey levels.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; circular_motion_blur, in CIFAR-10-C-bar only, with
        `scipy.ndimage.rotate` (cubic, with prefilter) of float32. Nothing is random.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (2.8, 3.6, 4.4, 5.2, 6)}
    TURNS = 21

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.degrees = strength * 15 / 10

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._blur, images, params)

    def _blur(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        top = torch.full((), 255.0, device=levels.device)
        height, width = levels.shape[2:]
        coefficients = (levels.float() / top).double()
        for axis, length in ((2, height), (3, width)):
            filters = _prefilter(length).to(levels.device, non_blocking=True)
            coefficients = torch.einsum("ij,bcjw->bciw" if axis == 2 else "ij,bchj->bchi", filters, coefficients)
        pixels = coefficients.flatten(2).permute(2, 0, 1).contiguous()  # (HW,B,C): a shifted pixel is a long run
        total, weights = torch.zeros(pixels.shape, device=levels.device), []
        for turn in range(self.TURNS):
            share = 2 * turn / (self.TURNS - 1) - 1
            weights.append(math.exp(-2 * share**2))
            total += _rotated(pixels, levels, share * self.degrees).float() * weights[-1]
        total /= torch.full((), sum(weights), device=levels.device)
        return cut(total * top).permute(1, 2, 0).reshape(levels.shape)


def _rotated(pixels: torch.Tensor, like: torch.Tensor, degrees: float) -> torch.Tensor:
    """Spline coefficients (HW,B,C) of images of the size of `like` -> the images turned, (HW,B,C) float64."""
    height, width = like.shape[-2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    row, column = mesh(like)
    new_row = (middle_row - (cosine * middle_row + sine * middle_column)) + row * cosine + column * sine
    new_column = (middle_column - (cosine * middle_column - sine * middle_row)) - row * sine + column * cosine
    inside = (new_row >= 0) & (new_row <= height - 1) & (new_column >= 0) & (new_column <= width - 1)
    total = torch.zeros_like(pixels)
    across = cubic(new_column.clamp(0, width - 1).flatten(), width)
    for y, row_weight in cubic(new_row.clamp(0, height - 1).flatten(), height):
        for x, column_weight in across:
            weight = row_weight * column_weight * inside.flatten()
            total += pixels.index_select(0, y * width + x) * weight[:, None, None]
    return total


@functools.cache
def _prefilter(length: int) -> torch.Tensor:
    """(N,N) float64: values at N pixels -> cubic B-spline coefficients through them, mirrored about the end pixels."""
    samples = torch.eye(length, dtype=torch.float64) * (4 / 6)
    for place in range(length):
        for neighbour in (place - 1, place + 1):
            samples[place, length - 1 - abs(length - 1 - abs(neighbour))] += 1 / 6
    return torch.linalg.inv(samples)
