"""The gradient of a penalty on the input gradient, by `torch.func.grad` twice inside one compiled function.

`torch.compile` refuses to differentiate a compiled module twice; taking both derivatives inside the compiled function
works, because there they are traced as ordinary arithmetic.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.func import functional_call, grad

from fourier_robust.aug.views import Views
from fourier_robust.errors import UserError
from fourier_robust.reg.input_gradient import BNMode, Figures, batch_norm, unwrapped

Penalty = Callable[[torch.Tensor, Views], tuple[torch.Tensor, Figures]]
Criterion = Callable[[torch.Tensor, Views], torch.Tensor]


class CompiledPenalty:
    """``d penalty(d loss / d images) / d weights`` of one model, compiled at the first call and for each new shape.

    Args:
        model: takes (B,C,H,W), gives (B,K).
        criterion: (V,B,K) logits and views -> 0-d loss.
        penalty: (V*B,C,H,W) gradient of the loss and its views -> 0-d penalty and detached figures; free of branches
            on values.
        bn_mode: of BatchNorm; its running statistics are left alone.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, penalty: Penalty, bn_mode: BNMode) -> None:
        self.model, self._bn_mode = model, bn_mode
        inner = unwrapped(model)

        def value(
            weights: dict[str, torch.Tensor],
            rest: dict[str, torch.Tensor],
            images: torch.Tensor,
            targets: torch.Tensor,
            view_weights: tuple[float, ...],
        ) -> tuple[torch.Tensor, tuple[torch.Tensor, Figures]]:
            views = Views(images.unflatten(0, targets.shape[:2]), targets, view_weights)

            def loss(inputs: torch.Tensor) -> torch.Tensor:
                logits = functional_call(inner, (weights, rest), (inputs,))
                return criterion(logits.unflatten(0, targets.shape[:2]), views)

            amount, figures = penalty(grad(loss)(images), views)
            return amount, (amount, figures)

        self._gradient = torch.compile(grad(value, has_aux=True), fullgraph=True)

    def __call__(self, images: torch.Tensor, views: Views) -> tuple[list[torch.Tensor], torch.Tensor, Figures]:
        """(V*B,C,H,W) images and their views -> a gradient per trained parameter, the penalty, its figures.

        Raises:
            UserError: the network cannot be traced.
        """
        from torch._dynamo.exc import TorchDynamoException  # a second of imports that `torch.compile` needs anyway

        inner = unwrapped(self.model)
        named = dict(inner.named_parameters())
        weights = {name: one.detach() for name, one in named.items() if one.requires_grad}
        frozen = {name: one.detach() for name, one in named.items() if not one.requires_grad}
        with batch_norm(inner, self._bn_mode), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Torchinductor does not support code generation for complex")
            rest = {**frozen, **dict(inner.named_buffers())}
            try:
                found, (amount, figures) = self._gradient(weights, rest, images, views.targets, views.weights)
            except TorchDynamoException as error:
                reason = str(error).strip().splitlines()[0]
                raise UserError(
                    f"reg.form=compiled: no trace of this network ({reason}); use reg.form=exact"
                ) from error
        return [found[name] for name in weights], amount, figures
