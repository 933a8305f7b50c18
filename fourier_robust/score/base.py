"""What an OOD score is: one number per image from a model's outputs, larger = more out-of-distribution, always.

A score is a frozen class of settings that says what it `needs`:

    logits      of the images scored
    features    penultimate, of the images scored
    gradient    of the input pixels: the logits are those of moved images (see `odin`)
    head        weight and bias of the last linear layer
    train       outputs of in-distribution images that nothing is reported on, with the same of logits and features
    labels      of those

One that needs `train` or `head` has ``fit(train, head)``, which gives a scorer; any other is a scorer itself. `fit`
below treats both alike. A scorer maps `Outputs` to (N,) float64 and treats each image on its own. Tensors share one
device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from fourier_robust.errors import UserError

ROWS = 4096  # images whose features are turned to float64 at once


class Outputs(NamedTuple):
    """What a model says of N images.

    Attributes:
        logits: (N,K), any floating dtype.
        features: (N,D), the input of the last linear layer; None where nothing asks for it.
        labels: (N,) int64; None where unknown.
    """

    logits: torch.Tensor
    features: torch.Tensor | None = None
    labels: torch.Tensor | None = None


class Head(NamedTuple):
    """The last linear layer: weight (K,D), bias (K,); ``logits = features @ weight.T + bias``."""

    weight: torch.Tensor
    bias: torch.Tensor


Scorer = Callable[[Outputs], torch.Tensor]


def fit(score: Any, train: Outputs | None = None, head: Head | None = None) -> Scorer:
    """`score`, ready to be called.

    Raises:
        UserError: something that it needs is not there; the line names it.
        ValueError: a setting does not suit the outputs.
    """
    name, needs = type(score).__name__, score.needs
    if "head" in needs and head is None:
        raise UserError(f"score {name} needs the weight and bias of the model's last linear layer; there is none")
    if "train" in needs and train is None:
        raise UserError(f"score {name} needs the model's outputs on training images; none were given")
    return score.fit(train, head) if hasattr(score, "fit") else score


def features(outputs: Outputs | None) -> torch.Tensor:
    """The (N,D) features.

    Raises:
        UserError: there are none.
    """
    if outputs is None or outputs.features is None:
        raise UserError("this score needs penultimate features; the model gave logits alone")
    return outputs.features


def labels(outputs: Outputs) -> torch.Tensor:
    """The (N,) labels.

    Raises:
        UserError: there are none.
    """
    if outputs.labels is None:
        raise UserError("this score needs the labels of the training images; none were given")
    return outputs.labels


def by_rows(function: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """`function` of the rows of (N,D) `values` in float64, a block at a time, so that no float64 copy of all exists."""
    return torch.cat([function(block.double()) for block in values.split(ROWS)])


def head_energy(values: torch.Tensor, head: Head) -> torch.Tensor:
    """Minus log sum exp of the logits that (N,D) float64 features have."""
    return -(values @ head.weight.double().T + head.bias.double()).logsumexp(1)
