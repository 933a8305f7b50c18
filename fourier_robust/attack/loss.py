"""What an attack makes larger: one value per image, larger where the model is closer to an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch.nn import functional

from fourier_robust.errors import UserError

Loss = Literal["ce", "margin", "dlr"]
PerImage = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Keeps the ratio of differences of logits finite where all of them are equal.
_TINY = 1e-12


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,K), (B,) -> (B,): negative log-likelihood of the label, nats; its gradient vanishes for confident models."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,K), (B,) -> (B,): the largest other logit minus the label's; above 0 is an error."""
    return _best_other(logits, labels) - _own(logits, labels)


def dlr(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """`margin` over the gap between the largest and the third largest logit; no scale of the logits changes it.

    Raises:
        UserError: fewer than three classes.

    Source: Croce and Hein, ICML 2020, "difference of logits ratio".
    """
    _require(logits, 3, "dlr")
    top = logits.topk(3, 1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + _TINY)


def targeted_dlr(logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The target's logit minus the label's, over the gap from the largest to the mean of the third and the fourth.

    Raises:
        UserError: fewer than four classes.
    """
    _require(logits, 4, "targeted dlr")
    top = logits.topk(4, 1).values
    gap = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    return (_own(logits, targets) - _own(logits, labels)) / (gap + _TINY)


LOSSES: dict[str, PerImage] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def check_loss(loss: str) -> None:
    """Refuse an unknown loss.

    Raises:
        ValueError: as said.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")


def _own(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.gather(1, labels[:, None])[:, 0]


def _best_other(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def _require(logits: torch.Tensor, classes: int, loss: str) -> None:
    if logits.shape[1] < classes:
        raise UserError(f"the loss {loss} needs {classes} classes or more, the model has {logits.shape[1]}")
