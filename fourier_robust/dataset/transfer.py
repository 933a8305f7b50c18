"""Sets that a model's features are carried over to: what a reader of one is, and the house's own sets as such."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image

from fourier_robust.dataset.base import Batch, Dataset, ResidentSplit, Split
from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.errors import UserError


class Transfer(NamedTuple):
    """Training and test images of one set, labels alike: places in `classes`, its class names.

    `remark` is what a reader of its numbers must know, or empty.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    remark: str = ""


class TransferSet(Protocol):
    """One set, with classes of its own."""

    def absent(self) -> str | None:
        """What was looked for, where, and what belongs there, in one line; None where it is there."""
        ...

    def read(self, crop: CentreCrop) -> Transfer:
        """The images on the CPU, as `crop` makes them; image files are decoded when they are asked for.

        Raises:
            UserError: files that are damaged or missing, or a class that train or test has no image of.
        """
        ...


class Cropped:
    """A split whose images are resized and cropped as they are asked for; those that fit already stay as they are.

    Args:
        split: on the CPU.
        crop: from an image of any size to what the model takes.
    """

    def __init__(self, split: Split, crop: CentreCrop) -> None:
        self.labels, self.identity = split.labels, split.identity
        self._split, self._crop = split, crop

    def __len__(self) -> int:
        return len(self._split)

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`."""
        for images, labels, indices in self._split.batches(batch_size, order, seed, drop_last):
            yield Batch(self._fitted(images), labels, indices)

    def _fitted(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[2:] == (self._crop.size,) * 2 and self._crop.resize == self._crop.size:
            return images
        levels = images.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        unused = torch.Generator()
        cut = np.stack([np.asarray(self._crop(Image.fromarray(image), unused)) for image in levels])
        return torch.from_numpy(cut).permute(0, 3, 1, 2).float().div_(255)


class OfDataset:
    """A data set of the house: its `train` and `test`.

    Args:
        dataset: one whose `train` is as evaluation takes images (no random crops).
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._train: Split | None = None

    def absent(self) -> str | None:
        """See `TransferSet`; reads the training split."""
        try:
            self._train = self._dataset.split("train")
        except UserError as error:
            return str(error)
        return None

    def read(self, crop: CentreCrop) -> Transfer:
        """See `TransferSet`."""
        parts = self._train or self._dataset.split("train"), self._dataset.split("test")
        names = tuple(self._dataset.class_names)
        check_classes(parts[0].labels, parts[1].labels, names)
        return Transfer(Cropped(parts[0], crop), Cropped(parts[1], crop), names)


class Arrays(NamedTuple):
    """images (N,H,W,3) or (N,H,W) uint8, and labels (N,)."""

    images: np.ndarray
    labels: np.ndarray


def of_arrays(train: Arrays, test: Arrays, classes: tuple[str, ...], crop: CentreCrop) -> Transfer:
    """Two parts in memory as a set; grey images become RGB.

    Raises:
        ValueError: numbers of images and labels that differ, or a label out of range.
        UserError: a class that one of them has no image of.
    """
    splits = []
    for images, labels in (train, test):
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images, {len(labels)} labels")
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(classes):
            raise ValueError(f"labels outside its {len(classes)} classes")
        colour = images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)
        kept = torch.from_numpy(np.ascontiguousarray(colour))
        splits.append(ResidentSplit(kept, torch.from_numpy(labels.astype(np.int64))))
    check_classes(splits[0].labels, splits[1].labels, classes)
    return Transfer(Cropped(splits[0], crop), Cropped(splits[1], crop), classes)


def check_classes(train: torch.Tensor, test: torch.Tensor, names: tuple[str, ...]) -> None:
    """Refuse a set with a class that is missing in train or in test.

    Raises:
        UserError: names the first of them.
    """
    for part, labels in (("training", train), ("test", test)):
        counts = labels.bincount(minlength=len(names))
        gone = (counts == 0).nonzero()[:, 0].tolist()
        if gone:
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            raise UserError(f"no {part} image of class {names[gone[0]]}{more}")
