"""C-bar corruptions that mix a texture into the image: plasma and Perlin turbulence (ImageNet-C-bar only)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from fourier_robust.corruption.bar import Shape, cut, map_images, mesh, side, uniform
from fourier_robust.corruption.base import Params, parameters


class PlasmaNoise:
    """Mixes in coloured swirls, sines of coordinates that four to six rounds of sines have bent.

    Published quirks kept: the fourth coefficient of the rounds starts at 0 and is only ever multiplied, so it does
    nothing; the swirls are in [-1,1], and what they take below black is cut, so the image darkens.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; plasma_noise. In float64.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {224: (4.75, 7, 8.5, 9.25, 10)}

    def __init__(self, severity: int, size: int = 224) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.scale = strength * 64 / 10  # levels

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"time", "sharpness", "scale" (pixels): (B,) float64, "rounds": (B,) int64, 4 to 6}."""
        rows = (shape[0],)
        return {
            "time": uniform(rows, generator, 0, 6 * math.pi),
            "rounds": torch.randint(4, 7, rows, generator=generator, device=generator.device),
            "sharpness": uniform(rows, generator, 0.5, 1),
            "scale": uniform(rows, generator, 0.075, 0.2) * side(shape),
        }

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._mix, images, params)

    def _mix(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        time, sharpness, scale, rounds = (
            params[name][:, None, None] for name in ("time", "sharpness", "scale", "rounds")
        )
        row, column = mesh(levels)
        x, y = (column / scale).expand(-1, *levels.shape[2:]), (row / scale).expand(-1, *levels.shape[2:])
        frequency, delay, damping = 1.0, 1.0, torch.ones_like(sharpness)
        for turn in range(6):
            across = (y * frequency + time / delay).cos() / damping
            down = (x * frequency + time / delay).sin() / damping
            going = turn < rounds
            x = torch.where(going, x + (across - down * 0.3), x)
            y = torch.where(going, y + (down + across * 0.3), y)
            frequency, delay, damping = frequency * 1.93, delay * 1.15, damping * (2.25 - sharpness)
        swirls = torch.stack(((x - time).sin(), ((x + y + time.sin()) * 0.5).sin(), (y + time).sin()), 1)
        return cut((1 - self.scale / 255) * levels.double() + self.scale * swirls)


class PerlinNoise:
    """Mixes in Perlin turbulence of five octaves: 7 cells a side in the coarsest, 112 in the finest.

    Published quirks kept: the turbulence is mapped to ``(1 + t) / 2``, at least mid-grey, so the image brightens; the
    table is shuffled by 256 swaps with any place, which is not a uniform permutation; a gradient may be (0,0), once in
    512^2, which makes its cells black (0/0, cast to uint8).

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; perlin_noise, whose generator is read from the same repository's
        experiments/overlap/augmentations/utils/noise.py. The image's share in float32, the rest in float64.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {224: (4.6, 5.2, 5.8, 7.6, 8.8)}

    def __init__(self, severity: int, size: int = 224) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.share = strength * 0.5 / 10

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"gradients": (B,256,2) int64 in -256..255, "swaps": (B,256) int64 in 0..255: places 255 to 0 swap with}."""
        device = generator.device
        return {
            "gradients": torch.randint(-256, 256, (shape[0], 256, 2), generator=generator, device=device),
            "swaps": torch.randint(0, 256, (shape[0], 256), generator=generator, device=device),
        }

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._mix, images, params)

    def _mix(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        places = _shuffled(params["swaps"])
        gradients = params["gradients"].double() / 256
        gradients = gradients / (gradients**2).sum(-1, keepdim=True).sqrt()
        row, column = mesh(levels)
        step = 1 / (32 * side(levels.shape) / 224)
        total = torch.zeros(len(levels), *levels.shape[2:], dtype=torch.float64, device=levels.device)
        for octave in (1.0, 2.0, 4.0, 8.0, 16.0):
            total += _perlin(octave * (row * step), octave * (column * step), places, gradients).abs_() / octave
        texture = (0.5 * total + 0.5).clamp_(0, 1)[:, None]
        mixed = ((1 - self.share) * levels.float()).double() + 255 * self.share * texture
        return cut(mixed.nan_to_num_(0))


def _shuffled(swaps: torch.Tensor) -> torch.Tensor:
    """(B,256) swaps -> (B,256) int64: place 255 is swapped first, place 0 last."""
    places = torch.arange(256, device=swaps.device).repeat(len(swaps), 1)
    for place, other in zip(range(255, -1, -1), swaps.split(1, 1), strict=True):
        here, there = places[:, place : place + 1].clone(), places.gather(1, other)
        places[:, place : place + 1] = there
        places.scatter_(1, other, here)
    return places


def _perlin(x: torch.Tensor, y: torch.Tensor, places: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Gradient noise at x (H,1) and y (1,W) in cells -> (B,H,W); `places` (B,256), `gradients` (B,256,2)."""
    # The published code adds 4096 before it takes the fraction, which costs bits of it.
    x, y = x + 4096, y + 4096
    columns, rows = x.long() % 256, y.long() % 256
    x, y = torch.remainder(x, 1), torch.remainder(y, 1)
    shape = (len(places), x.numel(), y.numel())

    def corner(right: int, up: int) -> torch.Tensor:
        first = places[:, (columns + right).flatten() % 256]
        cell = places.gather(1, ((first[:, :, None] + (rows + up) % 256) % 256).flatten(1))
        slope = gradients.gather(1, cell[..., None].expand(-1, -1, 2)).view(*shape, 2)
        return (x - right) * slope[..., 0] + (y - up) * slope[..., 1]

    bend_x, bend_y = x**2 * (3.0 - 2.0 * x), y**2 * (3.0 - 2.0 * y)
    low = corner(0, 0)
    low = low + bend_x * (corner(1, 0) - low)
    high = corner(0, 1)
    high = high + bend_x * (corner(1, 1) - high)
    return 1.5 * (low + bend_y * (high - low))
