"""Sets of images that belong to none of a model's classes: what a reader of one is, and those that lie on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from fourier_robust.dataset.base import Dataset, ResidentSplit, Split
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.locate import ImageFiles, image_files, missing, places
from fourier_robust.dataset.streaming import StreamingSplit, worker_count
from fourier_robust.errors import DAMAGED_ARRAYS, UserError

NO_CLASS = -1  # the label of images that have none of the model's


class Reader(Protocol):
    """One set of out-of-distribution images."""

    def absent(self) -> str | None:
        """What was looked for, where, and how to get it, in one line; None where it is there."""
        ...

    def split(self, inside: Dataset, crop: Crop, device: torch.device | str) -> Split:
        """The images, as a model of `inside` takes them.

        Args:
            inside: the in-distribution data set.
            crop: makes an image of any size one of ``inside.size``, or refuses it with a ValueError.
            device: where the batches end up.

        Raises:
            UserError: files that are damaged, empty, or of a size that `crop` refuses.
        """
        ...


class ExactSize:
    """A `Crop` that lets images of one size pass and refuses all others.

    Args:
        size: pixels per side.
        why: the setting that asks for it, for the message.
    """

    def __init__(self, size: int, why: str = "") -> None:
        self.size, self._why = size, f" ({why})" if why else ""

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        """`image` as it is."""
        if image.size != (self.size, self.size):
            width, height = image.size
            raise ValueError(f"{width}x{height} pixels, the model takes {self.size}x{self.size}{self._why}")
        return image


class ImageTree:
    """All images below a folder, at any depth, whatever the folders in it are called.

    Args:
        root: data folder.
        folders: below `root`, the first that exists is read; none: `root` itself.
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.
    """

    def __init__(self, root: str, folders: Sequence[str] = (), num_workers: int | None = None) -> None:
        self._where = places(root, folders)[: len(folders) or None]
        self._num_workers = worker_count(num_workers)

    @cached_property
    def _files(self) -> ImageFiles:
        folder = next((place.resolve() for place in self._where if place.is_dir()), None)
        if folder is None:
            raise UserError(f"no folder {' or '.join(map(str, self._where))}; put its images there, in any tree")
        files = image_files(folder.parent, (folder.name,))
        return files._replace(labels=torch.full_like(files.labels, NO_CLASS))

    def absent(self) -> str | None:
        """See `Reader`; an empty folder counts as absent."""
        try:
            assert len(self._files.labels)
        except UserError as error:
            return str(error)
        return None

    def split(self, inside: Dataset, crop: Crop, device: torch.device | str) -> StreamingSplit:
        """See `Reader`; decoded while it is used."""
        first = self._files.folder / os.fsdecode(self._files.paths[0])
        try:
            with Image.open(first) as image:
                crop(image.convert("RGB"), torch.Generator())  # the size that `crop` refuses is known before the pass
        except (OSError, ValueError) as error:
            raise UserError(f"{first} does not fit: {error}") from None
        return StreamingSplit(self._files, crop, device, self._num_workers)


class ImageArray:
    """Images in a ``.npz`` or ``.npy`` file: (N,H,W,3) or (N,H,W) uint8.

    Args:
        root: data folder.
        file: below `root`.
        key: of the array in a ``.npz``.
    """

    def __init__(self, root: str, file: str, key: str = "images") -> None:
        self._path, self._key = places(root, (file,))[0], key

    def absent(self) -> str | None:
        """See `Reader`."""
        how = "write an array of images there, (N,H,W,3) uint8"
        return None if self._path.is_file() else str(missing("array", (self._path.name,), (self._path.parent,), how))

    def split(self, inside: Dataset, crop: Crop, device: torch.device | str) -> ResidentSplit:
        """See `Reader`."""
        try:
            with np.load(self._path, allow_pickle=False) if self._path.suffix == ".npz" else _Bare(self._path) as file:
                if self._key not in file:
                    raise UserError(f"{self._path} has no array {self._key}; it has {', '.join(file)}")
                images = file[self._key]
        except DAMAGED_ARRAYS as error:
            why = (str(error).splitlines() or ["damaged"])[0]
            raise UserError(f"{self._path} is not a readable array of images: {why}") from None
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
            raise UserError(f"{self._path} holds {images.shape} {images.dtype}, expected (N,H,W,3) or (N,H,W) uint8")
        return resident(images, crop, device, str(self._path))


class _Bare(dict[str, np.ndarray]):
    """A ``.npy`` file as if it were a ``.npz``, whose one array has every name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._array = np.load(path, allow_pickle=False)

    def __enter__(self) -> _Bare:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> np.ndarray:
        return self._array


class OtherDataset:
    """The test images of another data set; their labels are those of that set.

    Args:
        dataset: the other one.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._split: Split | None = None

    def absent(self) -> str | None:
        """See `Reader`; reads the split."""
        try:
            self._split = self._dataset.split("test")
        except UserError as error:
            return str(error)
        return None

    def split(self, inside: Dataset, crop: Crop, device: torch.device | str) -> Split:
        """See `Reader`."""
        if self._dataset.size == inside.size:
            return self._dataset.split("test", device)
        split = self._split or self._dataset.split("test")
        pixels = [batch.images.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1) for batch in split.batches(500)]
        return resident(torch.cat(pixels).numpy(), crop, device, f"the test split of {self._dataset.name}")


def resident(images: np.ndarray, crop: Crop, device: torch.device | str, what: str) -> ResidentSplit:
    """(N,H,W,3) or (N,H,W) uint8 -> a split of images that fit, without labels; `what` is named where one does not.

    Raises:
        UserError: no images, or of a size that `crop` refuses.
    """
    if not len(images):
        raise UserError(f"{what} holds no image")
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    if images.shape[1:3] != (crop.size, crop.size):
        unused = torch.Generator()
        try:
            images = np.stack([np.asarray(crop(Image.fromarray(image), unused)) for image in images])
        except ValueError as error:
            raise UserError(f"{what} does not fit: {error}") from None
    labels = torch.full((len(images),), NO_CLASS)
    return ResidentSplit(torch.from_numpy(np.ascontiguousarray(images)), labels, device)
