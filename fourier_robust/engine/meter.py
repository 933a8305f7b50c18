"""Sums over an epoch, kept on the device so that no step waits for a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from fourier_robust.engine.distributed import ALONE, Team


class Meter:
    """Running loss and accuracy of an epoch, and the first step whose loss was not finite.

    Args:
        device: where the losses are; reading a property synchronises with it.
        sums: (loss, correct, images, steps) to go on from, as `state` gave them.
        team: processes that share the images, each with a meter of its own share; `whole` puts them together.
    """

    def __init__(self, device: torch.device, sums: list[float] | None = None, team: Team = ALONE) -> None:
        loss, correct, images, steps = sums or [0.0, 0.0, 0.0, 0.0]
        self._device, self._team = device, team
        correct, images = correct / team.size, images / team.size
        self._loss = torch.tensor(loss, dtype=torch.float64, device=device)
        self._correct = torch.tensor(correct, dtype=torch.float64, device=device)
        self._bad_step = torch.tensor(-1, device=device)
        self.images, self.steps = int(images), int(steps)

    def add(self, loss: torch.Tensor, correct: torch.Tensor, images: int, step: int) -> None:
        """Add one step: its 0-d loss, its number of correct images, its images, its global number."""
        self._loss += loss
        self._correct += correct
        self.images += images
        self.steps += 1
        self._bad_step = torch.where((self._bad_step < 0) & ~torch.isfinite(loss), step, self._bad_step)

    @property
    def loss(self) -> float:
        """Mean loss per step."""
        return float(self._loss) / max(self.steps, 1)

    @property
    def accuracy(self) -> float:
        """Share of correct images."""
        return float(self._correct) / max(self.images, 1)

    @property
    def bad_step(self) -> int | None:
        """Global number of the first step with a non-finite loss, or None."""
        step = int(self._bad_step)
        return None if step < 0 else step

    def whole(self) -> Meter:
        """That of all processes, which must all ask; itself for one process."""
        if self._team.size == 1:
            return self
        found = Meter(self._device)
        loss, correct, images = self._team.sum([float(self._loss), float(self._correct), self.images])
        found._loss += loss / self._team.size
        found._correct += correct
        found.images, found.steps = int(images), self.steps
        bad = self._team.largest(-math.inf if self.bad_step is None else -self.bad_step)
        found._bad_step.fill_(-1 if bad == -math.inf else int(-bad))
        return found

    def state(self) -> list[float]:
        """The sums, for a checkpoint in the middle of an epoch; of `whole`."""
        return [float(self._loss), float(self._correct), float(self.images), float(self.steps)]


class Means:
    """Means over an epoch of figures that not every step has; a name once seen stays, with None where no step had it.

    Args:
        device: where the figures are; `means` and `state` synchronise with it.
        sums: (sum, count) by name to go on from, as `state` gave them.
        team: processes that have figures of their own; all must ask for `means` and `state`, which are the mean's.
    """

    def __init__(
        self,
        device: torch.device,
        sums: Mapping[str, tuple[float, int]] | None = None,
        team: Team = ALONE,
    ) -> None:
        self._device, self._team = device, team
        self._sums = {
            name: (torch.tensor(value, dtype=torch.float64, device=device), count)
            for name, (value, count) in (sums or {}).items()
        }

    def add(self, figures: Mapping[str, torch.Tensor]) -> None:
        """Add one step's 0-d figures."""
        for name, figure in figures.items():
            value, count = self._sums.get(name, (torch.zeros((), dtype=torch.float64, device=self._device), 0))
            self._sums[name] = (value + figure, count + 1)

    def means(self) -> dict[str, float | None]:
        """By name, in the order they came."""
        return {name: value / count if count else None for name, (value, count) in self.state().items()}

    def state(self) -> dict[str, tuple[float, int]]:
        """The sums, for a checkpoint in the middle of an epoch."""
        sums = self._team.sum([float(value) for value, _ in self._sums.values()])
        counts = (count for _, count in self._sums.values())
        return {name: (value / self._team.size, n) for name, value, n in zip(self._sums, sums, counts, strict=True)}

    def restart(self) -> None:
        """Begin a new epoch with the names of the old one."""
        self._sums = {name: (torch.zeros_like(value), 0) for name, (value, _) in self._sums.items()}


def sentence(line: Mapping[str, Any], epochs: int) -> str:
    """An epoch's numbers as one printed line."""
    text = f"epoch {line['epoch']:>3}/{epochs}  loss {line['train_loss']:.4f}  train acc {line['train_accuracy']:.4f}"
    if line["val_error"] is not None:
        text += f"  val loss {line['val_loss']:.4f}  val error {line['val_error']:.4f}"
    return text + f"  {line['images_per_s']:.0f} img/s  {line['seconds']:.1f} s"
