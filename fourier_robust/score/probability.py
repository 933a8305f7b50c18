"""Softmax probabilities whose distance to 1 is not lost to rounding."""

from __future__ import annotations

import torch


def probabilities(logits: torch.Tensor, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """p = softmax(logits / temperature) and 1 - p, both (N,K) float64.

    The largest p's distance to 1 is the sum of the others. In float32 all images with a lead of about 17 in the logits
    are equally sure (p = 1), a tie that no threshold can break.
    """
    p = (logits.double() / temperature).softmax(1)
    top = p.argmax(1, keepdim=True)
    others = p.scatter(1, top, 0.0).sum(1, keepdim=True)
    return p, (1 - p).scatter(1, top, others)


def require_positive(name: str, value: float) -> None:
    """Raise ValueError unless ``value > 0`` and finite."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")
