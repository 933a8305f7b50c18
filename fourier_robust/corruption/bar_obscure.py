"""C-bar corruptions that cover pixels: a checkerboard, lines, sparkles and their inverse."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from fourier_robust.corruption.bar import Shape, cut, map_images, mesh, positions, side, uniform
from fourier_robust.corruption.base import Params, parameters

_GREY = 128
_MOST_CELLS = 40  # a side of the checkerboard's grid
_MOST_RAYS = 199


class CheckerboardCutout:
    """Greys out a random share of one colour's squares of a turned checkerboard.

    Published quirk kept: which squares are spared is looked up with coordinates cut towards 0, the colour with
    coordinates rounded down: the rows and columns on both sides of the turning point (the top left pixel) share theirs.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; checkerboard_cutout.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (1, 2, 3, 4, 5), 224: (2, 3, 4, 5, 6)}

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.share = strength / 10  # of one colour's squares

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"angle" (radians), "square" (pixels): (B,), "grid": (B,40,40) in [0,1), its top left part used}, float64."""
        rows = (shape[0],)
        return {
            "angle": uniform(rows, generator, 0, 2 * math.pi),
            "square": uniform(rows, generator, 0.1, 0.25).mul_(side(shape)).clamp_(min=1),
            "grid": uniform((*rows, _MOST_CELLS, _MOST_CELLS), generator),
        }

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._cover, images, params)

    def _cover(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        row, column = mesh(levels)
        angle, square = params["angle"][:, None, None], params["square"][:, None, None]
        sine, cosine = angle.sin(), angle.cos()
        down = (cosine * row + sine * column) / square
        right = (-sine * row + cosine * column) / square
        same = torch.remainder(down, 2).long() == torch.remainder(right, 2).long()
        # A negative place counts from the grid's end, as a Python index does.
        cells = torch.div(4 * side(levels.shape), square, rounding_mode="floor").long()
        place = torch.remainder(down.long(), cells) * _MOST_CELLS + torch.remainder(right.long(), cells)
        chosen = params["grid"].flatten(1).gather(1, place.flatten(1)).view(place.shape) < self.share
        return levels.masked_fill((same & chosen)[:, None], _GREY)


class Lines:
    """Draws anti-aliased grey lines, twice as long as the image's side, one after the other.

    Published quirks kept: the number of lines is cut to an integer (1, 3, 4, 6, 8 at 32 px), their ends are cut towards
    0; the image is cut to whole levels after every line.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; lines, in CIFAR-10-C-bar only, with scikit-image's `line_aa`
        (Zingl's algorithm).
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (0.5, 1, 1.5, 2, 2.5)}

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.density = strength / 10  # lines a pixel of the side

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"middle": (B,L,2) row and column, "angle": (B,L) radians}, float64.

        An image's angles are uniform around a random one; their range is itself uniform in 0.1 to 1 of a turn.
        """
        number = int(self.density * side(shape))
        turn = uniform((shape[0], 1), generator, 0, 2 * math.pi)
        spread = uniform((shape[0], 1), generator, 0.1, 1)
        angle = turn + 2 * math.pi * spread * (uniform((shape[0], number), generator) - 0.5)
        return {"middle": positions(number, generator, shape), "angle": angle}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._draw, images, params)

    def _draw(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        length = side(levels.shape)
        reach = torch.stack((params["angle"].cos(), params["angle"].sin()), -1) * length
        starts, ends = (params["middle"] - reach).long(), (params["middle"] + reach).long()
        shape = (levels.shape[2], levels.shape[3])
        opacity = _opacities(starts.flatten(0, 1), ends.flatten(0, 1), shape, 2 * length + 2)
        for shade in opacity.view(*params["angle"].shape, *shape).unbind(1):
            shade = shade[:, None]
            levels = ((1 - shade) * levels + shade * _GREY).to(torch.uint8)
        return levels


def _opacities(start: torch.Tensor, end: torch.Tensor, shape: tuple[int, int], steps: int) -> torch.Tensor:
    """Anti-aliased lines (N,2) -> (N,2) of int64 row and column, on images of their own: (N,H,W) float64, 0 off them.

    All lines go on a pixel at a time; `steps` bounds their extent in rows and in columns.
    """
    height, width = shape
    canvas = torch.zeros(len(start), height * width + 1, dtype=torch.float64, device=start.device)
    (row, column), (last_row, last_column) = start.unbind(-1), end.unbind(-1)
    rows, columns = (last_row - row).abs(), (last_column - column).abs()
    down, right = (row < last_row) * 2 - 1, (column < last_column) * 2 - 1
    scale = (rows**2 + columns**2).double().sqrt().clamp_(min=1)
    error, alive = columns - rows, torch.ones_like(row, dtype=torch.bool)

    def put(row: torch.Tensor, column: torch.Tensor, distance: torch.Tensor, where: torch.Tensor) -> None:
        where = where & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = torch.where(where, row * width + column, height * width)
        canvas.scatter_(1, index[:, None], (1 - distance)[:, None])

    for _ in range(steps):
        put(row, column, (error - columns + rows).abs() / scale, alive)
        before, beside = error, column + right
        step = alive & (2 * before >= -columns)
        alive = alive & ~(step & (column == last_column))
        step = step & alive
        put(row + down, column, (before + rows).abs() / scale, step & (before + rows < scale))
        error, column = error - rows * step, column + right * step
        step = alive & (2 * before <= rows)
        alive = alive & ~(step & (row == last_row))
        step = step & alive
        put(row, beside, (columns - before).abs() / scale, step & (columns - before < scale))
        error, row = error + columns * step, row + down * step
    return canvas[:, :-1].view(-1, height, width)


def _rays(
    levels: torch.Tensor, center: torch.Tensor, number: torch.Tensor, lengths: torch.Tensor, power: float
) -> torch.Tensor:
    """(B,H,W) float64 in [0,1]: a star's brightness; `center` (B,2), `number` (B,) rays of `lengths` (B,199) pixels."""
    row, column = mesh(levels)
    row, column = row - center[:, :1, None], column - center[:, 1:, None]
    distance = (row**2 + column**2).sqrt()
    number = number[:, None, None]
    turn = (torch.atan2(column, row) + math.pi) / (2 * math.pi) * number
    ray = turn.long()
    fraction = turn - ray
    first, second = (
        lengths.gather(1, torch.remainder(ray + ahead, number).flatten(1)).view(ray.shape) for ahead in (0, 1)
    )
    length = first + fraction * (second - first)
    fade = (length**2 / (distance**2 + 1e-4)) ** power
    return ((1 - (fraction - 0.5) ** 2) * fade).clamp_(0, 1)


def _ray_params(shape: Shape, stars: int, generator: torch.Generator) -> Params:
    return {
        "rays": torch.randint(50, 200, (shape[0], stars), generator=generator, device=generator.device),
        "lengths": torch.randn(
            (shape[0], stars, _MOST_RAYS), dtype=torch.float64, generator=generator, device=generator.device
        ),
    }


class Sparkles:
    """Five white stars, one after the other.

    Published quirks kept: no ray is shorter than a pixel, which at 32 px is all that severity 1 draws (radius 0.2); the
    image is rounded to float32 before every star.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; sparkles.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (0.7, 3.5, 5.6, 6.3, 7), 224: (1, 2, 3, 5, 6)}
    STARS = 5

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.radius = strength * 0.1 / 10  # of the side

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"center": (B,5,2) row and column, "rays": (B,5) int64, "lengths": (B,5,199) standard normal}, float64."""
        return {"center": positions(self.STARS, generator, shape), **_ray_params(shape, self.STARS, generator)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._add, images, params)

    def _add(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        radius = self.radius * side(levels.shape)
        lengths = (radius + 25 / 100 * radius * params["lengths"]).clamp_(min=1)
        values = levels.double()
        for star in range(self.STARS):
            shine = _rays(levels, params["center"][:, star], params["rays"][:, star], lengths[:, star], 1.0)[:, None]
            values = values.float().double()
            values = values + shine * (255 - values)
        return cut(values)


class InverseSparkles:
    """A star of visible pixels in white.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; inverse_sparkles. In float64.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (1, 1.5, 2.5, 4.5, 5), 224: (1, 2, 4, 9, 10)}
    RADIUS = 0.25  # of the side

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.power = (100 - (100 - strength * 65 / 10)) / 50

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"center": (B,1,2) row and column, "rays": (B,1) int64, "lengths": (B,1,199) standard normal}, float64."""
        return {"center": positions(1, generator, shape, 0.25, 0.75), **_ray_params(shape, 1, generator)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._hide, images, params)

    def _hide(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        radius = self.RADIUS * side(levels.shape)
        lengths = radius + 25 / 100 * radius * params["lengths"][:, 0]
        seen = _rays(levels, params["center"][:, 0], params["rays"][:, 0], lengths, self.power)[:, None]
        return cut(255 + seen * (levels.double() - 255))
