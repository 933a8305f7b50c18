"""A set of image files of which a few may be damaged: those are left out, named and counted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from PIL import Image

from fourier_robust.dataset.base import Batch
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.locate import ImageFiles
from fourier_robust.dataset.ood import ExactSize
from fourier_robust.dataset.streaming import StreamingSplit
from fourier_robust.errors import UserError

UNREADABLE = -2
"""The label of an image that could not be read; its pixels are 0."""
_NAMED = 3


def placed(labels: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(N,) labels of a set -> its shared classes, by (S,) `places`; `UNREADABLE` stays."""
    return torch.where(labels == UNREADABLE, UNREADABLE, places[labels.clamp_min(0)])


def named(what: str, batches: Iterator[Batch]) -> Iterator[Batch]:
    """`batches`, whose error begins with `what`."""
    try:
        yield from batches
    except UserError as error:
        raise UserError(f"{what}: {error}") from error


class FileSplit(StreamingSplit):
    """A `StreamingSplit` that says which files it reads, and how they arrive.

    Args:
        files: as in `StreamingSplit`.
        crop: likewise.
        device: likewise.
        num_workers: likewise.
    """

    def __init__(
        self, files: ImageFiles, crop: Crop, device: torch.device | str = "cpu", num_workers: int | None = None
    ) -> None:
        super().__init__(files, crop, device, num_workers)
        self.files, self.crop, self.device = files, crop, torch.device(device)

    @property
    def ready(self) -> bool:
        """Whether its files are of one size, and taken as they are."""
        return isinstance(self.crop, ExactSize)

    def misfits(self, place: int) -> bool:
        """Whether the file there is an image of a size that is refused, and not damaged."""
        try:
            with Image.open(self.files.folder / os.fsdecode(self.files.paths[place])) as image:
                return self.ready and image.size != (self.crop.size,) * 2
        except (OSError, ValueError, Image.DecompressionBombError):
            return False


class Readable:
    """The images of a split, some of which may be unreadable.

    Args:
        split: the images; labels are 0 or more.
        order: (N,) int64, which of them.
        most: the largest share of unreadable ones, in [0,1]; one more is an error.
        crops: of each image; None takes the split's own alone.
        kept_in: what a reader leaves out with an unreadable image, in the plural: they themselves, or e.g. clips.
    """

    def __init__(
        self,
        split: FileSplit,
        order: torch.Tensor,
        most: float,
        crops: Sequence[Crop] | None = None,
        kept_in: str = "",
    ) -> None:
        self._split, self._order, self._share = split, order, most
        self._gone = f"their {kept_in} are left out" if kept_in else "are left out"
        self._crops = (split.crop,) if crops is None else tuple(crops)
        self._most = int(most * len(order))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """As `StreamingSplit.each`; unreadable images keep their place, with the label `UNREADABLE`.

        Raises:
            UserError: too many are unreadable, one has a size that is refused, or a worker that decodes died.
        """
        left, bad = self._order, 0
        while len(left):
            try:
                each = self._split.each(self._crops, batch_size, left)
                for group in zip(*[each] * len(self._crops), strict=True):
                    yield from group
                    left = left[len(group[0].indices) :]
            except UserError as error:
                batches = self._singly(left[:batch_size], error)
                bad += int((batches[0].labels == UNREADABLE).sum())
                if bad > self._most:
                    raise UserError(f"{bad} of {len(self._order)} images{self._limit()}, the last: {error}") from None
                yield from batches
                left = left[batch_size:]

    def left_out(self, labels: torch.Tensor) -> str | None:
        """What a reader of the table must know of the (N,) `labels` that were seen; None where all were read.

        Raises:
            UserError: too many are unreadable, of outcomes that an earlier version kept under another limit.
        """
        bad = self._order[labels.cpu() == UNREADABLE].tolist()
        if not bad:
            return None
        folder, paths = self._split.files.folder, self._split.files.paths
        names = [str(folder / os.fsdecode(paths[place])) for place in bad[:_NAMED]]
        said = f"{len(bad)} of {len(self._order)} images"
        if len(bad) > self._most:
            raise UserError(f"{said}{self._limit()}: {', '.join(names)}")
        return f"{said} could not be read and {self._gone}: {', '.join(names)}{' ...' * (len(bad) > _NAMED)}"

    def _limit(self) -> str:
        return f" could not be read, more than {self._share:g} of them (suite.unreadable)"

    def _singly(self, part: torch.Tensor, error: UserError) -> list[Batch]:
        """One batch per crop, image by image in this process; `error` again where each of them can be read."""
        alone, device, labels = self._split.alone(), self._split.device, torch.full((len(part),), UNREADABLE)
        pixels = [torch.zeros(len(part), 3, crop.size, crop.size) for crop in self._crops]
        for row, place in enumerate(part):
            try:
                of_crops = list(alone.each(self._crops, 1, place[None]))
            except UserError:
                if self._split.misfits(int(place)):
                    raise
                continue
            labels[row] = of_crops[0].labels[0].cpu()
            for images, one in zip(pixels, of_crops, strict=True):
                images[row] = one.images[0].cpu()
        if not (labels == UNREADABLE).any():
            raise error
        return [Batch(images.to(device), labels.to(device), part) for images in pixels]
