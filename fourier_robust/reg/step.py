"""What the trainer hands to a regularizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from fourier_robust.aug.views import Views


@dataclass(frozen=True)
class Step:
    """One training step, after its forward pass.

    Attributes:
        number: of the step, counted over the whole run.
        model: in training mode, never compiled; takes pixels in [0,1].
        views: of the batch.
        images: (V*B,C,H,W), what the forward pass saw: the views in a row. They require gradients where `joint`.
        logits: (V,B,K) of that pass.
        loss: 0-d, its graph still there where `joint`.
        criterion: (V,B,K) logits and views -> 0-d loss, as the trainer computes it.
        joint: the loss has not been differentiated yet: `add_gradient` adds its gradient too. True only where the
            regularizer's `shares_pass` asked for it and the pass was float32 and eager.
        generator: on the CPU, seeded from the run's seed and the step's number.
    """

    number: int
    model: nn.Module
    views: Views
    images: torch.Tensor
    logits: torch.Tensor
    loss: torch.Tensor
    criterion: Callable[[torch.Tensor, Views], torch.Tensor]
    joint: bool
    generator: torch.Generator
