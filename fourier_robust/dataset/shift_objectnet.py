"""ObjectNet: photographs from unusual viewpoints, whose classes are groups of ImageNet's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fourier_robust.dataset.base import Dataset
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.label_space import by_groups, model_classes, need_wnids
from fourier_robust.dataset.locate import ImageFiles, image_files, places, subfolders
from fourier_robust.dataset.readable import FileSplit
from fourier_robust.dataset.shifted import Cell, Checked
from fourier_robust.dataset.streaming import worker_count
from fourier_robust.dataset.wnids import WNIDS
from fourier_robust.errors import UserError

_FOLDERS = 313
_INDICES = """
    409 412 414 418 419 423 434 440 444 446 455 457 462 463 470 473 479 487 499 504 507 508 518 530 531 533 539 543 545
    549 550 559 560 563 567 578 587 588 589 601 606 608 610 618 619 620 623 626 629 630 632 644 647 651 655 658 659 664
    671 673 677 679 689 694 695 696 700 703 720 721 725 728 729 731 732 737 740 742 749 752 759 761 765 769 770 772 773
    774 778 783 790 792 797 804 806 809 811 813 828 834 837 841 842 846 849 850 851 859 868 879 882 883 893 898 902 906
    907 909 923 930 950 951 954 968 999
"""
_MANY = (
    *((409, 530), (671, 444), (423, 559, 765), (560, 518), (418, 749, 563)),
    *((601, 655, 689), (732, 759), (457, 906), (479, 694)),
)


def objectnet_groups() -> frozenset[frozenset[int]]:
    """The 113 shared classes, as sets of the 125 ImageNet indices they stand for; nine have more than one."""
    many = [frozenset(group) for group in _MANY]
    alone = set(map(int, _INDICES.split())).difference(*many)
    return frozenset([*many, *(frozenset((index,)) for index in alone)])


class ObjectNet:
    """The images of the 113 classes that ObjectNet shares with ImageNet, without their red frame.

    The map is read from the release's ``mappings/`` and must be the known one. Checked: 313 folders, each named in
    the mappings, and the 113 groups over 125 of ImageNet's classes; another number of images than 18,574 is a remark.
    By the terms of the set, no model may be tuned on it.

    Args:
        root: data folder.
        folders: below `root`, the first that exists is read; it holds ``images/`` and ``mappings/``.
        border: pixels cut off each side before the crop: the frame is 1, and its smear in the PNG reaches 2.
        count: images of the shared classes in the release; None accepts any.
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.

    Source: Barbu et al., "ObjectNet: A large-scale bias-controlled dataset", NeurIPS 2019; border as in
        modestyachts/imagenet-testbed (issue 13).
    """

    def __init__(
        self,
        root: str,
        folders: Sequence[str] = ("objectnet-1.0", "ObjectNet", "objectnet"),
        border: int = 2,
        count: int | None = 18574,
        num_workers: int | None = None,
    ) -> None:
        if border < 0:
            raise ValueError(f"border={border} must be at least 0")
        self._where = places(root, folders)[: len(folders)]
        self._border, self._count, self._num_workers = border, count, worker_count(num_workers)

    def absent(self) -> str | None:
        """See `ShiftedSet`."""
        if any(place.is_dir() for place in self._where):
            return None
        return f"no folder {' or '.join(map(str, self._where))}; unpack objectnet-1.0.zip there (images/, mappings/)"

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`; reads the mappings and lists the files."""
        files, groups = self._listed
        model = model_classes(inside)
        need_wnids(model, str(files.folder))
        space = by_groups(model, groups, partial=True)
        if not space.lacking:
            return Checked(space, expected=self._count)
        said = f"{files.folder}: images of {space.lacking} of its {len(groups)} classes left out, not the model's"
        return Checked(space, remarks=(said,))

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> FileSplit:
        """See `ShiftedSet`."""
        found = FileSplit(self._listed[0], _Unframed(crop, self._border), device, self._num_workers)
        found.identity += f"+border{self._border}"
        return found

    @cached_property
    def _listed(self) -> tuple[ImageFiles, dict[str, tuple[str, ...]]]:
        """Files of the shared classes, and ObjectNet's class -> wnids, in the order of the labels."""
        root = next((place for place in self._where if place.is_dir()), None)
        if root is None:
            raise UserError(str(self.absent()))
        images, mappings = root / "images", root / "mappings"
        folders = subfolders(images) if images.is_dir() else ()
        if len(folders) != _FOLDERS:
            raise UserError(f"{images} holds {len(folders)} class folders, not the {_FOLDERS} of ObjectNet")
        title = _mapping(mappings / "folder_to_objectnet_label.json")
        untold = [folder for folder in folders if folder not in title]
        if untold:
            raise UserError(f"{images} holds a folder {untold[0]}, which {mappings} does not name")
        indices = _indices(mappings)
        if frozenset(map(frozenset, indices.values())) != objectnet_groups() or len(indices) != len(objectnet_groups()):
            raise UserError(f"{mappings} does not give the known 113 classes over 125 of ImageNet's: labels unsure")
        shared = [folder for folder in folders if title[folder] in indices]
        groups = {str(title[folder]): tuple(WNIDS[index] for index in indices[title[folder]]) for folder in shared}
        if len(groups) != len(indices) or len(shared) != len(indices):
            raise UserError(f"{images} does not hold one folder for each of the {len(indices)} shared classes")
        return image_files(images, shared), groups


class _Unframed:
    """A `Crop` that first cuts `border` pixels off each side."""

    def __init__(self, crop: Crop, border: int) -> None:
        self.size, self._crop, self._border = crop.size, crop, border

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        """`image` without its border, cropped."""
        width, height = image.size
        if min(width, height) <= 2 * self._border:
            raise ValueError(f"{width}x{height} pixels, of which {self._border} per side are cut off")
        inner = image.crop((self._border, self._border, width - self._border, height - self._border))
        return self._crop(inner, generator)


def _indices(mappings: Path) -> dict[str, tuple[int, ...]]:
    """ObjectNet's class -> indices of ImageNet's classes, along the release's three files.

    Names of ImageNet's classes, joined by ``"; "``, are lines of a list, whose numbers stand for indices.
    """
    names = _mapping(mappings / "objectnet_to_imagenet_1k.json")
    index_of_line = {
        line: int(index) for index, line in _mapping(mappings / "pytorch_to_imagenet_2012_id.json").items()
    }
    path = mappings / "imagenet_to_label_2012_v2"
    try:
        lines = {line.strip(): number for number, line in enumerate(path.read_text().splitlines())}
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path} not found or unreadable: unpack objectnet-1.0.zip whole") from None
    try:
        return {name: tuple(index_of_line[lines[one]] for one in str(many).split("; ")) for name, many in names.items()}
    except KeyError as error:
        raise UserError(f"{mappings}: no index for {error}: its files do not belong together") from None


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        raise UserError(f"{path} not found or unreadable: unpack objectnet-1.0.zip whole") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no mapping: unpack objectnet-1.0.zip whole")
    return found
