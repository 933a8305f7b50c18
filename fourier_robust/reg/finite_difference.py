"""The gradient of a penalty on the input gradient from one more ordinary backward pass: smooth networks only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from fourier_robust.errors import UserError
from fourier_robust.reg.input_gradient import Pass, add_to_gradients, trained
from fourier_robust.reg.step import Step

KINKED = (
    *("Relu", "LeakyRelu", "Rrelu", "Prelu", "Hardtanh", "Hardswish", "Hardsigmoid", "Hardshrink", "Softshrink"),
    *("Threshold", "Clamp", "Abs", "Max", "Min", "Amax", "Amin", "AdaptiveMax", "FractionalMax", "MkldnnMax"),
)
"""How autograd's names of operations begin whose derivative jumps."""


def refuse_kinks(loss: torch.Tensor, model: nn.Module) -> None:
    """Check that the graph behind `loss` is smooth and without chance.

    Raises:
        UserError: it holds an operation whose derivative jumps (with ReLU the direction found has a cosine below 0.3
            with the true gradient), or the model has dropout, whose masks differ between passes.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            raise UserError("reg.form=finite_difference needs a network without dropout; use reg.form=exact")
    seen, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().split("Backward")[0]
        if name.startswith(KINKED):
            raise UserError(
                f"reg.form=finite_difference needs a smooth network, and this one has {name}; use reg.form=exact"
            )
        todo.extend(parent for parent, _ in node.next_functions)


def finite_difference(
    passed: Pass,
    step: Step,
    penalty: Callable[[torch.Tensor], torch.Tensor],
    again: Callable[[torch.Tensor], Pass],
    weight: float,
    width: float,
) -> torch.Tensor:
    """Add `weight` times the penalty's gradient to the parameters (and the loss's, where `step.joint`).

    With g the input gradient of the loss L and v = d penalty/dg held fixed, the penalty's gradient is that of
    <g, v>: the derivative of the gradient of L along v, here a difference quotient over one step. With several
    processes it is averaged here, see `add_to_gradients`.

    Args:
        passed: its loss is differentiated once, for the parameters and the images together.
        step: of the trainer.
        penalty: (V*B,C,H,W) gradient -> 0-d.
        again: (V*B,C,H,W) images -> a pass over them, in everything else as `passed`.
        weight: of the penalty.
        width: root mean square of the step along v, in units of [0,1] pixels.

    Returns:
        The penalty, 0-d, detached.
    """
    weights = trained(step.model)
    *here, gradient = torch.autograd.grad(passed.loss, [*weights, passed.images], allow_unused=True)
    gradient = gradient.detach().requires_grad_()
    value = penalty(gradient)
    direction = torch.autograd.grad(value, gradient)[0]
    scale = width / direction.square().mean().sqrt().clamp_min(torch.finfo(direction.dtype).tiny)
    moved = (passed.images.detach() + scale * direction).requires_grad_()
    there = torch.autograd.grad(again(moved).loss, weights, allow_unused=True)
    factor, added = weight / scale, []
    for first, second in zip(here, there, strict=True):
        if first is None or second is None:
            added.append(None)
        else:
            added.append(factor * (second - first) + (first if step.joint else 0))
    add_to_gradients(step.model, added)
    return value.detach()
