"""What an augmentation hands to the trainer, and the kinds of steps it is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn

Params = dict[str, Any]


class Views(NamedTuple):
    """V weighted views of one batch; the loss is ``sum_v weights[v] * CE(logits[v], targets[v])``.

    Attributes:
        images: (V,B,C,H,W) float32.
        targets: (V,B) int64 labels, or (V,B,K) float32 whose rows sum to 1.
        weights: V floats, on the host (no device synchronisation to read them).
    """

    images: torch.Tensor
    targets: torch.Tensor
    weights: tuple[float, ...]


class Transform(Protocol):
    """An image-to-image step. Random numbers are drawn apart from their use, so a draw can be replayed."""

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """Draw one parameter set per image of a (B,C,H,W) batch, on the generator's (CPU) device."""
        ...

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        """(B,C,H,W) float32 in [0,1] -> the same; deterministic given `params`; input left unchanged."""
        ...


class Pairing(Protocol):
    """The last step of an augmentation: from one batch to weighted views of it."""

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params: ...

    def apply(self, images: torch.Tensor, labels: torch.Tensor, params: Params) -> Views: ...


class Augmentation(Pairing, Protocol):
    """All of it: from the images of the data set to weighted views; a `Chain`, or what a `ModelAugmentation` gives."""


@runtime_checkable
class ModelAugmentation(Protocol):
    """An augmentation that needs the model: the trainer asks it once, before the first step, for one that has it."""

    def for_model(self, model: nn.Module, precision: Callable[[], AbstractContextManager[Any]]) -> Augmentation:
        """What makes views for `model`, which is never compiled and learns between calls.

        Args:
            model: takes (B,C,H,W) in [0,1], gives (B,K); in training mode and left so.
            precision: gives the trainer's autocast, or nothing where it computes in float32.
        """
        ...
