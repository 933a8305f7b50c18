"""The contract of an attack, and what all of them share: how the model is treated and how its gradient is taken."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import nn

from fourier_robust.attack.loss import PerImage
from fourier_robust.errors import UserError
from fourier_robust.run.memory import by_halves, out_of_memory

Norm = Literal["linf", "l2"]


class Attack(Protocol):
    """Looks for images near the given ones that the model gets wrong.

    A small frozen class, so that its `repr` names every setting.

    Attributes:
        eps: the largest perturbation in its norm, pixels in [0,1]; 0 leaves the images alone.
        norm: ``linf``, the largest change of a value; ``l2``, over all values of an image.
    """

    @property
    def eps(self) -> float: ...

    @property
    def norm(self) -> Norm: ...

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """One adversarial image for each image, whether or not the model gets it wrong.

        Args:
            model: takes (B,C,H,W) in [0,1], gives (B,K); left as it was, also after an error.
            images: (B,C,H,W) float32 in [0,1].
            labels: (B,) int64, on the device of the images.
            generator: of all random numbers; drawn on its own device, so a CPU generator serves every device.

        Returns:
            (B,C,H,W), new, without a graph: in [0,1], within `eps` of the images.

        Raises:
            UserError: the model takes no images of this size, or has no usable gradient.
            ValueError: images or labels of another shape, type or range.
        """
        ...


class Climb(NamedTuple):
    """logits (B,K) and losses (B,), without a graph, and the gradient (B,C,H,W) of the summed losses."""

    logits: torch.Tensor
    losses: torch.Tensor
    gradient: torch.Tensor


def check_ball(eps: float, norm: str) -> None:
    """Refuse a perturbation size that is none, or an unknown norm.

    Raises:
        ValueError: as said.
    """
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps={eps:g}: must be finite and at least 0 (pixels in [0,1]; 8/255 is {8 / 255:.5f})")
    if norm not in get_args(Norm):
        raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}, got {norm!r}")


def check_batch(images: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse what is no batch of images in [0,1] with labels.

    Raises:
        ValueError: as said.
    """
    if images.ndim != 4 or images.dtype != torch.float32:
        raise ValueError(f"images must be (B,C,H,W) float32, got {tuple(images.shape)} {images.dtype}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be ({len(images)},) int64, got {tuple(labels.shape)} {labels.dtype}")
    if len(images):
        low, high = (float(value) for value in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"images must lie in [0,1], got values from {low:.4g} to {high:.4g}")


@contextlib.contextmanager
def attacking(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, its parameters without gradients, autograd on; all is put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in learning:
            parameter.requires_grad_(True)


def logits_of(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(B,C,H,W) -> (B,K) float32; a model that does not take them is one line. In halves where memory runs out.

    Raises:
        UserError: the model fails on images of this shape, or a single one does not fit into memory.
    """
    parts = by_halves(lambda rows: _logits(model, images[rows]), 0, len(images))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    try:
        logits: torch.Tensor = model(images).float()
    except (RuntimeError, ValueError, AssertionError) as error:
        if out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"the model does not take images of {tuple(images.shape[1:])}: {reason}") from error
    return logits


def climb(
    model: nn.Module,
    points: torch.Tensor,
    labels: torch.Tensor,
    loss: PerImage,
    as_images: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Climb:
    """One forward and one backward pass: the loss of each image and where it rises.

    In halves where memory runs out: only the model's passes, so that the draws are those of the whole batch.

    Args:
        model: inside `attacking`.
        points: (B,C,H,W), images, or what `as_images` makes images of.
        labels: (B,).
        loss: (B,K) logits and (B,) labels -> (B,), each image by itself.
        as_images: differentiable, each image by itself.

    Raises:
        UserError: as `logits_of`; the gradient does not exist, or is not finite.
    """

    def of(rows: slice) -> Climb:
        whole = rows == slice(0, len(labels))
        inputs = points.detach().requires_grad_()
        images = inputs if as_images is None else as_images(inputs)
        if whole:
            logits = _logits(model, images)
            losses = loss(logits, labels)
        else:  # `loss` knows the whole batch
            logits = _logits(model, images[rows])
            others = logits.new_zeros(len(labels), logits.shape[1])
            losses = loss(torch.cat([others[: rows.start], logits, others[rows.stop :]]), labels)[rows]
        if not logits.requires_grad:
            raise UserError("the model has no gradient with respect to its input: something in it cuts the graph")
        (gradient,) = torch.autograd.grad(losses.sum(), inputs)
        return Climb(logits.detach(), losses.detach(), gradient if whole else gradient[rows].clone())

    parts = by_halves(of, 0, len(labels))
    found = parts[0] if len(parts) == 1 else Climb(*map(torch.cat, zip(*parts, strict=True)))
    if not found.gradient.sum().isfinite() and not found.gradient.isfinite().all():
        raise UserError("the gradient with respect to the input is not finite; no attack can follow it")
    return found
