"""Entropy of the softmax probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Outputs


@dataclass(frozen=True)
class Entropy:
    """- sum_k p_k log p_k, nats, p the softmax of the logits; in [0, log K].

    Source:
        Chan, Rottmann and Gottschalk, "Entropy Maximization and Meta Classification for Out-of-Distribution Detection
        in Semantic Segmentation", ICCV 2021; the score alone, without the training it proposes.
    """

    needs = frozenset({"logits"})

    def __call__(self, outputs: Outputs) -> torch.Tensor:
        """(N,) float64."""
        log_p = outputs.logits.double().log_softmax(1)
        return -(log_p.exp() * log_p).sum(1)
