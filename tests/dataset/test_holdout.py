"""The validation cut: exact sizes, equal shares, disjoint, decided by its seed alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourier_robust.dataset.holdout import stratified_holdout


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.data())
def test_a_partition_with_proportional_classes(labels, data):
    val_size = data.draw(st.integers(0, len(labels) - 1))
    labels = torch.tensor(labels)
    train, val = stratified_holdout(labels, val_size, 3)
    assert len(val) == val_size
    assert torch.equal(torch.cat([train, val]).sort().values, torch.arange(len(labels)))
    assert torch.equal(train, train.sort().values)
    for label in labels.unique():
        exact = val_size * (labels == label).sum().item() / len(labels)
        assert abs((labels[val] == label).sum().item() - exact) < 1


def test_largest_remainder_by_hand():
    """5 of 10 images, classes of 5, 3 and 2: shares 2.5, 1.5 and 1; the one place left goes to the lower class."""
    labels = torch.tensor([0, 1, 0, 2, 0, 1, 0, 2, 0, 1])
    _, val = stratified_holdout(labels, 5, 0)
    assert labels[val].bincount().tolist() == [3, 1, 1]


def test_seed_decides_and_replays():
    labels = torch.arange(1000) % 10
    first, again, other = (stratified_holdout(labels, 100, seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert len(set(first.tolist()) & set(other.tolist())) < 30  # 10 in the mean for two independent cuts


def test_images_of_a_class_are_equally_likely():
    """3 of the 10 images of each class are held out: each image in 600 of 2000 seeds (standard deviation 20)."""
    labels = torch.arange(20) % 2
    hits = sum(torch.bincount(stratified_holdout(labels, 6, seed)[1], minlength=20) for seed in range(2000))
    assert (hits - 600).abs().max() < 80


@pytest.mark.parametrize("val_size", [-1, 10, 11])
def test_too_large_or_negative(val_size):
    with pytest.raises(ValueError, match=f"val_size={val_size} must lie in 0 to 9"):
        stratified_holdout(torch.zeros(10, dtype=torch.int64), val_size, 0)
