"""Other images of ImageNet's classes in class folders: A, R, V2, Sketch, stylized copies; and Tiny-ImageNet-C."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from fourier_robust.dataset.base import Dataset
from fourier_robust.dataset.corrupted import COMMON, NAMES, ImageNetCRelease, available_tree
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.label_space import by_name, model_classes, need_wnids, without_images
from fourier_robust.dataset.locate import ImageFiles, image_files, images_below, places, subfolders
from fourier_robust.dataset.readable import FileSplit
from fourier_robust.dataset.shifted import Cell, Checked, Parts
from fourier_robust.dataset.streaming import worker_count
from fourier_robust.dataset.wnids import IMAGENET_A, IMAGENET_R, WNIDS, are_wnids
from fourier_robust.errors import UserError

_CLASSES = {"imagenet": WNIDS, "imagenet_a": IMAGENET_A, "imagenet_r": IMAGENET_R}
_SEVERITIES = range(1, 6)


class WnidTree:
    """Images in one folder per class, named by wnid, or (ImageNet-V2) by the class's number.

    A label is what the folder's name says, never its place among the folders: sorted as text, folder 100 of
    ImageNet-V2 would become class 2 (modestyachts/ImageNetV2 issues 4 and 10). Files beside the folders are passed
    over. Checked: the names of the folders, exactly those of `classes`; another number of images is a remark, and so
    are classes of the model without an image where `classes` is ``any``.

    Args:
        root: data folder.
        folders: below `root`, the first that exists is read.
        classes: whose folders there must be: ``imagenet`` (1000), ``imagenet_a`` or ``imagenet_r`` (200 each), or
            ``any``: wnids, as many as there are.
        count: images of the release; None accepts any.
        numbers: whether folders 0 to 999 are accepted too, places among the sorted wnids; with 1000 classes only.
        renditions: whether file names begin with the kind of picture, ``sketch_12.jpg``, as in ImageNet-R.
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.

    Source: Hendrycks et al. 2021 (1907.07174: A; 2006.16241: R); Recht et al. 2019 (1902.10811: V2); Wang et al. 2019
        (1905.13549: Sketch); Geirhos et al. 2019 (1811.12231: Stylized).
    """

    def __init__(
        self,
        root: str,
        folders: Sequence[str],
        classes: Literal["imagenet", "imagenet_a", "imagenet_r", "any"] = "imagenet",
        count: int | None = None,
        numbers: bool = False,
        renditions: bool = False,
        num_workers: int | None = None,
    ) -> None:
        if classes not in (*_CLASSES, "any"):
            raise ValueError(f"classes={classes!r} must be one of {', '.join((*_CLASSES, 'any'))}")
        if numbers and classes != "imagenet":
            raise ValueError("numbers=true needs classes=imagenet: other numbers do not say which class they are")
        self._where = places(root, folders)[: len(folders)]
        self._wanted, self._count, self._numbers = _CLASSES.get(classes), count, numbers
        self._renditions = renditions
        self._num_workers = worker_count(num_workers)

    def absent(self) -> str | None:
        """See `ShiftedSet`."""
        if any(place.is_dir() for place in self._where):
            return None
        return f"no folder {' or '.join(map(str, self._where))}; unpack the release there, one folder per class"

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`; lists the files."""
        files, names = self._listed
        model = model_classes(inside)
        need_wnids(model, str(files.folder))
        space = by_name(model, names, partial=True)
        parts, said = _renditions(files) if self._renditions else (None, ())
        if self._wanted is None:  # of the others the classes are known, and checked
            said += without_images(str(files.folder), model, names)
        if not space.lacking:
            return Checked(space, remarks=said, expected=self._count, parts=parts)
        lacking = f"{files.folder}: images of {space.lacking} of its {len(names)} classes left out, not the model's"
        return Checked(space, remarks=(lacking, *said), parts=parts)

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> FileSplit:
        """See `ShiftedSet`."""
        return FileSplit(self._listed[0], crop, device, self._num_workers)

    @cached_property
    def _listed(self) -> tuple[ImageFiles, tuple[str, ...]]:
        """The files, labelled by place among the wnids that stand beside them, ascending."""
        folder = next((place for place in self._where if place.is_dir()), None)
        if folder is None:
            raise UserError(str(self.absent()))
        found = subfolders(folder)
        if not found:
            raise UserError(f"{folder} holds no class folder: one per class is needed")
        wnid = self._wnids(folder, found)
        ordered = sorted(found, key=wnid.__getitem__)
        return image_files(folder, ordered), tuple(wnid[name] for name in ordered)

    def _wnids(self, folder: Path, found: Sequence[str]) -> dict[str, str]:
        """Folder -> wnid."""
        if all(name.isdecimal() for name in found):
            if not self._numbers:
                raise UserError(
                    f"{folder} holds numbered folders, which do not say their wnids: take the release itself"
                )
            if sorted(map(int, found)) != list(range(len(WNIDS))):
                raise UserError(f"{folder} holds {len(found)} numbered folders, not exactly 0 to {len(WNIDS) - 1}")
            return {name: WNIDS[int(name)] for name in found}
        strange = [name for name in found if not are_wnids((name,))]
        if strange:
            raise UserError(f"{folder} holds a folder {strange[0]}, which is no wnid: labels can't be told")
        if self._wanted is not None and set(found) != set(self._wanted):
            odd = sorted(set(found) ^ set(self._wanted))
            raise UserError(
                f"{folder} holds {len(found)} class folders, not the {len(self._wanted)} of the release: {odd[0]} "
                f"is {'too much' if odd[0] in found else 'missing'}"
            )
        return {name: name for name in found}


def _renditions(files: ImageFiles) -> tuple[Parts | None, tuple[str, ...]]:
    """The kind of each picture by its file's name, or a remark where one does not say it."""
    stems = [Path(os.fsdecode(path)).stem for path in files.paths]
    kinds = [re.fullmatch(r"([A-Za-z]+)_\d+", stem) for stem in stems]
    untold = next((stem for stem, kind in zip(stems, kinds, strict=True) if kind is None), None)
    if untold is not None:
        return None, (f"{files.folder}: no errors by rendition, for {untold} does not say which it is",)
    found = [kind[1] for kind in kinds if kind is not None]
    place = {name: number for number, name in enumerate(sorted(set(found)))}
    return Parts(tuple(place), torch.tensor([place[name] for name in found])), ()


class TinyImageNetC:
    """Tiny-ImageNet-C, every corruption that is there, for models of Tiny-ImageNet-200.

    Its images were cut anew from ImageNet: the n-th is not a corrupted n-th test image (hendrycks/robustness issue
    39), so no difference to clean images is given. Checked: exactly the model's 200 class folders in every cell, which
    the ``frost`` of Zenodo 2536630 fails (issue 60: 1000 classes), all five severities, and the same images in all
    cells; another number of them than the release's is a remark.

    Args:
        root: data folder.
        folders: below `root`, the first that exists is read.
        corruptions: names; None takes all that are there.
        count: images per cell of the release; None accepts any.
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.

    Source: Hendrycks and Dietterich 2019 (1903.12261); Zenodo 2536630, mended in 8206060.
    """

    def __init__(
        self,
        root: str,
        folders: Sequence[str] = ("Tiny-ImageNet-C",),
        corruptions: Sequence[str] | None = None,
        count: int | None = None,
        num_workers: int | None = None,
    ) -> None:
        self._where = places(root, folders)[: len(folders)]
        self._names, self._count, self._num_workers = corruptions, count, worker_count(num_workers)

    def absent(self) -> str | None:
        """See `ShiftedSet`."""
        if any(place.is_dir() for place in self._where):
            return None
        where = " or ".join(map(str, self._where))
        return f"no folder {where}; unpack Zenodo 8206060 there (<corruption>/<severity>/<wnid>/)"

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`; looks at the class folders of every cell."""
        there = available_tree(str(self._root))
        names = there if self._names is None else tuple(self._names)
        absent = [name for name in names if name not in there]
        if absent or not names:
            raise UserError(
                f"{self._root} holds no {absent[0] if absent else 'corruption'}; known are {', '.join(NAMES)}"
            )
        model = model_classes(inside)
        need_wnids(model, str(self._root))
        cells = tuple(Cell(name, severity) for name in names for severity in _SEVERITIES)
        self._check_files([self._check_folders(cell, model) for cell in cells])
        common = tuple(name for name in COMMON if name in names)
        mean = "common15" if common == COMMON else f"common{len(common)}of{len(COMMON)}"
        said = ("Tiny-ImageNet-C: cut anew from ImageNet, not from the clean test images, so no gap to them",)
        return Checked(by_name(model, sorted(model)), cells, said, "related", (mean, common), self._count)

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> ImageNetCRelease:
        """See `ShiftedSet`; files of another size than the model's are refused."""
        classes = tuple(sorted(model_classes(inside)))
        name, severity = str(cell.corruption), int(cell.severity or 0)
        return ImageNetCRelease(str(self._root), name, severity, inside.size, classes, device, self._num_workers)

    def _check_folders(self, cell: Cell, model: Sequence[str]) -> Path:
        """The folder of `cell`, which holds the model's classes."""
        parent = next(iter(sorted(self._root.glob(f"*/{cell.corruption}"))), self._root / str(cell.corruption))
        folder = parent / str(cell.severity)
        found = subfolders(folder) if folder.is_dir() else ()
        if set(found) == set(model):
            return folder
        reason = f"{folder} holds {len(found)} class folders, not the model's {len(model)}"
        if cell.corruption == "frost" and len(found) > len(model):
            reason += ": the frost of Zenodo 2536630, which is broken; take that of Zenodo 8206060"
        raise UserError(f"{reason}; suite.readers.tiny_imagenet_c.corruptions=[...] leaves a corruption out")

    def _check_files(self, cells: Sequence[Path]) -> None:
        """The same images in all cells: each one's errors are averaged over them."""
        first, *others = images_below(cells)
        for folder, files in zip(cells[1:], others, strict=True):
            odd = sorted(files ^ first)
            if len(files) != len(first) or 0 < len(odd) < len(files):  # other names throughout are another scheme
                where = "is not in all cells" if odd[0] in files else "is missing"
                raise UserError(f"{folder}: {odd[0]} {where} ({len(odd)} such files): the release is incomplete")

    @property
    def _root(self) -> Path:
        folder = next((place for place in self._where if place.is_dir()), None)
        if folder is None:
            raise UserError(str(self.absent()))
        return folder
