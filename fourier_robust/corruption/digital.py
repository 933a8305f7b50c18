"""Contrast, saturation, pixelation and JPEG."""

from __future__ import annotations

import functools
from typing import ClassVar

import torch

from fourier_robust.corruption import jpeg
from fourier_robust.corruption.base import Params, map_levels, parameters, to_greys, truncate
from fourier_robust.corruption.hsv import from_hsv, to_hsv


class Contrast:
    """Shrinks each channel towards its own mean: ``(x - mean) c + mean``.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); make_cifar_c.py,
        make_tinyimagenet_c.py and make_imagenet_c.py, in float64. The mean is a running sum over
        the pixels, as NumPy's over rows and columns: in a flat channel its last bit decides the truncation.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (0.75, 0.5, 0.4, 0.3, 0.15),
        64: (0.4, 0.3, 0.2, 0.1, 0.05),
        224: (0.4, 0.3, 0.2, 0.1, 0.05),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.factor = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._flatten, images)

    def _flatten(self, levels: torch.Tensor) -> torch.Tensor:
        greys = to_greys(levels)
        pixels = greys.flatten(1, 2).transpose(1, 2).contiguous()  # (C,B,HW): cumsum is 4 times faster on the last axis
        means = (pixels.cumsum(-1)[..., -1] / pixels.shape[-1])[:, None, None]
        return truncate(greys.sub_(means).mul_(self.factor).add_(means))


class Saturate:
    """Scales and shifts the saturation channel of HSV, clipped to [0,1].

    Published quirks kept: severities 1 and 2 fade the colours, 3 to 5 strengthen them, so the change is largest at
    severity 1; at severities 4 and 5 grey pixels, whose hue is 0, turn red.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `Contrast`, with scikit-image's HSV operation by operation.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, float], ...]]] = {
        32: ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),  # factor, shift
        64: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        224: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (self.factor, self.shift) = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._saturate, images)

    def _saturate(self, levels: torch.Tensor) -> torch.Tensor:
        hsv = to_hsv(levels)
        saturation = hsv.saturation.mul_(self.factor).add_(self.shift).clamp_(0, 1)
        return from_hsv(hsv._replace(saturation=saturation))


class Pixelate:
    """Shrinks the image to a share of its side by box averages, then enlarges it again by repetition.

    Published quirk kept: the small side is cut to an integer (30, 28, 27, 24, 20 of 32), so blocks differ in size.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `Contrast`; Pillow's BOX resize of 8-bit images, with its 22-bit fixed-point weights and its rounding
        between the horizontal and the vertical pass: equal to Pillow, bit for bit.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {
        32: (0.95, 0.9, 0.85, 0.75, 0.65),
        64: (0.9, 0.8, 0.7, 0.6, 0.5),
        224: (0.6, 0.5, 0.4, 0.3, 0.25),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.share = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(self._pixelate, images)

    def _pixelate(self, levels: torch.Tensor) -> torch.Tensor:
        for axis in (2, 1):
            length = levels.shape[axis]
            levels = _box(levels, axis, length, int(length * self.share))
        return levels


def _box(levels: torch.Tensor, axis: int, length: int, small: int) -> torch.Tensor:
    """Shrink one axis of (C,H,W,B) uint8 to `small` by box means and repeat back to `length`."""
    total = torch.full(levels.shape, 1 << 21, dtype=torch.int32, device=levels.device)
    for source, weight in _taps(length, small):
        weight = weight.view([-1 if dim == axis else 1 for dim in range(4)]).to(levels.device, non_blocking=True)
        total.add_(levels.index_select(axis, source.to(levels.device, non_blocking=True)) * weight)
    return total.bitwise_right_shift_(22).to(torch.uint8)


@functools.cache
def _taps(length: int, small: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What each of `length` outputs adds up: per tap, source pixels (int64) and weights times 2**22 (int32)."""
    scale, back = length / small, small / length
    windows = [_window((i + 0.5) * scale, scale, length) for i in range(small)]
    picked = [windows[int((i + 0.5) * back)] for i in range(length)]
    taps = []
    for tap in range(max(count for _, count in windows)):
        source = torch.tensor([min(first + tap, length - 1) for first, _ in picked])
        weight = [int(0.5 + (1 << 22) / count) if tap < count else 0 for _, count in picked]
        taps.append((source, torch.tensor(weight, dtype=torch.int32)))
    return taps


def _window(center: float, scale: float, length: int) -> tuple[int, int]:
    """First pixel and number of pixels that Pillow's box filter averages."""
    first = max(int(center - scale / 2 + 0.5), 0)
    last = min(int(center + scale / 2 + 0.5), length)
    inside = [x for x in range(first, last) if -0.5 < (x - center + 0.5) / scale <= 0.5]
    return inside[0], len(inside)


class JpegCompression:
    """JPEG at a low quality, encoded and decoded.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: as `Contrast`, where Pillow writes and reads a file per image; here the lossy steps alone (the entropy
        coding loses nothing), batched on the images' device: equal to Pillow with libjpeg-turbo, bit for bit.
    """

    TABLES: ClassVar[dict[int, tuple[int, ...]]] = {
        32: (80, 65, 58, 50, 40),  # libjpeg quality
        64: (65, 58, 50, 40, 25),
        224: (25, 18, 15, 10, 7),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, self.quality = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{}: nothing is random."""
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_levels(lambda levels: jpeg.round_trip(levels, self.quality), images)
