"""Beside `predict`: a pass that gives the gradients of the model's inputs, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch.nn import functional

from fourier_robust.arch.normalize import Normalized
from fourier_robust.dataset.base import Batch
from fourier_robust.engine.memory import in_halves
from fourier_robust.engine.predict import Precision, autocast, memory_format
from fourier_robust.errors import UserError

Scalar = Literal["loss", "predicted_loss", "logit", "margin"]
Input = Literal["normalised", "pixel"]


@dataclass(frozen=True)
class GradientOf:
    """What is differentiated, and with respect to what.

    Args:
        scalar: per image: ``loss`` is the cross-entropy of the label, ``predicted_loss`` that of the predicted class,
            ``logit`` the label's logit, ``margin`` the label's logit minus the largest other.
        input: ``normalised`` is what the net gets behind the model's first layer, ``pixel`` is in [0,1].

    Raises:
        ValueError: an unknown choice.
    """

    scalar: Scalar = "loss"
    input: Input = "normalised"

    def __post_init__(self) -> None:
        for name, options in (("scalar", get_args(Scalar)), ("input", get_args(Input))):
            if getattr(self, name) not in options:
                raise ValueError(f"{name} must be one of {', '.join(options)}, got {getattr(self, name)!r}")


class InputGradient(NamedTuple):
    """gradients (B,C,H,W) float32 on the model's device; labels (B,) and indices (B,) int64 on the CPU."""

    gradients: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


def input_gradients(
    model: Normalized, batches: Iterable[Batch], wanted: GradientOf, precision: Precision = "fp32"
) -> Iterator[InputGradient]:
    """Each image's own gradient, in evaluation mode; the model's mode and parameters are left as they were.

    The scalars of a batch are summed, so a gradient does not depend on the size of its batch. Parameters get none.

    Args:
        model: takes (B,C,H,W) in [0,1], gives (B,K); on the device of the batches.
        batches: images and labels.
        wanted: of what, at what.
        precision: of the forward pass; gradients are float32 either way.

    Raises:
        UserError: the model has no gradient with respect to its input, or one that is not finite.
    """
    was_training = model.training
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        for batch in batches:
            gradients = in_halves(lambda part: _gradients(model, part, wanted, precision), batch, torch.cat)
            finite = gradients.flatten(1).isfinite().all(1)
            if not finite.all():
                bad = batch.indices[~finite.cpu()]
                raise UserError(f"the input gradient is not finite: {len(bad)} images of a batch, first {int(bad[0])}")
            yield InputGradient(gradients, batch.labels.cpu(), batch.indices)
    finally:
        model.train(was_training)
        for parameter in learning:
            parameter.requires_grad_(True)


def _gradients(model: Normalized, batch: Batch, wanted: GradientOf, precision: Precision) -> torch.Tensor:
    device = batch.images.device
    images = batch.images.contiguous(memory_format=memory_format(device, precision))
    with torch.enable_grad():
        if wanted.input == "normalised":
            inputs, forward = model.normalize(images).requires_grad_(), model.net
        else:
            inputs, forward = images.detach().requires_grad_(), model
        with autocast(device, precision):
            logits = forward(inputs).float()
        if not logits.requires_grad:
            raise UserError("the model has no gradient with respect to its input: something in it cuts the graph")
        (gradients,) = torch.autograd.grad(_scalar(logits, batch.labels, wanted.scalar), inputs)
    return gradients


def _scalar(logits: torch.Tensor, labels: torch.Tensor, scalar: Scalar) -> torch.Tensor:
    """The sum over the batch of what is differentiated."""
    if scalar == "predicted_loss":
        labels = logits.argmax(1)
    if scalar in ("loss", "predicted_loss"):
        return functional.cross_entropy(logits, labels, reduction="sum")
    own = logits.gather(1, labels[:, None]).sum()
    if scalar == "logit":
        return own
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1).sum()
