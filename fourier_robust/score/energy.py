"""Free energy of the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Outputs
from fourier_robust.score.probability import require_positive


@dataclass(frozen=True)
class Energy:
    """- T log sum_k exp(logits_k / T).

    Args:
        temperature: T > 0; 1 is the published default.

    Raises:
        ValueError: temperature out of range.

    Source:
        Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020.
    """

    temperature: float = 1.0
    needs = frozenset({"logits"})

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)

    def __call__(self, outputs: Outputs) -> torch.Tensor:
        """(N,) float64."""
        return -self.temperature * (outputs.logits.double() / self.temperature).logsumexp(1)
