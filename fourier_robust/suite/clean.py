"""How often is the model wrong on uncorrupted test images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from fourier_robust.dataset.base import Dataset
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Outcome, error_rate, mean_of_images
from fourier_robust.suite.base import Condition, Measurement, Source


class Clean:
    """Error and negative log-likelihood on whole splits.

    Args:
        splits: names of splits; None takes the data set's test splits (``test``, and what it offers beside it).
    """

    name = "clean"
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy; fraction of images; 95 % interval by Wilson",
        "nll": "mean negative log-likelihood of the label, nats; 95 % normal interval over images",
    }

    def __init__(self, splits: list[str] | None = None) -> None:
        self.splits = splits

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """One per split; see `Suite.conditions`."""
        offered = list(getattr(dataset, "test_splits", ("test",)))
        splits = self.splits or offered
        for split in splits:
            if split not in ("train", *(("val",) if dataset.val_size else ()), *offered):
                raise UserError(f"suite.splits: {dataset.name} has no split {split}; test splits: {', '.join(offered)}")
        self._split_of = {Condition(table_name(dataset, split)): split for split in splits}
        return list(self._split_of)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The split's images; see `Suite.source`."""
        split = dataset.split(self._split_of[condition], device)
        return Source(split.batches(batch_size), len(split), split.identity)

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Error and nll of each split; see `Suite.measure`."""
        found = []
        for condition, outcome in outcomes.items():
            found.append(Measurement(condition, "error", error_rate(outcome.wrong)))
            found.append(Measurement(condition, "nll", mean_of_images(outcome.nll.double())))
        return found

    def remarks(self) -> list[str]:
        """Nothing to add."""
        return []


def table_name(dataset: Dataset, split: str) -> str:
    """How tables call a split: the data set's name for ``test``; ``shapes_swapped``, ``cifar10_val`` for others.

    What a data set has changed in one split alone stands behind: ``cifar10_train+shuffled-1``.
    """
    name = dataset.name if split == "test" else f"{dataset.name}_{split.removeprefix('test_')}"
    return name + getattr(dataset, "marks", {}).get(split, "")
