"""KL-Matching: divergence from the typical prediction of the closest class."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import Head, Outputs, Scorer


@dataclass(frozen=True)
class KLMatching:
    """min_k KL(p || d_k), nats: p the image's softmax, d_k the mean softmax of the training images predicted as k.

    Source:
        Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022. The paper fits d_k
        on validation images; a network is surer of those that it was trained on.

    Deviates:
        A class that is never predicted has no d_k and is left out. All in logarithms and float64: no probability is
        rounded to 0, so no divergence is infinite.
    """

    needs = frozenset({"logits", "train"})

    def fit(self, train: Outputs, head: Head | None = None) -> Scorer:
        """From (N,K) logits; no labels."""
        log_p = train.logits.double().log_softmax(1)
        predicted = log_p.argmax(1)
        typical = torch.stack([log_p[predicted == k].logsumexp(0) for k in predicted.unique()])
        log_d = typical.log_softmax(1)

        def scorer(outputs: Outputs) -> torch.Tensor:
            log_p = outputs.logits.double().log_softmax(1)
            p = log_p.exp()
            return (p * log_p).sum(1) - (p @ log_d.T).amax(1)

        return scorer
