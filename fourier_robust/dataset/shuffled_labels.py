"""A data set with a share of its training labels shuffled: what is learnt then cannot come from the classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from fourier_robust.dataset.base import Batch, Dataset, Split


def shuffled(labels: torch.Tensor, share: float, seed: int) -> torch.Tensor:
    """(N,) int64 -> (N,) int64: ``round(share * N)`` drawn positions exchange their labels, the others keep theirs.

    The classes stay as frequent as they were. A position that takes part can get its own class back: with K classes of
    one size, a share of about ``share * (1 - 1/K)`` of all labels changes.

    Args:
        labels: of the split.
        share: of its positions, in [0,1].
        seed: of the positions and of who gets whose label.

    Raises:
        ValueError: `share` outside [0,1].
    """
    _check(share)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    chosen = order[: round(share * len(labels))]
    noisy = labels.clone()
    noisy[chosen] = labels[chosen[torch.randperm(len(chosen), generator=generator)]]
    return noisy


def _check(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"label_noise={share}: must lie in 0 to 1")


class ShuffledSplit:
    """A split with other labels.

    Args:
        split: gives the images.
        labels: (N,) int64 on the CPU.
        how: the labels were made, for the identity.
    """

    def __init__(self, split: Split, labels: torch.Tensor, how: str) -> None:
        self.labels, self.identity = labels, f"{split.identity}+{how}"
        self._split = split

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`; `seed` is the split's own, the labels never change."""
        for batch in self._split.batches(batch_size, order, seed, drop_last):
            labels = self.labels[batch.indices].to(batch.labels.device, non_blocking=True)
            yield batch._replace(labels=labels)


class ShuffledLabels:
    """A data set whose training labels are shuffled in part, once, the same in each epoch; all else is the data set's.

    `val` (cut from train before) and the test splits keep their labels, so an error there says what was learnt of the
    classes, and an error on ``train`` how much of the given labels was learnt.

    Args:
        dataset: whose labels are shuffled.
        share: of the training images, in [0,1]; see `shuffled`.
        seed: of the draw, which depends on nothing else: all models and training seeds get the same labels.

    Attributes:
        marks: what tables add to the name of a split; see `suite.clean.table_name`.

    Raises:
        ValueError: `share` outside [0,1].

    Source: Zhang et al., "Understanding Deep Learning Requires Rethinking Generalization", ICLR 2017 (random labels);
        with all labels permuted once as in Wang et al., "High-Frequency Component Helps Explain the Generalization of
        Convolutional Neural Networks", CVPR 2020.
    """

    def __init__(self, dataset: Dataset, share: float, seed: int = 0) -> None:
        _check(share)
        self.marks = {"train": f"+shuffled-{share:g}"}
        self._dataset, self._share, self._seed = dataset, share, seed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # not there yet while this is copied or unpickled
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def split(self, name: str, device: torch.device | str = "cpu") -> Split:
        """The data set's split of that name, the training split with its new labels; see `Dataset.split`."""
        split = self._dataset.split(name, device)
        if name != "train":
            return split
        labels = shuffled(split.labels, self._share, self._seed)
        return ShuffledSplit(split, labels, f"shuffled-{self._share}-seed{self._seed}")
