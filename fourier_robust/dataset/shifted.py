"""Sets of other images of a model's classes: what a reader of one is, and what it says of the set it has checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, Protocol

import torch

from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.label_space import LabelSpace
from fourier_robust.dataset.readable import Readable


class Cell(NamedTuple):
    """One part of a set that is measured alone: a corruption (or perturbation), and its severity 1 to 5."""

    corruption: str | None = None
    severity: int | None = None


WHOLE = (Cell(),)


class Parts(NamedTuple):
    """Parts of a set beside its classes, such as renditions: their names, and which one each image is of, (N,) int64.

    Images are in the order of the reader's split.
    """

    names: tuple[str, ...]
    members: torch.Tensor


class Checked(NamedTuple):
    """A set whose layout is right.

    Attributes:
        space: how its classes meet the model's; None for clips, which have no labels.
        cells: what is measured alone.
        remarks: what a reader of the table must know.
        clean: its images against the clean test images: ``independent`` ones, the same ones in the same order
            (``paired``), or related in a way that allows no interval for a difference (``related``).
        headline: name and members of the mean over corruptions or perturbations, e.g. ("common10", ten names).
        expected: images per cell of the release; another number is a remark. None accepts any.
        parts: whose errors are given too; of a set with one cell.
        alexnet: perturbation -> flip rate of AlexNet on the release, for all members of `headline`, or none.
    """

    space: LabelSpace | None
    cells: tuple[Cell, ...] = WHOLE
    remarks: tuple[str, ...] = ()
    clean: Literal["independent", "paired", "related"] = "independent"
    headline: tuple[str, tuple[str, ...]] = ("", ())
    expected: int | None = None
    parts: Parts | None = None
    alexnet: Mapping[str, float] | None = None


class ShiftedSet(Protocol):
    """A reader of one set."""

    def absent(self) -> str | None:
        """What was looked for, where, and how to get it, in one line; None where it is there."""
        ...

    def check(self, inside: Dataset) -> Checked:
        """Look at the layout and at the classes, for a model of `inside`; reads no pixels of folders of images.

        Raises:
            UserError: a layout that looks wrong, with the reason, or classes that do not meet the model's.
        """
        ...

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> Split:
        """The images of a cell; labels are places among the set's own classes. After `check`.

        Args:
            inside: the data set of the model.
            cell: one of `Checked.cells`.
            crop: of the model's test images, for images of other sizes.
            device: where the batches end up.

        Raises:
            UserError: files that are damaged or of another size.
        """
        ...


class Taken(NamedTuple):
    """Those images of a cell whose classes the model has; of clips all.

    Attributes:
        split: they and others.
        order: (N,) int64, which of `split` they are.
        files: the same of image files of which a few may be damaged; else None.
        ready: whether all are at the model's size already, where no crop was asked for.
    """

    split: Split
    order: torch.Tensor
    files: Readable | None
    ready: bool

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Of each stretch of images one batch per crop that was asked for; of those that are `ready` one."""
        return self.split.batches(batch_size, self.order) if self.files is None else self.files.batches(batch_size)


class ClipSplit(Split, Protocol):
    """Frames of clips, clip after clip; `frames` of each.

    Attributes:
        frames: F, per clip.
    """

    frames: int
