"""MixUp: every image of a batch blended with a partner of it, and the labels likewise."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from fourier_robust.aug.views import Params, Views

_MOST = 4.0  # a larger alpha would be drawn slowly by rejection


class MixUp:
    """One view: ``share * image + (1 - share) * partner``, targets (B,K) blended by the same share.

    One share per batch, from Beta(alpha, alpha), and one permutation, as published.

    Args:
        alpha: in [0,4]; 0 mixes nothing.
        num_classes: K.

    Raises:
        ValueError: alpha outside its range, or no number of classes.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """

    def __init__(self, alpha: float = 0.1, num_classes: int | None = None) -> None:
        if not 0 <= alpha <= _MOST:
            raise ValueError(f"alpha must lie in [0, {_MOST:g}], got {alpha}")
        if num_classes is None or num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.alpha, self.num_classes = alpha, num_classes

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """`share` (float in [0,1]) and `partner`, (B,) int64: a uniform permutation, fixed points allowed."""
        share = beta(self.alpha, generator) if self.alpha > 0 else 1.0
        return {"share": share, "partner": torch.randperm(shape[0], generator=generator)}

    def apply(self, images: torch.Tensor, labels: torch.Tensor, params: Params) -> Views:
        """(B,C,H,W) in [0,1] and labels (B,) or (B,K) -> one view of weight 1 with targets (B,K) float32."""
        share, partner = params["share"], params["partner"].to(images.device, non_blocking=True)
        targets = functional.one_hot(labels, self.num_classes).float() if labels.ndim == 1 else labels
        if self.alpha == 0:
            return Views(images[None], targets[None], (1.0,))
        mixed = torch.lerp(images[partner], images, share)
        return Views(mixed[None], torch.lerp(targets[partner], targets, share)[None], (1.0,))


def beta(alpha: float, generator: torch.Generator) -> float:
    """A number from Beta(alpha, alpha), alpha > 0, by rejection of pairs of powers of uniform numbers.

    Source: Jöhnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen", Metrika 8, 1964.
    """
    while True:
        # in logarithms: a small alpha's powers underflow; 1 - rand lies in (0,1]
        one, other = ((1 - torch.rand(2, dtype=torch.float64, generator=generator)).log() / alpha).tolist()
        both = max(one, other) + math.log1p(math.exp(-abs(one - other)))
        if both <= 0:
            return math.exp(one - both)
