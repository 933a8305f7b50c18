"""Calibration against torchmetrics, scikit-learn, pytorch-ood, and values known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pytorch_ood.metrics import functional as pytorch_ood
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from fourier_robust.metric.calibration import (
    aurc,
    brier,
    ece,
    ece_classwise,
    ece_mass,
    fit_temperature,
    mce_cal,
    nll,
    reliability,
    reliability_mass,
    rms_ce,
)

FUNCTIONS = (ece, ece_mass, mce_cal, rms_ce, aurc)


def logits_and_labels(scale: float, n: int = 2000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose labels are drawn from their softmax, then scaled: calibrated at 1, too sure above."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 10, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return scale * logits, labels


def confidences(scale: float, n: int = 2000) -> tuple[torch.Tensor, torch.Tensor]:
    logits, labels = logits_and_labels(scale, n)
    confidence, prediction = logits.softmax(1).max(1)
    return confidence, prediction == labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("bins", [10, 15])
def test_against_torchmetrics(scale: float, bins: int) -> None:
    logits, labels = logits_and_labels(scale)
    probability = logits.softmax(1)
    confidence, correct = confidences(scale)
    for ours, norm in ((ece, "l1"), (mce_cal, "max")):
        theirs = multiclass_calibration_error(probability, labels, 10, bins, norm)
        assert ours(confidence, correct, bins) == pytest.approx(float(theirs), abs=1e-6)
    classes = [binary_calibration_error(probability[:, k], (labels == k).int(), bins) for k in range(10)]
    assert ece_classwise(logits, labels, bins) == pytest.approx(float(torch.stack(classes).mean()), abs=1e-6)


def test_golden() -> None:
    """Values of torchmetrics and netcal in float32: 7 of 10 labels are the prediction, the others drawn."""
    generator = torch.Generator().manual_seed(0)
    for scale, expected in ((1.0, (0.39997794, 0.53742576)), (3.0, (0.19380264, 0.48796779))):
        logits = torch.randn(2000, 10, generator=generator) * scale
        own = torch.rand(2000, generator=generator) < 0.7
        labels = torch.where(own, logits.argmax(1), torch.randint(10, (2000,), generator=generator))
        confidence, prediction = logits.double().softmax(1).max(1)
        found = [metric(confidence, prediction == labels) for metric in (ece, mce_cal)]
        assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_against_scikit_learn(scale: float) -> None:
    logits, labels = logits_and_labels(scale)
    probability = logits.double().softmax(1).numpy()
    assert nll(logits, labels) == pytest.approx(log_loss(labels, probability), rel=1e-9)
    theirs = brier_score_loss(labels, probability, scale_by_half=False, labels=list(range(10)))
    assert brier(logits, labels) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("n", [30, 199, 200, 1999, 2000])
def test_rms_against_pytorch_ood(n: int) -> None:
    confidence, correct = confidences(3.0, n)
    assert rms_ce(confidence, correct) == pytest.approx(pytorch_ood.calibration_error(confidence, correct), abs=1e-9)


def test_published_rms_leaves_out_the_most_confident_bin() -> None:
    """Seven images in bins of 2: gaps 0.3 and 0.2, and the last bin, which takes the odd image too."""
    confidence = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.95, 0.95, 1.0], dtype=torch.float64)
    correct = torch.tensor([0, 0, 1, 0, 1, 1, 1])
    last = 1 - (0.95 + 0.95 + 1.0) / 3
    assert rms_ce(confidence, correct, 2) == pytest.approx(math.sqrt((2 * 0.3**2 + 2 * 0.2**2 + 3 * last**2) / 7))
    assert rms_ce(confidence, correct, 2, published=True) == pytest.approx(math.sqrt((2 * 0.3**2 + 2 * 0.2**2) / 7))
    assert rms_ce(confidence, correct, 100, published=True) == 0


def test_edges_belong_to_the_bin_below() -> None:
    """Confidences on bounds of ten bins: 0.6 lies in (0.5, 0.6], 0.8 in (0.7, 0.8], 1 in the last."""
    confidence, correct = torch.tensor([1.0, 0.6, 0.8, 0.8]), torch.tensor([1, 0, 1, 0])
    assert ece(confidence, correct, 10) == pytest.approx(0.3)
    assert reliability(confidence, correct, 10).images.tolist() == [0, 0, 0, 0, 0, 1, 0, 2, 0, 1]
    assert reliability(torch.tensor([0.0, 0.5]), torch.tensor([0, 1]), 2).images.tolist() == [2, 0]


def test_reliability_diagram() -> None:
    confidence, correct = torch.tensor([0.1, 0.3, 0.9, 0.7]), torch.tensor([0, 1, 1, 1])
    found = reliability(confidence, correct, 2)
    assert found.confidence.tolist() == pytest.approx([0.2, 0.8])
    assert found.accuracy.tolist() == [0.5, 1.0]
    assert found.images.tolist() == [2, 2]
    empty = reliability(confidence[2:], correct[2:], 2)
    assert math.isnan(empty.accuracy[0])
    assert ece(confidence[2:], correct[2:], 2) == pytest.approx(0.2)


def test_equal_mass() -> None:
    found = reliability_mass(torch.tensor([0.9, 0.1, 0.2, 0.95, 0.3]), torch.tensor([1, 0, 0, 1, 1]), 2)
    assert sorted(found.images.tolist()) == [2, 3]
    assert found.confidence.tolist() == pytest.approx([0.2, 0.925])
    assert found.accuracy.tolist() == pytest.approx([1 / 3, 1.0])


def test_calibrated_and_never_right() -> None:
    confidence = torch.full((200,), 0.75)
    correct = torch.arange(200) % 4 < 3
    for function in (ece, ece_mass, mce_cal, rms_ce):
        assert function(confidence, correct) == pytest.approx(0, abs=1e-12)
        assert function(confidence, torch.zeros(200)) == pytest.approx(0.75)
    assert aurc(confidence, torch.zeros(200)) == 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_order_does_not_matter(function: Callable[..., float]) -> None:
    """Not even where most confidences are ties."""
    confidence, correct = confidences(3.0, 500)
    confidence = (confidence * 8).round() / 8
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    assert function(confidence[order], correct[order]) == pytest.approx(function(confidence, correct), abs=1e-12)


def test_aurc() -> None:
    """Error among the 1, 2, 3, 4 most confident: 0, 1/2, 1/3, 1/2; of tied images, its mean over their orders."""
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert aurc(confidence, torch.tensor([1, 0, 1, 0])) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    orders = [aurc(confidence[:2], torch.tensor(right)) for right in ([0, 1], [1, 0])]
    assert aurc(torch.tensor([0.5, 0.5]), torch.tensor([0, 1])) == pytest.approx(sum(orders) / 2)


@pytest.mark.parametrize("scale", [0.01, 1.0, 2.5, 1000.0])
def test_temperature_is_where_the_likelihood_is_flat(scale: float) -> None:
    logits, labels = logits_and_labels(1.0, 3000)
    logits = logits.double() * scale
    found = fit_temperature(logits, labels)
    inverse = torch.tensor(scale / found, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(logits / scale * inverse, labels).backward()
    assert inverse.grad is not None
    assert float(inverse.grad) == pytest.approx(0, abs=1e-9)
    assert found / scale == pytest.approx(1, abs=0.1)  # the labels were drawn at temperature 1
    assert nll(logits / found, labels) <= min(nll(logits / (found * factor), labels) for factor in (0.99, 1.01))


def test_temperature_far_away() -> None:
    """One wrong in 2,000 with leads of 30 to 60: from T = 1 the curvature is next to nothing."""
    logits = torch.zeros(2000, 2)
    logits[:, 0] = torch.linspace(30, 60, 2000)
    labels = torch.zeros(2000, dtype=torch.int64)
    labels[1000] = 1
    found = fit_temperature(logits, labels)
    assert 1 < found < 30
    assert nll(logits / found, labels) <= min(nll(logits / (found * factor), labels) for factor in (0.99, 1.01))


def test_no_temperature() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    for labels, word in (([0, 1], "classified right"), ([1, 0], "no larger than the others")):
        with pytest.raises(ValueError, match=word):
            fit_temperature(logits, torch.tensor(labels))


def test_refusals() -> None:
    confidence, correct = torch.tensor([0.5, 0.7]), torch.tensor([1, 0])
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 2])
    for function in FUNCTIONS:
        for bad, word in ((confidence[:0], "need"), (confidence[None], "need"), (confidence + 0.4, "must lie in")):
            with pytest.raises(ValueError, match=word):
                function(bad, correct[:0] if len(bad) == 0 else correct)
        with pytest.raises(ValueError, match="must lie in"):
            function(torch.tensor([0.5, math.nan]), correct)
    with pytest.raises(ValueError, match="at least one bin"):
        ece(confidence, correct, 0)
    for measure in (nll, brier, ece_classwise, fit_temperature):
        with pytest.raises(ValueError, match="labels must lie in"):
            measure(logits, labels + 1)
        with pytest.raises(ValueError, match="1 of 2 images are not finite"):
            measure(torch.tensor([[0.0, 0, 0], [0, math.inf, 0]]), labels)
        with pytest.raises(ValueError, match="need"):
            measure(logits[:0], labels[:0])
