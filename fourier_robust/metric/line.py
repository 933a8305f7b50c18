"""A straight line through a few points, with what its slope may be."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from fourier_robust.metric.outcome import Estimate


class Line(NamedTuple):
    """``y = intercept + slope x``; the slope's `n` counts points."""

    slope: Estimate
    intercept: float


def fit_line(x: torch.Tensor, y: torch.Tensor) -> Line | None:
    """Least squares through (N,) `x` and (N,) `y`; 95 % interval of the slope by Student's t with N - 2 degrees.

    Returns:
        None where no slope is defined: fewer than two points, or one place for all. With two points the interval is
        infinite.
    """
    x, y = x.double(), y.double()
    n, spread = len(x), float((x - x.mean()).square().sum()) if len(x) else 0.0
    if n < 2 or spread < 1e-12:
        return None
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    intercept = float(y.mean()) - slope * float(x.mean())
    half = math.inf
    if n > 2:
        residual = float((y - intercept - slope * x).square().sum())
        half = t975(n - 2) * math.sqrt(residual / (n - 2) / spread)
    return Line(Estimate(slope, slope - half, slope + half, n), intercept)


def t975(degrees: int) -> float:
    """The 97.5 % point of Student's t with `degrees` (at least 1) degrees of freedom.

    Source: the finite series of the distribution for whole degrees, Abramowitz and Stegun 26.7.3 and 26.7.4; bisected
        for the angle atan(t / sqrt(degrees)).
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _central(angle, degrees) < 0.95 else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _central(angle: float, degrees: int) -> float:
    """P(abs(T) < sqrt(degrees) tan(angle))."""
    odd = degrees % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for step in range(2 + odd, degrees + 1, 2):
        total += term
        term *= (step - 1) / step * math.cos(angle) ** 2
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
