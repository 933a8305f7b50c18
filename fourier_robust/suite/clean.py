"""How often is the model wrong on uncorrupted test images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from fourier_robust.dataset.base import Dataset
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import error_rate, mean_of_images, outcome
from fourier_robust.suite.base import Condition, Measurement, Source

_MANY = 100  # classes, from which on a top-5 error is given


class Seen(NamedTuple):
    """An `Outcome`, and whether the label is among the five largest logits.

    Attributes:
        label: (N,) int64.
        prediction: (N,) int64.
        confidence: (N,) float32.
        nll: (N,) float32, nats.
        missed5: (N,) bool, the label is not among the five; all True below five classes.
    """

    label: torch.Tensor
    prediction: torch.Tensor
    confidence: torch.Tensor
    nll: torch.Tensor
    missed5: torch.Tensor


class Clean:
    """Error, top-5 error of a model of many classes, and negative log-likelihood on whole splits.

    Args:
        splits: names of splits; None takes the data set's test splits (``test``, and what it offers beside it).
    """

    name = "clean"
    observation = Seen
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy; fraction of images; 95 % interval by Wilson",
        "top5_error": "share of images whose label is not among the five largest logits; for 100 classes or more; 95 % "
        "interval by Wilson",
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
        self._many = dataset.num_classes >= _MANY
        self._split_of = {Condition(table_name(dataset, split)): split for split in splits}
        return list(self._split_of)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The split's images; see `Suite.source`."""
        split = dataset.split(self._split_of[condition], device)
        return Source(split.batches(batch_size), len(split), split.identity, "+top5")

    def summarise(
        self, logits: torch.Tensor, labels: torch.Tensor, condition: Condition, earlier: Mapping[Condition, Seen]
    ) -> Seen:
        """See `LogitsSuite.summarise`."""
        missed = torch.ones(len(labels), dtype=torch.bool)
        if logits.shape[1] >= 5:
            missed = (logits.topk(5, dim=1).indices != labels[:, None]).all(1)
        return Seen(*outcome(logits, labels), missed)

    def measure(self, outcomes: Mapping[Condition, Seen]) -> list[Measurement]:
        """Error and nll of each split; see `Suite.measure`."""
        found = []
        for condition, seen in outcomes.items():
            found.append(Measurement(condition, "error", error_rate((seen.prediction != seen.label).double())))
            if self._many:
                found.append(Measurement(condition, "top5_error", error_rate(seen.missed5.double())))
            found.append(Measurement(condition, "nll", mean_of_images(seen.nll.double())))
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
