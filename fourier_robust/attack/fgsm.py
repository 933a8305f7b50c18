"""The fast gradient sign method: one step of steepest ascent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from fourier_robust.attack.ball import Ball
from fourier_robust.attack.base import Norm, attacking, check_ball, check_batch, climb
from fourier_robust.attack.loss import LOSSES, Loss, check_loss


@dataclass(frozen=True)
class FGSM:
    """One forward and one backward pass, then one step to the border of the ball.

    Args:
        eps: see `Attack`.
        norm: with ``linf`` the step is the sign of the gradient, with ``l2`` its direction.
        step_size: pixels in [0,1]; None is eps. Larger ones are for random starts.
        random_start: from a point drawn in the ball, as fast adversarial training does (step_size 1.25 eps there).
        loss: see `attack.loss`.

    Raises:
        ValueError: an argument outside its range.

    Source: Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015; the random
        start: Wong, Rice and Kolter, "Fast is better than free", ICLR 2020.
    """

    eps: float
    norm: Norm = "linf"
    step_size: float | None = None
    random_start: bool = False
    loss: Loss = "ce"

    def __post_init__(self) -> None:
        check_ball(self.eps, self.norm)
        check_loss(self.loss)
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size={self.step_size}: must be above 0")

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `Attack`."""
        check_batch(images, labels)
        if not (len(images) and self.eps):
            return images.clone()
        ball = Ball(images, self.eps, self.norm)
        points = ball.start(generator) if self.random_start else ball.centre()
        with attacking(model):
            gradient = climb(model, points, labels, LOSSES[self.loss]).gradient
        return ball.step(points, gradient, self.eps if self.step_size is None else self.step_size)
