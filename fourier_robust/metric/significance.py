"""Is the difference between two models larger than chance? Over the same images, or over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def mcnemar_p(first_only: int, second_only: int) -> float:
    """Two-sided exact McNemar test: p that a fair coin splits the discordant images at least as unevenly.

    Args:
        first_only: images that only the first model gets wrong.
        second_only: images that only the second model gets wrong.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 1947.
    """
    n, least = first_only + second_only, min(first_only, second_only)
    if n == 0:
        return 1.0
    logs = [_log_choose(n, k) - n * math.log(2) for k in range(least + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def paired_p(differences: np.ndarray) -> float:
    """Two-sided t-test that the mean of (N,) per-image differences is 0; 1 where they do not vary and are 0."""
    n = len(differences)
    if n < 2:
        return 1.0
    mean, spread = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return student_p(mean / spread, n - 1)


def welch_p(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided t-test of two means without equal variances; None with under two values each, or without any spread.

    Source: Welch, "The generalization of 'Student's' problem when several different population variances are
        involved", Biometrika 1947.
    """
    if min(len(first), len(second)) < 2:
        return None
    parts = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    total = sum(parts)
    if total < 1e-18:  # values are kept with 6 decimals; equal ones say nothing of the spread
        return None
    degrees = total**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True))
    return student_p((float(np.mean(first)) - float(np.mean(second))) / math.sqrt(total), degrees)


def student_p(t: float, degrees: float) -> float:
    """Two-sided tail of Student's distribution: ``I_x(degrees / 2, 1 / 2)`` at ``x = degrees / (degrees + t^2)``."""
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction on the side where that converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """``1 / (1 + d1 / (1 + d2 / ...))`` of the incomplete beta function, by the modified method of Lentz."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / ((1 + step * d) or tiny)
            c = (1 + step / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return value
