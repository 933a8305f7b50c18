"""What does a metric tell about a model that others do not? By a classifier of model groups, and by a ridge regression.

Accuracies here are shares of held-out models whose group is named right, never of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PENALTY = 1.0  # half the sum of squared weights (intercepts are free), beside the summed cross entropy


class Informativeness(NamedTuple):
    """Held-out accuracies of naming the group of a model, in [0,1].

    Attributes:
        clean: from the clean metric alone.
        every: from all metrics.
        with_metric: (M,) from the clean metric and one other.
        without_metric: (M,) from all but that one.
        most_frequent: share of the largest group, what naming it always would give.
    """

    clean: float
    every: float
    with_metric: np.ndarray
    without_metric: np.ndarray
    most_frequent: float


def informativeness(clean: np.ndarray, others: np.ndarray, groups: np.ndarray, folds: np.ndarray) -> Informativeness:
    """How much each metric adds to clean accuracy for telling groups of models apart, and how much is lost without it.

    Args:
        clean: (N,) the clean metric.
        others: (N,M) the other metrics, complete.
        groups: (N,) int64 in [0, K), what is to be named.
        folds: (N,) int64, models of one fold are held out together.

    Source: the first question of Djolonga et al., "On Robustness and Transferability of Convolutional Neural
        Networks", CVPR 2021, section on metrics. The classifier and its penalty are choices made here.
    """
    everything = np.column_stack([clean, others])
    metrics = range(1, everything.shape[1])

    def score(columns: Sequence[int]) -> float:
        return held_out_accuracy(everything[:, list(columns)], groups, folds)

    return Informativeness(
        clean=score([0]),
        every=score(range(everything.shape[1])),
        with_metric=np.array([score([0, metric]) for metric in metrics]),
        without_metric=np.array([score([0, *(other for other in metrics if other != metric)]) for metric in metrics]),
        most_frequent=float(np.bincount(groups).max() / len(groups)),
    )


def held_out_accuracy(values: np.ndarray, groups: np.ndarray, folds: np.ndarray) -> float:
    """Share of models named right by a multinomial classifier trained on the other folds; in [0,1].

    Args:
        values: (N,D), standardised over the training folds.
        groups: (N,) int64 in [0, K).
        folds: (N,) int64.
    """
    right = 0
    for fold in np.unique(folds):
        held = folds == fold
        mean, spread = values[~held].mean(0), values[~held].std(0)
        scaled = (values - mean) / np.where(spread > 1e-12, spread, 1)
        weights = fit_classifier(scaled[~held], groups[~held], int(groups.max()) + 1)
        named = (np.column_stack([np.ones(held.sum()), scaled[held]]) @ weights).argmax(1)
        right += int((named == groups[held]).sum())
    return right / len(groups)


def fit_classifier(values: np.ndarray, groups: np.ndarray, number: int, penalty: float = PENALTY) -> np.ndarray:
    """Multinomial logistic regression by Newton's method: (1+D,K) weights, the intercepts first.

    Args:
        values: (N,D).
        groups: (N,) int64 in [0, K).
        number: K.
        penalty: times half the sum of the squared weights, intercepts left out.
    """
    inputs = np.column_stack([np.ones(len(values)), values])
    terms, wanted = inputs.shape[1], np.eye(number)[groups]
    ridge = np.full((terms, number), penalty)
    ridge[0] = 1e-6  # the intercepts are free up to a common constant; a class without members has no other end
    weights = np.zeros((terms, number))
    for _ in range(100):
        probability = _softmax(inputs @ weights)
        gradient = inputs.T @ (probability - wanted) + ridge * weights
        step = np.linalg.solve(_hessian(inputs, probability, ridge), gradient.T.ravel()).reshape(number, terms).T
        before, size = _loss(inputs, wanted, ridge, weights), 1.0
        while _loss(inputs, wanted, ridge, weights - size * step) > before and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if np.abs(step).max() < 1e-7:
            break
    return weights


def left_out_r2(values: np.ndarray, wanted: np.ndarray, penalty: float = PENALTY) -> float:
    """Share of a metric's variance that the others explain, each model predicted from all other models by a ridge.

    Args:
        values: (N,D) the other metrics; standardised here.
        wanted: (N,) the metric.
        penalty: times the sum of squared weights, intercept left out.

    Returns:
        1 minus the squared errors over those of the mean of the other models; below 0 where the mean does better.
    """
    n, spread = len(values), values.std(0)
    scaled = np.column_stack([np.ones(n), (values - values.mean(0)) / np.where(spread > 1e-12, spread, 1)])
    ridge = np.diag([0.0, *[penalty] * values.shape[1]])
    hat = scaled @ np.linalg.solve(scaled.T @ scaled + ridge, scaled.T)
    errors = (wanted - hat @ wanted) / (1 - np.diag(hat))
    plain = (wanted - wanted.mean()) / (1 - 1 / n)
    total = float((plain**2).sum())
    return 1 - float((errors**2).sum()) / total if total > 1e-12 else float("nan")


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _hessian(inputs: np.ndarray, probability: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """(K D, K D), class by class: ``sum_n p_k x x'`` in the blocks of the diagonal, minus ``sum_n p_k p_l x x'``."""
    terms, number = ridge.shape
    joint = (probability[:, :, None] * inputs[:, None, :]).reshape(len(inputs), -1)
    found = np.diag(ridge.T.ravel()) - joint.T @ joint
    for group in range(number):
        block = slice(group * terms, (group + 1) * terms)
        found[block, block] += joint[:, block].T @ inputs
    return found


def _loss(inputs: np.ndarray, wanted: np.ndarray, ridge: np.ndarray, weights: np.ndarray) -> float:
    logits = inputs @ weights
    highest = logits.max(1, keepdims=True)
    likelihood = (wanted * (logits - highest)).sum() - np.log(np.exp(logits - highest).sum(1)).sum()
    return float(0.5 * (ridge * weights**2).sum() - likelihood)
