"""Edges of 8-bit layers and distances from them, as OpenCV's Canny and distanceTransform give them.

All layers are (H,W,B), batch last.
"""

from __future__ import annotations

import torch
from torch.nn import functional

PIXEL = 65536  # distances have 16 binary places
_DIAGONAL, _KNIGHT = 91750, 143976  # 1.4 and 2.1969 pixels
_FAR = 1 << 29


def canny(levels: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Edge pixels: the gradient's local maxima above `high`, and those above `low` that touch them in a chain.

    Args:
        levels: (H,W,B) uint8.
        low: threshold of the gradient (3x3 Sobel, sum of both components' magnitudes).
        high: the same for the start of a chain.

    Returns:
        (H,W,B) bool.

    Source: Canny 1986; OpenCV's `Canny` with its default aperture of 3 and L1 gradient, its border and its ties.
    """
    across, down = _sobel(levels)
    size = across.abs() + down.abs()
    around = _pad(size, 1)
    # Three sectors of the direction, by the tangents of 22.5 and 67.5 degrees with 15 binary places.
    steep, flat = down.abs() << 15, across.abs() * 13573
    horizontal = steep < flat
    vertical = steep > flat + (across.abs() << 16)
    same = (across ^ down) >= 0
    peak = torch.where(
        horizontal,
        (size > _at(around, 0, -1)) & (size >= _at(around, 0, 1)),
        torch.where(
            vertical,
            (size > _at(around, -1, 0)) & (size >= _at(around, 1, 0)),
            torch.where(
                same,
                (size > _at(around, -1, -1)) & (size > _at(around, 1, 1)),
                (size > _at(around, -1, 1)) & (size > _at(around, 1, -1)),
            ),
        ),
    )
    chain = peak & (size > low)
    edge = peak & (size > high)
    while True:
        grown = chain & _grow(edge)
        if torch.equal(grown, edge):
            return edge
        edge = grown


def chamfer(edge: torch.Tensor) -> torch.Tensor:
    """Distance of each pixel to the nearest edge pixel, in steps of 1, 1.4 and 2.1969 pixels.

    Args:
        edge: (H,W,B) bool.

    Returns:
        (H,W,B) int32, in units of 1/`PIXEL`; a large number in a layer without edges.

    Source: Borgefors 1986; OpenCV's `distanceTransform(DIST_L2, 5)`: a pass down and a pass up. Within a row the step
        to the side is a running minimum.
    """
    height, width, _ = edge.shape
    # Two rows above and below and two columns at the sides, far from everything.
    far = torch.full((height + 4, width + 4, edge.shape[2]), _FAR, dtype=torch.int32, device=edge.device)
    slope = torch.arange(width, dtype=torch.int32, device=edge.device)[:, None] * PIXEL
    far[2:-2, 2:-2] = torch.where(edge, 0, _FAR).int()
    for order, one, two, along in (
        (range(2, height + 2), -1, -2, slope),
        (range(height + 1, 1, -1), 1, 2, slope.flip(0)),
    ):
        for row in order:
            near, next_near, here = far[row + one], far[row + two], far[row, 2:-2]
            knight = torch.minimum(near[:-4], near[4:])
            knight = torch.minimum(knight, torch.minimum(next_near[1:-3], next_near[3:-1])).add_(_KNIGHT)
            diagonal = torch.minimum(near[1:-3], near[3:-1]).add_(_DIAGONAL)
            best = torch.minimum(torch.minimum(knight, diagonal), near[2:-2] + PIXEL)
            best = torch.minimum(best, here).sub_(along)
            best = best.cummin(0).values if one < 0 else best.flip(0).cummin(0).values.flip(0)
            torch.add(best, along, out=here)
    return far[2:-2, 2:-2]


def box3(values: torch.Tensor) -> torch.Tensor:
    """Sum over 3x3 pixels of (H,W,B), the border mirrored without its edge pixel."""
    padded = mirrored(values)
    columns = padded[:-2] + padded[1:-1] + padded[2:]
    return columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]


def mirrored(values: torch.Tensor) -> torch.Tensor:
    """(H,W,B) -> (H+2,W+2,B), OpenCV's BORDER_REFLECT_101."""
    values = torch.cat((values[1:2], values, values[-2:-1]))
    return torch.cat((values[:, 1:2], values, values[:, -2:-1]), 1)


def _sobel(levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    padded = torch.cat((levels[:1], levels, levels[-1:])).int()
    padded = torch.cat((padded[:, :1], padded, padded[:, -1:]), 1)
    smooth_rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth_columns = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return smooth_rows[:, 2:] - smooth_rows[:, :-2], smooth_columns[2:] - smooth_columns[:-2]


def _pad(values: torch.Tensor, reach: int) -> torch.Tensor:
    return functional.pad(values, (0, 0, reach, reach, reach, reach))


def _at(padded: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """The neighbours at an offset, from a layer padded by 1."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    return padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]


def _grow(edge: torch.Tensor) -> torch.Tensor:
    """Each pixel or one of its eight neighbours."""
    padded = _pad(edge, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
