"""Tests of significance, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fourier_robust.metric.significance import mcnemar_p, paired_p, student_p, welch_p


def test_mcnemar_by_hand() -> None:
    assert mcnemar_p(0, 5) == pytest.approx(2 / 2**5, rel=1e-12)
    assert mcnemar_p(1, 4) == pytest.approx(2 * (1 + 5) / 2**5, rel=1e-12)
    assert mcnemar_p(3, 3) == 1
    assert mcnemar_p(0, 0) == 1


@pytest.mark.parametrize(("first", "second"), [(0, 1), (7, 2), (40, 61), (900, 1001), (2500, 2400)])
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second, 0.5).pvalue
    assert mcnemar_p(first, second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(second, first) == mcnemar_p(first, second)


@pytest.mark.parametrize("degrees", [1, 1.7, 2, 5, 30.5, 999, 9999])
@pytest.mark.parametrize("t", [0.0, 0.01, 0.9, 1.96, 4.2, -2.5, 12.0])
def test_student_against_scipy(t: float, degrees: float) -> None:
    assert student_p(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-8)


def test_paired_and_welch_against_scipy() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(0, 1, 40), random.normal(0.3, 2, 40)
    assert paired_p(first - second) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-9)
    expected = stats.ttest_ind(first[:3], second[:5], equal_var=False).pvalue
    assert welch_p(list(first[:3]), list(second[:5])) == pytest.approx(expected, rel=1e-9)


def test_what_can_not_be_tested() -> None:
    assert welch_p([0.1], [0.2, 0.3]) is None
    assert welch_p([0.1, 0.1], [0.2, 0.2]) is None
    assert paired_p(np.zeros(9)) == 1
    assert paired_p(np.ones(9)) == 0
    assert paired_p(np.ones(1)) == 1
