"""TRADES: the prediction should not change within a ball around each image."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from fourier_robust.arch.batch_norm import batch_norm
from fourier_robust.attack.ball import Ball, draw
from fourier_robust.attack.base import attacking, climb, logits_of
from fourier_robust.aug.views import Views
from fourier_robust.reg.input_gradient import Figures, trained
from fourier_robust.reg.step import Step

START = 1e-3  # in [0,1] pixels, standard deviation of the search's start around the image


class Trades:
    """``loss + beta * KL(p(x) || p(x'))``, x' where projected gradient descent on that divergence ends.

    The divergence is in nats, a mean over the batch, and over views with the weights of the loss. Its gradient flows
    through both predictions. The search runs in evaluation mode; x' then passes in training mode, as a batch of its
    own that BatchNorm's running statistics take in. All passes are in the precision of the loss's. Logged are the
    divergence (`penalty`) and the share of first views whose x' is classified right (`robust_accuracy`).

    In float32 the penalty shares the loss's forward pass; in bf16, and under ``device.compiled=true``, the images pass
    once more, without a trace in the running statistics. What is drawn follows from the step, so a resumed run equals
    an uninterrupted one.

    Args:
        beta: weight of the divergence, finite, >= 0.
        eps: radius of the ball, the largest change of a value, in [0,1] pixels, above 0.
        step_size: of the search, in [0,1] pixels, above 0.
        steps: of the search, at least 1.

    Raises:
        ValueError: an argument outside its range.

    Source: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019; settings and
        order of passes as in the authors' yaodongyu/TRADES.

    Deviates: there the running statistics also take in a second pass of the unchanged images, and the start may leave
        [0,1] by a few thousandths.
    """

    def __init__(self, beta: float = 6.0, eps: float = 0.031, step_size: float = 0.007, steps: int = 10) -> None:
        if not (math.isfinite(beta) and beta >= 0):
            raise ValueError(f"beta must be finite and at least 0, got {beta}")
        for name, value in (("eps", eps), ("step_size", step_size)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.beta, self.eps, self.step_size, self.steps = beta, eps, step_size, steps

    def shares_pass(self, number: int) -> bool:
        """Whether step `number` wants a loss not yet differentiated: always."""
        return True

    def add_gradient(self, step: Step) -> Figures:
        """Add the penalty's gradient to the parameters (and the loss's, where `step.joint`); returns figures to log.

        Raises:
            UserError: the network has no input gradient, or not a finite one.
        """
        low = step.logits.dtype == torch.bfloat16
        with torch.autocast(step.images.device.type, dtype=torch.bfloat16, enabled=low):
            images = step.images.detach()
            moved = self.search(step.model, images, step.generator)
            shape = step.views.images.shape[:2]
            if step.joint:
                logits = step.logits
            else:
                with batch_norm(step.model, "train"):
                    logits = step.model(images).unflatten(0, shape)
            others = step.model(moved).unflatten(0, shape)
        each = divergence(logits.flatten(0, 1), others.flatten(0, 1)).unflatten(0, shape).mean(1)
        penalty = torch.stack([weight * one for weight, one in zip(step.views.weights, each, strict=True)]).sum()
        total = self.beta * penalty
        torch.autograd.backward(step.loss + total if step.joint else total, inputs=trained(step.model))
        return {"penalty": penalty.detach(), "robust_accuracy": _accuracy(others, step.views)}

    def search(self, model: nn.Module, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(B,C,H,W) -> the same within `eps` and [0,1], where the prediction differs; without a graph."""
        ball = Ball(images, self.eps, "linf")
        points = ball.project(images + START * draw(images, generator, uniform=False))
        unused = torch.zeros(len(images), dtype=torch.int64, device=images.device)  # the divergence asks no label
        with attacking(model):
            with torch.no_grad():
                logits = logits_of(model, images)
            for _ in range(self.steps):
                gradient = climb(model, points, unused, lambda others, _: divergence(logits, others)).gradient
                points = ball.step(points.detach(), gradient, self.step_size)
        return points


def divergence(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Two times (B,K) -> (B,): KL of the prediction of `others` from that of `logits`, nats, float32."""
    one, other = functional.log_softmax(logits.float(), 1), functional.log_softmax(others.float(), 1)
    return (one.exp() * (one - other)).sum(1)


def _accuracy(logits: torch.Tensor, views: Views) -> torch.Tensor:
    target = views.targets[0] if views.targets.ndim == 2 else views.targets[0].argmax(-1)
    return (logits[0].argmax(-1) == target).float().mean()
