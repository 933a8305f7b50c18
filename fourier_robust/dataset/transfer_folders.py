"""Transfer sets that lie as image files: a folder per class, or lists of files; read as published, no pickle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.holdout import stratified_holdout
from fourier_robust.dataset.locate import ImageFiles, image_files, labelled, leaves, places, subfolders, text_of
from fourier_robust.dataset.readable import FileSplit
from fourier_robust.dataset.streaming import worker_count
from fourier_robust.dataset.tiny_imagenet import TinyImageNet
from fourier_robust.dataset.transfer import Transfer, check_classes
from fourier_robust.errors import UserError

Named = list[tuple[str, str]]  # path below a folder, name of the class


class Files:
    """What the readers of image files share.

    Args:
        root: data folder.
        folders: below `root`, the first that exists is read; none: `root` itself.
        classes: how many there must be; None takes any number.
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.
    """

    holds = "a folder of images per class, or train/ and test/ with such folders"
    needs: Sequence[str] = ()  # without these in it, a folder is not the set

    def __init__(
        self, root: str, folders: Sequence[str] = (), classes: int | None = None, num_workers: int | None = None
    ) -> None:
        self._where = places(root, folders)[: len(folders) or None]
        self._classes, self._num_workers = classes, worker_count(num_workers)

    def absent(self) -> str | None:
        """See `TransferSet`."""
        if self._found() is not None:
            return None
        needed = f" with {', '.join(self.needs)} in it" if self.needs else ""
        return f"no folder {' or '.join(map(str, self._where))}{needed}; put {self.holds} there"

    def read(self, crop: CentreCrop) -> Transfer:
        """See `TransferSet`."""
        folder = self._found()
        if folder is None:
            raise UserError(self.absent())
        train, test, names, remark = self.parts(folder)
        if self._classes not in (None, len(names)):
            raise UserError(f"{folder} has {len(names)} classes, {self._classes} are expected")
        try:
            check_classes(train.labels, test.labels, names)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from None
        splits = [FileSplit(files, crop, "cpu", self._num_workers) for files in (train, test)]
        return Transfer(splits[0], splits[1], names, remark)

    def parts(self, folder: Path) -> tuple[ImageFiles, ImageFiles, tuple[str, ...], str]:
        """Training files, test files, class names, remark.

        Raises:
            UserError: what is missing or does not agree.
        """
        raise NotImplementedError

    def _found(self) -> Path | None:
        whole = (place for place in self._where if place.is_dir() and all((place / one).exists() for one in self.needs))
        return next((place.resolve() for place in whole), None)


class FolderSet(Files):
    """A folder of images per class: in train/ and val/, or in one tree that is cut here.

    Where there is no val/, test/ is read; where there are both, test/ is passed over, with a remark, for the best known
    sets have labels in val/ alone.

    Labels go by the folders' names, so the order of a listing says nothing; names that are numbers are ordered as
    numbers.

    Args:
        root: see `Files`.
        folders: see `Files`.
        classes: see `Files`.
        leave_out: folders that are no class.
        test_share: of a tree without train/, the share of each class that is `test`, in (0,1).
        split_seed: decides which images those are.
        num_workers: see `Files`.

    Raises:
        ValueError: `test_share` out of range.
    """

    def __init__(
        self,
        root: str,
        folders: Sequence[str] = (),
        classes: int | None = None,
        leave_out: Sequence[str] = (),
        test_share: float = 0.2,
        split_seed: int = 0,
        num_workers: int | None = None,
    ) -> None:
        super().__init__(root, folders, classes, num_workers)
        if not 0 < test_share < 1:
            raise ValueError(f"test_share={test_share} must lie in (0, 1)")
        self._leave_out, self._share, self._seed = frozenset(leave_out), test_share, split_seed

    def parts(self, folder: Path) -> tuple[ImageFiles, ImageFiles, tuple[str, ...], str]:
        """See `Files.parts`."""
        if (folder / "train").is_dir():
            test = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), None)
            if test is None:
                raise UserError(f"{folder} has train/, but neither val/ nor test/")
            passed = test.name == "val" and (folder / "test").is_dir()
            remark = "tested on val/, not on the test/ beside it" if passed else ""
            names, theirs = self._names(folder / "train"), self._names(test)
            if set(names) != set(theirs):
                odd = sorted(set(names) ^ set(theirs))
                raise UserError(f"{folder / 'train'} and {test} hold different classes, e.g. {' '.join(odd[:3])}")
            return image_files(folder / "train", names), image_files(test, names), names, remark
        names = self._names(folder)
        files = image_files(folder, names)
        count = len(files.labels)
        train, test_rows = stratified_holdout(files.labels, round(self._share * count), self._seed)
        remark = f"no published split: {len(test_rows)} of {count} images are test, cut by seed {self._seed}"
        return files.take(train), files.take(test_rows), names, remark

    def _names(self, folder: Path) -> tuple[str, ...]:
        names = tuple(name for name in subfolders(folder) if name not in self._leave_out)
        if len(names) < 2:
            raise UserError(f"{folder} holds {len(names)} class folders, a probe needs two or more")
        return in_order(names, folder)


class TinyImageNetFiles(Files):
    """Tiny-ImageNet-200 as files: train/, and val/ in either of its layouts as test."""

    holds = "the unpacked archive tiny-imagenet-200.zip"
    needs = ("train", "val")

    def parts(self, folder: Path) -> tuple[ImageFiles, ImageFiles, tuple[str, ...], str]:
        """See `Files.parts`."""
        dataset = TinyImageNet(str(folder))
        return image_files(folder / "train", dataset.class_names), dataset.test_files(), dataset.class_names, ""


class ListedSet(Files):
    """Images in one folder, and text files that list those of train and of test.

    Args:
        root: see `Files`.
        folders: see `Files`.
        images: folder of the images.
        train: text files, one image a line.
        test: likewise.
        label: where a line names the class: "folder", the path's first part; "second", the second word; "rest", all
            behind the first word.
        suffix: what a line leaves off the file's name.
        classes: see `Files`.
        num_workers: see `Files`.

    Raises:
        ValueError: an unknown `label`.
    """

    holds = "the unpacked archive"

    def __init__(
        self,
        root: str,
        folders: Sequence[str],
        images: str,
        train: Sequence[str],
        test: Sequence[str],
        label: Literal["folder", "second", "rest"],
        suffix: str = "",
        classes: int | None = None,
        num_workers: int | None = None,
    ) -> None:
        super().__init__(root, folders, classes, num_workers)
        if label not in ("folder", "second", "rest"):
            raise ValueError(f"label={label!r} must be folder, second or rest")
        self._images, self._lists, self._label, self._suffix = images, (train, test), label, suffix
        self.needs = (images, *train, *test)

    def parts(self, folder: Path) -> tuple[ImageFiles, ImageFiles, tuple[str, ...], str]:
        """See `Files.parts`."""
        train, test = ([one for name in lists for one in self._lines(folder / name)] for lists in self._lists)
        names = in_order(sorted({name for _, name in train + test}), folder)
        images = folder / self._images
        return named_files(images, train, names), named_files(images, test, names), names, ""

    def _lines(self, path: Path) -> Named:
        found = []
        for line in map(str.strip, text_of(path).splitlines()):
            if not line or line.startswith("#"):
                continue
            file, _, rest = line.partition(" ")
            name = file.partition("/")[0] if self._label == "folder" else rest.strip()
            name = name.partition(" ")[0] if self._label == "second" else name
            if not name:
                raise UserError(f"{path} is damaged: no class in its line {line!r}")
            found.append((file + self._suffix, name))
        return found


def named_files(folder: Path, named: Named, names: Sequence[str]) -> ImageFiles:
    """Files below `folder` with the names of their classes, sorted by class, then by path.

    Raises:
        UserError: none at all, or one that is not there, or not below `folder`.
    """
    if not named:
        raise UserError(f"no image is listed for {folder}")
    place = {name: label for label, name in enumerate(names)}
    files = []
    for path, name in named:
        if leaves(path):
            raise UserError(f"{folder}: {path} is listed, which lies outside")
        try:
            files.append((place[name], path, os.stat(folder / path).st_size))
        except OSError:
            raise UserError(f"{folder / path} is listed, but not there: unpack the archive again") from None
    return labelled(folder, [(path, size, label) for label, path, size in sorted(files)])


def in_order(names: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Class names, sorted as given; as numbers where all are (10 comes after 9).

    Raises:
        UserError: two names of one number, such as 1 and 01.
    """
    if not all(name.isdecimal() for name in names):
        return tuple(names)
    ordered = tuple(sorted(names, key=int))
    for one, other in pairwise(ordered):
        if int(one) == int(other):
            raise UserError(f"{folder}: classes {one} and {other} are one number; rename or join them")
    return ordered
