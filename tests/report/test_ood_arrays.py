"""The arrays of scores.npz against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest

from fourier_robust.report.ood_arrays import BINS, POINTS, score_arrays


def test_curves_are_those_of_all_thresholds() -> None:
    generator = np.random.default_rng(0)
    inside, outside = generator.integers(0, 20, 50) / 2.0, generator.integers(5, 25, 30) / 2.0  # with ties
    arrays = score_arrays("cifar10", {"msp": (inside, {"svhn": outside})})
    for flagged, found in zip(arrays["flagged_id"], arrays["flagged_ood"][0, 0], strict=True):
        thresholds = [np.inf, *inside, *outside]
        fit = [(outside >= t).mean() for t in thresholds if (inside >= t).mean() <= flagged + 1e-9]
        assert found == pytest.approx(max(fit), abs=1e-6)
    area = arrays["flagged_ood"][0, 0].mean()
    wins = (outside[:, None] > inside).mean() + 0.5 * (outside[:, None] == inside).mean()
    assert area == pytest.approx(wins, abs=0.05)


def test_shapes_names_and_shares() -> None:
    inside, outside = np.arange(100.0), {"a": np.arange(50.0), "b": np.array([np.inf, -1e9])}
    arrays = score_arrays("cifar10", {"x": (inside, outside), "y": (inside * 0, dict.fromkeys(outside, np.zeros(2)))})
    assert arrays["set"].tolist() == ["cifar10", "a", "b"]
    assert arrays["score"].tolist() == ["x", "y"]
    assert arrays["edges"].shape == (2, BINS + 1)
    assert arrays["flagged_ood"].shape == (2, 2, POINTS)
    assert np.allclose(arrays["share"].sum(-1), 1)
    assert arrays["share"][0, 2, 0] == arrays["share"][0, 2, -1] == 0.5
    assert all(np.isfinite(one).all() for key, one in arrays.items() if key not in ("score", "set"))
