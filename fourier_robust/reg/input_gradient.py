"""Penalties on the gradient of a network with respect to its input: what they have in common."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fourier_robust.arch.batch_norm import BNMode, batch_norm
from fourier_robust.arch.normalize import Normalized
from fourier_robust.aug.views import Views
from fourier_robust.errors import UserError
from fourier_robust.reg.step import Step

Figures = dict[str, torch.Tensor]


class Pass(NamedTuple):
    """A float32 forward pass whose graph reaches the images: (V*B,C,H,W), their views, (V,B,K) logits, 0-d loss."""

    images: torch.Tensor
    views: Views
    logits: torch.Tensor
    loss: torch.Tensor


class InputGradientPenalty(ABC):
    """``loss + lam * penalty``, differentiated by exact double backpropagation in float32.

    The whole batch in training mode shares the forward pass and the backward pass of the loss. The cheaper settings,
    and bf16 or compiled training, run a float32 pass of their own, after the loss's: eager, outside autocast, without
    a trace in BatchNorm's running statistics. It sees the first images of the (shuffled) batch, so nothing is drawn,
    and a resumed run equals an uninterrupted one.

    With several processes (DistributedDataParallel) every process's penalty is that of its own images. Wrap the model
    and call it as usual; with a pass of its own (not `Step.joint`) the loss's backward belongs under ``no_sync()``,
    so that the penalty's backward, the last one, averages the sum of both. A form that adds its gradient by itself
    (`add_to_gradients`) averages it by itself: then the loss's backward is an ordinary one.

    Args:
        lam: weight of the penalty, finite, >= 0.
        fraction: share of the batch in the penalty, in (0,1].
        every: penalise every so many steps, with so many times the weight: the mean gradient over steps is kept.
        bn_mode: of BatchNorm in the penalty's pass; ``eval`` uses the running statistics, so that an image's
            gradient does not depend on the rest of the batch. It may ruin training: with LSF and the airbench net on
            CIFAR-10 the error in evaluation mode was 90 % (conf/reg/lsf.yaml).

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(self, lam: float, fraction: float = 1.0, every: int = 1, bn_mode: BNMode = "train") -> None:
        if not (math.isfinite(lam) and lam >= 0):
            raise ValueError(f"lam must be finite and at least 0, got {lam}")
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], got {fraction}")
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        if bn_mode not in ("train", "eval"):
            raise ValueError(f"bn_mode must be train or eval, got {bn_mode!r}")
        self.lam, self.fraction, self.every, self.bn_mode = lam, fraction, every, bn_mode

    @abstractmethod
    def penalty(self, passed: Pass, step: Step) -> tuple[torch.Tensor, Figures]:
        """0-d penalty, differentiable, and detached 0-d figures to log."""

    def shares_pass(self, number: int) -> bool:
        """Whether step `number` wants the loss's forward pass with a graph to the images."""
        return number % self.every == 0 and self.fraction == 1 and self.bn_mode == "train"

    def add_gradient(self, step: Step) -> Figures:
        """Add the penalty's gradient to the parameters (and the loss's, where `step.joint`); returns figures to log.

        Raises:
            UserError: the network has no input gradient, or cannot be differentiated twice.
        """
        if step.number % self.every:
            return {}
        with _one_line_errors(), torch.autocast(step.images.device.type, enabled=False):
            if not step.joint:
                return self._apart(step)
            return self._backward(Pass(step.images, step.views, step.logits, step.loss), step)

    def _apart(self, step: Step) -> Figures:
        """The penalty in a pass of its own."""
        return self._backward(self.own_pass(step), step)

    def _backward(self, passed: Pass, step: Step) -> Figures:
        penalty, figures = self.penalty(passed, step)
        total = self.lam * self.every * penalty
        torch.autograd.backward(passed.loss + total if step.joint else total, inputs=trained(step.model))
        return {"penalty": penalty.detach()} | figures

    def own_pass(self, step: Step) -> Pass:
        """A pass over the penalty's share of the batch, in float32."""
        images, views = self.share(step)
        return self.run(images.requires_grad_(), views, step)

    def share(self, step: Step) -> tuple[torch.Tensor, Views]:
        """The penalty's share of the batch: (V*B,C,H,W) in the layout of the step's images, and their views."""
        rows = max(1, round(self.fraction * step.views.images.shape[1]))
        views = Views(step.views.images[:, :rows], step.views.targets[:, :rows], step.views.weights)
        nhwc = step.images.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if nhwc else torch.contiguous_format
        return views.images.flatten(0, 1).detach().contiguous(memory_format=layout), views

    def run(self, images: torch.Tensor, views: Views, step: Step) -> Pass:
        """The pass over given (V*B,C,H,W) images, which require gradients."""
        with batch_norm(step.model, self.bn_mode):
            logits = step.model(images).unflatten(0, views.images.shape[:2])
        return Pass(images, views, logits, step.criterion(logits, views))


def input_gradient(values: torch.Tensor, images: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Gradient of `values`, weighted where they are several, with respect to the images; itself differentiable."""
    gradient: torch.Tensor = torch.autograd.grad(values, images, weights, create_graph=True)[0]
    return gradient


def channel_std(model: nn.Module) -> torch.Tensor | float:
    """(1,C,1,1): a pixel's gradient times this is the gradient with respect to the normalised input."""
    inner = unwrapped(model)
    return inner.std if isinstance(inner, Normalized) else 1.0


def view_weights(views: Views) -> torch.Tensor:
    """(V*B,): the share of each image of each view; they sum to 1, as weights of views do not."""
    count = views.images.shape[1]
    weights = torch.tensor(views.weights, dtype=torch.float64)
    rows = (weights / weights.sum() / count).repeat_interleave(count)
    return rows.to(views.images.dtype).to(views.images.device, non_blocking=True)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, or itself."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def add_to_gradients(model: nn.Module, added: Sequence[torch.Tensor | None]) -> None:
    """Add one tensor per trained parameter (None: nothing) to its gradient.

    For gradients computed apart from ``backward()``, which DistributedDataParallel does not see: where `model` is one,
    their mean over the processes is added. The loss's own backward is then averaged as usual.
    """
    pairs = [(weight, one) for weight, one in zip(trained(model), added, strict=True) if one is not None]
    if isinstance(model, DistributedDataParallel):
        flat = torch.cat([one.flatten() for _, one in pairs])
        torch.distributed.all_reduce(flat, group=model.process_group)
        flat /= torch.distributed.get_world_size(model.process_group)
        pieces = flat.split([one.numel() for _, one in pairs])
        pairs = [(weight, one.view_as(weight)) for (weight, _), one in zip(pairs, pieces, strict=True)]
    for weight, one in pairs:
        weight.grad = one if weight.grad is None else weight.grad.add_(one)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that require gradients."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@contextlib.contextmanager
def _one_line_errors() -> Iterator[Any]:
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if "does not require grad" in text or "appears to not have been used" in text:
            raise UserError("reg: the network's output does not depend on its input by a gradient") from error
        if text.startswith("derivative for") or "double backward" in text:
            reason = text.splitlines()[0]
            raise UserError(f"reg: this network cannot be differentiated twice: {reason}") from error
        raise
