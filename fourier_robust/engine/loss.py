"""The training loss over weighted views."""

from __future__ import annotations

import torch
from torch.nn import functional

from fourier_robust.aug.views import Views


def views_loss(logits: torch.Tensor, views: Views, label_smoothing: float = 0.0) -> torch.Tensor:
    """``sum_v weights[v] * CE(logits[v], targets[v])``, each CE a mean over the batch, in nats.

    Args:
        logits: (V,B,K).
        views: targets (V,B) int64 or (V,B,K) rows summing to 1; weights sum to 2 for APR's pair, as in the
            authors' code: the sum of two means, not their mean.
        label_smoothing: in [0,1).
    """
    terms = [
        weight * functional.cross_entropy(row.float(), target, label_smoothing=label_smoothing)
        for row, target, weight in zip(logits, views.targets, views.weights, strict=True)
        if weight != 0
    ]
    return torch.stack(terms).sum()


def count_correct(logits: torch.Tensor, views: Views) -> torch.Tensor:
    """Number of images of the first view whose argmax is the target's, a 0-d tensor on the device."""
    target = views.targets[0] if views.targets.ndim == 2 else views.targets[0].argmax(-1)
    return (logits[0].argmax(-1) == target).sum()
