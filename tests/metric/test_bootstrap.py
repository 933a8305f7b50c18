"""Draws with replacement: the same in any block, and the means that a loop would give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fourier_robust.metric.bootstrap import bootstrap_means, central_95, counts_of_draws, counts_of_groups
from fourier_robust.metric.cluster_bootstrap import bootstrap_means as cluster_means


def counts(images: int, draws: int, block: int) -> np.ndarray:
    return np.concatenate(list(counts_of_draws(images, np.random.default_rng(3), draws, block)))


@pytest.mark.parametrize("block", [1, 3, 64])
def test_counts_are_those_of_a_loop_in_any_block(block: int) -> None:
    generator = np.random.default_rng(3)
    wanted = [np.bincount(generator.integers(17, size=17), minlength=17) for _ in range(10)]
    assert np.array_equal(counts(17, 10, block), wanted)


def test_means_are_those_of_the_drawn_images() -> None:
    values = np.random.default_rng(0).random((4, 50))
    found = bootstrap_means(values, np.random.default_rng(5), draws=20, block=7)
    generator = np.random.default_rng(5)
    wanted = [values[:, generator.integers(50, size=50)].mean(1) for _ in range(20)]
    assert np.allclose(found, wanted, rtol=0, atol=1e-14)


def test_spread_is_that_of_the_mean_and_of_the_cluster_bootstrap() -> None:
    values = np.random.default_rng(1).random((1, 400))
    found = bootstrap_means(values, np.random.default_rng(2), draws=4000)[:, 0]
    assert found.std() == pytest.approx(values.std() / 20, rel=0.05)
    sums = torch.from_numpy(values)
    other = cluster_means(sums, torch.ones_like(sums), torch.Generator().manual_seed(0), draws=4000)[:, 0].numpy()
    assert np.quantile(found, [0.025, 0.975]) == pytest.approx(np.quantile(other, [0.025, 0.975]), abs=0.002)


def test_equal_metrics_move_together() -> None:
    values = np.random.default_rng(0).random(30)
    found = bootstrap_means(np.stack([values, values + 1]), np.random.default_rng(0), draws=50)
    assert np.allclose(found[:, 1] - found[:, 0], 1)


def test_groups_are_drawn_whole() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    found = counts_of_groups(groups, np.random.default_rng(0), 40)
    assert np.array_equal(found[:, 0], found[:, 1])
    assert np.array_equal(found[:, 3:], found[:, 3:4].repeat(3, 1))
    assert np.array_equal(found[:, [0, 2, 3]].sum(1), np.full(40, 3))


def test_interval_leaves_nan_out() -> None:
    drawn = np.arange(101.0)
    assert central_95(np.append(drawn, np.nan)) == pytest.approx((2.5, 97.5))
    assert np.isnan(central_95(np.array([np.nan]))).all()
