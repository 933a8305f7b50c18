"""Adversarial training: the last step of an augmentation attacks the views it has made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from fourier_robust.arch.batch_norm import BNMode, batch_norm
from fourier_robust.attack.base import Attack
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.views import Pairing, Params, Transform, Views
from fourier_robust.errors import UserError


class Adversarial:
    """A `Chain` whose views are then attacked, all together, with the model as it is at that step.

    The network sees attacked images only, so train_loss and train_accuracy are those under the attack. The attack
    computes in the trainer's precision, with an eager model, dropout off; it leaves modes, gradients and BatchNorm's
    running statistics as they were. Its draws follow from the step's, so a resumed run equals an uninterrupted one.

    Args:
        attack: of every view; its labels are the view's.
        bn_mode: of BatchNorm in the attack: ``train`` takes the statistics of the batch, as the step that follows
            does, ``eval`` the running ones.
        compat: "clean" takes weights and number of views as they come. "upstream" is what the released code does with
            APR-P: both views share the weight of one (mean of their losses, not the sum), and an unmixed batch is two
            views, each with a random start of its own.
        views: as `Chain`.
        global_pairs: as `Chain`.
        transforms: as `Chain`.

    Raises:
        ValueError: an unknown choice.

    Source:
        Madry et al., ICLR 2018 (PGD); Wong, Rice and Kolter, "Fast is better than free", ICLR 2020 (FGSM), whose code
        attacks the network in training mode; with APR: Chen et al., ICCV 2021, iCGY96/APR autoattacks/train_fgsm.py.

    Deviates:
        There BatchNorm's running statistics also take in the attack's pass; here only the step's. Views are limited to
        [0,1] before the attack; there a pixel that APR-P put outside stays at the border. Neither effect is measured.
    """

    def __init__(
        self,
        attack: Attack,
        bn_mode: BNMode = "train",
        compat: Literal["clean", "upstream"] = "clean",
        views: Pairing | None = None,
        global_pairs: bool = False,
        **transforms: Transform,
    ) -> None:
        for name, value, choices in (
            ("bn_mode", bn_mode, ("train", "eval")),
            ("compat", compat, ("clean", "upstream")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        self.attack, self.bn_mode, self.compat = attack, bn_mode, compat
        self.chain = Chain(views, global_pairs, **transforms)

    def for_model(self, model: nn.Module, precision: Callable[[], AbstractContextManager[Any]]) -> AttackedViews:
        """See `ModelAugmentation`."""
        return AttackedViews(self, model, precision)


@dataclass(frozen=True)
class AttackedViews:
    """`Adversarial` with the model it attacks; see `Augmentation`."""

    made_by: Adversarial
    model: nn.Module
    precision: Callable[[], AbstractContextManager[Any]]

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """The chain's draws, and `attack`, the seed of the attack's (drawn last)."""
        params = self.made_by.chain.sample(shape, generator)
        return params | {"attack": int(torch.randint(2**62, (), generator=generator))}

    def apply(self, images: torch.Tensor, labels: torch.Tensor, params: Params) -> Views:
        """(B,C,H,W) in [0,1] and labels (B,) -> attacked views; given `params`, they follow from the weights.

        Raises:
            UserError: labels are not one class per image; or as the attack.
        """
        views = self.made_by.chain.apply(images, labels, params)
        if views.targets.ndim != 2:
            raise UserError("adversarial training needs one class per image; this augmentation mixes labels")
        if self.made_by.compat == "upstream":
            views = _two_of_weight_one(views)
        before, generator = views.images.flatten(0, 1).clamp(0, 1), torch.Generator().manual_seed(params["attack"])
        with batch_norm(self.model, self.made_by.bn_mode), self.precision():
            attacked = self.made_by.attack(self.model, before, views.targets.flatten(), generator)
        return views._replace(images=attacked.unflatten(0, views.images.shape[:2]))


def _two_of_weight_one(views: Views) -> Views:
    """Weights that sum to 1; a single view becomes two."""
    if len(views.weights) == 1:
        views = Views(views.images.repeat(2, 1, 1, 1, 1), views.targets.repeat(2, 1), views.weights * 2)
    return views._replace(weights=tuple(weight / sum(views.weights) for weight in views.weights))
