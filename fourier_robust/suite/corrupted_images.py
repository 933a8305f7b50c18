"""Where a suite's corrupted images come from: made on the spot, or stored (published, or written by us before)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fourier_robust.corruption.dataset import JPEG_QUALITY, CorruptedSplit, Stretches, jpeg_quality
from fourier_robust.corruption.names import NAMES
from fourier_robust.dataset.base import Dataset, Split, content_identity
from fourier_robust.dataset.corrupted import CifarCRelease, ImageNetCRelease, available, available_tree
from fourier_robust.errors import UserError
from fourier_robust.run.release import Release
from fourier_robust.run.release_receipt import identity, read_receipt


class Clean:
    """The test split of a data set, read once per device."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._splits: dict[torch.device, Split] = {}

    def __call__(self, device: torch.device) -> Split:
        if device not in self._splits:
            self._splits[device] = self.dataset.split("test", device)
        return self._splits[device]


class Made:
    """Corrupted images of a data set's test split, each from its own draw.

    Args:
        clean: of the data set.
        generators: corruption name -> callable of (severity, size).
        seed: of the draws.
        jpeg: pass those of a data set kept as files through JPEG at quality 85.
        why: ends the remark that says they are generated.
        order: names in the order of the table; others follow.

    Attributes:
        generated: whether these are not the published files.
        absent: what can't be made here, by name, and why not.
    """

    generated, where = True, "among the generators"

    def __init__(
        self,
        clean: Clean,
        generators: Mapping[str, Callable[..., Any]],
        seed: int,
        jpeg: bool,
        why: str,
        order: Sequence[str] = NAMES,
    ) -> None:
        self._clean, self._generators, self._seed, self._why = clean, dict(generators), seed, why
        self._quality = jpeg_quality(clean.dataset) if jpeg else None
        self._made: dict[str, Any] = {}
        self.absent: dict[str, str] = {}
        for name in [name for name in dict.fromkeys((*order, *generators)) if name in generators]:
            try:
                self._made[name] = generators[name](severity=1, size=clean.dataset.size)
            except UserError as error:
                self.absent[name] = str(error)
        self.names = tuple(self._made)

    def remarks(self, names: Sequence[str]) -> list[str]:
        """What a reader of the table must know."""
        size = self._clean.dataset.size
        said = [f"generated images, seed {self._seed}: {self._why}"]
        said += _other_tables({getattr(self._made[name], "table_size", size) for name in names}, size)
        said += [f"left out: {reason}" for reason in self.absent.values()]
        return said + _coded(self._quality)

    def variants(self, names: Sequence[str]) -> tuple[str, ...]:
        """What in them is not the published corruption, for the name of the set."""
        return tuple(mark for name in names if (mark := getattr(self._made[name], "variant", "")))

    def split(self, name: str, severity: int, device: torch.device) -> Split:
        """One condition."""
        corruption = self._generators[name](severity=severity, size=self._clean.dataset.size)
        return CorruptedSplit(self._clean(device), corruption, name, severity, self._seed, self._quality)

    def release(self, folder: Path, names: Sequence[str], severities: Sequence[int]) -> Release:
        """The same images as `run.release` writes them.

        Raises:
            UserError: the layout can't hold them.
        """
        dataset, split = self._clean.dataset, self._clean(torch.device("cpu"))
        first = next(split.batches(1, torch.zeros(1, dtype=torch.int64))).images
        generators = {name: self._generators[name] for name in names}
        return Release(
            folder=folder,
            corruptions={name: _description(generator, dataset.size) for name, generator in generators.items()},
            severities=tuple(severities),
            labels=split.labels.numpy(),
            size=(dataset.size, dataset.size),
            files=_tree_paths(dataset),
            quality=JPEG_QUALITY,
            make=Stretches(split, generators, dataset.size, self._seed),
            source={
                "dataset": dataset.name,
                "split": "test",
                "data": split.identity,
                "first_image": content_identity(first.contiguous()),  # how it was decoded and cropped
                "seed": self._seed,
            },
        )


class Stored:
    """Corrupted images in a folder: a published release, or one of ours, which its receipt shows.

    Args:
        clean: of the data set they belong to.
        folder: in the layout of CIFAR-10-C, or of ImageNet-C for a data set kept as files.
        order: names to look for, in the order of the table.

    Attributes:
        generated: whether these are not the published files.
        absent: nothing; what is not there is not known.
    """

    def __init__(self, clean: Clean, folder: Path, order: Sequence[str] = NAMES) -> None:
        self._clean, self._folder, self._order = clean, folder, tuple(order)
        self.absent: dict[str, str] = {}
        self._receipt = read_receipt(folder)
        self._tree = jpeg_quality(clean.dataset) is not None
        self.generated, self.where = self._receipt is not None, f"in {folder}"
        self._whole: set[str] = set()  # array files that were held against the receipt

    @property
    def names(self) -> tuple[str, ...]:
        """What is there, in canonical order; in a folder of ours, what is there and finished.

        Raises:
            UserError: nothing is.
        """
        if self._receipt is None:
            find = available_tree if self._tree else available
            names = find(str(self._folder), self._order)
        else:
            units = [Path(unit) for unit in self._receipt["files"] if (self._folder / unit).exists()]
            there = {unit.parts[0].removesuffix(".npy") for unit in units} & self._receipt["corruptions"].keys()
            names = tuple(
                name for name in dict.fromkeys((*self._order, *self._receipt["corruptions"])) if name in there
            )
        if not names:
            raise UserError(f"the folder {self._folder} holds none of the known corruptions, e.g. {self._order[0]}")
        return names

    def remarks(self, names: Sequence[str]) -> list[str]:
        """What a reader of the table must know."""
        if self._receipt is None:
            return []
        size, seed = self._clean.dataset.size, self._receipt["facts"].get("seed")
        said = [f"generated images, seed {seed}, read from {self._folder}, which is no published release"]
        said += _other_tables({self._receipt["corruptions"][name]["table_size"] for name in names}, size)
        return said + _coded(JPEG_QUALITY if self._tree else None)

    def variants(self, names: Sequence[str]) -> tuple[str, ...]:
        """What in them is not the published corruption, for the name of the set."""
        written = self._receipt["corruptions"] if self._receipt else {}
        return tuple(mark for name in names if (mark := written.get(name, {}).get("variant", "")))

    def split(self, name: str, severity: int, device: torch.device) -> Split | CifarCRelease:
        """One condition.

        Raises:
            UserError: it is missing, damaged, or of other images than the data set's.
        """
        dataset, folder = self._clean.dataset, str(self._folder)
        if self._receipt and self._receipt["facts"].get("data") != self._clean(device).identity:
            raise UserError(f"{folder} was generated from other images than those of {dataset.name}")
        if not self._tree:
            for file in (f"{name}.npy", "labels.npy"):
                self._check(file)
            return CifarCRelease(folder, name, severity, device=device, size=dataset.size)
        tree = ImageNetCRelease(folder, name, severity, dataset.size, dataset.class_names, device)
        if self._receipt and self._receipt["files"].get(f"{name}/{severity}") != tree.identity:
            raise UserError(f"{folder}/{name}/{severity} is not what its receipt says: files are missing or changed")
        return tree

    def _check(self, file: str) -> None:
        """Hold an array file against the checksum in our receipt, once; a published release has none."""
        wanted = self._receipt["files"].get(file) if self._receipt else None
        path = self._folder / file
        if wanted is None or file in self._whole or not path.exists():
            return
        if identity(path) != wanted:
            raise UserError(f"{path} is not what its receipt says: remove it and have it made again (suite.save)")
        self._whole.add(file)


def _other_tables(sizes: set[int], size: int) -> list[str]:
    return [f"parameters of the {other}-pixel table, the nearest to {size} pixels" for other in sorted(sizes - {size})]


def _coded(quality: int | None) -> list[str]:
    return [f"generated images JPEG-coded at quality {quality}, as the files of ImageNet-C are"] if quality else []


def _tree_paths(dataset: Dataset) -> tuple[str, ...] | None:
    """``<class folder>/<stem>.JPEG`` of each test image, with folders in between where there are; None for arrays."""
    listed = getattr(dataset, "test_files", None)
    if listed is None:
        return None
    files = listed()
    below = [Path(os.fsdecode(path)).parts[1:] for path in files.paths]
    pairs = zip(files.labels.tolist(), below, strict=True)
    return tuple(str(Path(dataset.class_names[label], *parts).with_suffix(".JPEG")) for label, parts in pairs)


def _description(generator: Callable[..., Any], size: int) -> dict[str, Any]:
    """What decides a corruption's images, for a receipt: the class, its arguments, its parameter table."""
    made, arguments = generator(severity=1, size=size), {}
    if isinstance(generator, partial):
        arguments, generator = {key: str(value) for key, value in generator.keywords.items()}, generator.func
    kind = f"{generator.__module__}.{generator.__qualname__}"
    described = {"generator": kind, "arguments": arguments, "table_size": getattr(made, "table_size", size)}
    variant = getattr(made, "variant", "")
    return {**described, "variant": variant} if variant else described
