"""Detection metrics against loops, scikit-learn, pytorch-ood, and values known beforehand."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_ood.metrics import functional as pytorch_ood
from reference.detection import detection_reference
from sklearn import metrics as sklearn

from fourier_robust.metric.detection import (
    DEFINITIONS,
    LOWER_IS_BETTER,
    METRICS,
    count,
    detection,
    detection_intervals,
)


def scores(seed: int, n: int, m: int, levels: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal scores, the OOD ones moved by 1; `levels` rounds them, so that most are ties."""
    generator = torch.Generator().manual_seed(seed)
    inside = torch.randn(n, generator=generator)
    outside = torch.randn(m, generator=generator) + 1
    if levels is None:
        return inside, outside
    return (inside * levels).round() / levels, (outside * levels).round() / levels


GRID = [(3, 2, 1), (20, 20, 2), (100, 41, 3), (60, 200, None), (19, 21, None), (1, 1, None)]


@pytest.mark.parametrize(("n", "m", "levels"), GRID)
@pytest.mark.parametrize("seed", range(5))
def test_against_loops(seed: int, n: int, m: int, levels: int | None) -> None:
    inside, outside = scores(seed, n, m, levels)
    if len(torch.cat((inside, outside)).unique()) == 1:
        inside[0] += 1
    assert detection(inside, outside) == pytest.approx(detection_reference(inside.tolist(), outside.tolist()))


@pytest.mark.parametrize(("n", "m", "levels"), [(500, 300, None), (500, 300, 2), (37, 1000, 5), (2000, 20, 20)])
def test_against_libraries(n: int, m: int, levels: int | None) -> None:
    inside, outside = scores(3, n, m, levels)
    found = detection(inside, outside)
    both = torch.cat((inside, outside))
    is_out = torch.cat((torch.zeros(n), torch.ones(m)))
    assert found["auroc"] == pytest.approx(sklearn.roc_auc_score(is_out, both), abs=1e-12)
    assert found["aupr_out"] == pytest.approx(sklearn.average_precision_score(is_out, both), abs=1e-12)
    assert found["aupr_in"] == pytest.approx(sklearn.average_precision_score(1 - is_out, -both), abs=1e-12)
    for name, positive, ranked in (("fpr95", is_out, both), ("fpr95_id", 1 - is_out, -both)):
        false, true, _ = sklearn.roc_curve(positive, ranked, drop_intermediate=False)
        assert found[name] == pytest.approx(false[true >= 0.95].min(), abs=1e-12)
    labels = torch.where(is_out == 1, -1, 0)
    assert found["auroc"] == pytest.approx(float(pytorch_ood.auroc(both, labels)), abs=1e-12)
    assert found["fpr95"] == pytest.approx(float(pytorch_ood.fpr_at_tpr(both, labels)), abs=1e-12)
    turned = torch.where(is_out == 1, 0, -1)
    assert found["fpr95_id"] == pytest.approx(float(pytorch_ood.fpr_at_tpr(-both, turned)), abs=1e-12)


def test_golden() -> None:
    """500 N(0,1) in, 300 N(1,1) out at seed 0, as computed once by scikit-learn and pytorch-ood (0.4.0)."""
    inside, outside = scores(0, 500, 300, None)
    found = detection(inside, outside)
    assert found["auroc"] == pytest.approx(0.7616733, abs=5e-8)
    assert found["aupr_out"] == pytest.approx(0.6559136, abs=5e-8)
    assert found["aupr_in"] == pytest.approx(0.8262138, abs=5e-8)
    assert (found["fpr95"], found["fpr95_id"]) == (0.752, 0.72)


def test_separated_and_turned() -> None:
    low, high = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 4.0])
    best = {"auroc": 1, "aupr_in": 1, "aupr_out": 1, "fpr95": 0, "fpr95_id": 0, "detection_accuracy": 1}
    assert detection(low, high) == best
    worst = detection(high, low)
    assert (worst["auroc"], worst["fpr95"], worst["fpr95_id"], worst["detection_accuracy"]) == (0, 1, 1, 0.5)


def test_ties_never_help() -> None:
    """Half of each set ties at 1: the AUROC counts those pairs half, the operating points take all of them."""
    found = detection(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    assert found["auroc"] == (1 + 1 + 0.5 + 1) / 4
    assert (found["fpr95"], found["fpr95_id"], found["detection_accuracy"]) == (0.5, 0.5, 0.75)


def test_what_does_not_matter() -> None:
    """Order, dtype, infinite scores at the ends, and any rising map of the scores."""
    inside, outside = scores(1, 50, 40, 3)
    found = detection(inside, outside)
    assert detection(inside.flip(0).double(), outside.roll(7)) == found
    assert detection(inside.exp(), outside.exp()) == found
    inside[inside == inside.min()] = -math.inf
    outside[outside == outside.max()] = math.inf
    assert detection(inside, outside) == found


def test_turning_the_scores_swaps_the_conventions() -> None:
    inside, outside = scores(2, 70, 90, 4)
    one, other = detection(inside, outside), detection(-outside, -inside)
    assert one["aupr_in"] == pytest.approx(other["aupr_out"])
    assert (one["fpr95"], one["auroc"]) == pytest.approx((other["fpr95_id"], other["auroc"]))


def test_intervals_are_those_of_drawn_images() -> None:
    """The replicates are equal to metrics of images drawn with the same generator and sorted again."""
    inside, outside = scores(4, 30, 20, 3)
    found = detection_intervals(inside, outside, torch.Generator().manual_seed(5), replicates=40)
    generator = torch.Generator().manual_seed(5)
    drawn_in = inside[torch.randint(30, (40, 30), generator=generator)]
    drawn_out = outside[torch.randint(20, (40, 20), generator=generator)]
    again = [detection(one, other) for one, other in zip(drawn_in, drawn_out, strict=True)]
    value = detection(inside, outside)
    for name in METRICS:
        low, high = torch.tensor([one[name] for one in again]).double().quantile(torch.tensor([0.025, 0.975]).double())
        assert found[name] == pytest.approx((value[name], float(low), float(high), 50))


def test_interval_has_the_width_of_the_known_standard_error() -> None:
    """AUROC of N(0,1) against N(1,1), 2 x 1,000: Hanley and McNeil's standard error, to a fifth."""
    inside, outside = scores(6, 1000, 1000, None)
    found = detection_intervals(inside, outside, torch.Generator().manual_seed(0), replicates=400)["auroc"]
    area = found.value
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = math.sqrt((area * (1 - area) + 999 * (q1 - area**2) + 999 * (q2 - area**2)) / 1000**2)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.2)
    assert found.low < area < found.high


def test_refusals() -> None:
    good = torch.tensor([0.0, 1.0])
    for inside, outside, word in (
        (good, torch.tensor([]), "OOD"),
        (torch.tensor([[1.0, 2.0]]), good, "ID"),
        (good, torch.tensor([1.0, math.nan, math.nan]), "2 of 3 OOD scores are NaN"),
        (torch.ones(2), torch.ones(3), "all 5 scores are equal"),
    ):
        with pytest.raises(ValueError, match=word) as refused:
            count(inside, outside)
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="replicates"):
        detection_intervals(good, good + 1, torch.Generator(), replicates=1)


def test_every_metric_is_defined() -> None:
    assert DEFINITIONS.keys() == METRICS.keys()
    assert METRICS.keys() > LOWER_IS_BETTER
