"""A shifted set that the data set brings along: another of its own splits."""

from __future__ import annotations

import torch

from fourier_robust.dataset.base import Dataset, Split
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.label_space import by_name
from fourier_robust.dataset.shifted import Cell, Checked
from fourier_robust.errors import UserError


class OwnSplit:
    """A split of the model's data set beside its test split, with the same images, changed, in the same order.

    Args:
        split: its name, e.g. ``test_swapped`` of the embedded set.
    """

    def __init__(self, split: str) -> None:
        self._name = split

    def absent(self) -> str | None:
        """See `ShiftedSet`; never."""
        return None

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`."""
        if self._name not in getattr(inside, "test_splits", ()):
            raise UserError(f"{inside.name} has no split {self._name}")
        return Checked(by_name(inside.class_names, inside.class_names), clean="paired")

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> Split:
        """See `ShiftedSet`."""
        return inside.split(self._name, device)
