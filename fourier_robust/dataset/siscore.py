"""SI-Score as released: one folder and one metadata.csv for each of size, rotation and location."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import torch

from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.locate import labelled, missing, places, subfolders, text_of
from fourier_robust.dataset.readable import FileSplit
from fourier_robust.dataset.siscore_classes import check_folders
from fourier_robust.dataset.siscore_design import place_key, share_key
from fourier_robust.dataset.siscore_entries import RELEASE_COLUMNS
from fourier_robust.errors import UserError
from fourier_robust.metric.factor import Members

PUBLISHED_IMAGES = {"size": 92_884, "rotation": 39_540, "location": 541_548}
FOLDERS = ("si-score", "siscore", "SI-Score")
NAMES = {  # of a factor's folder: ours, the archives', the store's
    "size": ("size", "area", "object_size"),
    "rotation": ("rotation", "object_rotation"),
    "location": ("location", "location20_area02_min0pc", "object_location"),
}
_MOVES = {"size": ("area",), "rotation": ("rotation",), "location": ("x_coord", "y_coord")}
_DESIGN = ("x_coord", "y_coord", "area", "rotation", "bg_resolution_width", "bg_resolution_height")
_SUFFIXES = (".jpg", ".png")


class FactorRelease:
    """One factor of a release on disk, grouped by the factor's value.

    Args:
        folder: ``<class>/<image_id>.jpg`` (or .png) lie in it.
        metadata: its metadata.csv.
        factor: ``size``, ``rotation`` or ``location``.
        labels: class string -> the model's class index, -1 for one that the model is known to lack; see `label_map`.

    Raises:
        UserError: no metadata, other columns, no image for a line, an image in another folder than that of its
            foreground_class, or a class of which it can't be said whether the model has it.

    Attributes:
        classes: names of the class folders.
        lacking: those that the model lacks, whose images are left out.
        images: lines of the metadata.
        beyond: files that no line of the metadata knows.
    """

    def __init__(self, folder: Path, metadata: Path, factor: str, labels: Mapping[str, int]) -> None:
        self.folder = folder
        lines, files = _lines(metadata), _files(folder)
        absent = [line.image for line in lines if line.image not in files]
        twice = next((image for image, count in Counter(line.image for line in lines).items() if count > 1), None)
        if twice is not None:
            raise UserError(f"{metadata} lists image {twice} twice: its factors would be ambiguous")
        if absent:
            raise UserError(
                f"{folder} lacks {len(absent)} of the {len(lines)} images that {metadata} lists, e.g. "
                f"<class>/{absent[0]}.jpg; unpack the archive again"
            )
        check_folders(folder, metadata, [(files[line.image][0], line.kind) for line in lines])
        self.classes = {files[line.image][0].split("/")[0] for line in lines}
        unknown = sorted(self.classes - labels.keys())
        if unknown:
            raise UserError(f"{folder / unknown[0]} is none of the model's {len(set(labels.values()) - {-1})} classes")
        self.lacking = {name for name in self.classes if labels[name] < 0}
        if self.lacking and len(self.classes - self.lacking) < 2:
            shared = len(self.classes - self.lacking)
            raise UserError(f"{folder} shares {shared} of its {len(self.classes)} classes with the model, not two")
        self.images, self.beyond = len(lines), len(files) - len(lines)
        things: dict[tuple[str, str], int] = {}
        pairs: dict[tuple[str, ...], int] = {}
        self._groups: dict[str, list[tuple[str, int, int]]] = {}
        self._members: dict[str, list[tuple[int, int]]] = {}
        stays = [column not in _MOVES[factor] for column in _DESIGN]
        for line in lines:
            path, size = files[line.image]
            thing = (path.split("/")[0], line.instance)
            if thing[0] in self.lacking:
                continue
            one = things.setdefault(thing, len(things))
            pair = (*thing, line.background, *compress(line.design, stays))
            value = _value(factor, dict(zip(_DESIGN, line.design, strict=True)))
            self._groups.setdefault(value, []).append((path, size, labels[thing[0]]))
            self._members.setdefault(value, []).append((one, pairs.setdefault(pair, len(pairs))))
        known = str(sorted((name, labels[name]) for name in self.classes)).encode()
        self._identity = hashlib.sha256(metadata.read_bytes() + known).hexdigest()
        self.objects = len(things)

    @cached_property
    def values(self) -> tuple[str, ...]:
        """As the tables write them, in order."""
        return tuple(sorted(self._groups, key=lambda key: [float(part) for part in key.split("_")]))

    def members(self, value: str) -> Members:
        """See `Members`."""
        objects, pairs = torch.tensor(self._members[value]).T
        return Members(objects, pairs)

    def identity(self, value: str, crop: Crop) -> str:
        """Of metadata, labels, files and crop."""
        files = labelled(self.folder, self._groups[value]).identity()
        return f"{self._identity}+{files}+{type(crop).__name__}{crop.size}-{getattr(crop, 'resize', '')}"

    def split(self, value: str, crop: Crop, device: torch.device, num_workers: int | None = None) -> FileSplit:
        """The images of a value, in the order of `members`."""
        return FileSplit(labelled(self.folder, self._groups[value]), crop, device, num_workers)


def find_release(root: str, factor: str, metadata: str | None = None) -> tuple[Path, Path]:
    """The folder of a factor, and its metadata.csv.

    Args:
        root: data folder.
        factor: ``size``, ``rotation`` or ``location``.
        metadata: a folder that holds ``<factor's folder>/metadata.csv``, where the images' folder has none.

    Raises:
        UserError: either is not there; says where it was looked for.
    """
    where = places(root, FOLDERS)
    folder = next((place / name for place in where for name in NAMES[factor] if (place / name).is_dir()), None)
    if folder is None:
        how = "unpack the release there, or give suite.root=... or suite.source=generated"
        raise missing(f"SI-Score ({factor})", [f"{name}/" for name in NAMES[factor]], where, how)
    beside = [Path(metadata)] if metadata else []
    tables = [folder / "metadata.csv"]
    tables += [place / name / "metadata.csv" for place in (*beside, folder.parent) for name in NAMES[factor]]
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        how = f"fetch object_{factor}/metadata.csv of the release, or name its folder with suite.metadata=..."
        raise missing(f"metadata of {folder}", ["metadata.csv"], [folder, *beside], how)
    return folder, table


class _Line(NamedTuple):
    """What is used of a line: `kind` is its foreground_class, `design` the values of `_DESIGN` as they stand there."""

    image: str
    kind: str
    instance: str
    background: str
    design: tuple[str, ...]


def _value(factor: str, design: Mapping[str, str]) -> str:
    if factor == "location":
        return place_key(float(design["x_coord"]), float(design["y_coord"]))
    return share_key(float(design["area"])) if factor == "size" else f"{float(design['rotation']):g}"


def _lines(path: Path) -> list[_Line]:
    try:
        reader = csv.DictReader(io.StringIO(text_of(path)))
        columns = tuple(reader.fieldnames or ())
        lacking = [name for name in RELEASE_COLUMNS if name not in columns]
        if lacking:
            raise UserError(f"{path} is no metadata of SI-Score: it has no column {lacking[0]}")
        found = []
        for line in reader:
            for column in (*_DESIGN, "foreground_class"):
                if not _is_number(line[column]):
                    raise UserError(
                        f"{path} is damaged: the line of image {line['image_id']} has no number as {column}"
                    )
            design = tuple(sys.intern(line[column]) for column in _DESIGN)  # half a million lines of few values
            kind = sys.intern(f"{float(line['foreground_class']):g}")
            found.append(_Line(line["image_id"], kind, line["foreground_instance"], line["background"], design))
    except csv.Error as error:
        raise UserError(f"{path} is damaged ({error}); fetch it again") from None
    if not found:
        raise UserError(f"{path} lists no image")
    return found


def _is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or ""))
    except ValueError:
        return False


def _files(folder: Path) -> dict[str, tuple[str, int]]:
    """image_id -> path below `folder`, bytes on disk."""
    found: dict[str, tuple[str, int]] = {}
    for name in subfolders(folder):
        with os.scandir(folder / name) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix.lower() in _SUFFIXES:
                    if stem in found:
                        raise UserError(f"{folder} holds image {stem} twice: {found[stem][0]} and {name}/{entry.name}")
                    found[stem] = (f"{name}/{entry.name}", entry.stat().st_size)
    if not found:
        raise UserError(f"{folder} holds no <class>/<image_id>.jpg: not the layout of SI-Score")
    return found
