"""The real Fourier basis: images with one spatial frequency and unit norm."""

from __future__ import annotations

import math
from typing import Literal

import torch

Phase = Literal["cosine", "sine", "mixed"]

PHASES: dict[str, float] = {"cosine": 0.0, "sine": -math.pi / 2, "mixed": math.pi / 4}


def fourier_basis(
    freqs: torch.Tensor,
    height: int,
    width: int,
    phase: Phase | torch.Tensor = "cosine",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """``cos(2 pi (u i / H + v j / W) + phase)`` at pixel (i,j), of unit L2 norm, for each frequency (u,v).

    Where (u,v) and (-u,-v) are one coefficient (DC, and H/2 or W/2 with its like) the image has no sine part: the
    cosine is taken whatever the phase.

    Args:
        freqs: (M,2) int64, cycles per image down and across, in [-(H//2),H//2] and [-(W//2),W//2].
        height: H.
        width: W.
        phase: ``cosine`` is 0, ``sine`` -pi/2, ``mixed`` pi/4 (equal cosine and sine parts); or (M,) radians, as
            `random_phases` draws them.
        dtype: float32 or float64.

    Returns:
        (M,H,W) of `dtype` on the device of `freqs`.

    Raises:
        TypeError: another dtype.
        ValueError: a frequency outside the grid, an unknown phase.

    Source:
        Yin et al., "A Fourier Perspective on Model Robustness in Computer Vision", NeurIPS 2019, section 2; the phase
        is open there, ``mixed`` is that of the released code.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype={dtype}: a Fourier basis needs float32 or float64")
    _check(freqs, height, width)
    if isinstance(phase, str):
        if phase not in PHASES:
            raise ValueError(f"phase must be one of {', '.join(PHASES)} or radians, got {phase!r}")
        phase = torch.full((len(freqs),), PHASES[phase], dtype=torch.float64)
    down, across = freqs[:, 0], freqs[:, 1]
    own_mirror = ((2 * down) % height == 0) & ((2 * across) % width == 0)
    angle = torch.where(own_mirror, 0, phase.to(freqs.device, torch.float64))
    rows = _turns(down, height) + angle[:, None]
    columns = _turns(across, width)
    norm = (2 - own_mirror.double()).div(height * width).sqrt()[:, None]
    cos_rows, sin_rows = (norm * rows.cos()).to(dtype), (norm * rows.sin()).to(dtype)
    cos_columns, sin_columns = columns.cos().to(dtype), columns.sin().to(dtype)
    return cos_rows[:, :, None] * cos_columns[:, None] - sin_rows[:, :, None] * sin_columns[:, None]


def random_phases(number: int, generator: torch.Generator) -> torch.Tensor:
    """(M,) float64 uniform in [0,2 pi), radians, on the generator's device."""
    return torch.rand(number, generator=generator, dtype=torch.float64, device=generator.device) * (2 * math.pi)


def _turns(freq: torch.Tensor, length: int) -> torch.Tensor:
    """(M,) whole frequencies -> (M,length) float64 angles, reduced to one turn before they are floats."""
    places = torch.arange(length, device=freq.device)
    return (freq[:, None] * places % length).double() * (2 * math.pi / length)


def _check(freqs: torch.Tensor, height: int, width: int) -> None:
    if freqs.ndim != 2 or freqs.shape[1] != 2 or freqs.is_floating_point():
        raise ValueError(f"freqs must be (M,2) whole numbers, got {tuple(freqs.shape)} {freqs.dtype}")
    limit = torch.tensor([height // 2, width // 2], device=freqs.device)
    outside = (freqs.abs() > limit).any(1)
    if outside.any():
        first = tuple(freqs[outside][0].tolist())
        reach = f"frequencies reach {height // 2} down and {width // 2} across"
        raise ValueError(f"frequency {first} is outside the grid of {height}x{width} pixels: {reach}")
