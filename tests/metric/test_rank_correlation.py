"""Rank correlations against scipy, with ties, gaps, and drawn models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fourier_robust.metric.bootstrap import counts_of_groups
from fourier_robust.metric.rank_correlation import (
    average_ranks,
    pearson,
    spearman,
    spearman_matrix,
    weighted_ranks,
)


def pair(ties: int = 5, n: int = 25) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(ties)
    x = generator.integers(0, ties, n).astype(float)
    return x, x + generator.integers(0, ties, n)


@pytest.mark.parametrize("ties", [2, 5, 1000])
def test_ranks_and_correlation_against_scipy(ties: int) -> None:
    x, y = pair(ties)
    assert np.array_equal(average_ranks(x), stats.rankdata(x))
    assert spearman(x, y).value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert pearson(x, y).value == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


def test_drawn_ranks_are_those_of_repeated_models() -> None:
    x, y = pair()
    counts = counts_of_groups(np.arange(25), np.random.default_rng(0), 200)
    drawn = []
    for row in counts.astype(int):
        ranks = weighted_ranks(x, row[None].astype(float))[0]
        assert np.array_equal(np.repeat(ranks, row), stats.rankdata(np.repeat(x, row)))
        drawn.append(stats.spearmanr(np.repeat(x, row), np.repeat(y, row)).statistic)
    found = spearman(x, y, counts)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-12)
    assert found.low < found.value < found.high


def test_pairs_with_a_gap_are_left_out_and_counted() -> None:
    x, y = pair()
    x[[0, 3]], y[[3, 7]] = np.nan, np.nan
    both = ~np.isnan(x + y)
    found = spearman(x, y, counts_of_groups(np.arange(25), np.random.default_rng(0), 50))
    assert found.n == 22
    assert found.value == pytest.approx(stats.spearmanr(x[both], y[both]).statistic, abs=1e-12)
    assert found.low <= found.value <= found.high


def test_what_has_no_correlation() -> None:
    x, _ = pair()
    assert np.isnan(spearman(x, np.ones(25)).value)
    assert spearman(x, np.full(25, np.nan))[3] == 0
    assert np.isnan(pearson(x[:1], x[:1]).value)


def test_fewer_models_than_asked_for_have_a_number_of_models_alone() -> None:
    x, y = np.arange(6.0), np.array([0, 1, 2, 3, np.nan, np.nan])
    counts = counts_of_groups(np.arange(6), np.random.default_rng(0), 50)
    for found in (spearman(x, y, counts, 5), pearson(x, y, 5), spearman_matrix(np.stack([x, y]), counts, 5)[0][1]):
        assert found.n == 4
        assert np.isnan(found[:3]).all()
    assert (spearman(x, x, counts, 5).value, pearson(x, x, 5)[::3]) == (1, (1, 6))
    assert spearman_matrix(np.stack([x, y]), counts, 5)[0][0].value == 1


def test_all_pairs_at_once_are_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourier_robust.metric.rank_correlation.DRAWS_AT_ONCE", 7)
    generator = np.random.default_rng(0)
    values = generator.integers(0, 9, (6, 20)).astype(float)
    values[1] += values[0]
    values[2, :4] = values[3, 2:9] = np.nan
    values[4], values[5, 1:] = 3.0, np.nan  # without spread; one model
    counts = counts_of_groups(np.arange(20), generator, 40)
    found = spearman_matrix(values, counts)
    for first in range(6):
        for second in range(6):
            wanted = spearman(values[first], values[second], counts)
            assert found[first][second] == pytest.approx(wanted, abs=1e-12, nan_ok=True), (first, second)


def test_monotone_is_one() -> None:
    x = np.arange(8.0)
    assert spearman(x, np.exp(x)).value == pytest.approx(1)
    assert spearman(x, -(x**3)).value == pytest.approx(-1)
