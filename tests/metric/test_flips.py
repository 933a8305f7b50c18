"""Flip rates counted by hand, and a published interval of a difference."""

from __future__ import annotations

import pytest
import torch

from fourier_robust.metric.flips import difference, flips, is_noise
from fourier_robust.metric.outcome import error_rate


def test_flips_by_hand() -> None:
    clips = torch.tensor([[1, 1, 1, 1], [1, 2, 2, 1], [1, 2, 1, 2], [3, 0, 0, 0]])
    assert flips(clips, against_first=False).tolist() == [0, 2 / 3, 1, 1 / 3]
    assert flips(clips, against_first=True).tolist() == [0, 2 / 3, 2 / 3, 1]
    with pytest.raises(ValueError, match="at least two frames"):
        flips(torch.zeros(3, 1), True)


def test_against_a_slow_count(generator: torch.Generator) -> None:
    clips = torch.randint(0, 3, (20, 7), generator=generator)
    for noise in (True, False):
        for clip, rate in zip(clips.tolist(), flips(clips, noise).tolist(), strict=True):
            before, changed = clip[0], 0
            for frame in clip[1:]:
                changed += frame != before
                before = before if noise else frame
            assert rate == pytest.approx(changed / 6, abs=1e-15)


def test_which_are_noise() -> None:
    names = ("gaussian_noise", "shot_noise", "speckle_noise", "motion_blur", "tilt")
    assert [is_noise(name) for name in names] == [True, True, True, False, False]


def test_difference_as_published() -> None:
    """Newcombe 1998, table II, 56/70 - 48/80 by method 10: 0.0524 to 0.3339."""
    one, other = (
        error_rate(torch.tensor([1.0] * hits + [0.0] * misses, dtype=torch.float64))
        for hits, misses in ((56, 14), (48, 32))
    )
    found = difference(one, other)
    assert (round(found.low, 4), round(found.high, 4), found.n) == (0.0524, 0.3339, 70)
    assert found.value == pytest.approx(0.2)
    mirrored = difference(other, one)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
