"""How often a prediction changes within a clip of nearly equal frames."""

from __future__ import annotations

import math

import torch

from fourier_robust.metric.outcome import Estimate


def flips(predictions: torch.Tensor, against_first: bool) -> torch.Tensor:
    """Share of frames after the first whose prediction is another than that of a frame before.

    Args:
        predictions: (N,F) int64, F >= 2.
        against_first: compare with the first frame (noise, whose frames have no order), else with the one before.

    Returns:
        (N,) float64 in [0,1]; their mean is the flip probability.

    Source: Hendrycks and Dietterich, ICLR 2019, section 3.2; their ``ImageNet-P/cifar-p-eval.py``.
    """
    if predictions.ndim != 2 or predictions.shape[1] < 2:
        raise ValueError(f"flips needs (N,F) predictions of at least two frames, got {tuple(predictions.shape)}")
    before = predictions[:, :1] if against_first else predictions[:, :-1]
    return (predictions[:, 1:] != before).double().mean(1)


def is_noise(perturbation: str) -> bool:
    """Whether frames of this perturbation are compared with the first one: those with ``noise`` in their name."""
    return "noise" in perturbation


def difference(one: Estimate, other: Estimate) -> Estimate:
    """`one` - `other` of independent samples, with the interval made of both (Newcombe's, for Wilson's intervals).

    Its half widths are the roots of the summed squares of the halves that point the same way; sound at 0 and 1.

    Source: Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
    """
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - below, value + above, one.n)
