"""Jacobian regularization: small derivatives of all logits with respect to the input."""

from __future__ import annotations

import torch

from fourier_robust.reg.input_gradient import (
    BNMode,
    Figures,
    InputGradientPenalty,
    Pass,
    channel_std,
    input_gradient,
    view_weights,
)
from fourier_robust.reg.step import Step


class JacobianPenalty(InputGradientPenalty):
    """``loss + lam * J``, J half the squared Frobenius norm of the logits' Jacobian, averaged over the batch.

    The input is the normalised image. With random projections J is estimated without bias, at one backward pass each:
    K/2 times the squared norm of v^T dz/dx, v uniform on the unit sphere of R^K, its own for every image.

    Args:
        lam: weight of J.
        projections: random directions per image, at least 1; ``null`` for the exact J, K backward passes.
        fraction, every, bn_mode: see `InputGradientPenalty`.

    Raises:
        ValueError: an argument outside its range.

    Source:
        Hoffman, Roberts and Yaida, "Robust Learning with Jacobian Regularization", 2019, arXiv 1908.02729; definition,
        estimator and lam as in facebookresearch/jacobian_regularizer.
    """

    def __init__(
        self,
        lam: float = 0.01,
        projections: int | None = 1,
        fraction: float = 1.0,
        every: int = 1,
        bn_mode: BNMode = "train",
    ) -> None:
        super().__init__(lam, fraction, every, bn_mode)
        if projections is not None and projections < 1:
            raise ValueError(f"projections must be at least 1, or null for the exact norm, got {projections}")
        self.projections = projections

    def penalty(self, passed: Pass, step: Step) -> tuple[torch.Tensor, Figures]:
        """J, and nothing else to log."""
        logits, weights = passed.logits.flatten(0, 1), view_weights(passed.views)
        terms = []
        for direction in self._directions(logits, step.generator):
            gradient = input_gradient(logits, passed.images, direction) * channel_std(step.model)
            terms.append(weights @ gradient.square().flatten(1).sum(1))
        share = 1 if self.projections is None else logits.shape[1] / self.projections
        return share * torch.stack(terms).sum() / 2, {}

    def _directions(self, logits: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        if self.projections is None:
            unit = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
            return [row.expand_as(logits) for row in unit]
        normal = torch.randn(self.projections, *logits.shape, dtype=logits.dtype, generator=generator)
        sphere = normal / normal.norm(dim=-1, keepdim=True)
        return list(sphere.to(logits.device, non_blocking=True))
