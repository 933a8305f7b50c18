"""Error rates, intervals and mCE against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from fourier_robust.metric.corruption import ALEXNET_CLEAN_ERROR, ALEXNET_ERROR, ce, mce, relative_mce
from fourier_robust.metric.outcome import GAP, SHARE, Estimate, error_rate, mean_of_images, outcome


def test_outcome_of_known_logits() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = outcome(logits, torch.tensor([0, 1]))
    assert found.prediction.tolist() == [0, 2]
    assert found.wrong.tolist() == [0.0, 1.0]
    assert found.confidence.tolist() == pytest.approx([math.e**2 / (math.e**2 + 2), math.e / (math.e + 2)])
    assert found.nll.tolist() == pytest.approx([math.log(math.e**2 + 2) - 2, math.log(math.e + 2)])


@pytest.mark.parametrize(
    ("wrong", "n", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (Wilson without continuity correction)
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(wrong: int, n: int, low: float, high: float) -> None:
    found = error_rate(torch.tensor([1.0] * wrong + [0.0] * (n - wrong), dtype=torch.float64))
    assert (found.value, found.n) == (wrong / n, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_interval_over_images() -> None:
    found = mean_of_images(torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    half = 1.959963984540054 * math.sqrt(1 / 3) / 2  # unbiased std of the four is sqrt(1/3)
    assert found == pytest.approx((0.5, 0.5 - half, 0.5 + half, 4))
    assert found.high > 1
    assert found.within(SHARE) == (0.5, 0, 1, 4)
    assert found.within(GAP) == (0.5, found.low, 1, 4)
    assert mean_of_images(torch.tensor([1.0])).within(GAP) == (1, -1, 1, 1)
    undefined = Estimate(*[math.nan] * 3, 0)
    assert all(map(math.isnan, undefined.within(SHARE)[:3]))


def test_alexnet_against_itself_is_one() -> None:
    assert mce(ALEXNET_ERROR) == pytest.approx(1, abs=1e-12)
    assert relative_mce(ALEXNET_ERROR, ALEXNET_CLEAN_ERROR) == pytest.approx(1, abs=1e-12)
    assert ce(0.5 * ALEXNET_ERROR["fog"], "fog") == pytest.approx(0.5)


def test_mce_is_the_mean_of_ratios() -> None:
    errors = dict.fromkeys(ALEXNET_ERROR, 0.3)
    assert mce(errors) == pytest.approx(sum(0.3 / value for value in ALEXNET_ERROR.values()) / 15)
    expected = sum((0.3 - 0.2) / (value - ALEXNET_CLEAN_ERROR) for value in ALEXNET_ERROR.values()) / 15
    assert relative_mce(errors, 0.2) == pytest.approx(expected)


def test_no_mce_over_fewer() -> None:
    errors = dict.fromkeys(list(ALEXNET_ERROR)[:-1], 0.3)
    with pytest.raises(ValueError, match="jpeg_compression"):
        mce(errors)
