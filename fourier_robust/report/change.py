"""One number before and after: the difference, an interval, and a test of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fourier_robust.metric.comparison import student_half_width
from fourier_robust.metric.significance import mcnemar_p, paired_p, welch_p
from fourier_robust.report.collect import Found
from fourier_robust.report.pairs import Images, images_of

LEVEL = 0.95  # of intervals, as in the rows
FLAT = 1e-9  # values are kept with 6 decimals; a smaller spread says nothing of the noise

NO_IMAGES = "none"
NO_SPREAD = "none: seeds without spread"

Seeds = Mapping[int | None, Found]


@dataclass(frozen=True)
class Difference:
    """B minus A.

    Attributes:
        value: mean of B minus mean of A; over the shared seeds where they are paired.
        low, high: its 95 % interval, or None.
        p: of the test, two-sided, uncorrected; None without one.
        test: its name, or `NO_IMAGES` or `NO_SPREAD`.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    test: str

    @property
    def size(self) -> float:
        """Half widths of the interval between the difference and 0; infinite without width, -1 without interval."""
        if self.low is None or self.high is None:
            return -1.0
        if self.value == 0:
            return 0.0
        width = self.value - self.low if self.value > 0 else self.high - self.value
        return math.inf if width <= 0 else abs(self.value) / width


def difference(a: Seeds, b: Seeds) -> Difference:
    """Compare the rows of one number, seed -> row.

    Several seeds on both sides are compared over seeds, since another training is what they stand for: in pairs where
    two or more seeds are shared, by Welch's test otherwise. A single seed leaves the two checkpoints: over the images,
    where the outcomes of the same images are at hand; else there is no test, and the interval is that of the rows as
    if they were measured on different images, which is too wide where they were not.
    """
    first, second = ([one.row.value for one in side.values()] for side in (a, b))
    if min(len(first), len(second)) >= 2:
        return _over_seeds(a, b, first, second)
    images = _over_images(list(a.values()), list(b.values()))
    if images is not None:
        return images
    value = _mean(second) - _mean(first)
    if len(first) == len(second) == 1:
        interval = _apart(next(iter(a.values())), next(iter(b.values())), value)
        if interval is not None:
            return Difference(value, *interval, None, NO_IMAGES)
    return Difference(value, None, None, None, NO_IMAGES)


def _over_seeds(a: Seeds, b: Seeds, first: Sequence[float], second: Sequence[float]) -> Difference:
    shared = [seed for seed in a if seed is not None and seed in b]
    if len(shared) >= 2:
        pairs = np.array([b[seed].row.value - a[seed].row.value for seed in shared])
        value, spread = float(pairs.mean()), float(pairs.std(ddof=1)) / math.sqrt(len(pairs))
        p, degrees, test = paired_p(pairs), float(len(pairs) - 1), f"paired t-test over {len(pairs)} shared seeds"
    else:
        value = _mean(second) - _mean(first)
        parts = [float(np.var(side, ddof=1)) / len(side) for side in (first, second)]
        spread = math.sqrt(sum(parts))
        below = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (first, second), strict=True))
        p, degrees = welch_p(first, second) or 0.0, sum(parts) ** 2 / below if below else 1.0
        test = f"Welch's t-test over {len(first)} and {len(second)} seeds"
    if spread < FLAT:
        return Difference(value, None, None, None, NO_SPREAD)
    half = student_half_width(LEVEL, degrees) * spread
    return Difference(value, value - half, value + half, p, test)


def _over_images(a: Sequence[Found], b: Sequence[Found]) -> Difference | None:
    """Over the images of single checkpoints, or of the mean over the seeds of one side."""
    sides: list[list[Images]] = []
    for rows in (a, b):
        known = [one for one in map(images_of, rows) if one is not None]
        if len(known) < len(rows):
            return None
        sides.append(known)
    first = sides[0][0]
    every = [one for side in sides for one in side]
    if not all(one.data == first.data and np.array_equal(one.label, first.label) for one in every):
        return None
    values = [np.mean([one.value for one in side], axis=0) for side in sides]
    pairs = values[1] - values[0]
    value, degrees = float(pairs.mean()), len(pairs) - 1
    half = (
        student_half_width(LEVEL, degrees) * float(pairs.std(ddof=1)) / math.sqrt(len(pairs)) if degrees else math.inf
    )
    if len(every) == 2 and first.exact:
        wrong = [side[0].value > 0 for side in sides]
        p = mcnemar_p(int((wrong[0] & ~wrong[1]).sum()), int((wrong[1] & ~wrong[0]).sum()))
        return Difference(value, value - half, value + half, p, "exact McNemar test over the same images")
    averaged = ", seeds averaged first" if len(every) > 2 else ""
    return Difference(
        value, value - half, value + half, paired_p(pairs), f"paired t-test over the same images{averaged}"
    )


def _apart(a: Found, b: Found, value: float) -> tuple[float, float] | None:
    """Interval of a difference of independent values from the intervals of both.

    Source: Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine
        1998, method 10.
    """
    bounds = (a.row.ci_low, a.row.ci_high, b.row.ci_low, b.row.ci_high)
    if any(bound is None for bound in bounds):
        return None
    a_low, a_high, b_low, b_high = (bound for bound in bounds if bound is not None)
    below = math.hypot(b.row.value - b_low, a_high - a.row.value)
    above = math.hypot(b_high - b.row.value, a.row.value - a_low)
    return value - below, value + above


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
