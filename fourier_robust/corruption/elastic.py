"""Elastic transform: a small random affine map, then a smooth random displacement of every pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch

from fourier_robust.corruption.base import Params, map_values, parameters, to_greys, truncate
from fourier_robust.corruption.blur import smoother


class ElasticTransform:
    """Moves three corners of a central square at random, then each pixel by a blurred uniform field.

    Published quirks kept: at 32 and 64 pixels severity 1 has no displacement, only the affine map; in the 224-pixel
    table the lengths come from 244, a slip of the authors; the affine part is not in the paper.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: Hendrycks and Dietterich 2019 (1903.12261); OpenCV's warpAffine (linear, border mirrored without its edge
        pixel), `scipy.ndimage.gaussian_filter` (cut at 3 sigma, border mirrored with it), `map_coordinates` (order 1).
        OpenCV 5 interpolates at exact places, as here; earlier ones, with which the released arrays were made, round
        them to 1/32 pixel.
    """

    TABLES: ClassVar[dict[int, tuple[tuple[float, float, float], ...]]] = {
        # amplitude and sigma of the displacement, range of the corners, in pixels
        32: ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
        64: ((0, 0, 5.12), (3.2, 19.2, 3.84), (6.4, 5.12, 3.84), (6.4, 1.92, 1.92), (10.24, 1.92, 1.28)),
        224: ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)),
    }

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, (self.amplitude, self.sigma, self.range) = parameters(self.TABLES, size, severity)

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """{"corners": (B,3,2) float64, x and y; "field": (B,2,H,W) float64, x and y: both uniform in [-1,1)}."""
        batch, _, height, width = shape
        drawn = {
            "corners": torch.rand(batch, 3, 2, generator=generator, device=generator.device, dtype=torch.float64),
            "field": torch.rand(batch, 2, height, width, generator=generator, device=generator.device),
        }
        return {name: value.mul_(2).sub_(1) for name, value in drawn.items()}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_values(self._bend, images, params["corners"], params["field"])

    def _bend(self, levels: torch.Tensor, corners: torch.Tensor, field: torch.Tensor) -> torch.Tensor:
        height, width = levels.shape[2:]
        greys = to_greys(levels, torch.float32)
        tilted = _sample_at(greys, *self._affine(corners, height, width), _mirror)
        if not self.amplitude:
            return truncate(tilted)
        shift = self._displacement(field)
        rows = torch.arange(height, device=levels.device)[:, None] + shift[:, 1]
        columns = torch.arange(width, device=levels.device) + shift[:, 0]
        return truncate(_sample_at(tilted, rows, columns, _reflect))

    def _affine(self, corners: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and columns (B,H,W) to read from."""
        x, y, side = width // 2, height // 2, min(height, width) // 3
        fixed = [[x + side, y + side], [x + side, y - side], [x - side, y - side]]
        source = torch.tensor(fixed, dtype=torch.float64, device=corners.device)
        moved = (source.float() + (corners.double() * self.range).float()).double()
        ones = torch.ones_like(moved[..., :1])
        # From the moved corners back to the fixed ones: (B,3,2), the last row the shift.
        back = torch.linalg.solve(torch.cat((moved, ones), -1), source.expand_as(moved))
        across = torch.arange(width, dtype=torch.float64, device=corners.device)
        down = torch.arange(height, dtype=torch.float64, device=corners.device)[:, None]
        places = [
            (back[:, 0, axis, None, None] * across)
            + (back[:, 1, axis, None, None] * down + back[:, 2, axis, None, None])
            for axis in (1, 0)
        ]
        return places[0], places[1]

    def _displacement(self, field: torch.Tensor) -> torch.Tensor:
        """(B,2,H,W) uniform -> pixels."""
        if not self.sigma:
            return field.double() * self.amplitude
        rows, columns = (smoother(length, self.sigma, 3, "reflect").to(field.device) for length in field.shape[2:])
        return (rows @ field.double() @ columns.T).mul_(self.amplitude).float().double()


def _sample_at(
    images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, fold: Callable[[torch.Tensor, int], torch.Tensor]
) -> torch.Tensor:
    """Linear interpolation of (B,C,H,W) at (B,H,W) float64 places, which `fold` maps back inside."""
    height, width = images.shape[2:]
    flat = images.flatten(2)
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top).float().flatten(1)[:, None], (columns - left).float().flatten(1)[:, None]
    top, left = top.long(), left.long()
    lines = [fold(top + step, height) * width for step in (0, 1)]
    places = [fold(left + step, width) for step in (0, 1)]

    def read(line: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        return flat.gather(2, (line + place).flatten(1)[:, None].expand(-1, images.shape[1], -1))

    upper, lower = (torch.lerp(read(line, places[0]), read(line, places[1]), right) for line in lines)
    return torch.lerp(upper, lower, down).view_as(images)


def _mirror(index: torch.Tensor, length: int) -> torch.Tensor:
    """... 2 1 | 0 1 2 ... , OpenCV's BORDER_REFLECT_101."""
    last = length - 1
    return last - (last - _within(index, length, 2 * last).abs()).abs()


def _reflect(index: torch.Tensor, length: int) -> torch.Tensor:
    """... 1 0 | 0 1 2 ... , SciPy's mode "reflect"."""
    index = _within(index, length, 2 * length)
    index = length - 1 - (index ^ index >> 63)  # of a negative number x, -x - 1
    return length - 1 - (index ^ index >> 63)


def _within(index: torch.Tensor, length: int, period: int) -> torch.Tensor:
    """Shifted by whole periods where it is so far outside that one fold at each border would not do (seldom)."""
    low, high = index.aminmax()
    return index if low > -length and high < 2 * length - 2 else index.remainder(period)
