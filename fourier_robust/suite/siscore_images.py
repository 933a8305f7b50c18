"""Where SI-Score images come from: composed on the spot, or stored (published, or written by us before)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fourier_robust.dataset.base import Dataset
from fourier_robust.dataset.crops import CentreCrop, Crop
from fourier_robust.dataset.label_space import model_classes
from fourier_robust.dataset.readable import UNREADABLE, Readable
from fourier_robust.dataset.siscore import PUBLISHED_IMAGES, FactorRelease, find_release
from fourier_robust.dataset.siscore_classes import label_map
from fourier_robust.dataset.siscore_composed import Composed
from fourier_robust.dataset.siscore_entries import OWN_COLUMNS, RELEASE_COLUMNS, entries
from fourier_robust.errors import UserError
from fourier_robust.metric.factor import Members
from fourier_robust.metric.outcome import Outcome
from fourier_robust.run.siscore_release import SIScoreRelease, read_facts
from fourier_robust.suite.base import Source


class Made:
    """Composed images; see `Composed`.

    Args:
        composed: makes them.
        name: of the data set whose classes they have.
        factors: to measure.
    """

    def __init__(self, composed: Composed, name: str, factors: Sequence[str]) -> None:
        self.composed, self._factors = composed, tuple(factors)
        self._name = f"{name}_siscore_{{}}_{'compat' if composed.compat else 'generated'}"

    def label(self, factor: str) -> str:
        """What the table calls the set."""
        return self._name.format(factor)

    def objects(self, factor: str) -> int:
        """How many."""
        return self.composed.objects

    def values(self, factor: str) -> tuple[str, ...]:
        """Of the factor, as the table writes them."""
        return self.composed.values(factor)

    def members(self, factor: str, value: str) -> Members:
        """See `Members`."""
        return self.composed.members(factor, value)

    def source(self, factor: str, value: str, device: torch.device, batch_size: int) -> Source:
        """The images of a value."""
        batches = self.composed.batches(factor, value, device, batch_size)
        return Source(batches, len(self.members(factor, value).pairs), self.composed.identity(factor, value))

    def remarks(self) -> list[str]:
        """What a reader of the table must know."""
        objects, _, pairs = self.composed.scenes
        size = self.composed.scenes.size
        how = "as the release was made: whole pixels, JPEG 75" if self.composed.compat else "antialiased"
        said = [
            f"generated images, {how}: {len(objects.labels)} objects of {len(set(objects.classes))} classes, "
            f"{len(pairs.objects)} pairs of object and background, {size}x{size} pixels"
        ]
        for factor in self._factors:
            gone, whole = self.composed.left_out(factor)
            if gone:
                least = self.composed.min_inside(factor)
                said.append(f"{factor}: {gone} of {whole} images left out, box less than {least:g} on the canvas")
        return said

    def release(self, folder: Path, suffix: str) -> SIScoreRelease:
        """The same images as `run.siscore_release` writes them."""
        objects, backgrounds, _ = self.composed.scenes
        classes = sorted(set(objects.classes))
        labels = dict(zip(objects.classes, objects.labels.tolist(), strict=True))
        units = tuple((factor, value) for factor in self._factors for value in self.values(factor))
        return SIScoreRelease(
            folder=folder,
            units=units,
            columns=(*RELEASE_COLUMNS, *OWN_COLUMNS),
            make=_Entries(self.composed, suffix),
            tables={
                "foreground_classes.csv": _table((labels[name], name) for name in classes),
                "foreground_classes_metadata_indices.csv": _table(enumerate(classes)),
                "backgrounds.csv": _table(enumerate(backgrounds.names)),
            },
            facts={
                "design": {"/".join(unit): self.composed.identity(*unit) for unit in units},
                "compat": self.composed.compat,
                "min_inside": {factor: self.composed.min_inside(factor) for factor in self._factors},
                "format": "jpg" if self.composed.compat else suffix,
                "size": self.composed.scenes.size,
            },
        )


class Stored:
    """Images on disk: the published ones, or ours.

    Args:
        root: data folder.
        factors: to read.
        dataset: whose classes the model knows, and whose crop images of another size get.
        metadata: see `find_release`.
        unreadable: the largest share of a value's images that may be unreadable; see `Readable`.

    Raises:
        UserError: a published factor with less than two values; or see `find_release`, `FactorRelease`, `label_map`.
    """

    def __init__(
        self,
        root: str,
        factors: Sequence[str],
        dataset: Dataset,
        metadata: str | None = None,
        unreadable: float = 0.0,
    ) -> None:
        found = {factor: find_release(root, factor, metadata) for factor in factors}
        self._own = {factor: read_facts(folder.parent) for factor, (folder, _) in found.items()}
        self._parts = {}
        for factor, (folder, table) in found.items():
            labels = label_map(model_classes(dataset), folder.parent / "foreground_classes.csv")
            part = self._parts[factor] = FactorRelease(folder, table, factor, labels)
            if self._own[factor] is None and len(part.values) < 2:
                only = f"{factor} {part.values[0]} alone"
                raise UserError(f"{table} moves nothing, it holds {only}: metadata of another factor?")
        self._name, self._crop, self._unreadable = dataset.name, _UnlessFitting(_crop_of(dataset)), unreadable

    def label(self, factor: str) -> str:
        """What the table calls the set."""
        facts = self._own[factor]
        if facts is None:
            return f"siscore_{factor}"
        return f"{self._name}_siscore_{factor}_{'compat' if facts.get('compat') else 'generated'}"

    def objects(self, factor: str) -> int:
        """How many."""
        return self._parts[factor].objects

    def values(self, factor: str) -> tuple[str, ...]:
        """Of the factor, as the table writes them."""
        return self._parts[factor].values

    def members(self, factor: str, value: str) -> Members:
        """See `Members`."""
        return self._parts[factor].members(value)

    def source(self, factor: str, value: str, device: torch.device, batch_size: int) -> Source:
        """The images of a value."""
        part = self._parts[factor]
        batches = self._files(factor, value, device).batches(batch_size)
        return Source(batches, len(part.members(value).pairs), part.identity(value, self._crop))

    def readable(
        self, factor: str, outcomes: Mapping[str, Outcome], members: Mapping[str, Members]
    ) -> tuple[dict[str, Outcome], dict[str, Members], list[str]]:
        """Outcomes and members of each value without the images that could not be read; and a remark on these.

        Raises:
            UserError: they are too many.
        """
        seen, kept, said = dict(outcomes), dict(members), []
        for value, one in outcomes.items():
            good = one.label != UNREADABLE
            lost = None if good.all() else self._files(factor, value, torch.device("cpu")).left_out(one.label)
            if lost is not None:
                said.append(f"{factor} {value.replace('_', ',')}: {lost}")
                seen[value] = Outcome(*(column[good] for column in one))
                kept[value] = Members(*(column[good] for column in members[value]))
        return seen, kept, said

    def _files(self, factor: str, value: str, device: torch.device) -> Readable:
        split = self._parts[factor].split(value, self._crop, device)
        return Readable(split, torch.arange(len(split)), self._unreadable)

    def remarks(self) -> list[str]:
        """What a reader of the table must know."""
        said = []
        for factor, part in self._parts.items():
            if self._own[factor] is not None:
                said.append(f"{factor}: generated images, read from {part.folder}")
            elif part.images != PUBLISHED_IMAGES[factor]:
                said.append(f"PARTIAL SET: {factor} has {part.images} of the {PUBLISHED_IMAGES[factor]} images")
            if part.lacking:
                whole = f"its {len(part.classes)} classes"
                said.append(f"{factor}: images of {len(part.lacking)} of {whole} left out, not the model's")
            if self._own[factor] is None and "kite" in part.classes - part.lacking:
                said.append(f"{factor}: its kites count as class 21 of ImageNet, the bird; see whether they are toys")
            if part.beyond:
                said.append(f"{factor}: {part.beyond} files in {part.folder} that no line of the metadata knows")
        crop = self._crop
        return [*said, f"images of another size: short side to {crop.resize}, central {crop.size}x{crop.size} pixels"]


@dataclass(frozen=True)
class _Entries:
    """The files of a factor's value; can be pickled."""

    composed: Composed
    suffix: str

    def __call__(self, unit: tuple[str, str]) -> Iterable[tuple[str, bytes, Mapping[str, Any]]]:
        return entries(self.composed, *unit, self.suffix)


class _UnlessFitting:
    """A crop that leaves images alone which have the wanted size already."""

    def __init__(self, crop: Crop) -> None:
        self._crop, self.size = crop, crop.size
        self.resize = getattr(crop, "resize", crop.size)

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        return image if image.size == (self.size, self.size) else self._crop(image, generator)


def _crop_of(dataset: Dataset) -> Crop:
    """That of the data set's test images; for a resident one, the whole short side."""
    own: Crop | None = getattr(dataset, "test_crop", None)
    return own or CentreCrop(dataset.size, dataset.size)


def _table(lines: Iterable[tuple[int, str]]) -> str:
    return "".join(["int,label\n", *(f"{number},{name}\n" for number, name in lines)])
