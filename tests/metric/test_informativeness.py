"""Classifiers of model groups and ridges, against scikit-learn; planted information is found, absent is not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneOut, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fourier_robust.metric.informativeness import fit_classifier, held_out_accuracy, informativeness, left_out_r2


def models(groups: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(groups)
    group = np.arange(n) % groups
    return generator.standard_normal((n, 4)) + 0.6 * group[:, None] * np.array([1, 0, -1, 0.5]), group


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_classifier_against_scikit_learn(groups: int) -> None:
    values, group = models(groups)
    weights = fit_classifier(values, group, groups)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(values, group)
    wanted = theirs.predict_proba(values)
    logits = np.column_stack([np.ones(len(values)), values]) @ weights
    if groups == 2:  # theirs penalises one vector instead of two halves of it
        theirs = LogisticRegression(C=2.0, tol=1e-10, max_iter=10_000).fit(values, group)
        wanted = theirs.predict_proba(values)
    found = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(found, wanted, atol=1e-4)


def test_a_group_without_members_gets_no_model() -> None:
    values, group = models(3)
    weights = fit_classifier(values[group < 2], group[group < 2], 3)
    named = (np.column_stack([np.ones(60), values]) @ weights).argmax(1)
    assert set(named.tolist()) == {0, 1}


def test_held_out_accuracy_against_scikit_learn() -> None:
    values, group = models(3)
    folds = np.arange(60) // 12
    pipe = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000))
    wanted = (cross_val_predict(pipe, values, group, cv=PredefinedSplit(folds)) == group).mean()
    assert held_out_accuracy(values, group, folds) == pytest.approx(wanted)


def test_the_metric_that_knows_the_group_is_found() -> None:
    generator = np.random.default_rng(0)
    group = np.arange(80) % 2
    clean, noise = generator.standard_normal((2, 80))
    others = np.column_stack([noise, group + 0.2 * generator.standard_normal(80)])
    found = informativeness(clean, others, group, np.arange(80) // 2 % 10)
    assert found.most_frequent == 0.5
    assert found.clean < 0.65
    assert found.with_metric[1] > 0.95
    assert found.with_metric[0] < 0.65
    assert found.without_metric[1] < 0.65
    assert found.every > 0.95
    assert found.without_metric[0] > 0.95


def test_left_out_r2_against_scikit_learn() -> None:
    values, _ = models(3, 30)
    wanted = values @ np.array([1.0, 0, 0.5, 0]) + np.random.default_rng(1).standard_normal(30)
    scaled = (values - values.mean(0)) / values.std(0)
    predicted = cross_val_predict(Ridge(1.0), scaled, wanted, cv=LeaveOneOut())
    means = (wanted.sum() - wanted) / 29
    expected = 1 - ((wanted - predicted) ** 2).sum() / ((wanted - means) ** 2).sum()
    assert left_out_r2(values, wanted) == pytest.approx(expected)
    assert left_out_r2(values, values[:, 0], 1e-9) == pytest.approx(1)
    assert np.isnan(left_out_r2(values, np.ones(30)))
