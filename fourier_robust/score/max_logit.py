"""Maximum logit: the score of the APR paper."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Outputs


@dataclass(frozen=True)
class MaxLogit:
    """- max_k logits_k.

    Source:
        Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022; used by Chen et
        al., "Amplitude-Phase Recombination", ICCV 2021 (its OOD tables).
    """

    needs = frozenset({"logits"})

    def __call__(self, outputs: Outputs) -> torch.Tensor:
        """(N,) float64."""
        return -outputs.logits.double().amax(1)
