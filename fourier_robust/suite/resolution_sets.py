"""The sets of images that `suite=resolution` is asked on, each at all sizes: clean, corrupted, shifted."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from fourier_robust.dataset.base import Batch, Dataset
from fourier_robust.dataset.crops import CentreCrop, Interpolation
from fourier_robust.dataset.label_space import LabelSpace
from fourier_robust.dataset.resized import crops, own_interpolation, own_share, views, views_of
from fourier_robust.errors import UserError
from fourier_robust.run.release import Release
from fourier_robust.suite.base import Condition, Source
from fourier_robust.suite.clean import table_name
from fourier_robust.suite.corruptions import Corruptions
from fourier_robust.suite.shift import Shift

SETS = ("clean", "corruptions", "shift")
_KEYS = re.compile(r"\bsuite(?=\.(sets|readers|unreadable)\b)")  # as `Shift` names its settings


class Sets:
    """Each image is read and decoded once for all sizes, and shown as the data set shows its own at that size.

    Args:
        corruptions: which corrupted images there are; used with ``corruptions`` among `chosen`.
        shift: which shifted sets; used with ``shift`` among `chosen`, without clips.
        chosen: out of `SETS`.
        split: of the clean images.

    Attributes:
        crops: one per size, of image files; after `conditions`.
    """

    def __init__(self, corruptions: Corruptions, shift: Shift, chosen: Sequence[str], split: str) -> None:
        self._corruptions, self._shift, self._chosen, self._split = corruptions, shift, chosen, split
        self.crops: tuple[CentreCrop, ...] = ()

    def conditions(
        self, dataset: Dataset, sizes: Sequence[int], crop_ratio: float | None, interpolation: Interpolation | None
    ) -> list[Condition]:
        """One per set, corruption and severity.

        Args:
            dataset: of the model.
            sizes: pixels.
            crop_ratio: share of the short side that is kept; None takes the data set's own.
            interpolation: of the resize; None takes the data set's own, or else bilinear.

        Raises:
            UserError: a set is missing or not to be measured at other sizes, or two are called the same.
        """
        interpolation = interpolation or own_interpolation(dataset)
        own = own_share(dataset)
        share = crop_ratio or own
        self._own, self._of_files = dataset.size, hasattr(dataset, "test_crop")
        self.crops = crops(sizes, share, interpolation)
        self._crops_of_ready = crops(sizes, min(1.0, share / own), interpolation)
        self._shares = (share, own)
        self._ready: dict[str, None] = {}
        self._clean = Condition(table_name(dataset, self._split)) if "clean" in self._chosen else None
        self._corrupted: list[Condition] = []
        if "corruptions" in self._chosen:
            self._no_wider("the corrupted ones")
            self._corrupted = [one for one in self._corruptions.conditions(dataset) if one.corruption]
        self._shifted: dict[Condition, LabelSpace] = {}
        if "shift" in self._chosen:
            with _keys():
                cells = self._shift.check(dataset, clips=False)
            self._shifted = {one: checked.space for one, checked in cells.items() if checked.space is not None}
            if share > own:  # said before any work: which images are no files of any size?
                for one in self._shifted:
                    with _keys():
                        ready = self._shift.taken(dataset, one, self.crops, torch.device("cpu")).ready
                    if ready:
                        self._no_wider(f"those of {one.dataset}")
        known = (*getattr(dataset, "test_splits", ("test",)), *(("val",) if dataset.val_size else ()))
        if self._clean and self._split not in known:
            raise UserError(f"suite.split: {dataset.name} has no split {self._split} to measure on")
        twice = [one for one in self._shifted if one == self._clean or one in self._corrupted]
        if twice:
            other = f"suite.split={self._split}" if twice[0] == self._clean else "corruptions"
            raise UserError(f"suite.sets: {twice[0].key} is a set of both shift and {other}: leave one of them out")
        return [*([self._clean] if self._clean else []), *self._corrupted, *self._shifted]

    def _no_wider(self, what: str) -> None:
        """Refuse to show more of images than the part of them that `what` hold."""
        share, own = self._shares
        if share > own:
            raise UserError(
                f"suite.crop_ratio={share:g} shows more of an image than {what} hold ({own:g}, the data set's own "
                "crop): give less, or leave them out (suite.sets)"
            )

    def to_write(self) -> Release | None:
        """What `corruptions` has written before it is read; see `Corruptions.to_write`."""
        return self._corruptions.to_write() if self._corrupted else None

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, stretch: int, how: str) -> Source:
        """Of each stretch of images one batch per size.

        Args:
            dataset: of the model.
            condition: of the set.
            device: where the batches end up.
            stretch: images that are read at a time.
            how: what is done to the model, for the identity.
        """
        how = _shown(self.crops) + how
        if condition == self._clean:
            split = dataset.split(self._split, device)
            return Source(views(split, self.crops, stretch), len(split), f"{split.identity}+{how}")
        if condition not in self._shifted:
            found = self._corruptions.source(dataset, condition, device, stretch)
            batches = views_of(found.batches, self._crops_of_ready)
            return found._replace(batches=batches, identity=f"{found.identity}+{how}")
        with _keys():
            taken = self._shift.taken(dataset, condition, self.crops, device)
        batches = taken.batches(stretch)
        identity = f"{taken.split.identity}+{self._shifted[condition].identity}"
        if taken.ready:
            self._ready[condition.dataset] = None
            batches, identity = views_of(batches, self._crops_of_ready), f"{identity}+{_shown(self._crops_of_ready)}"
        return Source(_in_words_of_here(batches), len(taken.order), f"{identity}+{how}")

    def space(self, condition: Condition) -> LabelSpace | None:
        """How the classes of a shifted set meet the model's; None of other images, whose labels are the model's."""
        return self._shifted.get(condition)

    def readable(self, condition: Condition, labels: torch.Tensor) -> torch.Tensor:
        """(N,) bool, which of the images with (N,) `labels` could be read; the others become a remark."""
        if condition not in self._shifted:
            return torch.ones_like(labels, dtype=torch.bool)
        with _keys():
            return self._shift.readable(condition, labels)

    def row(self, condition: Condition) -> Condition:
        """As tables have it: the severity belongs to the corruption's name, for columns are metrics."""
        if condition.severity is None:
            return condition
        return replace(condition, corruption=f"{condition.corruption}-{condition.severity}", severity=None)

    def title(self, condition: Condition) -> str:
        """As the picture has it."""
        row = self.row(condition)
        if condition not in self._shifted:
            return row.corruption or "clean"
        return " ".join(part for part in (row.dataset, row.corruption) if part)

    def remarks(self) -> list[str]:
        """From what size images are resized that are no files, and what the sets' own suites remark."""
        said = []
        if self._clean and not self._of_files:
            said.append(f"images are {self._own} pixels on a side: larger sizes add no detail")
        ready = next((one for one in self._crops_of_ready if one.size == self._own), None)
        scale = "" if ready is None else f" (short side to size x {ready.resize / ready.size:.4g})"
        if self._corrupted:
            said += [f"corrupted at {self._own} pixels, then resized{scale}", *self._corruptions.remarks()]
        if self._ready:
            said.append(f"{', '.join(self._ready)}: taken at {self._own} pixels, then resized{scale}")
        if self._shifted:
            said += [_renamed(remark) for remark in self._shift.remarks()]
        return said


def _shown(of: Sequence[CentreCrop]) -> str:
    """The sizes of the images in words that stand in their identity."""
    return f"{'-'.join(f'{one.size}of{one.resize}' for one in of)}-{of[0].interpolation}"


def _renamed(text: str) -> str:
    """A line of `Shift`'s with its settings called as they are here."""
    return _KEYS.sub("suite.shift", text)


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Errors of `Shift` name its settings as they are called here."""
    try:
        yield
    except UserError as error:
        raise UserError(_renamed(str(error))) from error


def _in_words_of_here(batches: Iterable[Batch]) -> Iterator[Batch]:
    with _keys():
        yield from batches
