"""Which data sets lie in the data folder, and where the others belong: names of files and folders alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from os.path import commonpath
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fourier_robust.checkup.finding import Finding

Way = tuple[str, ...]  # paths below the data folder that must all be there

_CIFAR10 = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
_HERE = ("",)
# Readers whose folders stand in their code: folders to look in, what must lie in one (any of the ways).
LAYOUTS: dict[str, tuple[Sequence[str], Sequence[Way]]] = {
    "cifar.CIFAR10": (
        ("cifar10", *_HERE),
        [
            tuple(f"cifar-10-batches-bin/{stem}.bin" for stem in _CIFAR10),
            tuple(f"cifar-10-batches-py/{stem}" for stem in _CIFAR10),
        ],
    ),
    "cifar.CIFAR100": (
        ("cifar100", *_HERE),
        [
            tuple(f"cifar-100-{kind}" for kind in pair)
            for pair in (("binary/train.bin", "binary/test.bin"), ("python/train", "python/test"))
        ],
    ),
    "tiny_imagenet.TinyImageNet": (("tiny-imagenet-200", *_HERE), [("val", "wnids.txt"), ("val", "train")]),
    "imagenet.ImageNet": (("imagenet", "ILSVRC2012", *_HERE), [("val",)]),
    "ood_digits.SVHN": (("svhn", "SVHN", *_HERE), [("test_32x32.mat",)]),
    "ood_digits.MNIST": (("MNIST/raw", "mnist", *_HERE), [("t10k-images-idx3-ubyte",), ("t10k-images-idx3-ubyte.gz",)]),
    "transfer_files.SVHNDigits": (("svhn", "SVHN", *_HERE), [("train_32x32.mat", "test_32x32.mat")]),
    "transfer_files.MNISTDigits": (
        ("MNIST/raw", "mnist", *_HERE),
        [
            tuple(
                f"{part}-{kind}-ubyte{suffix}" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
            )
            for suffix in ("", ".gz")
        ],
    ),
    "transfer_files.STL10": (("stl10_binary", *_HERE), [("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")]),
}
# Readers whose folders stand in yaml: what must lie in one.
CONTENT: dict[str, Way] = {
    "shift_cifar.CINIC10": ("test",),
    "transfer_files.Flowers102": ("jpg", "imagelabels.mat", "setid.mat"),
    "transfer_files.GTSRB": ("GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv"),
    "transfer_folders.TinyImageNetFiles": ("train", "val"),
}
RELEASES = ("CIFAR-10", "CIFAR-100", "Tiny-ImageNet", "ImageNet")
SISCORE = [
    (f"{place}{name}",)
    for place in ("si-score/", "siscore/", "SI-Score/", "")
    for name in ("size", "area", "object_size")
]


class DataSet(NamedTuple):
    """A data set that a yaml names.

    Attributes:
        name: of the group choice, or of the suite's reader.
        ways: what must lie in the data folder; any of them.
        how: to get it, or empty.
    """

    name: str
    ways: tuple[Way, ...]
    how: str = ""

    def there(self, data: Path) -> bool:
        """Whether it lies in `data`."""
        return any(all((data / part).exists() for part in way) for way in self.ways)

    def belongs(self, data: Path) -> str:
        """What is to be put where, in a line."""
        if all(len(way) == 1 for way in self.ways):
            said = [f"{_listed([way[0] for way in self.ways], ' or ')} in {data}"]
        else:
            places: dict[tuple[str, ...], list[str]] = {}  # names -> folders
            for way in self.ways:
                folder = commonpath(way)
                names = tuple(part.removeprefix(folder).strip("/") for part in way)
                places.setdefault(names, []).append(str(data / folder))
            said = [f"{_listed(names, ', ')} in {_listed(where, ' or ')}" for names, where in places.items()]
        return f"{self.name}: {_listed(said, '; or ')}" + (f". {self.how}" if self.how else "")


def _listed(texts: Sequence[str], between: str) -> str:
    return between.join([*texts[:3], *([f"{len(texts) - 3} more"] if len(texts) > 3 else [])])


def ways_of(node: Mapping[str, Any]) -> tuple[Way, ...]:
    """What a reader's yaml asks for below the data folder; nothing for sets that are drawn, or that lie elsewhere."""
    target = str(node.get("_target_", "")).removeprefix("fourier_robust.dataset.")
    if isinstance(node.get("dataset"), Mapping):  # another data set in the role of this one
        return ways_of(node["dataset"])
    if target in LAYOUTS:
        folders, contents = LAYOUTS[target]
        return tuple(_below(folder, way) for folder in folders for way in contents)
    if "file" in node:
        return ((str(node["file"]),),)
    if not node.get("folders"):
        return ()
    names = [name for key in ("images", "labels", "train", "test") for name in _texts(node.get(key))]
    content = CONTENT.get(target) or tuple(dict.fromkeys(names)) or ("",)
    folders = [*node["folders"], *(_HERE if target == "shift_cifar.CifarArrays" else ())]
    return tuple(_below(folder, content) for folder in folders)


def _below(folder: str, way: Way) -> Way:
    return tuple(f"{folder}/{part}".strip("/") for part in way)


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []


def sets_of(conf: Path) -> Iterator[tuple[str, str, list[DataSet]]]:
    """(what asks for them, what is done without them, data sets) of every yaml below `conf`."""
    chosen = []
    for path in sorted((conf / "dataset").glob("*.yaml")):
        text = path.read_text()
        ways = ways_of(_load(text))
        lines = re.search(r"^# get it: *(.*(?:\n# {2,}.*)*)", text, re.MULTILINE)
        if ways:
            chosen.append(DataSet(path.stem, ways, re.sub(r"\s*\n#\s*", " ", lines[1]) if lines else ""))
    yield "dataset=", "dataset=shapes needs none", chosen
    for path in sorted((conf / "suite").glob("*.yaml")):
        content = _load(path.read_text())
        name = f"suite={path.stem}"
        if path.stem.startswith("corruptions"):
            suffix = "C-bar" if path.stem == "corruptions_bar" else "C"
            releases = [DataSet(f"{title}-{suffix}", ((f"{title}-{suffix}",),)) for title in RELEASES]
            yield name, "the images are generated where a release is missing", releases
        elif path.stem == "siscore":
            yield name, "dataset=shapes draws its own", [DataSet("SI-Score", tuple(SISCORE))]
        readers = content.get("readers")
        if isinstance(readers, Mapping):
            found = [DataSet(str(key), ways_of(node)) for key, node in readers.items() if isinstance(node, Mapping)]
            yield name, "missing sets are left out", [one for one in found if one.ways]


def _load(text: str) -> dict[str, Any]:
    content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content if isinstance(content, dict) else {}


def check_data(conf: Path, data: Path) -> list[Finding]:
    """What lies in `data`, by what asks for it."""
    found: list[Finding] = []
    if not data.is_dir():
        how = "put data sets there, or name another folder with FR_DATA=DIR; dataset=shapes needs none"
        found.append(Finding("missing", f"there is no data folder {data}", how))
    for asks, without, sets in sets_of(conf):
        there = [one.name for one in sets if one.there(data)]
        absent = [one for one in sets if one.name not in there]
        text = f"{asks}: {', '.join(there) or 'none'} of {len(sets)} data set{'s' * (len(sets) != 1)} found"
        details = tuple(one.belongs(data) for one in absent)
        found.append(Finding("missing" if absent else "ok", f"{text}; {without}" if absent else text, "", details))
    return found
