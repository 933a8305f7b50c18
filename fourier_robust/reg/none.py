"""No regularization."""

from __future__ import annotations

import torch

from fourier_robust.reg.step import Step


class NoRegularizer:
    """Adds no gradient; ``reg=none``."""

    def shares_pass(self, number: int) -> bool:
        """Whether step `number` wants the loss's forward pass with a graph to the images: never."""
        return False

    def add_gradient(self, step: Step) -> dict[str, torch.Tensor]:
        """Called between the loss's backward and the optimizer's step; returns named values to log: none."""
        return {}
