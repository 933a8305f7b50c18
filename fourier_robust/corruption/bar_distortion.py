"""C-bar corruptions that move pixels: pinch and twirl, ripple, refraction by caustics."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from fourier_robust.corruption.bar import Shape, bilinear, cut, map_images, mesh, side, uniform
from fourier_robust.corruption.base import Params, parameters


class PinchAndTwirl:
    """Pinches and turns the disk in each cell of a 3 x 3 grid (5 x 5 at 224 px), clockwise or counter-clockwise.

    Published quirks kept: the grid's cells are cut to whole pixels, so the last rows and columns stay as they are; the
    pixels are float32 and their weights are rounded to it, which costs 5 % of the values of flat images a level. The
    published loop writes cell by cell into the image it reads, but no cell reads one that was written before it, so one
    pass does.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; pinch_and_twirl, in CIFAR-10-C-bar only.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (5.5, 6, 6.5, 8.5, 10)}

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.angle = strength * (math.pi / 2) / 10
        self.pinch = strength * 0.4 / 10 + 0.1

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"turns": (B,K,K) float64, -1 or 1, by column and row of the grid}, K = 3 (5 where the side is 224)."""
        cells = 5 if side(shape) == 224 else 3
        turns = torch.randint(0, 2, (shape[0], cells, cells), generator=generator, device=generator.device)
        return {"turns": (turns * 2 - 1).double()}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._warp, images, params)

    def _warp(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        cells = params["turns"].shape[-1]
        row, column = mesh(levels)
        high, wide = levels.shape[2] // cells, levels.shape[3] // cells
        radius = min(high, wide) / 2
        down, right = (row // high).clamp(max=cells - 1), (column // wide).clamp(max=cells - 1)
        turn = params["turns"][:, right.long(), down.long()] * self.angle
        middle_row, middle_column = down * high + high / 2, right * wide + wide / 2
        dy, dx = row - middle_row, column - middle_column
        distance = (dy**2 + dx**2).sqrt()
        outside = (distance > radius) | (distance < 5e-4)
        share = distance / radius
        stretch = (math.pi * 0.5 * share).sin() ** -self.pinch
        dy, dx = dy * stretch, dx * stretch
        turn = turn * (1 - share) ** 2
        new_row = middle_row + (dy * turn.cos() - dx * turn.sin())
        new_column = middle_column + (dy * turn.sin() + dx * turn.cos())
        new_row = torch.where(outside, row, new_row)
        return cut(bilinear(levels.float(), new_row, torch.where(outside, column, new_column)).float())


class Ripple:
    """Shifts each row up or down by a sine of its number, and each column likewise; black from outside.

    Published quirk kept: the weights of a pixel and its neighbour add up to 1 only to the last bit, and in flat areas
    the cut then takes a level off 0.2 % of the values; the order of operations is followed, but a sine's own last bit
    is the library's.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; ripple, in CIFAR-10-C-bar only. In float64.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (5.5, 6, 6.5, 7.5, 8)}

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.amplitude = strength * 0.025 / 10  # of the side

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"wavelength" (pixels), "phase" (radians): (B,2) for rows and columns}, float64."""
        return {
            "wavelength": uniform((shape[0], 2), generator, 0.1, 0.3) * side(shape),
            "phase": uniform((shape[0], 2), generator, 0, 2 * math.pi),
        }

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._warp, images, params)

    def _warp(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        amplitude = self.amplitude * side(levels.shape)
        moved = []
        for axis, place in enumerate(mesh(levels)):
            wavelength, phase = params["wavelength"][:, axis, None, None], params["phase"][:, axis, None, None]
            shift = amplitude * (2 * math.pi * place / wavelength + phase).sin()
            moved.append((place + shift).expand(len(levels), *levels.shape[2:]))
        return cut(bilinear(levels.double(), *moved))


class CausticRefraction:
    """Looks at the image through water whose surface is a caustic pattern, with highlights on its slopes.

    Published quirks kept: the pattern's periods meet at a seam where it does not repeat; slopes at the border are taken
    against 0; where the surface is nearly level (its normal's third part above 0.999) nothing is refracted; shifts
    are rounded to a thousandth of a pixel; black from outside. Pixels are float32 until they are scaled back to levels
    in float64, which keeps every grey level where nothing moves (k/255 in float32 is never below k/255).

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; caustic_refraction, in ImageNet-C-bar only. The refraction, given as
        matrices there, in closed form.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {224: (2.35, 3.2, 4.9, 6.6, 9.15)}
    REFRACTION = 4.0  # index

    def __init__(self, severity: int, size: int = 224) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.depth = strength * 0.5 / 10  # of the side
        self.light = strength * 2 / 10

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"time", "period" (pixels): (B,)}, float64."""
        period = uniform((shape[0],), generator, 0.75, 1.25) * side(shape)
        return {"time": uniform((shape[0],), generator, 0.5, 2), "period": period}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._refract, images, params)

    def _refract(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        surface = _softened(_caustics(levels, params["time"][:, None, None], params["period"][:, None, None]))
        padded = torch.nn.functional.pad(surface, (1, 1, 1, 1))
        down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
        right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
        length = (down**2 + right**2 + 1).sqrt()
        # Snell's law: the normal has sine and cosine towards the vertical; the refracted ray, a share of its tilt.
        cosine = 1 / length
        sine = (1 - cosine**2).clamp_(min=0).sqrt()
        share = ((1 - (sine / self.REFRACTION) ** 2).sqrt() - cosine / self.REFRACTION) * (cosine < 1.0 - 1e-3)
        row, column = mesh(levels)
        reach = self.depth * side(levels.shape)
        shift_row, shift_column = (
            (slope / length * share * reach).mul_(1000).round_().div_(1000) for slope in (down, right)
        )
        images = levels.float() / torch.full((), 255.0, device=levels.device)
        new_row, new_column = row + shift_row, column + shift_column
        seen = bilinear(images, new_row, new_column)
        highlights = [(-right * self.light)[:, None], (down * self.light)[:, None]]
        # Numbers added to float32 pixels, or to float64 ones where a pixel from outside has taken part.
        narrow = (seen.float() + highlights[0].float()) + highlights[1].float()
        height, width = levels.shape[2:]
        whole = (new_row >= 0) & (new_row < height - 1) & (new_column >= 0) & (new_column < width - 1)
        seen = torch.where(whole[:, None], narrow.double(), (seen + highlights[0]) + highlights[1])
        return (seen.clamp_(0, 1) * 255).to(torch.uint8)


def _caustics(levels: torch.Tensor, time: torch.Tensor, period: torch.Tensor) -> torch.Tensor:
    """(B,H,W) float64 in [0,1]: the pattern at `time` (B,1,1), repeated every `period` (B,1,1) pixels."""
    row, column = mesh(levels)
    row, column = (torch.remainder(place / period, 1) * 6.28318530718 - 250 for place in (row, column))
    y, x = row, column
    total = torch.ones((), dtype=torch.float64, device=levels.device)
    for turn in range(1, 6):
        now = time * (1.0 - 3.5 / turn)
        y, x = row + ((now - y).cos() + (now + x).sin()), column + ((now - x).sin() + (now + y).cos())
        total = total + 1 / ((row / ((y + now).sin() / 0.005)) ** 2 + (column / ((x + now).cos() / 0.005)) ** 2).sqrt()
    return ((1.17 - (total / 5) ** 1.4).abs() ** 8).clamp_(0, 1)


def _softened(surface: torch.Tensor) -> torch.Tensor:
    """A Gaussian of 1 pixel, cut off at 4, over (B,H,W) whose border is reflected with its edge pixel."""
    weights = [math.exp(-0.5 * offset**2) for offset in range(5)]
    total = weights[0] + 2 * sum(weights[1:])
    for axis in (1, 2):
        length = surface.shape[axis]
        outside = torch.arange(-4, length + 4, device=surface.device)
        from_start = torch.where(outside < 0, -1 - outside, outside)
        inside = torch.minimum(from_start, 2 * length - 1 - from_start)
        padded = surface.index_select(axis, inside)
        surface = surface * (weights[0] / total)
        for offset in range(4, 0, -1):
            pair = padded.narrow(axis, 4 - offset, length) + padded.narrow(axis, 4 + offset, length)
            surface = surface + pair * (weights[offset] / total)
    return surface
