"""What calibration needs of one condition's logits, and its metrics as values of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from fourier_robust.metric.calibration_values import (
    aurc_values,
    brier_values,
    ece_classwise_values,
    ece_mass_values,
    ece_values,
    nll_values,
    rms_ce_values,
)


class Confidences(NamedTuple):
    """Of one condition, the same size for any number of classes; S is 2 where there is a temperature, else 1.

    Attributes:
        label: (N,) int64.
        prediction: (N,) int64, argmax of the logits; a temperature leaves it.
        temperature: (S,3) float64: 1, then the fitted one, each with the ends of its 95 % interval.
        confidence: (S,N) float32, largest softmax probability of logits / temperature.
        nll: (S,N) float32, negative log-likelihood of the label, nats.
        brier: (S,N) float32, sum over classes of (p - [is the label]) squared.
        classwise: (S,N) float32, values whose mean is ece_classwise.
    """

    label: torch.Tensor
    prediction: torch.Tensor
    temperature: torch.Tensor
    confidence: torch.Tensor
    nll: torch.Tensor
    brier: torch.Tensor
    classwise: torch.Tensor

    @property
    def correct(self) -> torch.Tensor:
        """(N,) bool."""
        return self.prediction == self.label


def confidences(logits: torch.Tensor, labels: torch.Tensor, temperature: Sequence[float] | None) -> Confidences:
    """Of (N,K) logits and (N,) labels, as they are and, where there is one, at the temperature (value, low, high)."""
    scales = [(1.0, 1.0, 1.0), *([] if temperature is None else [temperature])]
    columns = []
    for scale, *_ in scales:
        scaled = logits / scale
        confidence = scaled.softmax(1).amax(1).clamp_max(1)
        values = (nll_values(scaled, labels), brier_values(scaled, labels), ece_classwise_values(scaled, labels))
        columns.append((confidence, *(each.float() for each in values)))
    stacked = (torch.stack(column) for column in zip(*columns, strict=True))
    return Confidences(labels, logits.argmax(1), torch.tensor(scales, dtype=torch.float64), *stacked)


def per_image(seen: Confidences) -> dict[str, torch.Tensor]:
    """metric -> (N,) float64 values whose mean it is, those at the temperature behind."""
    correct = seen.correct
    found = {"error": 1 - correct.double()}
    for suffix, place in zip(("", "_scaled"), range(len(seen.temperature)), strict=False):
        confidence = seen.confidence[place]
        values = {
            "nll": seen.nll[place].double(),
            "brier": seen.brier[place].double(),
            "ece": ece_values(confidence, correct),
            "ece_mass": ece_mass_values(confidence, correct),
            "ece_classwise": seen.classwise[place].double(),
            "rms_ce": rms_ce_values(confidence, correct),
            "rms_ce_published": rms_ce_values(confidence, correct, published=True),
            "aurc": aurc_values(confidence, correct),
        }
        found |= {f"{metric}{suffix}": each for metric, each in values.items()}
    return found
