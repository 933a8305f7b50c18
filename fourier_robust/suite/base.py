"""The contract of a suite: one question, asked of a model on data; it yields measurements and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from fourier_robust.dataset.base import Batch, Dataset
from fourier_robust.engine.gradient import GradientOf, InputGradient
from fourier_robust.metric.outcome import Estimate, Outcome


@dataclass(frozen=True)
class Condition:
    """One pass over one set of images.

    Attributes:
        dataset: as the table names it: ``cifar10``, ``cifar10_c``, ``cifar10_c_generated``.
        corruption: name, or None for clean images.
        severity: 1 to 5, or None for clean images.
        eps: size of a perturbation, in the unit its suite names, or None.
    """

    dataset: str
    corruption: str | None = None
    severity: int | None = None
    eps: float | None = None

    @property
    def key(self) -> str:
        """A file name for the outcomes of this condition."""
        parts = [self.dataset, self.corruption, None if self.severity is None else str(self.severity)]
        return "-".join(part for part in parts if part)


class Source(NamedTuple):
    """The images of a condition: batches, their number, and what identifies them.

    `identity` names data and generation, and what is observed of them where that is a setting: outcomes that an earlier
    launch left are reused where it is the same.
    """

    batches: Iterable[Batch]
    n: int
    identity: str


@dataclass(frozen=True)
class Measurement:
    """A metric's estimate under a condition; the caller adds who was measured and writes the row."""

    condition: Condition
    metric: str
    estimate: Estimate
    higher_is_better: bool = False


class Suite(Protocol):
    """A question.

    Attributes:
        name: the group choice, the name of the folder and of the column.
        definitions: metric -> its definition in a sentence, for the receipt.
    """

    name: str
    definitions: Mapping[str, str]

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """What will be measured, known before any work.

        Raises:
            UserError: data is missing; names the folder looked in and what belongs there.
        """
        ...

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images of one condition, on the device."""
        ...

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """All metrics over all conditions."""
        ...

    def remarks(self) -> list[str]:
        """What a reader must know beside the numbers (a partial set, generated images); after `conditions`."""
        ...


class GradientSuite(Suite, Protocol):
    """A question about input gradients: where a suite has `gradient`, the front door takes them instead of logits.

    Its `measure` gets what `observe` returned, from this launch or an earlier one.

    Attributes:
        gradient: of what, with respect to what.
        observation: the NamedTuple of tensors that `observe` returns; its `label` is (N,) int64.
    """

    gradient: GradientOf
    observation: type[tuple[Any, ...]]

    def observe(self, gradients: Iterable[InputGradient]) -> Any:
        """What is kept of the gradients of one condition, an `observation`; they come once, batch by batch.

        Raises:
            UserError: from the gradients: the model has none, or one that is not finite.
        """
        ...


class FilesSuite(Suite, Protocol):
    """A suite with pictures or arrays beside its table: where it has `files`, the front door has them written."""

    def files(self, outcomes: Mapping[Condition, Any], who: str) -> Mapping[str, bytes | Mapping[str, Any]]:
        """File name -> its bytes, or the arrays of an ``.npz``; `who` was measured. After `measure`."""
        ...
