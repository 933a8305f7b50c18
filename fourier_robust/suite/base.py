"""The contract of a suite: one question, asked of a model on data; it yields measurements and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from fourier_robust.dataset.base import Batch, Dataset
from fourier_robust.engine.predict import Precision
from fourier_robust.metric.outcome import Estimate, Outcome


@dataclass(frozen=True)
class Condition:
    """One pass over one set of images.

    Attributes:
        dataset: as the table names it: ``cifar10``, ``cifar10_c``, ``cifar10_c_generated``.
        corruption: name, or None for clean images.
        severity: 1 to 5, or None for clean images.
        eps: size of a perturbation, in the unit its suite names, or None.
        attack: name of an attack, or None.
        score: name of an OOD score, or None; of a measurement, for one pass feeds all scores.
    """

    dataset: str
    corruption: str | None = None
    severity: int | None = None
    eps: float | None = None
    attack: str | None = None
    score: str | None = None

    @property
    def key(self) -> str:
        """A file name for the outcomes of this condition."""
        eps = None if self.attack is None or self.eps is None else f"{self.eps:.6g}"
        severity = None if self.severity is None else str(self.severity)
        parts = [self.dataset, self.corruption, severity, self.attack, eps]
        return "-".join(part for part in parts if part).replace("/", "-").replace("\0", "-")


class Source(NamedTuple):
    """The images of a condition: batches, their number, and what identifies them.

    `identity` names data and generation, and what is done to the model: logits are shared between suites where it is
    the same. `kept` names what is kept of them, where that is a setting: outcomes that an earlier launch left are
    reused where both are the same.
    """

    batches: Iterable[Batch]
    n: int
    identity: str
    kept: str = ""


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


class LogitsSuite(Suite, Protocol):
    """A question that logits answer, but `Outcome` does not: where a suite has `summarise`, it is handed the logits.

    Its `measure` gets what `summarise` returned, from this launch or an earlier one.

    Attributes:
        observation: the NamedTuple of tensors that `summarise` returns; its `label` is (N,) int64.
    """

    observation: type[tuple[Any, ...]]

    def summarise(
        self, logits: torch.Tensor, labels: torch.Tensor, condition: Condition, earlier: Mapping[Condition, Any]
    ) -> Any:
        """What is kept of (N,K) float32 logits and (N,) int64 labels, an `observation`.

        `earlier` holds what was kept of all conditions in front of this one.

        Raises:
            UserError: the logits do not give what is asked of them.
        """
        ...


class ModelSuite(Suite, Protocol):
    """A question that logits do not answer: where a suite has `observe`, it is handed the model.

    Its `measure` gets what `observe` returned, from this launch or an earlier one.

    Attributes:
        observation: the NamedTuple of tensors that `observe` returns; its `label` is (N,) int64.
    """

    observation: type[tuple[Any, ...]]

    def observe(self, model: nn.Module, source: Source, condition: Condition, precision: Precision) -> Any:
        """What is kept of one condition, an `observation`; the model is in evaluation mode and stays as it was.

        Raises:
            UserError: the model does not give what is asked of it (gradients, the output of a layer).
        """
        ...


class Shared(Protocol):
    """Logits and features of passes that any suite made, by `Source.identity`; see `run.predictions`."""

    def load(self, identity: str, names: Sequence[str] = ...) -> Mapping[str, np.ndarray] | None:
        """The arrays `names`, among ``logits``, ``labels`` and ``features``; None unless all are there."""
        ...

    def save(self, identity: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep ``logits`` and ``labels``, and ``features`` where there are some."""
        ...


class SharingSuite(ModelSuite, Protocol):
    """A suite that makes passes of its own which others can use: where it has `share`, that is called first."""

    def share(self, known: Shared) -> None:
        """What `observe` may take instead of a pass, and leave of one."""
        ...


class FilesSuite(Suite, Protocol):
    """A suite with pictures or arrays beside its table: where it has `files`, the front door has them written."""

    def files(self, outcomes: Mapping[Condition, Any], who: str) -> Mapping[str, bytes | Mapping[str, Any]]:
        """File name -> its bytes, or the arrays of an ``.npz``; `who` was measured. After `measure`."""
        ...


class ChangingSuite(Suite, Protocol):
    """A suite that measures a changed model: where it has `changed`, the pass over each condition runs within it.

    One condition, one pass: images of two conditions never go through such a model in one batch. What is changed
    belongs into `Source.identity`.
    """

    def changed(self, model: nn.Module, condition: Condition) -> AbstractContextManager[None]:
        """While it is entered, `model` is as the condition wants it; afterwards as it was.

        Raises:
            UserError: the model has nothing of the kind that would be changed.
        """
        ...
