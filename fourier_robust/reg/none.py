"""No regularization."""

from __future__ import annotations

from torch import nn

from fourier_robust.aug.views import Views


class NoRegularizer:
    """Adds no gradient; ``reg=none``."""

    def add_gradient(self, model: nn.Module, views: Views) -> dict[str, float]:
        """Called between the loss's backward and the optimizer's step; returns named values to log: none."""
        return {}
