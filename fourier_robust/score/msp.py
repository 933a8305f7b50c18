"""MSP: how far the largest softmax probability is from 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Outputs
from fourier_robust.score.probability import probabilities, require_positive


@dataclass(frozen=True)
class MSP:
    """1 - max_k softmax(logits / T)_k; in [0,1).

    Args:
        temperature: T > 0; 1 is the published baseline.

    Raises:
        ValueError: temperature out of range.

    Source:
        Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples", ICLR 2017.

    Deviates:
        The published score is minus the probability; 1 - p orders images alike, and in float64 without ties at p = 1.
    """

    temperature: float = 1.0
    needs = frozenset({"logits"})

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)

    def __call__(self, outputs: Outputs) -> torch.Tensor:
        """(N,) float64."""
        return probabilities(outputs.logits, self.temperature)[1].amin(1)
