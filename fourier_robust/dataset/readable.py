"""A set of image files of which a few may be damaged: those are left out, named and counted."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch

from fourier_robust.dataset.base import Batch
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.locate import ImageFiles
from fourier_robust.dataset.streaming import StreamingSplit
from fourier_robust.errors import UserError

UNREADABLE = -2
"""The label of an image that could not be read; its pixels are 0."""
_NAMED = 3


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
        self.files, self.size, self.device = files, crop.size, torch.device(device)


class Readable:
    """The images of a split, some of which may be unreadable.

    Args:
        split: the images; labels are 0 or more.
        order: (N,) int64, which of them.
        most: the largest share of unreadable ones, in [0,1]; one more is an error.
    """

    def __init__(self, split: FileSplit, order: torch.Tensor, most: float) -> None:
        self._split, self._order, self._share = split, order, most
        self._most = int(most * len(order))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """As `Split.batches`; unreadable images keep their place, with the label `UNREADABLE`.

        Raises:
            UserError: too many are unreadable, or a worker that decodes died.
        """
        left, bad = self._order, 0
        while len(left):
            try:
                for batch in self._split.batches(batch_size, left):
                    yield batch
                    left = left[len(batch.indices) :]
            except UserError as error:
                batch = self._singly(left[:batch_size], error)
                bad += int((batch.labels == UNREADABLE).sum())
                if bad > self._most:
                    raise UserError(f"{bad} of {len(self._order)} images{self._limit()}, the last: {error}") from None
                yield batch
                left = left[batch_size:]

    def left_out(self, labels: torch.Tensor) -> str | None:
        """What a reader of the table must know of the (N,) `labels` that were seen; None where all were read.

        Raises:
            UserError: too many are unreadable, of outcomes that an earlier launch with another limit kept.
        """
        bad = self._order[labels.cpu() == UNREADABLE].tolist()
        if not bad:
            return None
        folder, paths = self._split.files.folder, self._split.files.paths
        names = [str(folder / os.fsdecode(paths[place])) for place in bad[:_NAMED]]
        said = f"{len(bad)} of {len(self._order)} images"
        if len(bad) > self._most:
            raise UserError(f"{said}{self._limit()}: {', '.join(names)}")
        return f"{said} could not be read and are left out: {', '.join(names)}{' ...' * (len(bad) > _NAMED)}"

    def _limit(self) -> str:
        return f" could not be read, more than {self._share:g} of them (suite.unreadable)"

    def _singly(self, part: torch.Tensor, error: UserError) -> Batch:
        """One batch, image by image in this process; `error` again where each of them can be read."""
        alone, size = self._split.alone(), self._split.size
        images, labels = torch.zeros(len(part), 3, size, size), torch.full((len(part),), UNREADABLE)
        for row, place in enumerate(part):
            try:
                (one,) = alone.batches(1, place[None])
            except UserError:
                continue
            images[row], labels[row] = one.images[0].cpu(), one.labels[0].cpu()
        if not (labels == UNREADABLE).any():
            raise error
        return Batch(images.to(self._split.device), labels.to(self._split.device), part)
