"""Beside `predict`: a pass that gives logits, the features behind them, and the logits of moved images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from fourier_robust.dataset.base import Batch
from fourier_robust.engine.memory import in_halves
from fourier_robust.engine.predict import Precision, autocast, evaluating, memory_format
from fourier_robust.errors import UserError


class LastLayer(NamedTuple):
    """What the end of a network says of a batch; all on the CPU.

    Attributes:
        logits: (B,K) float32.
        features: (B,D) float32, the input of the last linear layer; None where that was not asked for.
        moved: one (B,K) float32 per mover.
        labels: (B,) int64.
    """

    logits: torch.Tensor
    features: torch.Tensor | None
    moved: list[torch.Tensor]
    labels: torch.Tensor


class Mover(Protocol):
    """Moves images along a gradient; see `score.odin`."""

    def objective(self, logits: torch.Tensor) -> torch.Tensor:
        """Of (B,K) logits: the scalar that is differentiated, a sum over images."""
        ...

    def perturb(self, images: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """(B,C,H,W) in [0,1] and the gradient there -> moved images."""
        ...


class LastLinear(NamedTuple):
    """A linear layer, and the factor > 0 by which the logits are its output (1, but for networks that scale them)."""

    layer: nn.Linear
    scale: float

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(K,D) weight and (K,) bias that give the logits, float32 on the CPU."""
        weight = self.scale * self.layer.weight.detach().float().cpu()
        if self.layer.bias is None:
            return weight, torch.zeros(len(weight))
        return weight, self.scale * self.layer.bias.detach().float().cpu()


def last_linear(model: nn.Module, images: torch.Tensor) -> LastLinear | None:
    """The layer that the logits come from, found by a pass over (B,C,H,W) `images`; None where there is none.

    There is none in a network without such a layer (a convolution, a mean of two heads), or whose insides are hidden
    (TorchScript, torch.export).
    """
    outputs: list[tuple[nn.Linear, torch.Tensor]] = []

    def keep(module: nn.Linear, inputs: Any, output: torch.Tensor) -> None:
        if inputs[0].ndim == 2:
            outputs.append((module, output))

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_hook(keep) for module in linear]
    try:
        with evaluating(model), torch.inference_mode():
            logits = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    for module, output in reversed(outputs):
        if output.shape == logits.shape:
            ours, theirs = output.double(), logits.double()
            scale = float((ours * theirs).sum() / ours.square().sum())
            if scale > 0 and torch.allclose(scale * ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().amax())):
                return LastLinear(module, 1.0 if torch.equal(output, logits) else scale)
    return None


def last_layer(
    model: nn.Module,
    batches: Iterable[Batch],
    linear: LastLinear | None = None,
    movers: Sequence[Mover] = (),
    precision: Precision = "fp32",
) -> Iterator[LastLayer]:
    """What the network says of each batch, in evaluation mode; mode and parameters are left as they were.

    One pass gives logits and features; each mover adds a backward pass to the pixels and a pass over moved images.

    Args:
        model: takes (B,C,H,W) in [0,1], gives (B,K); on the device of the batches.
        batches: images and labels.
        linear: the layer whose input the features are; None gives none.
        movers: what moves the images.
        precision: of the forward passes.

    Raises:
        UserError: movers, and a model without a gradient with respect to its input.
    """
    features: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: Any) -> None:
        features.append(inputs[0].detach().to("cpu", torch.float32, copy=True))

    hook = linear.layer.register_forward_pre_hook(keep) if linear is not None else None

    def run(batch: Batch) -> LastLayer:
        features.clear()
        device = batch.images.device
        images = batch.images.contiguous(memory_format=memory_format(device, precision))
        logits, gradients = _differentiated(model, images, movers, precision)
        known = features[0] if features else None
        moved = []
        for mover, gradient in zip(movers, gradients, strict=True):
            with torch.inference_mode(), autocast(device, precision):
                moved.append(model(mover.perturb(images, gradient)).float().cpu())
        return LastLayer(logits.cpu(), known, moved, batch.labels.cpu())

    try:
        with evaluating(model), _frozen(model):
            for batch in batches:
                yield in_halves(run, batch, _joined)
    finally:
        if hook is not None:
            hook.remove()


def _joined(parts: list[LastLayer]) -> LastLayer:
    known = [part.features for part in parts if part.features is not None]
    return LastLayer(
        torch.cat([part.logits for part in parts]),
        torch.cat(known) if known else None,
        [torch.cat(column) for column in zip(*(part.moved for part in parts), strict=True)],
        torch.cat([part.labels for part in parts]),
    )


def _differentiated(
    model: nn.Module, images: torch.Tensor, movers: Sequence[Mover], precision: Precision
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(B,K) float32 logits, and the gradient of each mover's objective at `images`."""
    if not movers:
        with torch.inference_mode(), autocast(images.device, precision):
            return model(images).float(), []
    with torch.enable_grad():
        pixels = images.detach().requires_grad_()
        with autocast(images.device, precision):
            logits = model(pixels).float()
        if not logits.requires_grad:
            raise UserError("the model has no gradient with respect to its input: something in it cuts the graph")
        gradients = [
            torch.autograd.grad(mover.objective(logits), pixels, retain_graph=mover is not movers[-1])[0]
            for mover in movers
        ]
    return logits.detach(), gradients


@contextlib.contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No gradients of parameters inside: less is kept for the backward pass."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
