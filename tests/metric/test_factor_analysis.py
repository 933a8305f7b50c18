"""Factors: planted numbers are found, loadings against scikit-learn, and an exact structure to the last digit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis

from fourier_robust.metric.factor_analysis import LEAST_UNIQUE, factor_analysis, parallel_analysis, varimax

PLANTED = np.array([[0.9, 0], [0.8, 0], [0.7, 0], [0.85, 0], [0, 0.9], [0, 0.8], [0, 0.7]])


def metrics(loadings: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """(N,M) values of unit variance with these loadings."""
    generator = np.random.default_rng(seed)
    own = np.sqrt(1 - (loadings**2).sum(1))
    return generator.standard_normal((n, loadings.shape[1])) @ loadings.T + own * generator.standard_normal(
        (n, len(loadings))
    )


@pytest.mark.parametrize("factors", [0, 1, 2, 3])
def test_parallel_analysis_finds_the_planted_number(factors: int) -> None:
    loadings = np.zeros((12, factors))
    for factor in range(factors):
        loadings[4 * factor : 4 * factor + 4, factor] = 0.85
    found = parallel_analysis(metrics(loadings, 150), np.random.default_rng(1), 200)
    assert found.factors == factors
    assert found.eigenvalues.sum() == pytest.approx(12)
    assert (np.diff(found.eigenvalues) <= 0).all()


def test_thresholds_are_those_of_unrelated_metrics() -> None:
    """Independent metrics exceed the first threshold in about one of twenty sets."""
    passed = [
        parallel_analysis(metrics(np.zeros((5, 0)), 40, seed), np.random.default_rng(0), 300).factors > 0
        for seed in range(100)
    ]
    assert 1 <= sum(passed) <= 12


def test_against_scikit_learn() -> None:
    values = metrics(PLANTED, 300)
    standard = (values - values.mean(0)) / values.std(0)
    theirs = FactorAnalysis(2, svd_method="lapack", tol=1e-12, max_iter=20_000).fit(standard)
    found = factor_analysis(values, 2, tolerance=1e-14)
    assert found.converged
    assert np.allclose(found.unique, theirs.noise_variance_, atol=2e-4)
    shared = theirs.components_.T @ theirs.components_  # no rotation changes it
    assert np.allclose(found.loadings @ found.loadings.T, shared, atol=2e-4)
    rotated = FactorAnalysis(2, svd_method="lapack", tol=1e-12, max_iter=20_000, rotation="varimax").fit(standard)
    assert np.allclose(np.abs(found.loadings), np.abs(rotated.components_.T), atol=5e-3)


def test_planted_loadings_come_back() -> None:
    found = factor_analysis(metrics(PLANTED, 4000), 2)
    assert np.allclose(found.loadings, PLANTED, atol=0.05)
    assert np.allclose(found.unique, 1 - (PLANTED**2).sum(1), atol=0.05)


def test_varimax_undoes_a_rotation_and_keeps_what_is_shared() -> None:
    angle = 0.6
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = varimax(PLANTED @ turn)
    assert np.allclose(found @ found.T, PLANTED @ PLANTED.T)
    assert np.allclose(np.sort(np.abs(found), 1), np.sort(PLANTED, 1), atol=1e-6)
    assert np.array_equal(varimax(PLANTED[:, :1]), PLANTED[:, :1])


def test_a_metric_that_is_a_factor_keeps_a_share_of_its_own() -> None:
    values = metrics(PLANTED, 60)
    values[:, 1] = values[:, 0]
    assert factor_analysis(values, 2).unique.min() == pytest.approx(LEAST_UNIQUE)
