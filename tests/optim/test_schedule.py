"""Schedules at their corners, and against torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from fourier_robust.optim.schedule import Cosine, MultiStep, Triangle


def test_multistep_drops_at_the_milestone() -> None:
    schedule = MultiStep((60, 120, 160, 190), 0.2)
    below = [schedule(epoch - 1e-9, 200) for epoch in (60, 120, 160, 190)]
    at = [schedule(epoch, 200) for epoch in (60, 120, 160, 190)]
    assert below == pytest.approx([1, 0.2, 0.04, 0.008])
    assert at == pytest.approx([0.2, 0.04, 0.008, 0.0016])
    assert schedule(0, 200) == 1
    assert schedule(59, 10) == 1  # milestones are epochs, whatever the length


def test_multistep_equals_torch_epoch_by_epoch() -> None:
    ours = MultiStep((3, 5), 0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5], 0.1)
    for epoch in range(8):
        assert ours(epoch, 8) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_cosine() -> None:
    assert [Cosine()(epoch, 8) for epoch in (0, 4, 8, 9)] == pytest.approx([1, 0.5, 0, 0])
    assert Cosine()(2, 8) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert [Cosine(0.2)(epoch, 8) for epoch in (0, 4, 8)] == pytest.approx([1, 0.6, 0.2])


def test_triangle() -> None:
    schedule = Triangle(start=0.2, peak=0.25, end=0.08)
    values = [schedule(epoch, 8) for epoch in (0, 1, 2, 5, 8, 9)]
    assert values == pytest.approx([0.2, 0.6, 1, 0.54, 0.08, 0.08])


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: MultiStep((5, 3), 0.1), "milestones"),
        (lambda: MultiStep((0, 3), 0.1), "milestones"),
        (lambda: MultiStep((3,), 0), "gamma"),
        (lambda: Cosine(1.1), "final"),
        (lambda: Triangle(0.2, 1.0, 0), "peak"),
        (lambda: Triangle(-0.1, 0.5, 0), "start"),
    ],
)
def test_bad_arguments(build: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        build()
