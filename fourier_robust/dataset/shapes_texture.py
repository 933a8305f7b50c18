"""The textures of the embedded set: ten families, each a band of frequencies or a kind of pattern.

Lengths are in pixels, frequencies in cycles per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

SIZE = 32  # pixels per side

_CONTRAST = (0.05, 0.20)  # standard deviation of the texture in a layer, before colouring
_TINT = 0.4  # standard deviation of each channel's departure from a grey texture, relative


def uniform(bounds: tuple[float, float], count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) float32, uniform between the bounds."""
    return torch.rand(count, generator=generator).mul_(bounds[1] - bounds[0]).add_(bounds[0])


def pixel_centres() -> tuple[torch.Tensor, torch.Tensor]:
    """(H,1) and (1,W): pixel centres, measured from the middle of the image."""
    steps = torch.arange(SIZE) - (SIZE - 1) / 2
    return steps[:, None], steps[None]


_Pattern = Callable[[int, torch.Generator], torch.Tensor]


def _waves(low: float, high: float, crossed: bool = False, gain: float = 1.0) -> _Pattern:
    """Gratings of low..high cycles per image at any angle; crossed ones are checks; a high gain makes edges hard."""

    def pattern(count: int, generator: torch.Generator) -> torch.Tensor:
        freq = uniform((low, high), count, generator)[:, None, None] * (2 * math.pi / SIZE)
        angle = uniform((0, math.pi), count, generator)[:, None, None]
        start = uniform((0, 2 * math.pi), 2 * count, generator).view(2, count, 1, 1)
        y, x = pixel_centres()
        wave = torch.sin(freq * (x * angle.cos() + y * angle.sin()) + start[0])
        if crossed:
            wave = wave * torch.sin(freq * (y * angle.cos() - x * angle.sin()) + start[1])
        return torch.tanh(gain * wave)

    return pattern


def _ripples(low: float, high: float) -> _Pattern:
    """Waves around a point of the image."""

    def pattern(count: int, generator: torch.Generator) -> torch.Tensor:
        freq = uniform((low, high), count, generator)[:, None, None] * (2 * math.pi / SIZE)
        centre = uniform((-SIZE / 2, SIZE / 2), 2 * count, generator).view(2, count, 1, 1)
        y, x = pixel_centres()
        return torch.sin(freq * torch.hypot(x - centre[0], y - centre[1]))

    return pattern


def _noise(exponent: float, low: float = 0.5, high: float = SIZE, gain: float | None = None) -> _Pattern:
    """Random phases under an amplitude of ``freq**exponent`` from low to high; a gain makes blobs with hard edges."""
    freq = torch.hypot(torch.fft.fftfreq(SIZE, 1 / SIZE)[:, None], torch.fft.rfftfreq(SIZE, 1 / SIZE)[None])
    amplitude = freq.clamp_min(0.5).pow(exponent) * ((freq >= low) & (freq <= high))

    def pattern(count: int, generator: torch.Generator) -> torch.Tensor:
        white = torch.randn(count, SIZE, SIZE, generator=generator)
        field = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(SIZE, SIZE))
        field /= field.square().mean((1, 2), keepdim=True).sqrt_()
        return field if gain is None else torch.tanh(gain * field)

    return pattern


TEXTURES: dict[str, _Pattern] = {
    "shade": _waves(0.3, 0.6),
    "stripes": _waves(2, 4),
    "hatching": _waves(7, 11),
    "checks": _waves(2, 4, crossed=True, gain=6),
    "weave": _waves(6, 10, crossed=True, gain=3),
    "clouds": _noise(-1.5),
    "grain": _noise(0),
    "blobs": _noise(0, 1, 4, gain=3),
    "specks": _noise(0, 8, 13, gain=2),
    "ripples": _ripples(3, 6),
}


def textured(textures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(N,) families -> (N,3,H,W): one layer's texture, of mean 0 and a drawn contrast and tint."""
    count = len(textures)
    pattern = torch.empty(count, SIZE, SIZE)
    for family, make in enumerate(TEXTURES.values()):
        rows = (textures == family).nonzero()[:, 0]
        pattern[rows] = make(len(rows), generator)
    pattern -= pattern.mean((1, 2), keepdim=True)
    pattern /= pattern.square().mean((1, 2), keepdim=True).sqrt_().clamp_min_(1e-3)
    colour = 1 + _TINT * torch.randn(count, 3, generator=generator)
    colour *= uniform(_CONTRAST, count, generator)[:, None]
    return colour[:, :, None, None] * pattern[:, None]
