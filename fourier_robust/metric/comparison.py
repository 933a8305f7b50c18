"""What comparisons need beside a test: the width of an interval, and p values of many tests at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from fourier_robust.metric.significance import student_p


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected for their number, in the order given: the chance of any false alarm stays below the level.

    The smallest p is multiplied by their number, the next by one less, and so on; none falls below the one before.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    corrected, least = [0.0] * len(ps), 0.0
    for turn, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        least = max(least, min(1.0, (len(ps) - turn) * ps[place]))
        corrected[place] = least
    return corrected


@lru_cache(maxsize=1000)
def student_half_width(level: float, degrees: float) -> float:
    """Standard errors on either side of a mean that hold it with probability `level`, for Student's distribution.

    Raises:
        ValueError: `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    low, high = 0.0, 1.0
    while student_p(high, degrees) > 1 - level:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, degrees) > 1 - level else (low, middle)
    return high
