"""What an augmentation hands to the trainer, and the two kinds of steps it is made of."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch

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
