"""What one image's prediction leaves behind, and error rates over such outcomes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch


class Outcome(NamedTuple):
    """Per-image outcomes of one condition.

    Attributes:
        label: (N,) int64.
        prediction: (N,) int64, argmax of the logits.
        confidence: (N,) float32, maximum softmax probability.
        nll: (N,) float32, negative log-likelihood of the label, nats.
    """

    label: torch.Tensor
    prediction: torch.Tensor
    confidence: torch.Tensor
    nll: torch.Tensor

    @property
    def wrong(self) -> torch.Tensor:
        """(N,) float64: 1 where the prediction is not the label."""
        return (self.prediction != self.label).double()


def outcome(logits: torch.Tensor, labels: torch.Tensor) -> Outcome:
    """(N,K) logits and (N,) labels -> Outcome."""
    log_probability = logits.float().log_softmax(1)
    confidence, prediction = log_probability.max(1)
    nll = -log_probability.gather(1, labels[:, None])[:, 0]
    return Outcome(labels, prediction, confidence.exp(), nll)


SHARE, GAP = (0.0, 1.0), (-1.0, 1.0)  # where a share lies, and the difference of two


class Estimate(NamedTuple):
    """A value with its 95 % confidence interval and the number of images behind it."""

    value: float
    low: float
    high: float
    n: int

    def within(self, span: tuple[float, float]) -> Estimate:
        """The interval cut to where the value can lie, (lowest, highest); none stays none."""
        if math.isnan(self.low) or math.isnan(self.high):
            return self
        return self._replace(low=max(span[0], self.low), high=min(span[1], self.high))


Z95 = 1.959963984540054


def error_rate(wrong: torch.Tensor) -> Estimate:
    """Share of ones in (N,) `wrong`, with Wilson's interval (sound at 0, at 1 and for small N)."""
    n = len(wrong)
    share = float(wrong.mean())
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), n)


def mean_of_images(values: torch.Tensor) -> Estimate:
    """Mean of (N,) per-image values, with the normal interval over images.

    The same image under 75 corruptions is one draw, not 75: its errors are averaged first, so the interval
    is that of N independent images (a cluster-robust standard error with images as clusters). It may leave the range
    of the values; see `Estimate.within`.
    """
    n = len(values)
    value = float(values.mean())
    half = Z95 * float(values.std(unbiased=True)) / math.sqrt(n) if n > 1 else math.inf
    return Estimate(value, value - half, value + half, n)
