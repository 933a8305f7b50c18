"""What a training run works on, and what it asks of its optimizer and regularizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn

from fourier_robust.aug.views import Augmentation, ModelAugmentation
from fourier_robust.dataset.base import Split
from fourier_robust.engine.distributed import ALONE, Team
from fourier_robust.reg.step import Step


class Regularizer(Protocol):
    """Adds a penalty's gradient to the parameters, between the loss's backward and the optimizer's step.

    A penalty that differentiates the loss twice needs its graph, so it may ask for a step whose one backward pass
    is its own: `shares_pass`, then `step.joint`.
    """

    def shares_pass(self, number: int) -> bool:
        """Whether step `number` wants images that require gradients and a loss not yet differentiated."""
        ...

    def add_gradient(self, step: Step) -> dict[str, torch.Tensor]:
        """Add the gradient; returns 0-d figures by name, on the device, for the epoch's line of train.csv."""
        ...


class OptimizerRecipe(Protocol):
    """Builds an optimizer whose groups hold `base_lr`, and the rule: global step -> multiplier of every base_lr."""

    def build(
        self, model: nn.Module, epochs: int, steps_per_epoch: int, batch_size: int
    ) -> tuple[torch.optim.Optimizer, Callable[[int], float]]: ...


@dataclass
class Job:
    """What a training run works on.

    Attributes:
        model: on the device; takes [0,1] pixels, normalises first.
        train, val: splits on the device; val None where nothing is held out.
        aug, reg, optim: the method.
        seed: every draw derives from it.
        device: where model and data are.
        channels_last, compiled: how the forward pass is run; neither changes what is computed.
        save: called with (step, weights, state) to write a checkpoint; by the first process of the team alone.
        record: called with the history (one dict per epoch) after each epoch; as `save`.
        micro_batch: images of a forward and backward pass, whose gradients add up to the step's; see `MicroBatches`.
        team: the processes that share every batch; each has all of this, and the same seed.
    """

    model: nn.Module
    train: Split
    val: Split | None
    aug: Augmentation | ModelAugmentation
    reg: Regularizer
    optim: OptimizerRecipe
    seed: int
    device: torch.device
    channels_last: bool
    compiled: bool
    save: Callable[[int, Mapping[str, torch.Tensor], Mapping[str, Any]], Any]
    record: Callable[[list[dict[str, Any]]], None]
    micro_batch: int | Literal["auto"] | None = None
    team: Team = ALONE
