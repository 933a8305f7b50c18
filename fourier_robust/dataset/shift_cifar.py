"""Other images of CIFAR-10's classes: CIFAR-10.1 and 10.2 arrays, and the PNG tree of CINIC-10."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fourier_robust.dataset.base import Dataset, ResidentSplit
from fourier_robust.dataset.cifar import CIFAR10
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.label_space import by_name
from fourier_robust.dataset.locate import ImageFiles, image_files, missing, places, subfolders
from fourier_robust.dataset.ood import ExactSize
from fourier_robust.dataset.readable import FileSplit
from fourier_robust.dataset.shifted import Cell, Checked
from fourier_robust.dataset.streaming import worker_count
from fourier_robust.errors import DAMAGED_ARRAYS, UserError

CLASSES = CIFAR10.class_names


class CifarArrays:
    """Labelled images in the classes of CIFAR-10: two ``.npy`` files, or one ``.npz`` with both.

    Checked: (N,H,W,3) uint8 of the model's size, N labels of 0 to 9, and how many of each class there are, which tells
    the two versions of CIFAR-10.1 apart (checksums of the files are not published).

    Args:
        root: data folder.
        folders: below `root`, looked in before `root` itself.
        images: file name; in a ``.npz``, the array ``images``.
        labels: file name, the same for a ``.npz``, where the array is ``labels``.
        count: images of the release; None accepts any.
        per_class: of each class in turn; None accepts any.

    Source: Recht et al. 2018 (CIFAR-10.1, modestyachts/CIFAR-10.1); Lu et al. 2020 (CIFAR-10.2,
        modestyachts/cifar-10.2).
    """

    def __init__(
        self,
        root: str,
        folders: Sequence[str],
        images: str,
        labels: str,
        count: int | None = None,
        per_class: Sequence[int] | None = None,
    ) -> None:
        self._where = places(root, folders)
        self._files, self._count = (images, labels), count
        self._per_class = None if per_class is None else list(per_class)

    def absent(self) -> str | None:
        """See `ShiftedSet`."""
        if self._folder is not None:
            return None
        names = tuple(dict.fromkeys(self._files))
        return str(missing("arrays", (" and ".join(names),), self._where, "put the released files there"))

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`; reads the arrays."""
        images, labels = self._arrays
        path = self._paths[0]
        if images.dtype != np.uint8 or images.shape[1:] != (inside.size, inside.size, 3):
            wanted = f"(N, {inside.size}, {inside.size}, 3) uint8"
            raise UserError(f"{path} holds {images.shape} {images.dtype}, expected {wanted}")
        if labels.dtype.kind not in "ui" or labels.shape != (len(images),):
            raise UserError(f"{self._paths[1]} holds {labels.shape} {labels.dtype}, expected {len(images)} labels")
        if not len(labels) or labels.min() < 0 or labels.max() >= len(CLASSES):
            raise UserError(f"{self._paths[1]} holds labels outside 0 to {len(CLASSES) - 1}")
        if self._count not in (None, len(images)):
            raise UserError(f"{path} holds {len(images)} images, the release has {self._count}: another version?")
        found = np.bincount(labels, minlength=len(CLASSES)).tolist()
        if self._per_class is not None and found != self._per_class:
            raise UserError(
                f"{path} holds {found} images of the classes, the release {self._per_class}: another version?"
            )
        return Checked(by_name(inside.class_names, CLASSES))

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> ResidentSplit:
        """See `ShiftedSet`."""
        images, labels = self._arrays
        return ResidentSplit(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), device)

    @property
    def _folder(self) -> Path | None:
        there = (place for place in self._where if all((place / name).is_file() for name in self._files))
        return next(there, None)

    @property
    def _paths(self) -> tuple[Path, Path]:
        folder = self._folder
        if folder is None:
            raise UserError(str(self.absent()))
        return folder / self._files[0], folder / self._files[1]

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        path, other = self._paths
        return _array(path, "images"), _array(other, "labels")


class CINIC10:
    """One part of CINIC-10's test split: its images of ImageNet, or those that it took from CIFAR-10.

    The second part holds all 10,000 test and 10,000 training images of CIFAR-10 (the leak), so a model of CIFAR-10 is
    measured on the first. The parts are told apart by their file names, ``<synset>_<n>.png`` and ``cifar10-...png``.
    Checked: exactly the ten class folders, names that say the part, images of each class; another number than the
    70,000 and 20,000 of the release is a remark.

    Args:
        root: data folder.
        part: ``imagenet`` or ``cifar``.
        folders: below `root`, the first with a ``test/`` is read.
        count: images of the part in the release; None accepts any.
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.

    Source: Darlow et al., "CINIC-10 is not ImageNet or CIFAR-10", 2018 (BayesWatch/cinic-10).
    """

    def __init__(
        self,
        root: str,
        part: Literal["imagenet", "cifar"] = "imagenet",
        folders: Sequence[str] = ("CINIC-10", "cinic-10", "cinic10"),
        count: int | None = None,
        num_workers: int | None = None,
    ) -> None:
        if part not in ("imagenet", "cifar"):
            raise ValueError(f"part={part!r} must be 'imagenet' or 'cifar'")
        self._where = [place / "test" for place in places(root, folders)[:-1]]
        self._part, self._count, self._num_workers = part, count, worker_count(num_workers)

    def absent(self) -> str | None:
        """See `ShiftedSet`."""
        if any(place.is_dir() for place in self._where):
            return None
        return f"no folder {' or '.join(map(str, self._where))}; unpack CINIC-10 there (test/<class>/*.png)"

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`."""
        space = by_name(inside.class_names, CLASSES)
        assert len(self._files.labels)
        return Checked(space, clean="independent" if self._part == "imagenet" else "related", expected=self._count)

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> FileSplit:
        """See `ShiftedSet`; images of another size than the model's are refused."""
        return FileSplit(self._files, ExactSize(inside.size), device, self._num_workers)

    @cached_property
    def _files(self) -> ImageFiles:
        folder = next((place for place in self._where if place.is_dir()), None)
        if folder is None:
            raise UserError(str(self.absent()))
        names = subfolders(folder)
        if names != CLASSES:
            odd = sorted(set(names) ^ set(CLASSES)) or names
            raise UserError(f"{folder} holds {len(names)} class folders, not CIFAR-10's ten: {', '.join(odd[:3])}")
        files = image_files(folder, CLASSES)
        stems = [bytes(path).decode(errors="surrogateescape").rsplit("/", 1)[-1] for path in files.paths]
        synset = [len(stem) > 9 and stem[0] == "n" and stem[1:9].isdigit() and stem[9] == "_" for stem in stems]
        strange = [stem for stem, of in zip(stems, synset, strict=True) if not of and "cifar" not in stem]
        if strange:
            raise UserError(
                f"{folder} has files whose names do not say where they come from, e.g. {strange[0]}: the part that "
                "CINIC-10 took from CIFAR-10 could not be left out"
            )
        wanted = torch.tensor(synset) == (self._part == "imagenet")
        part = files.take(wanted.nonzero()[:, 0])
        empty = [name for label, name in enumerate(CLASSES) if not (part.labels == label).any()]
        if empty:
            raise UserError(f"{folder} has no image of the {self._part} part in class {empty[0]}")
        return part


def _array(path: Path, key: str) -> np.ndarray:
    """A ``.npy``'s array, or the array `key` of a ``.npz``; no pickle is ever read."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if key not in loaded:
                raise UserError(f"{path} has no array {key}; it has {', '.join(loaded)}")
            return loaded[key]
    except DAMAGED_ARRAYS as error:
        raise UserError(f"{path} is not a readable array: {(str(error).splitlines() or ['damaged'])[0]}") from None
