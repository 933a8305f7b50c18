"""Auto-PGD: projected gradient descent with momentum that halves its own step where it stops getting on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import nn

from fourier_robust.attack.ball import Ball, draw, lengths
from fourier_robust.attack.base import Norm, attacking, check_ball, check_batch, climb, logits_of
from fourier_robust.attack.loss import LOSSES, Loss, PerImage, targeted_dlr
from fourier_robust.attack.pgd import check_climb
from fourier_robust.errors import UserError

MOMENTUM = 0.75  # weight of the new step; the rest repeats the last one
RISING = 0.75  # the share of steps since the last checkpoint that must have raised the loss
_TINY = 1e-12

LossOf = Callable[[torch.Tensor], PerImage]  # (M,) rows of the batch -> the loss of those images


@dataclass(frozen=True)
class APGD:
    """APGD-CE, with ``loss=dlr`` APGD-DLR: no step size to choose.

    Costs ``steps + 1`` forward and `steps` backward passes per restart; images found to be wrong leave the batch.

    Args:
        eps: see `Attack`.
        norm: as for `PGD`.
        steps: at least 1.
        restarts: at least 1; an image is attacked until one of them finds it wrong.
        loss: see `attack.loss`; ``dlr`` needs three classes.

    Raises:
        ValueError: an argument outside its range.

    Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
        attacks", ICML 2020, algorithm 1; starts as in its released code (on the border of the ball).
    """

    eps: float
    norm: Norm = "linf"
    steps: int = 100
    restarts: int = 1
    loss: Loss = "ce"

    def __post_init__(self) -> None:
        check_ball(self.eps, self.norm)
        check_climb(self.steps, self.restarts, None, self.loss)

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `Attack`."""
        check_batch(images, labels)
        if not (len(images) and self.eps):
            return images.clone()
        with attacking(model):
            rounds = [lambda rows: LOSSES[self.loss]] * self.restarts
            return _rounds(model, Ball(images, self.eps, self.norm), labels, generator, self.steps, rounds)


@dataclass(frozen=True)
class APGDT:
    """APGD-T: one run per wrong class, the most likely first, each on the targeted `dlr`.

    Costs one forward pass and `targets` times what `APGD` costs; images found to be wrong leave the batch.

    Args:
        eps: see `Attack`.
        norm: as for `PGD`.
        steps: of each run, at least 1.
        targets: how many wrong classes, at least 1; all of them where there are fewer.

    Raises:
        ValueError: an argument outside its range. A model of fewer than four classes is a UserError.

    Source: as `APGD`; nine targets and 100 steps are those of AutoAttack.
    """

    eps: float
    norm: Norm = "linf"
    steps: int = 100
    targets: int = 9

    def __post_init__(self) -> None:
        check_ball(self.eps, self.norm)
        check_climb(self.steps, 1, None, "dlr")
        if self.targets < 1:
            raise ValueError(f"targets={self.targets}: must be at least 1")

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `Attack`."""
        check_batch(images, labels)
        if not (len(images) and self.eps):
            return images.clone()
        with attacking(model):
            with torch.no_grad():
                logits = logits_of(model, images)
            if logits.shape[1] < 4:
                raise UserError(f"apgd_t needs 4 classes or more, the model has {logits.shape[1]}; apgd_ce needs 2")
            order = logits.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
            rounds = [_towards(order[:, place]) for place in range(min(self.targets, logits.shape[1] - 1))]
            return _rounds(model, Ball(images, self.eps, self.norm), labels, generator, self.steps, rounds)


def checkpoints(steps: int) -> list[int]:
    """The numbers of steps after which the step size is looked at: 22 % of all, then in periods that shrink to 6 %."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return sorted({math.ceil(round(share * steps, 6)) for share in shares[1:] if share < 1})


def _towards(targets: torch.Tensor) -> LossOf:
    """For the images `rows`: the targeted loss with their targets."""
    return lambda rows: lambda logits, labels: targeted_dlr(logits, labels, targets[rows])


def _rounds(
    model: nn.Module,
    ball: Ball,
    labels: torch.Tensor,
    generator: torch.Generator,
    steps: int,
    rounds: list[LossOf],
) -> torch.Tensor:
    """One run after the other on the images that are left; those never found wrong keep the last run's best image.

    Args:
        model: inside `attacking`.
        ball: of all images.
        labels: (B,).
        generator: of the starts, which are drawn for all images in every round.
        steps: of each run.
        rounds: the loss of each run.
    """
    found, left = ball.images.clone(), torch.arange(len(labels), device=labels.device)
    for loss_of in rounds:
        start = _start(ball, generator)[left]
        images, wrong = _run(model, ball.keep(left), labels[left], left, start, loss_of, steps)
        found[left] = images
        left = left[~wrong]
        if not len(left):
            break
    return found


def _start(ball: Ball, generator: torch.Generator) -> torch.Tensor:
    """A random direction, stretched to the border of the ball."""
    noise = draw(ball.images, generator, uniform=ball.norm == "linf")
    size = noise.abs().amax((1, 2, 3)) if ball.norm == "linf" else lengths(noise)
    return ball.project(noise.mul_((ball.eps / size).view(-1, 1, 1, 1)).add_(ball.images))


@dataclass
class _State:
    """What a run knows of each image still in it; every tensor has one entry per image."""

    ball: Ball
    labels: torch.Tensor
    rows: torch.Tensor  # of the whole batch
    place: torch.Tensor  # in this run's result
    now: torch.Tensor
    before: torch.Tensor
    gradient: torch.Tensor
    best: torch.Tensor
    best_gradient: torch.Tensor
    loss: torch.Tensor
    best_loss: torch.Tensor
    checked_loss: torch.Tensor  # the best at the last checkpoint
    size: torch.Tensor  # of the step
    rises: torch.Tensor  # steps that raised the loss since the last checkpoint
    halved: torch.Tensor  # at the last checkpoint

    def keep(self, chosen: torch.Tensor) -> _State:
        """Of some of the images."""
        columns = (getattr(self, field.name) for field in fields(self)[1:])
        return _State(self.ball.keep(chosen), *(column[chosen] for column in columns))


def _run(
    model: nn.Module,
    ball: Ball,
    labels: torch.Tensor,
    rows: torch.Tensor,
    start: torch.Tensor,
    loss_of: LossOf,
    steps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One run of algorithm 1: (M,C,H,W) the wrong or the best image of each, and (M,) bool, which are wrong."""
    low, zero = torch.full_like(labels, -torch.inf, dtype=torch.float32), torch.zeros_like(start)
    state = _State(
        *(ball, labels, rows, torch.arange(len(labels), device=labels.device)),
        *(start, start, zero, start, zero, -low, low, low),
        size=torch.full_like(low, 2 * ball.eps),
        rises=torch.zeros_like(low),
        halved=low < 0,
    )
    images, wrong, marks, since = torch.empty_like(start), low > 0, checkpoints(steps), 0
    for step in range(steps + 1):
        if step:
            state.now, state.before = _next(state, first=step == 1), state.now
        found = _look(model, state, loss_of(state.rows), final=step == steps)
        if found.any():
            images[state.place[found]] = state.now[found]
            wrong[state.place[found]] = True
            state = state.keep(~found)
            if not len(state.labels):
                return images, wrong
        _remember(state)
        if step == 0:
            state.checked_loss = state.best_loss
        elif step in marks:
            _check(state, step - since)
            since = step
    images[state.place] = state.best
    return images, wrong


def _next(state: _State, first: bool) -> torch.Tensor:
    """The next points; the step and its mix with the last one are both projected."""
    ball, size = state.ball, state.size.view(-1, 1, 1, 1)
    if ball.norm == "linf":
        upward = state.gradient.sign()
    else:
        upward = state.gradient / lengths(state.gradient).clamp_(min=_TINY).view(-1, 1, 1, 1)
    ahead = ball.project(torch.addcmul(state.now, upward, size))
    if first:
        return ahead
    change = torch.lerp(state.now - state.before, ahead - state.now, MOMENTUM)
    return ball.project(change.add_(state.now))


def _look(model: nn.Module, state: _State, loss: PerImage, final: bool) -> torch.Tensor:
    """Take loss and gradient at the points; returns (M,) bool, which are wrong."""
    earlier = state.loss
    if final:  # nobody will follow this gradient
        with torch.no_grad():
            logits = logits_of(model, state.now)
            state.loss = loss(logits, state.labels)
    else:
        logits, state.loss, state.gradient = climb(model, state.now, state.labels, loss)
    state.rises = state.rises + (state.loss > earlier)
    return logits.argmax(1) != state.labels


def _remember(state: _State) -> None:
    """Keep the points that are the best so far, with their gradients."""
    better = state.loss > state.best_loss
    wide = better.view(-1, 1, 1, 1)
    state.best_loss = torch.where(better, state.loss, state.best_loss)
    state.best = torch.where(wide, state.now, state.best)
    state.best_gradient = torch.where(wide, state.gradient, state.best_gradient)


def _check(state: _State, period: int) -> None:
    """Halve the step, and go back to the best point, where few steps rose or neither step nor best changed."""
    few = state.rises < RISING * period
    stuck = ~state.halved & (state.checked_loss >= state.best_loss)
    halved = few | stuck
    wide = halved.view(-1, 1, 1, 1)
    state.size = torch.where(halved, state.size / 2, state.size)
    state.now = torch.where(wide, state.best, state.now)
    state.gradient = torch.where(wide, state.best_gradient, state.gradient)
    state.loss = torch.where(halved, state.best_loss, state.loss)
    state.halved, state.checked_loss, state.rises = halved, state.best_loss, torch.zeros_like(state.rises)
