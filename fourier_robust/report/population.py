"""The models that an analysis is made over: one line per run, one column per metric, gaps where a run has no number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fourier_robust.report.collect import Found, Run
from fourier_robust.report.method_table import Column, _columns
from fourier_robust.report.methods import Method

AGGREGATE = re.compile(r"(common|extra|bar)\d")  # common15, bar8of10
PLAIN = {"none", "standard"}  # augmentations of a plainly trained model; its regularizer is none


@dataclass(frozen=True, eq=False)
class Metric:
    """One column of the tables.

    Attributes:
        name: of `names_of`.
        suite: of it.
        better: as in `Column`.
        values: (N,) as in the tables, NaN where a run has none.
        accuracy: (N,) likewise as a share of right answers, or None where the metric is no such share.
        images: (N,) that each value was measured on; NaN likewise.
        aggregate: whether it is the mean over corruptions.
    """

    name: str
    suite: str
    better: int
    values: np.ndarray
    accuracy: np.ndarray | None
    images: np.ndarray
    aggregate: bool = False


@dataclass(frozen=True, eq=False)
class Population:
    """The N runs trained on one data set that have any of the metrics.

    Attributes:
        train_dataset: which.
        runs: (N,); one of several copies of a checkpoint.
        labels: (N,) method and seed, in words.
        methods: behind them.
        method_of: (N,) int64, the place of each run's method in `methods`.
        plain: (N,) bool, trained without an intervention: augmentation none or standard, no regularizer.
        metrics: M of them.
        clean: place in `metrics` of the clean accuracy on the training data set's own test split, or None.
    """

    train_dataset: str
    runs: tuple[Run, ...]
    labels: tuple[str, ...]
    methods: tuple[Method, ...]
    method_of: np.ndarray
    plain: np.ndarray
    metrics: tuple[Metric, ...]
    clean: int | None

    @property
    def shares(self) -> tuple[Metric, ...]:
        """Metrics that are a share of right answers, without the clean one."""
        clean = None if self.clean is None else self.metrics[self.clean]
        return tuple(one for one in self.metrics if one.accuracy is not None and one is not clean)

    @property
    def parts(self) -> tuple[Metric, ...]:
        """`shares` without the means of a suite whose single corruptions are there too: they would count twice."""
        single = {one.suite for one in self.shares if not one.aggregate}
        return tuple(one for one in self.shares if not (one.aggregate and one.suite in single))

    @property
    def described(self) -> str:
        """The population in words."""
        methods = len(set(self.method_of.tolist()))
        return f"Population: the {len(self.runs)} runs of {methods} methods trained on {self.train_dataset}"

    def title(self, what: str) -> str:
        """A heading."""
        return f"{what} ({self.train_dataset})"

    def key(self, name: str) -> str:
        """Of a section of a report."""
        return re.sub("[^a-z0-9]+", "-", f"analysis-{self.train_dataset.lower()}-{name}")


def populations_of(found: Sequence[Found], methods: Sequence[Method]) -> list[Population]:
    """One population per training data set, in the order of the tables; the columns are those of the tables."""
    return [
        _population(name, found, [method for method in methods if method.train_dataset == name])
        for name in dict.fromkeys(method.train_dataset for method in methods)
    ]


def _population(name: str, found: Sequence[Found], methods: Sequence[Method]) -> Population:
    columns = _columns(found, methods)
    measured = {(at, one.row.seed) for column in columns for at, rows in column.found.items() for one in rows}
    units = [(at, seed) for at, method in enumerate(methods) for seed in method.runs if (at, seed) in measured]
    place_of = {unit: place for place, unit in enumerate(units)}
    metrics: list[Metric] = []
    clean: int | None = None
    for column, shown in zip(columns, names_of(columns), strict=True):
        metric = _metric(column, shown, place_of)
        if clean is None and (column.suite, column.metric, column.dataset) == ("clean", "error", name):
            clean = len(metrics)
        metrics.append(metric)
    return Population(
        train_dataset=name,
        runs=tuple(methods[at].runs[seed][0] for at, seed in units),
        labels=tuple(_label(methods, at, seed) for at, seed in units),
        methods=tuple(methods),
        method_of=np.array([at for at, _ in units], dtype=np.int64),
        plain=np.array([methods[at].aug in PLAIN and methods[at].reg == "none" for at, _ in units], dtype=bool),
        metrics=tuple(metrics),
        clean=clean,
    )


def names_of(columns: Sequence[Column]) -> list[str]:
    """``suite: ...`` with what tells a column from the others of its suite: metric, data set, what was done to it."""
    shown = [_parts(column) for column in columns]
    names = []
    for column, parts in zip(columns, shown, strict=True):
        rivals = [other for one, other in zip(columns, shown, strict=True) if one.suite == column.suite]
        same = [len(rivals) > 1 and len({other[at] for other in rivals}) == 1 for at in range(len(parts))]
        kept = [part for part, drop in zip(parts, same, strict=True) if part and not drop]
        names.append(f"{column.suite}: {' '.join(kept or [column.metric])}")
    return [
        name if names.count(name) == 1 else f"{column.suite}: {column.name}"
        for name, column in zip(names, columns, strict=True)
    ]


def _parts(column: Column) -> tuple[str, ...]:
    row = next(iter(column.found.values()))[0].row
    data = row.dataset if row.dataset != row.train_dataset else ""
    severity = "" if row.severity is None else f"severity {row.severity}"
    eps = "" if row.eps is None else f"eps {row.eps:.4g}"
    mark = f"[{column.mark}]" if column.mark else ""
    return (column.metric, data, row.corruption or "", severity, row.attack or "", eps, row.score or "", mark)


def _metric(column: Column, name: str, place_of: dict[tuple[int, int | None], int]) -> Metric:
    values, images = np.full(len(place_of), np.nan), np.full(len(place_of), np.nan)
    for at, rows in column.found.items():
        for one in rows:
            place = place_of[at, one.row.seed]
            values[place], images[place] = one.row.value, one.row.n
    corruption = next(iter(column.found.values()))[0].row.corruption or ""
    aggregate = bool(AGGREGATE.match(corruption))
    return Metric(name, column.suite, column.better, values, _accuracy(column, values), images, aggregate)


def _accuracy(column: Column, values: np.ndarray) -> np.ndarray | None:
    plain = column.metric.removeprefix("mean_").split("(")[0]
    if column.better < 0 and plain in ("error", "worst_case"):
        return 1 - values
    if column.better > 0 and plain in ("accuracy", "follows_phase"):
        return values
    return None


def _label(methods: Sequence[Method], at: int, seed: int | None) -> str:
    mine, several = methods[at], len({method.arch for method in methods}) > 1
    parts = [mine.aug, mine.reg if mine.reg != "none" else "", mine.arch if several else "", mine.variant]
    return ", ".join(filter(None, [*parts, f"seed {seed}" if len(mine.runs) > 1 else ""]))
