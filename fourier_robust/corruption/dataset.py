"""A split, a data set, or stretches of a release, with every image corrupted by a draw of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial

import numpy as np
import torch

from fourier_robust.corruption.base import SEVERITIES, Corruption, map_levels, to_levels
from fourier_robust.corruption.jpeg import round_trip
from fourier_robust.corruption.seeded import condition_seed, corrupt, image_seeds
from fourier_robust.dataset.base import Batch, Dataset, ResidentSplit, Split
from fourier_robust.dataset.streaming import StreamingSplit

JPEG_QUALITY = 85  # of every file of ImageNet-C and Tiny-ImageNet-C
Generators = Mapping[str, Callable[..., Corruption]]
_AT_ONCE = 64  # images; corruptions work in smaller pieces anyway


def jpeg_quality(dataset: Dataset) -> int | None:
    """`JPEG_QUALITY` for a data set kept as files, whose releases are JPEG trees; None for others."""
    return JPEG_QUALITY if hasattr(dataset, "test_files") else None


class CorruptedSplit:
    """A split whose images are corrupted as they are read; each draws from (seed, corruption, severity, its index).

    Args:
        split: what is corrupted.
        corruption: at its severity.
        name: of the corruption.
        severity: 1 to 5.
        seed: of the draws.
        quality: libjpeg quality of the file that the corrupted image goes through; None leaves it as it is.
    """

    def __init__(
        self, split: Split, corruption: Corruption, name: str, severity: int, seed: int = 0, quality: int | None = None
    ) -> None:
        self.labels = split.labels
        self.identity = f"{split.identity}+{name}-{severity}-seed{seed}" + (f"-jpeg{quality}" if quality else "")
        self._split, self._corruption, self._quality = split, corruption, quality
        self._base = condition_seed(seed, name, severity)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`; `seed` is the split's own, the corruption's draws never change."""
        for batch in self._split.batches(batch_size, order, seed, drop_last):
            images = corrupt(self._corruption, batch.images, image_seeds(self._base, batch.indices))
            if self._quality:
                images = map_levels(partial(round_trip, quality=self._quality), images)
            yield batch._replace(images=images)

    def levels(self, order: torch.Tensor) -> torch.Tensor:
        """(M,H,W,3) uint8 on the CPU: the corrupted images at `order` ((M,) int64, at least one), without loss."""
        levels, done = torch.empty(0, dtype=torch.uint8), 0
        for batch in self.batches(_AT_ONCE, order):
            part = to_levels(batch.images).permute(0, 2, 3, 1)
            if not done:
                levels = torch.empty((len(order), *part.shape[1:]), dtype=torch.uint8)
            levels[done : done + len(part)] = part
            done += len(part)
        return levels


class Corrupted:
    """A data set with one corruption at one severity on every image of every split, the same in each epoch.

    Resident splits are corrupted once, when they are asked for; streamed ones as they are read. Images of a data set
    kept as files go through JPEG at quality 85 afterwards, as those of ImageNet-C did.

    Args:
        dataset: what is corrupted.
        generators: corruption name -> callable of (severity, size).
        corruption: one of the generators' names.
        severity: 1 to 5.
        seed: of the draws, which depend on (seed, corruption, severity, index in the split).

    Raises:
        ValueError: an unknown corruption, or a severity outside 1 to 5.
    """

    def __init__(self, dataset: Dataset, generators: Generators, corruption: str, severity: int, seed: int = 0) -> None:
        if corruption not in generators:
            raise ValueError(f"corruption={corruption!r}: must be one of {', '.join(generators)}")
        if severity not in SEVERITIES:
            raise ValueError(f"severity={severity}: must be 1, 2, 3, 4 or 5")
        self.name = f"{dataset.name}+{corruption}-{severity}"
        self.size, self.val_size, self.mean, self.std = dataset.size, dataset.val_size, dataset.mean, dataset.std
        self.test_splits = tuple(getattr(dataset, "test_splits", ("test",)))
        self.corruption, self.severity, self.seed = corruption, severity, seed
        self._dataset = dataset
        self._made = generators[corruption](severity=severity, size=dataset.size)

    @property
    def num_classes(self) -> int:
        """See `Dataset`."""
        return self._dataset.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """See `Dataset`."""
        return self._dataset.class_names

    def split(self, name: str, device: torch.device | str = "cpu") -> Split:
        """The data set's split of that name, corrupted; see `Dataset.split`."""
        clean = self._dataset.split(name, device)
        quality = jpeg_quality(self._dataset)
        split = CorruptedSplit(clean, self._made, self.corruption, self.severity, self.seed, quality)
        if not isinstance(clean, ResidentSplit):
            return split
        return ResidentSplit(split.levels(torch.arange(len(split))), split.labels, device)


class Stretches:
    """Makes any stretch of any condition of a release; can be pickled, so that worker processes can have it.

    Args:
        split: the clean images, on the CPU.
        generators: corruption name -> callable of (severity, size), each of which can be pickled.
        size: pixels per side, chooses the parameter tables.
        seed: of the draws, see `CorruptedSplit`.
    """

    def __init__(self, split: Split, generators: Generators, size: int, seed: int) -> None:
        self._split = split.alone() if isinstance(split, StreamingSplit) else split
        self._generators, self._size, self._seed = dict(generators), size, seed

    def __call__(self, name: str, severity: int, first: int, last: int) -> np.ndarray:
        """(last-first,H,W,3) uint8: images `first` up to `last` (exclusive) of the split, corrupted."""
        corruption = _made(self._generators[name], severity, self._size)
        split = CorruptedSplit(self._split, corruption, name, severity, self._seed)
        return split.levels(torch.arange(first, last)).numpy()


@lru_cache(maxsize=2)
def _made(generator: Callable[..., Corruption], severity: int, size: int) -> Corruption:
    """The corruption, kept from one stretch to the next: some hold big tables."""
    return generator(severity=severity, size=size)
