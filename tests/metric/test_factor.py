"""Means over the values of a factor, by hand: balanced over classes, and over pairs that every value has."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.metric.factor import Members, accuracies, balanced_accuracy, complete, flips
from fourier_robust.metric.outcome import Outcome


def seen(labels: list[int], predictions: list[int]) -> Outcome:
    count = len(labels)
    return Outcome(torch.tensor(labels), torch.tensor(predictions), torch.ones(count), torch.zeros(count))


def members(objects: list[int], pairs: list[int]) -> Members:
    return Members(torch.tensor(objects), torch.tensor(pairs))


# four objects: three of class 0, one of class 1; at "b" the first and the last are missing in part
OUTCOMES = {"a": seen([0, 0, 0, 1], [0, 0, 0, 0]), "b": seen([0, 0, 1], [0, 1, 1])}
MEMBERS = {"a": members([0, 1, 2, 3], [0, 1, 2, 3]), "b": members([1, 2, 3], [1, 2, 3])}


def test_classes_weigh_alike() -> None:
    found = balanced_accuracy(OUTCOMES, MEMBERS, 4, torch.Generator().manual_seed(0))
    assert found.value == pytest.approx(((1 + 0) / 2 + (1 / 2 + 1) / 2) / 2)
    assert found.n == 7
    plain = accuracies(OUTCOMES, MEMBERS, 4, torch.Generator().manual_seed(0)).mean
    assert plain is not None
    assert plain.value == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_balanced_sets_have_one_mean_and_one_interval() -> None:
    """One object per class and draw would differ; with every class alike in all draws, the plain mean is the same."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(60) % 2
    right = torch.rand(60, generator=generator) < 0.6
    outcome = seen(labels.tolist(), torch.where(right, labels, 1 - labels).tolist())
    one = {"v": outcome}
    shown = {"v": members(list(range(60)), list(range(60)))}
    balanced = balanced_accuracy(one, shown, 60, torch.Generator().manual_seed(2))
    plain = accuracies(one, shown, 60, torch.Generator().manual_seed(2)).mean
    assert plain is not None
    assert balanced.value == pytest.approx(plain.value)
    assert balanced.high - balanced.low == pytest.approx(plain.high - plain.low, rel=0.1)


def test_a_class_that_a_draw_lacks_has_no_part_in_it() -> None:
    found = balanced_accuracy(OUTCOMES, MEMBERS, 4, torch.Generator().manual_seed(0), 500)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_only_pairs_that_every_value_has() -> None:
    left = complete(OUTCOMES, MEMBERS)
    assert (left.left, left.whole) == (3, 4)
    assert left.outcomes["a"].prediction.tolist() == [0, 0, 0]
    assert left.outcomes["a"].label.tolist() == [0, 0, 1]
    assert left.members["a"].pairs.tolist() == left.members["b"].pairs.tolist() == [1, 2, 3]
    assert left.members["a"].objects.tolist() == [1, 2, 3]
    assert left.outcomes["b"].prediction.tolist() == OUTCOMES["b"].prediction.tolist()
    mean = accuracies(left.outcomes, left.members, 4, torch.Generator().manual_seed(0)).mean
    assert mean is not None
    assert mean.value == pytest.approx((2 / 3 + 2 / 3) / 2)
    changed = flips(left.outcomes, left.members, "a", 4, torch.Generator().manual_seed(0)).at["b"]
    assert (changed.value, changed.n) == (pytest.approx(2 / 3), 3)
    again = complete(left.outcomes, left.members)
    assert (again.left, again.whole) == (3, 3)


def test_values_without_a_common_pair_leave_none() -> None:
    apart = {"a": members([0], [0]), "b": members([0], [1])}
    assert complete({value: seen([0], [0]) for value in apart}, apart)[2:] == (0, 2)
