"""Holm's correction by hand, and widths of intervals against scipy."""

from __future__ import annotations

import pytest
from scipy.stats import t

from fourier_robust.metric.comparison import holm, student_half_width


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_is_capped_keeps_the_order_and_never_falls_below_p() -> None:
    ps = [0.9, 0.5, 0.001, 0.5]
    corrected = holm(ps)
    assert max(corrected) == 1
    assert all(new >= old for new, old in zip(corrected, ps, strict=True))
    assert sorted(range(4), key=lambda at: (corrected[at], ps[at])) == sorted(range(4), key=lambda at: (ps[at], at))


@pytest.mark.parametrize("degrees", [1, 2, 5.5, 30, 9999])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_half_width_is_scipys_quantile(level: float, degrees: float) -> None:
    assert student_half_width(level, degrees) == pytest.approx(t.ppf((1 + level) / 2, degrees), rel=1e-9)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_levels_that_are_none(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        student_half_width(level, 3)
