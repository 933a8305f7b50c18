"""The lossy steps of JPEG as libjpeg-turbo takes them (4:2:0, slow integer DCT, fancy upsampling), on batches."""

from __future__ import annotations

import functools
import io

import numpy as np
import torch
from PIL import Image

_LARGE = 128 * 128  # pixels

# The standard's example quantisation tables (ITU-T T.81, Annex K), row by row.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)


def round_trip(levels: torch.Tensor, quality: int) -> torch.Tensor:
    """(3,H,W,B) uint8 RGB -> the same after JPEG at a libjpeg quality of 1 to 100.

    On a CPU, images of more than 128x128 pixels go through Pillow one by one (5 times faster at 224); the result is the
    same, bit for bit.
    """
    _, height, width, _ = levels.shape
    if not levels.is_cuda and height * width > _LARGE:
        return _by_pillow(levels, quality)
    luma, chroma = _to_ycc(levels.to(torch.int32))
    luma = _blocks_round_trip(_extend(_extend(luma, 1, 8), 2, 8), _quantiser(_LUMA, quality))
    chroma = _blocks_round_trip(_shrink(chroma), _quantiser(_CHROMA, quality))
    chroma = _enlarge(chroma[:, : (height + 1) // 2, : (width + 1) // 2])
    return _to_rgb(luma[0, :height, :width], chroma[:, :height, :width])


def _by_pillow(levels: torch.Tensor, quality: int) -> torch.Tensor:
    decoded = []
    for image in levels.permute(3, 1, 2, 0).contiguous().numpy():
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(decoded)).permute(3, 1, 2, 0)


def _fix(number: float) -> int:
    return int(number * 65536 + 0.5)


def _extend(planes: torch.Tensor, axis: int, multiple: int) -> torch.Tensor:
    """Repeat the last row or column until the length is a multiple."""
    length = planes.shape[axis]
    if length % multiple == 0:
        return planes
    nearest = torch.arange(length + -length % multiple, device=planes.device).clamp_(max=length - 1)
    return planes.index_select(axis, nearest)


def _to_ycc(rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(3,H,W,B) int32 -> luma (1,H,W,B) and both chromas (2,H,W,B), in 16-bit fixed point as the library's tables."""
    red, green, blue = rgb
    luma = red * _fix(0.299) + green * _fix(0.587) + blue * _fix(0.114) + 32768
    offset = (128 << 16) + 32767
    chroma_blue = blue * 32768 - red * _fix(0.16874) - green * _fix(0.33126) + offset
    chroma_red = red * 32768 - green * _fix(0.41869) - blue * _fix(0.08131) + offset
    return luma.unsqueeze(0) >> 16, torch.stack((chroma_blue, chroma_red)) >> 16


def _shrink(chroma: torch.Tensor) -> torch.Tensor:
    """Means of 2x2 pixels, rounded down and up in turn along a row; edges repeated to whole 8x8 blocks."""
    # The library widens the full-size rows but lengthens the shrunken columns.
    chroma = _extend(_extend(chroma, 2, 16), 1, 2)
    sums = chroma[:, 0::2] + chroma[:, 1::2]
    sums = sums[:, :, 0::2] + sums[:, :, 1::2]
    sums[:, :, 0::2] += 1
    sums[:, :, 1::2] += 2
    return _extend(sums >> 2, 1, 8)


def _blocks_round_trip(planes: torch.Tensor, quantiser: torch.Tensor) -> torch.Tensor:
    """(P,H,W,B) int32 levels, H and W multiples of 8 -> DCT, quantise, back.

    Every intermediate is an integer below 2**53, so float64 matrix products give it exactly in any order of summation.
    """
    shape = planes.shape
    matrix = _dct().to(planes.device, non_blocking=True)
    step = quantiser.to(planes.device, non_blocking=True)
    # 8 times the DCT: along the rows, then along the columns.
    values = _along_rows(matrix, planes.double().sub_(128), 11)
    values = _along_columns(matrix, values, 15).view(-1, 8, shape[2] // 8, 8, shape[3])
    # Divided by 8 steps, halves away from zero.
    magnitudes = values.abs().add_(step * 4).div_(step * 8).floor_()
    values = torch.copysign(magnitudes, values).mul_(step)
    values = _along_columns(matrix.T, values.view(shape), 11)
    return _along_rows(matrix.T, values, 18).add_(128).clamp_(0, 255).to(torch.int32)


def _along_rows(matrix: torch.Tensor, planes: torch.Tensor, bits: int) -> torch.Tensor:
    return _descale(matrix @ planes.view(-1, 8, planes.shape[3]), bits).view(planes.shape)


def _along_columns(matrix: torch.Tensor, planes: torch.Tensor, bits: int) -> torch.Tensor:
    return _descale(matrix @ planes.view(-1, 8, planes.shape[2] * planes.shape[3]), bits).view(planes.shape)


def _descale(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Divide by 2**bits, halves rounded up; in place."""
    return values.add_(1 << (bits - 1)).mul_(2.0**-bits).floor_()


@functools.cache
def _dct() -> torch.Tensor:
    """The library's factored DCT multiplied out, times 2**13: (8,8) float64 of integers; transposed, its inverse."""
    even_a, even_b, even_c = 4433, 6270, 15137  # 0.5412, 0.7654, 1.8478 in 13-bit fixed point
    a, b, c, d = 2446, 16819, 25172, 12299  # 0.2986, 2.0531, 3.0727, 1.5013
    e, f, g, h, i = 7373, 20995, 16069, 3196, 9633  # 0.8998, 2.5629, 1.9616, 0.3902, 1.1759
    first, second = even_a + even_b, even_a
    half_even = [
        [8192] * 4,
        [first, second, -second, -first],
        [8192, -8192, -8192, 8192],
        [even_a, even_a - even_c, even_c - even_a, -even_a],
    ]
    # Columns of the odd half: x0-x7, x1-x6, x2-x5, x3-x4.
    half_odd = [
        [d - e - h + i, i, i - h, i - e],
        [i, c - f - g + i, i - f, i - g],
        [i - h, i - f, b - f - h + i, i],
        [i - e, i - g, i, a - e - g + i],
    ]
    rows = []
    for even, odd in zip(half_even, half_odd, strict=True):
        rows.append(even + even[::-1])
        rows.append(odd + [-value for value in reversed(odd)])
    return torch.tensor(rows, dtype=torch.float64)


@functools.cache
def _quantiser(table: tuple[tuple[int, ...], ...], quality: int) -> torch.Tensor:
    """The table scaled to a quality: (8,1,8,1) float64 of integers 1 to 255."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [[min(max((entry * scale + 50) // 100, 1), 255) for entry in row] for row in table]
    return torch.tensor(steps, dtype=torch.float64)[:, None, :, None]


def _enlarge(chroma: torch.Tensor) -> torch.Tensor:
    """(P,H,W,B) int32 to twice the size by the triangle filter: 3/4 of the nearer and 1/4 of the further neighbour."""
    before, after = _neighbours(chroma, 1)
    near = chroma * 3
    rows = torch.stack((near + before, near + after), dim=2).flatten(1, 2)
    before, after = _neighbours(rows, 2)
    near = rows * 3
    return torch.stack((near + before + 8, near + after + 7), dim=3).flatten(2, 3) >> 4


def _neighbours(planes: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The previous and the next element along an axis; the ends are their own neighbours."""
    last = planes.shape[axis] - 1
    position = torch.arange(last + 1, device=planes.device)
    before = planes.index_select(axis, (position - 1).clamp_(min=0))
    return before, planes.index_select(axis, (position + 1).clamp_(max=last))


def _to_rgb(luma: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """luma (H,W,B) and chroma (2,H,W,B) int32 -> (3,H,W,B) uint8."""
    blue, red = chroma - 128
    green = (32768 - blue * _fix(0.34414) - red * _fix(0.71414)) >> 16
    colours = ((red * _fix(1.402) + 32768) >> 16, green, (blue * _fix(1.772) + 32768) >> 16)
    return torch.stack([luma + colour for colour in colours]).clamp_(0, 255).to(torch.uint8)
