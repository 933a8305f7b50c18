"""What is kept of each condition of a suite: an earlier launch's, another suite's, or that of a process's pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from fourier_robust.dataset.readable import UNREADABLE
from fourier_robust.engine.distributed import Team
from fourier_robust.engine.predict import Precision, predict, predict_each
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Outcome, outcome

STORED, KNOWN, PASSED, FAILED = range(4)  # an earlier launch's; another suite's logits; this launch's; an error's text
Columns = Sequence[torch.Tensor]
Give = Callable[[Any, Any, int, Columns], None]  # condition, source, which of the above, what was found


@dataclass
class Survey:
    """The conditions of a suite, each measured once.

    Several processes take every n-th condition each and hand what they find to the first, which alone writes and keeps
    it in the order of the conditions, as if it had found all by itself.

    Args:
        model: in the layout its passes want.
        dataset: what the suite is asked on.
        suite: see `suite.base`.
        device: of model and images.
        batch_size: images per pass.
        precision: of the passes.
        resume: take outcomes that an earlier launch stored.
        record: their store and identity; see `run.eval_record`.
        known: logits that suites share; see `run.predictions`.
        team: the processes.

    Attributes:
        data: key of a condition -> identity of what was measured.
        measured: conditions that took a pass in this launch.
    """

    model: nn.Module
    dataset: Any
    suite: Any
    device: torch.device
    batch_size: int
    precision: Precision
    resume: bool
    record: Any
    known: Any
    team: Team
    data: dict[str, str] = field(default_factory=dict)
    measured: int = 0

    def __post_init__(self) -> None:
        self.own_passes = hasattr(self.suite, "observe")
        self.kind = getattr(self.suite, "observation", Outcome)
        self.outcomes: dict[Any, Any] = {}
        if not self.team.first:
            self.known = _Reading(self.known)
        if hasattr(self.suite, "share"):
            self.suite.share(self.known)

    def of(self, conditions: Sequence[Any]) -> dict[Any, Any]:
        """What is kept of each, in their order; empty in all processes but the first.

        Raises:
            UserError: in all processes, what one of them met; or images are missing.
        """
        quiet = None if self.team.first else True
        with tqdm(total=len(conditions), unit="condition", disable=quiet) as self.bar:
            if self.team.size == 1:
                self._own(conditions, self._take)
            else:
                self._with_others(conditions)
        if self.team.first and self.outcomes.keys() != set(conditions):
            raise RuntimeError(f"{len(conditions)} conditions wanted, {len(self.outcomes)} measured")
        return {condition: self.outcomes[condition] for condition in conditions} if self.team.first else {}

    def _with_others(self, conditions: Sequence[Any]) -> None:
        team, failed = self.team, list[str]()
        mine = conditions[team.rank :: team.size]
        if team.first:
            self._gather(conditions, mine, failed)
        else:
            try:
                self._own(mine, lambda _, __, how, columns: team.send([torch.tensor(how), *columns]))
            except UserError as error:
                team.send([torch.tensor(FAILED), torch.tensor(list(str(error).encode()), dtype=torch.uint8)])

        def verdict() -> None:
            if failed:
                raise UserError(failed[0])

        team.first_does(verdict)

    def _gather(self, conditions: Sequence[Any], mine: Sequence[Any], failed: list[str]) -> None:
        """The first process's part: its own conditions, and between them what the others send, in order.

        After an error it goes on, so that nobody is left waiting; all hear of it at the end.
        """
        silent = set[int]()  # processes that have sent an error, and send no more
        place = 0

        def others(stop: int) -> None:
            nonlocal place
            while place < stop:
                owner, condition = place % self.team.size, conditions[place]
                place += 1
                if owner == 0 or owner in silent:
                    continue
                how, *columns = self.team.receive(owner)
                if int(how) == FAILED:
                    silent.add(owner)
                    failed.append(bytes(columns[0].tolist()).decode())
                elif not failed:
                    try:
                        self._take(condition, self._source(condition), int(how), columns)
                    except UserError as error:
                        failed.append(str(error))

        def give(condition: Any, source: Any, how: int, columns: Columns) -> None:
            others(conditions.index(condition))
            if not failed:
                self._take(condition, source, how, columns)

        try:
            self._own(mine, give)
        except UserError as error:
            failed.append(str(error))
        others(len(conditions))

    def _source(self, condition: Any) -> Any:
        source = self.suite.source(self.dataset, condition, self.device, self.batch_size)
        self.data[condition.key] = source.identity + source.kept
        return source

    def _take(self, condition: Any, source: Any, how: int, columns: Columns) -> None:
        """In the first process: keep one condition, once those in front of it are kept.

        One with unreadable images is not stored: the next launch looks whether they were replaced.
        """
        summarise = getattr(self.suite, "summarise", lambda logits, labels, *_: outcome(logits, labels))
        if how == STORED or self.own_passes:
            found = self.kind(*columns)
        else:
            found = summarise(*columns, condition, self.outcomes)
        if len(found.label) != source.n:
            raise UserError(f"{condition.key}: {source.n} images wanted, {len(found.label)} read")
        self.outcomes[condition] = found
        self.bar.update()
        self.measured += how == PASSED
        if (found.label == UNREADABLE).any():
            return
        if how == PASSED and not self.own_passes:
            self.known.save(source.identity, {"logits": columns[0].numpy(), "labels": columns[1].numpy()})
        if how != STORED:
            values = {key: value.numpy() for key, value in found._asdict().items()}
            self.record.store.save(condition.key, self._identity(condition), values)

    def _identity(self, condition: Any) -> str:
        identity: str = self.record.identity(self.data[condition.key], self.precision)
        return identity

    def _own(self, conditions: Sequence[Any], give: Give) -> None:
        """Conditions of this process, given on in their order."""
        waiting: deque[tuple[Any, Any, int, Columns]] = deque()

        def give_known() -> None:
            while waiting and waiting[0][2] != PASSED:
                give(*waiting.popleft())

        def unfinished() -> Iterator[tuple[Any, Any]]:
            for condition in conditions:
                self.bar.set_description(condition.key)
                source = self._source(condition)
                how, columns = self._found(condition, source)
                waiting.append((condition, source, how, columns))
                give_known()
                if how == PASSED:
                    yield condition, source

        for seen in self._observed(unfinished()):
            condition, source, how, _ = waiting.popleft()
            give(condition, source, how, seen if self.own_passes else (seen.logits, seen.labels))
            give_known()

    def _found(self, condition: Any, source: Any) -> tuple[int, Columns]:
        """What is there without a pass; else `PASSED` and nothing."""
        stored = self.record.store.load(condition.key, self._identity(condition)) if self.resume else None
        if stored is not None:
            return STORED, tuple(self.kind(**{key: torch.from_numpy(value) for key, value in stored.items()}))
        known = None if self.own_passes else self.known.load(source.identity)
        return (
            (PASSED, ()) if known is None else (KNOWN, [torch.from_numpy(known[one]) for one in ("logits", "labels")])
        )

    def _observed(self, sources: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
        """Of each (condition, source) in turn: what the suite itself sees in the model, or its logits."""
        if self.own_passes:
            for condition, source in sources:
                yield self.suite.observe(self.model, source, condition, self.precision)
        elif hasattr(self.suite, "changed"):
            for condition, source in sources:
                with self.suite.changed(self.model, condition):
                    yield predict(self.model, source.batches, self.precision)
        else:
            batches = (source.batches for _, source in sources)
            yield from predict_each(self.model, batches, self.batch_size, self.precision)


@dataclass(frozen=True)
class _Reading:
    """What suites share, for a process that writes nothing."""

    known: Any

    def load(self, identity: str, names: Sequence[str] = ("logits", "labels")) -> Mapping[str, np.ndarray] | None:
        found: Mapping[str, np.ndarray] | None = self.known.load(identity, names)
        return found

    def save(self, identity: str, arrays: Mapping[str, np.ndarray]) -> None:
        pass
