"""GEN: generalised entropy of the largest probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Outputs
from fourier_robust.score.probability import probabilities


@dataclass(frozen=True)
class GEN:
    """sum over the `top` largest probabilities of (p (1 - p)) ** gamma.

    Args:
        gamma: in (0,1); 0.1 in the published code. The smaller, the more the small probabilities count.
        top: how many probabilities, at least 1; None or more than K: all. 100 in the published code (of 1000 classes).

    Raises:
        ValueError: an argument out of range.

    Source:
        Liu, Lochman and Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", CVPR 2023.

    Deviates:
        float64, and 1 - p of the largest probability without cancellation: to the power of 0.1 the rounding of a
        float32 probability (6e-8) would be 0.19.
    """

    gamma: float = 0.1
    top: int | None = 100
    needs = frozenset({"logits"})

    def __post_init__(self) -> None:
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma must lie in (0, 1), got {self.gamma}")
        if self.top is not None and self.top < 1:
            raise ValueError(f"top must be at least 1 or null, got {self.top}")

    def __call__(self, outputs: Outputs) -> torch.Tensor:
        """(N,) float64."""
        p, rest = probabilities(outputs.logits)
        if self.top is not None and self.top < p.shape[1]:
            p, chosen = p.topk(self.top, dim=1, sorted=False)
            rest = rest.gather(1, chosen)
        return (p * rest).pow(self.gamma).sum(1)
