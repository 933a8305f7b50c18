"""AutoAttack, from the package pyautoattack: four attacks in a row, each on the images that the last one left."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import nn

from fourier_robust.attack.base import Norm, attacking, check_ball, check_batch, logits_of
from fourier_robust.errors import UserError
from fourier_robust.run.memory import with_fewer

NAMES = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True)
class AutoAttack:
    """The version called standard: APGD-CE, APGD-T, FAB-T and Square, with the settings of its authors.

    Models of fewer than ten classes are attacked towards all their wrong classes, not nine. The package's own warnings
    (a random model, probabilities for logits, Square better than the white-box attacks) go to the log ``auto-attack``.
    Its resume file does not load again; suite=attacks keeps finished stretches of images instead. Where memory runs out
    it starts anew with half as many images at a time, down to one; its draws depend on that number (those of our own
    attacks don't), so its results may.

    Args:
        eps: see `Attack`.
        norm: as for `PGD`.

    Raises:
        ValueError: an argument outside its range. The package is missing, or the model has fewer than four classes:
            a UserError, when it is called (`ready` asks before).

    Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
        attacks", ICML 2020.
    """

    eps: float
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        check_ball(self.eps, self.norm)

    def ready(self) -> None:
        """Whether the package is there.

        Raises:
            UserError: it is not; names the extra.
        """
        try:
            import pyautoattack  # noqa: F401
        except ImportError as error:
            raise UserError("autoattack needs pyautoattack: pip install 'fourier-robust[attacks]'") from error

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """See `Attack`."""
        check_batch(images, labels)
        self.ready()
        if not (len(images) and self.eps):
            return images.clone()
        from pyautoattack import AutoAttack as Package

        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        devices = [images.device] if images.device.type == "cuda" else []
        trace = sys.gettrace()  # the package switches tracing off
        with attacking(model), torch.random.fork_rng(devices):
            with torch.no_grad():
                classes = logits_of(model, images[:1]).shape[1]
            if classes < 4:
                raise UserError(f"autoattack needs 4 classes or more, the model has {classes}")

            def at_once(count: int) -> torch.Tensor:
                attack = Package(
                    lambda points: model(points).float(),
                    norm=NAMES[self.norm],
                    eps=self.eps,
                    seed=seed,
                    device=images.device,
                )
                attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, classes - 1)
                found: torch.Tensor = attack.run_standard_evaluation(images.contiguous(), labels, batch_size=count)[0]
                return found.detach()

            try:
                return with_fewer(at_once, len(images))
            finally:
                sys.settrace(trace)
