"""C-bar corruptions whose field has a simple spectrum: brownish noise, a blue-noise mask, one sine, rings."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from fourier_robust.corruption.bar import Shape, cut, map_images, mesh, positions, side, uniform
from fourier_robust.corruption.base import Params, parameters


def _phases(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """(...,H,ceil(W/2)) float64 in [0, 2 pi) for (...,H,W)."""
    return uniform((*shape[:-1], (shape[-1] + 1) // 2), generator, 0, 2 * math.pi)


def _distances(levels: torch.Tensor) -> torch.Tensor:
    """(H,W) float64: from the middle (H/2, W/2) of the spectrum, in steps of the discrete frequencies."""
    row, column = mesh(levels)
    return ((row - levels.shape[-2] / 2) ** 2 + (column - levels.shape[-1] / 2) ** 2).sqrt_()


def _field(amplitude: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """The real part of the field with a centred amplitude (H,W) and phases (...,H,ceil(W/2)), over its deviation.

    Published quirk kept: the left half's phases are repeated, turned by 180 degrees and not negated, in the right half.
    That is no Hermitian spectrum (nor is the middle of an even side where the turn puts it), so taking the real part
    mixes pairs of independent phases. The middle column of an odd width mirrors itself, with 0 at its middle.
    """
    height, width = amplitude.shape
    left = phases[..., : width // 2]
    parts = [left, left.flip(-2, -1)]
    if width % 2:
        upper = phases[..., : height // 2, width // 2 :]
        middle = torch.zeros_like(phases[..., : height % 2, :1])
        parts.insert(1, torch.cat((upper, middle, upper.flip(-2)), -2))
    spectrum = torch.polar(amplitude.expand(*phases.shape[:-1], width).contiguous(), torch.cat(parts, -1))
    field = torch.fft.ifft2(spectrum.roll((height // 2, width // 2), (-2, -1))).real
    return field / field.std((-2, -1), correction=0, keepdim=True)


class BrownishNoise:
    """Adds noise of amplitude ``1 / (1 + k^2)`` at frequency k and of standard deviation c, each channel its own.

    Published quirks kept: see `_field`. The amplitude is largest at frequency 0, which the deviation does not count: a
    channel's mean moves too, by 0.67 c (root mean square, measured at 32 px).

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; brownish_noise. In float64.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (2.5, 4, 5.5, 6.5, 7), 224: (1, 2, 3, 4, 5)}

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.scale = strength * 64 / 10  # levels

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"phases": (B,C,H,ceil(W/2)) float64 in [0, 2 pi)}."""
        return {"phases": _phases(shape, generator)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._add, images, params)

    def _add(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        amplitude = 1 / (_distances(levels) ** 2 + 1)
        return cut(levels + self.scale * _field(amplitude, params["phases"]))


class BlueNoiseSample:
    """Blacks out pixels where noise of amplitude k at frequency k, in standard deviations, is not above a threshold.

    Published quirk kept: see `_field`. At severities 1 and 5, 1 % and 11 % of the pixels turn black at 32 px, 1 % and
    21 % at 224 px (measured).

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; blue_noise_sample. In float64; the pixels that stay are untouched.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {32: (0.7, 1.4, 2.1, 3.5, 4.2), 224: (0.8, 1.6, 2.4, 4, 5.6)}

    def __init__(self, severity: int, size: int = 32) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.threshold = strength * 3 / 10 - 2.5

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"phases": (B,H,ceil(W/2)) float64 in [0, 2 pi)}."""
        return {"phases": _phases((shape[0], *shape[2:]), generator)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._mask, images, params)

    def _mask(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        return levels * (_field(_distances(levels), params["phases"]) > self.threshold)[:, None]


class SingleFrequencyGreyscale:
    """Adds one plane sine wave, the same in the three channels.

    Published quirk kept: frequencies are uniform in the larger component and then in the smaller one, not in the plane.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; single_frequency_greyscale, in ImageNet-C-bar only. In float64.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {224: (1, 1.5, 2, 4.5, 5)}

    def __init__(self, severity: int, size: int = 224) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.scale = strength * 196 / 10  # levels

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"frequency": (B,2) along columns and rows, "phase": (B,)}, float64, in radians (a pixel)."""
        larger = uniform((shape[0],), generator, -math.pi, math.pi)
        smaller = uniform((shape[0],), generator, -1, 1) * larger.abs()
        swapped = uniform((shape[0], 1), generator) < 0.5
        pair = torch.stack((larger, smaller), -1)
        frequency = torch.where(swapped, pair.flip(-1), pair)
        return {"frequency": frequency, "phase": uniform((shape[0],), generator, 0, 2 * math.pi)}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._add, images, params)

    def _add(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        row, column = mesh(levels)
        across, down = params["frequency"][:, :, None, None].unbind(1)
        wave = (column * across + row * down + params["phase"][:, None, None]).sin_()
        return cut(levels + self.scale * wave[:, None])


class CocentricSineWaves:
    """Adds rings of a sawtooth around a random point, their radius modulated by a sine of the angle.

    Published quirks kept: the rings are a sawtooth from -1/2 to 1/2, not a sine; their width is uniform from 0, so many
    are narrower than a pixel; the modulation has any real number of periods a turn, with a seam upwards of the point.

    Args:
        severity: 1 to 5.
        size: pixels per side, chooses the parameter table.

    Source: see `fourier_robust.corruption.bar`; cocentric_sine_waves, in ImageNet-C-bar only. In float64.
    """

    TABLES: ClassVar[dict[int, tuple[float, ...]]] = {224: (3, 5, 8, 9, 10)}

    def __init__(self, severity: int, size: int = 224) -> None:
        self.table_size, strength = parameters(self.TABLES, size, severity)
        self.scale = strength * 128 / 10  # levels from the lowest to the highest

    def sample(self, shape: Shape, generator: torch.Generator) -> Params:
        """{"center": (B,2) row and column, "frequency", "amplitude", "width": (B,)}, float64, lengths in pixels."""
        tenth = side(shape) / 10
        return {
            "center": positions(1, generator, shape)[:, 0],
            "frequency": uniform((shape[0],), generator, 0, 10),
            "amplitude": uniform((shape[0],), generator, 0, tenth),
            "width": uniform((shape[0],), generator, 0, tenth),
        }

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """See `Corruption.apply`."""
        return map_images(self._add, images, params)

    def _add(self, levels: torch.Tensor, params: Params) -> torch.Tensor:
        row, column = mesh(levels)
        center, frequency, amplitude, width = (
            params[name][..., None, None] for name in ("center", "frequency", "amplitude", "width")
        )
        row, column = row - center[:, 0], column - center[:, 1]
        radius = (column**2 + row**2).sqrt() + (torch.atan2(column, row) * frequency).sin() * amplitude
        rings = torch.remainder(radius, width) / width - 0.5
        return cut(levels + self.scale * rings[:, None])
