"""ReAct: energy after the largest activations are cut."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Head, Outputs, Scorer, by_rows, features, head_energy


@dataclass(frozen=True)
class ReAct:
    """- log sum_k exp of the head's logits for min(f, c), c a percentile of all features of all training images.

    Args:
        percentile: in (0,100]; 90 as published.

    Raises:
        ValueError: percentile out of range.

    Source:
        Sun, Guo and Li, "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS 2021.

    Deviates:
        Of the two features between which the percentile lies, c is the lower one, not a value in between.
    """

    percentile: float = 90.0
    needs = frozenset({"features", "head", "train"})

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile must lie in (0, 100], got {self.percentile}")

    def fit(self, train: Outputs, head: Head) -> Scorer:
        """From (N,D) features of training images; takes three times their memory for a moment."""
        known = features(train).flatten()
        cut = known.kthvalue(1 + int((len(known) - 1) * self.percentile / 100)).values.double()

        def scorer(outputs: Outputs) -> torch.Tensor:
            return by_rows(lambda block: head_energy(block.clamp_max(cut), head), features(outputs))

        return scorer
