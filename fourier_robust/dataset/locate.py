"""Find data on disk: folders of a class each, and the one line that says what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fourier_robust.errors import UserError
from fourier_robust.run.identity import identity_of

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's list
_THREADS = 16  # a listing waits for the disk, not for the CPU


class ImageFiles(NamedTuple):
    """Labelled image files of one folder, sorted by class, then by path.

    Attributes:
        folder: what the paths are relative to.
        paths: (N,) bytes, encoded as the file system does; one block of memory, which workers share without copying.
        sizes: (N,) int64, bytes on disk.
        labels: (N,) int64.
    """

    folder: Path
    paths: np.ndarray
    sizes: np.ndarray
    labels: torch.Tensor

    def take(self, index: torch.Tensor) -> ImageFiles:
        """The files at `index` ((M,) int64)."""
        rows = index.numpy()
        return ImageFiles(self.folder, self.paths[rows], self.sizes[rows], self.labels[index])

    def identity(self) -> str:
        """See `identity_of`."""
        order = np.argsort(self.paths, kind="stable")
        return identity_of(self.folder, [(bytes(self.paths[i]), int(self.sizes[i])) for i in order])


def places(root: str, folders: Sequence[str]) -> tuple[Path, ...]:
    """The folders to look in: `folders` under `root`, then `root` itself."""
    base = Path(root).expanduser().absolute()
    return (*(base / folder for folder in folders), base)


def missing(what: str, files: Sequence[str], where: Sequence[Path], how: str) -> UserError:
    """What was looked for, where, and how to get it, in one line."""
    return UserError(f"{what} not found: looked for {' or '.join(files)} in {' and '.join(map(str, where))}; {how}")


def text_of(path: Path) -> str:
    """What a text file says.

    Raises:
        UserError: it cannot be read, or holds no text (UTF-8).
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: it cannot be read as text ({error}); fetch it again") from None


def leaves(path: str) -> bool:
    """Whether `path`, which a file lists as relative to a folder, may lie outside of it."""
    return path.startswith("/") or ".." in path.split("/")


def subfolders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in `folder`, sorted by code point as every ImageFolder reader does; hidden ones left out."""
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))


def _images_below(folder: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _images_below(entry.path)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                try:
                    yield entry.path, entry.stat().st_size
                except OSError:  # a link to nowhere: gone, as its reader says, and counts
                    yield entry.path, 0


def images_below(folders: Sequence[Path]) -> list[set[str]]:
    """Of each of `folders`: paths, relative to it, of all images at any depth below it."""

    def listing(folder: Path) -> set[str]:
        found = ((base, name) for base, _, names in os.walk(folder, followlinks=True) for name in names)
        return {
            os.path.join(base, name)[len(str(folder)) + 1 :]
            for base, name in found
            if name.lower().endswith(IMAGE_SUFFIXES)
        }

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(listing, folders))


def labelled(folder: Path, files: Sequence[tuple[str, int, int]]) -> ImageFiles:
    """(path relative to `folder`, size, label) triples as `ImageFiles`, in their order."""
    paths, sizes, labels = zip(*files, strict=True)
    return ImageFiles(
        folder, np.array([os.fsencode(path) for path in paths]), np.array(sizes, np.int64), torch.tensor(labels)
    )


def image_files(folder: Path, classes: Sequence[str]) -> ImageFiles:
    """All images below ``folder/<class>``, at any depth; the label is the class's place in `classes`.

    Raises:
        UserError: a class without a folder, or without an image.
    """

    def listing(name: str) -> list[tuple[str, int]]:
        return sorted(_images_below(str(folder / name)))

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(listing, classes))
    except FileNotFoundError as error:
        raise UserError(f"class folder {error.filename} not found") from None
    for name, images in zip(classes, found, strict=True):
        if not images:
            raise UserError(f"no image in {folder / name}: each class needs at least one of {' '.join(IMAGE_SUFFIXES)}")
    start = len(str(folder)) + 1
    return labelled(
        folder, [(path[start:], size, label) for label, images in enumerate(found) for path, size in images]
    )
