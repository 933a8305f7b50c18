"""Projected gradient descent: steps of steepest ascent, each pulled back into the ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import nn

from fourier_robust.attack.ball import Ball
from fourier_robust.attack.base import Norm, attacking, check_ball, check_batch, climb, logits_of
from fourier_robust.attack.loss import LOSSES, Loss, check_loss


@dataclass(frozen=True)
class PGD:
    """The standard first-order attack.

    Costs `steps` forward and backward passes per restart; with several restarts one more forward pass each. Images
    that are found to be wrong leave the batch at once; that is seen in the forward pass of the next step.

    Args:
        eps: see `Attack`.
        norm: with ``linf`` a step is the sign of the gradient, with ``l2`` its direction.
        steps: at least 1.
        step_size: pixels in [0,1]; None is 2.5 eps / steps, so that the border is within reach of every start.
        restarts: at least 1; each starts anew, and the best result of an image is kept: wrong before right, then by
            loss. The first restart is the attack with ``restarts=1``.
        random_start: from a point drawn in the ball; otherwise from the image, and restarts are alike.
        loss: see `attack.loss`.
        early_exit: False takes all steps for all images, as adversarial training does.

    Raises:
        ValueError: an argument outside its range.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
    """

    eps: float
    norm: Norm = "linf"
    steps: int = 20
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    loss: Loss = "ce"
    early_exit: bool = True

    def __post_init__(self) -> None:
        check_ball(self.eps, self.norm)
        check_climb(self.steps, self.restarts, self.step_size, self.loss)

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `Attack`."""
        check_batch(images, labels)
        if not (len(images) and self.eps):
            return images.clone()
        with attacking(model):
            return ascend(model, Ball(images, self.eps, self.norm), labels, generator, self)


class Reach(Protocol):
    """A set of perturbed images; points of it are (B,C,H,W), see `Ball`."""

    images: torch.Tensor

    def keep(self, rows: torch.Tensor) -> Self: ...

    def centre(self) -> torch.Tensor: ...

    def start(self, generator: torch.Generator) -> torch.Tensor: ...

    def step(self, points: torch.Tensor, gradient: torch.Tensor, size: float) -> torch.Tensor: ...

    def image(self, points: torch.Tensor) -> torch.Tensor: ...


class Plan(Protocol):
    """The settings of `PGD` that `ascend` reads."""

    @property
    def eps(self) -> float: ...

    @property
    def steps(self) -> int: ...

    @property
    def step_size(self) -> float | None: ...

    @property
    def restarts(self) -> int: ...

    @property
    def random_start(self) -> bool: ...

    @property
    def loss(self) -> Loss: ...

    @property
    def early_exit(self) -> bool: ...


def check_climb(steps: int, restarts: int, step_size: float | None, loss: str) -> None:
    """Refuse settings outside their range.

    Raises:
        ValueError: as said.
    """
    for name, value in (("steps", steps), ("restarts", restarts)):
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
    if step_size is not None and not step_size > 0:
        raise ValueError(f"step_size={step_size}: must be above 0")
    check_loss(loss)


def ascend(
    model: nn.Module, reach: Reach, labels: torch.Tensor, generator: torch.Generator, plan: Plan
) -> torch.Tensor:
    """All restarts; inside `attacking`.

    Returns:
        (B,C,H,W): the best image of each.
    """
    found, best = reach.images.clone(), torch.full_like(labels, -torch.inf, dtype=torch.float32)
    left = torch.arange(len(labels), device=labels.device)
    for _ in range(plan.restarts):
        points = reach.start(generator) if plan.random_start else reach.centre()  # drawn for all, left or not
        here = reach
        if len(left) < len(labels):
            here, points = reach.keep(left), points[left]
        images = _steps(model, here, points, labels[left], plan)
        if plan.restarts == 1:
            return images
        with torch.no_grad():
            logits = logits_of(model, images)
        wrong = logits.argmax(1) != labels[left]
        score = LOSSES[plan.loss](logits, labels[left]).masked_fill(wrong, torch.inf)
        better = score > best[left]
        found[left[better]], best[left[better]] = images[better], score[better]
        if plan.early_exit:
            left = left[~wrong]
            if not len(left):
                break
    return found


def _steps(model: nn.Module, reach: Reach, points: torch.Tensor, labels: torch.Tensor, plan: Plan) -> torch.Tensor:
    """(B,C,H,W): where one start leads; an image that is wrong stays where that was seen."""
    size = 2.5 * plan.eps / plan.steps if plan.step_size is None else plan.step_size
    loss, done, left = LOSSES[plan.loss], torch.empty_like(reach.images), None
    for _ in range(plan.steps):
        logits, _, gradient = climb(model, points, labels, loss, reach.image)
        if plan.early_exit:
            right = logits.argmax(1) == labels
            if not right.all():
                left = torch.arange(len(labels), device=labels.device) if left is None else left
                done[left[~right]] = reach.image(points)[~right]
                left, points, labels, gradient = left[right], points[right], labels[right], gradient[right]
                if not len(left):
                    return done
                reach = reach.keep(right)
        points = reach.step(points, gradient, size)
    if left is None:
        return reach.image(points)
    done[left] = reach.image(points)
    return done
