"""A model re-fitted to another image size: statistics and scales of BatchNorm, and the last linear layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from fourier_robust.dataset.base import Batch
from fourier_robust.engine.last_layer import last_linear
from fourier_robust.engine.predict import Precision, autocast, evaluating, memory_format
from fourier_robust.errors import UserError

Kind = Literal["none", "batch_norm", "classifier", "classifier_batch_norm"]
_NORM = nn.modules.batchnorm._BatchNorm


class Learning(NamedTuple):
    """How scales, shifts and classifier are learnt.

    Attributes:
        epochs: over the training images.
        lr: of the first step; falls linearly to 0.
        momentum: Nesterov's, in [0,1).
        steps: batches per epoch.
    """

    epochs: int
    lr: float
    momentum: float
    steps: int


class Adjusted(nn.Module):
    """A model with some of its tensors replaced while it runs; the model itself keeps its own.

    Args:
        model: takes (B,C,H,W) in [0,1], gives (B,K).
        values: name, as of its state dict, -> the tensor to use instead.
    """

    def __init__(self, model: nn.Module, values: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.model, self.values = model, values
        self.training = model.training

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W) in [0,1] -> logits (B,K)."""
        logits: torch.Tensor = functional_call(self.model, self.values, (images,))
        return logits


def in_groups(batches: Iterable[Batch], count: int) -> Iterator[tuple[Batch, ...]]:
    """`count` batches at a time: one per size, of the same images."""
    one = iter(batches)
    return zip(*[one] * count, strict=True)


def refused_sizes(model: nn.Module, sizes: Sequence[int], channels: int, device: torch.device) -> dict[int, str]:
    """Those of `sizes` (pixels) whose images the model does not take, and why; tried on two grey images each."""
    found = {}
    for size in sizes:
        images = torch.full((2, channels, size, size), 0.5, device=device)
        try:
            with evaluating(model), torch.inference_mode():
                model(images)
        except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
            found[size] = " ".join((str(error) or type(error).__name__).split())[:160]
    return found


def adjust(
    model: nn.Module,
    kind: Kind,
    passes: Callable[[int], Iterable[Batch]],
    count: int,
    learning: Learning,
    precision: Precision = "fp32",
) -> list[Adjusted]:
    """One re-fitted model per image size; `model` is as before, and shares with them what is not re-fitted.

    Scales and shifts of BatchNorm and the last linear layer are learnt (SGD on cross-entropy) with BatchNorm taking
    the statistics of the batch; then its running statistics are measured anew, as the mean over batches. A batch that
    does not fit into memory is not halved, for its statistics would be others: give a smaller one (batch_size=...).

    Args:
        model: on the device of the batches.
        kind: ``batch_norm``: its statistics alone, nothing is learnt; ``classifier``: the last linear layer;
            ``classifier_batch_norm``: that layer, and scales, shifts and statistics of what BatchNorm there is.
        passes: number of the pass -> batches of training images, of each stretch of images one batch per size.
        count: of the sizes.
        learning: see `Learning`.
        precision: of the forward passes.

    Raises:
        UserError: the model has none of what is to be re-fitted.

    Source: Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019: fine-tuning of the
        classifier, and of it with BatchNorm, at the test resolution.
    Deviates: training images are cropped as test images are, and not flipped; the statistics are measured anew.
    """
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _NORM)}
    measured = [name for name, module in norms.items() if module.running_mean is not None and kind != "classifier"]
    if kind == "batch_norm" and not measured:
        raise UserError("suite.adjust=[batch_norm]: the model has no BatchNorm with running statistics")
    learnt = [] if kind == "batch_norm" else _classifier(model, next(iter(passes(0))).images)
    if kind == "classifier_batch_norm":
        learnt += [f"{name}.{one}" for name, module in norms.items() for one, _ in module.named_parameters()]
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    of_norms = [f"{name}.{one}" for name in measured for one, _ in norms[name].named_buffers()]
    found = []
    for _ in range(count):
        values = {name: parameters[name].detach().clone().requires_grad_() for name in learnt}
        values |= {name: buffers[name].detach().clone() for name in of_norms}
        found.append(Adjusted(model, values))
    of_batch = [norms[name] for name in measured]
    with evaluating(model), _of_batch(of_batch):
        if learnt:
            _learn(found, learnt, passes, learning, precision)
        for one in found:
            _forget(one, measured)
        if measured:
            with torch.no_grad():
                for group in in_groups(passes(learning.epochs), count):
                    for one, batch in zip(found, group, strict=True):
                        _logits(one, batch, precision)
    for one in found:
        one.values = {name: value.detach() for name, value in one.values.items()}
    return found


def _learn(
    models: Sequence[Adjusted],
    learnt: Sequence[str],
    passes: Callable[[int], Iterable[Batch]],
    learning: Learning,
    precision: Precision,
) -> None:
    """SGD in each model's own values; the sizes take turns, so that one decoded image serves them all."""
    nesterov = learning.momentum > 0
    weights = [[model.values[name] for name in learnt] for model in models]
    steppers = [torch.optim.SGD(one, learning.lr, learning.momentum, nesterov=nesterov) for one in weights]
    step, total = 0, learning.epochs * learning.steps
    for epoch in range(learning.epochs):
        for group in in_groups(passes(epoch), len(models)):
            for model, values, stepper, batch in zip(models, weights, steppers, group, strict=True):
                stepper.param_groups[0]["lr"] = learning.lr * max(0.0, 1 - step / total)
                with torch.enable_grad():
                    loss = functional.cross_entropy(_logits(model, batch, precision), batch.labels)
                    gradients = torch.autograd.grad(loss, values)
                for value, gradient in zip(values, gradients, strict=True):
                    value.grad = gradient
                stepper.step()
            step += 1


def _logits(model: Adjusted, batch: Batch, precision: Precision) -> torch.Tensor:
    device = batch.images.device
    images = batch.images.contiguous(memory_format=memory_format(device, precision))
    with autocast(device, precision):
        return model(images).float()


def _classifier(model: nn.Module, images: torch.Tensor) -> list[str]:
    """Names of the last linear layer's parameters."""
    found = last_linear(model, images[:2])
    if found is None:
        raise UserError("suite.adjust: the model has no last linear layer to re-fit (or hides it)")
    (name,) = (name for name, module in model.named_modules() if module is found.layer)
    return [f"{name}.{one}" for one, _ in found.layer.named_parameters()]


def _forget(model: Adjusted, norms: Sequence[str]) -> None:
    """Running statistics as of a new layer."""
    for name in norms:
        model.values[f"{name}.running_mean"].zero_()
        model.values[f"{name}.running_var"].fill_(1)
        model.values[f"{name}.num_batches_tracked"].zero_()


@contextlib.contextmanager
def _of_batch(norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """The statistics of the batch are taken, and running ones are plain means over batches; as before afterwards."""
    before = [(norm.training, norm.momentum) for norm in norms]
    for norm in norms:
        norm.training, norm.momentum = True, None
    try:
        yield
    finally:
        for norm, (training, momentum) in zip(norms, before, strict=True):
            norm.training, norm.momentum = training, momentum
