"""ASH: energy after most activations of an image are removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from fourier_robust.score.base import Head, Outputs, Scorer, by_rows, features, head_energy

Form = Literal["s", "b", "p"]


@dataclass(frozen=True)
class ASH:
    """- log sum_k exp of the head's logits for the shaped features; the largest ``D - round(D percentile/100)`` stay.

    Args:
        form: ``p`` keeps them as they are; ``b`` sets each to the sum of all D over their number; ``s`` multiplies
            them by exp(sum of all D / sum of the kept). Both expect features >= 0 (behind a ReLU).
        percentile: percentage of each image's features that is removed, in [0,100).

    Raises:
        ValueError: an argument out of range, or nothing left of D features.

    Source:
        Djurisic et al., "Extremely Simple Activation Shaping for Out-of-Distribution Detection", ICLR 2023; default
        percentile of OpenOOD v1.5. The shaped layer is the penultimate one, after pooling.

    Deviates:
        An image without any activation keeps none; the published code divides by zero there (form s).
    """

    form: Form = "s"
    percentile: float = 90.0
    needs = frozenset({"features", "head"})

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {self.form!r}")
        if not 0 <= self.percentile < 100:
            raise ValueError(f"percentile must lie in [0, 100), got {self.percentile}")

    def fit(self, train: Outputs | None, head: Head) -> Scorer:
        """Only takes the head."""

        def scorer(outputs: Outputs) -> torch.Tensor:
            return by_rows(lambda block: head_energy(self.shape(block), head), features(outputs))

        return scorer

    def shape(self, values: torch.Tensor) -> torch.Tensor:
        """(N,D) floating point -> the same shape, shaped row by row."""
        size = values.shape[1]
        left = size - round(size * self.percentile / 100)
        if left < 1:
            raise ValueError(f"percentile {self.percentile} leaves none of {size} features")
        kept, where = values.topk(left, dim=1, sorted=False)
        total = values.sum(1, keepdim=True)
        if self.form == "b":
            kept = (total / left).expand_as(kept)
        elif self.form == "s":
            inside = kept.sum(1, keepdim=True)
            kept = kept * torch.where(inside == 0, 0.0, total / inside).exp()
        return torch.zeros_like(values).scatter_(1, where, kept)
