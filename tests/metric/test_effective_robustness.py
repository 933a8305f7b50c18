"""Lines on logit axes: planted lines and residuals, weighted draws, ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from fourier_robust.metric.bootstrap import counts_of_groups
from fourier_robust.metric.effective_robustness import fit_logits, logit, sigmoid


def draws(n: int, number: int = 500) -> np.ndarray:
    return counts_of_groups(np.arange(n), np.random.default_rng(0), number)


def test_logit_and_back_against_scipy() -> None:
    accuracy = np.array([0.001, 0.2, 0.5, 0.97])
    assert np.allclose(logit(accuracy, 10_000), special.logit(accuracy))
    assert np.allclose(sigmoid(logit(accuracy, 10_000)), accuracy)
    assert np.allclose(logit(np.array([0.0, 1.0]), 100), special.logit([0.005, 0.995]))
    assert np.isnan(logit(np.array([np.nan]), np.nan)).all()


def test_a_planted_line_leaves_the_planted_residuals() -> None:
    clean = logit(np.linspace(0.5, 0.95, 30), 1e6)
    base = -0.8 + 0.7 * clean
    line = fit_logits(clean, base, draws(30))
    assert line is not None
    assert (line.slope, line.intercept, line.r2) == pytest.approx((0.7, -0.8, 1.0))
    planted = np.linspace(-0.2, 0.2, 30)
    accuracy = sigmoid(base) + planted
    assert np.allclose(accuracy - line.at(clean), planted)
    low, high = line.band(clean)
    assert np.allclose(low, line.at(clean))
    assert np.allclose(high, line.at(clean))


def test_fit_and_interval_against_scipy() -> None:
    generator = np.random.default_rng(0)
    clean = generator.normal(1, 0.6, 40)
    shifted = -0.5 + 0.9 * clean + generator.normal(0, 0.2, 40)
    counts = draws(40)
    line = fit_logits(clean, shifted, counts)
    wanted = stats.linregress(clean, shifted)
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((wanted.slope, wanted.intercept))
    assert line.r2 == pytest.approx(wanted.rvalue**2)
    repeated = [stats.linregress(np.repeat(clean, row), np.repeat(shifted, row)) for row in counts.astype(int)]
    assert np.allclose(line.drawn, [(one.intercept, one.slope) for one in repeated])
    assert line.slope_low == pytest.approx(np.quantile([one.slope for one in repeated], 0.025))
    assert line.slope_low < 0.9 < line.slope_high
    low, high = line.band(np.array([1.0]))
    assert low[0] < line.at(np.array([1.0]))[0] < high[0]


def test_models_without_a_number_are_left_out() -> None:
    clean = np.array([0.0, 1.0, 2.0, np.nan, 3.0])
    shifted = np.array([0.0, 2.0, 4.0, 9.0, np.nan])
    line = fit_logits(clean, shifted, draws(5))
    assert line is not None
    assert (line.n, line.slope) == (3, pytest.approx(2.0))
    assert not np.isnan(line.drawn).any()


def test_no_slope_is_none() -> None:
    assert fit_logits(np.ones(5), np.arange(5.0), draws(5)) is None
    assert fit_logits(np.array([1.0]), np.array([1.0]), draws(1)) is None
