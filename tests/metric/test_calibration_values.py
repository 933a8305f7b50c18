"""Values of images: their mean is the metric to the last digits, their spread is that of the metric over draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fourier_robust.metric.calibration import (
    aurc,
    brier,
    ece,
    ece_classwise,
    ece_mass,
    fit_temperature,
    nll,
    rms_ce,
)
from fourier_robust.metric.calibration_values import (
    ROWS,
    aurc_values,
    brier_values,
    ece_classwise_values,
    ece_mass_values,
    ece_values,
    nll_values,
    rms_ce_values,
    temperature_values,
)

Metric = Callable[..., float]
Values = Callable[..., torch.Tensor]
OF_CONFIDENCE: tuple[tuple[Metric, Values, dict[str, bool]], ...] = (
    (ece, ece_values, {}),
    (ece_mass, ece_mass_values, {}),
    (rms_ce, rms_ce_values, {}),
    (rms_ce, rms_ce_values, {"published": True}),
    (aurc, aurc_values, {}),
)
OF_LOGITS = ((nll, nll_values), (brier, brier_values), (ece_classwise, ece_classwise_values))


def drawn(scale: float, n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose labels are drawn from their softmax, then scaled: calibrated at 1, too sure above."""
    logits = 2 * torch.randn(n, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return scale * logits, labels


def confidences(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    confidence, prediction = logits.softmax(1).max(1)
    return confidence, prediction == labels


@pytest.mark.parametrize("n", [1, 7, 199, 1234])
@pytest.mark.parametrize("ties", [False, True])
def test_the_mean_is_the_metric(n: int, ties: bool, generator: torch.Generator) -> None:
    confidence, correct = confidences(*drawn(3.0, n, generator))
    if ties:  # ties of many images, across the bounds of runs
        confidence = (8 * confidence).round() / 8
    for metric, values, options in OF_CONFIDENCE:
        wanted = metric(confidence, correct, **options)
        assert float(values(confidence, correct, **options).mean()) == pytest.approx(wanted, abs=1e-12)


def test_the_mean_is_the_metric_across_chunks(generator: torch.Generator) -> None:
    logits, labels = drawn(2.0, ROWS + 3, generator)
    for metric, values in OF_LOGITS:
        found = values(logits, labels)
        assert found.shape == labels.shape
        assert float(found.mean()) == pytest.approx(metric(logits, labels), rel=1e-12)


def test_values_follow_their_images(generator: torch.Generator) -> None:
    logits, labels = drawn(3.0, 500, generator)
    order = torch.randperm(500, generator=generator)
    for _, values, options in OF_CONFIDENCE:
        found = values(*confidences(logits, labels), **options)
        torch.testing.assert_close(values(*confidences(logits[order], labels[order]), **options), found[order])


def test_two_bins_by_hand() -> None:
    """Bins of one and of two images: gaps 0.2 (too sure) and -0.1 (not sure enough)."""
    confidence = torch.tensor([0.2, 0.9, 0.9], dtype=torch.float64)
    correct = torch.tensor([0, 1, 1])
    assert ece_values(confidence, correct, 2).tolist() == pytest.approx([0.2, 0.1, 0.1])
    squares = torch.tensor([0.04, 0.01, 0.01], dtype=torch.float64)  # runs of one: 2 g d - g^2 = g^2
    root = 0.02**0.5
    found = rms_ce_values(confidence, correct, 1)
    assert found.tolist() == pytest.approx((root + (squares - 0.02) / (2 * root)).tolist())


@pytest.mark.parametrize("scale", [2.5, 0.4])
def test_the_spread_is_that_over_draws(scale: float, generator: torch.Generator) -> None:
    """The standard error from one draw against the spread over 300 draws of 1,000 images; gaps well above noise.

    The spread of 300 draws is known to 1 in sqrt(600), 4 %; the bound is four of these and the first order's own error.
    """
    sets = [drawn(scale, 1000, generator) for _ in range(300)]
    pairs = [confidences(*each) for each in sets]
    big = torch.cat([each[0] for each in sets[:20]]), torch.cat([each[1] for each in sets[:20]])
    for metric, values, options in OF_CONFIDENCE:
        spread = torch.tensor([metric(*pair, **options) for pair in pairs]).std()
        found = torch.stack([values(*pair, **options).std() for pair in pairs[:20]]).mean() / 1000**0.5
        assert float(found / spread) == pytest.approx(1, abs=0.2), (metric.__name__, options)
    spread = torch.tensor([ece_classwise(*each) for each in sets]).std()
    found = ece_classwise_values(*big).std() / 1000**0.5
    assert float(found / spread) == pytest.approx(1, abs=0.2)
    temperatures = torch.tensor([fit_temperature(*each) for each in sets], dtype=torch.float64)
    logits, labels = sets[0]
    of_images = temperature_values(logits, labels, float(temperatures[0]))
    assert float(of_images.mean()) == pytest.approx(float(temperatures[0]), rel=1e-9)
    assert float(of_images.std() / 1000**0.5 / temperatures.std()) == pytest.approx(1, abs=0.2)


def test_calibrated_to_the_last_has_no_spread() -> None:
    confidence, correct = torch.full((200,), 0.5), torch.arange(200) % 2
    for _, values, options in OF_CONFIDENCE[:4]:
        assert not values(confidence, correct, **options).any()
