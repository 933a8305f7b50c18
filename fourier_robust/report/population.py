"""The models that an analysis is made over: one line per run, one column per metric, gaps where a run has no number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from fourier_robust.errors import UserError
from fourier_robust.report.collect import Found, Run
from fourier_robust.report.method_table import Column, _columns
from fourier_robust.report.methods import Method
from fourier_robust.run.results import Row

AGGREGATE = re.compile(r"(common|extra|bar)\d")  # common15, bar8of10
MEAN_OF_SETS = re.compile(r"mean_of_\d+_sets")  # of suite=fewshot
PLAIN = {"none", "standard"}  # augmentations of a plainly trained model; its regularizer is none
UNKNOWN = "unknown"  # training data set of a model of others
# Shares of wrong and of right answers, also as mean_<metric>; best_error is none, it is chosen among sizes.
WRONG = ("error", "error_masked", "error_*shot", "worst_case")
RIGHT = ("accuracy", "balanced_accuracy", "worst_accuracy", "follows_phase")


@dataclass(frozen=True, eq=False)
class Metric:
    """One column of the tables.

    Attributes:
        name: of `names_of`.
        suite: of it.
        row: one of its rows, for what all of them name: data set, corruption, metric.
        better: as in `Column`.
        values: (N,) as in the tables, NaN where a run has none.
        accuracy: (N,) likewise as a share of right answers, or None where the metric is no such share.
        images: (N,) that each value was measured on; NaN likewise.
        aggregate: whether it is the mean over corruptions or transfer sets.
    """

    name: str
    suite: str
    row: Row
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
        dataset: of the clean accuracy: the one trained on; where nobody says, the one that most runs were measured on.
        clean: place in `metrics` of the clean accuracy on the test split of `dataset`, or None.
        asked: globs of run names: the runs that lines are to be fitted on; none: the plainly trained ones, else all.
        named: (N,) bool, which runs they fit.
    """

    train_dataset: str
    runs: tuple[Run, ...]
    labels: tuple[str, ...]
    methods: tuple[Method, ...]
    method_of: np.ndarray
    plain: np.ndarray
    metrics: tuple[Metric, ...]
    dataset: str
    clean: int | None
    asked: tuple[str, ...]
    named: np.ndarray

    @property
    def shares(self) -> tuple[Metric, ...]:
        """Metrics that are a share of right answers, without those of clean images: of all, or of a set's classes."""
        return tuple(one for one in self.metrics if one.accuracy is not None and not self._of_clean(one.row))

    def _of_clean(self, row: Row) -> bool:
        """Whether a row of any suite is the error on unchanged images of `dataset`, or on those of some classes."""
        if row.dataset.startswith(f"{self.dataset}_of_"):
            return True
        return (row.dataset, row.metric) == (self.dataset, "error") and not (row.corruption or row.attack)

    @property
    def parts(self) -> tuple[Metric, ...]:
        """`shares` that are not in each other, and would count twice.

        Without the means of a suite whose single corruptions or sets are there too, and without the renditions of a
        set that is there whole.
        """
        single = {one.suite for one in self.shares if not one.aggregate}
        whole = {(one.suite, one.row.dataset, one.row.metric) for one in self.shares if not one.row.corruption}
        return tuple(
            one
            for one in self.shares
            if not (one.aggregate and one.suite in single)
            and not (one.row.corruption and (one.suite, one.row.dataset, one.row.metric) in whole)
        )

    @property
    def described(self) -> str:
        """The population in words."""
        count = len(set(self.method_of.tolist()))
        methods = f"{count} method{'s' * (count > 1)}"
        trained = f"trained on {self.train_dataset}" if self.train_dataset != UNKNOWN else "of unknown training"
        return f"Population: the {len(self.runs)} runs of {methods} {trained}"

    def title(self, what: str) -> str:
        """A heading."""
        return f"{what} ({self.train_dataset})"

    def key(self, name: str) -> str:
        """Of a section of a report."""
        return re.sub("[^a-z0-9]+", "-", f"analysis-{self.train_dataset.lower()}-{name}")


def populations_of(found: Sequence[Found], methods: Sequence[Method], asked: Sequence[str] = ()) -> list[Population]:
    """One population per training data set, in the order of the tables; the columns are those of the tables.

    Raises:
        UserError: one of the globs `asked` (see `Population`) fits no run.
    """
    names = sorted(run.shown for method in methods for runs in method.runs.values() for run in runs)
    for glob in asked:
        if not any(fnmatchcase(name, glob) for name in names):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"population: {glob} fits no run; there are {', '.join(names[:3])}{more}")
    return [
        _population(name, found, [method for method in methods if method.train_dataset == name], asked)
        for name in dict.fromkeys(method.train_dataset for method in methods)
    ]


def _population(name: str, found: Sequence[Found], methods: Sequence[Method], asked: Sequence[str]) -> Population:
    columns = _columns(found, methods)
    measured = {(at, one.row.seed) for column in columns for at, rows in column.found.items() for one in rows}
    units = [(at, seed) for at, method in enumerate(methods) for seed in method.runs if (at, seed) in measured]
    place_of = {unit: place for place, unit in enumerate(units)}
    dataset, clean = _clean(name, columns)
    names = [[run.shown for run in methods[at].runs[seed]] for at, seed in units]
    return Population(
        train_dataset=name,
        runs=tuple(methods[at].runs[seed][0] for at, seed in units),
        labels=tuple(_label(methods, at, seed) for at, seed in units),
        methods=tuple(methods),
        method_of=np.array([at for at, _ in units], dtype=np.int64),
        plain=np.array([methods[at].aug in PLAIN and methods[at].reg == "none" for at, _ in units], dtype=bool),
        metrics=tuple(
            _metric(column, shown, place_of) for column, shown in zip(columns, names_of(columns), strict=True)
        ),
        dataset=dataset,
        clean=clean,
        asked=tuple(asked),
        named=np.array([any(fnmatchcase(one, glob) for one in mine for glob in asked) for mine in names], dtype=bool),
    )


def _clean(name: str, columns: Sequence[Column]) -> tuple[str, int | None]:
    """`Population.dataset` and `Population.clean` of models trained on `name`."""
    places = [at for at, column in enumerate(columns) if (column.suite, column.metric) == ("clean", "error")]
    if name == UNKNOWN:
        measured: Counter[str] = Counter()
        for at in places:
            measured[columns[at].dataset] += sum(map(len, columns[at].found.values()))
        name = max(measured, key=measured.__getitem__, default=name)
    return name, next((at for at in places if columns[at].dataset == name), None)


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
    row = _row(column)
    data = row.dataset if row.dataset != row.train_dataset else ""
    severity = "" if row.severity is None else f"severity {row.severity}"
    eps = "" if row.eps is None else f"eps {row.eps:.4g}"
    mark = f"[{column.mark}]" if column.mark else ""
    return (column.metric, data, row.corruption or "", severity, row.attack or "", eps, row.score or "", mark)


def _row(column: Column) -> Row:
    return next(iter(column.found.values()))[0].row


def _metric(column: Column, name: str, place_of: dict[tuple[int, int | None], int]) -> Metric:
    values, images = np.full(len(place_of), np.nan), np.full(len(place_of), np.nan)
    for at, rows in column.found.items():
        for one in rows:
            place = place_of[at, one.row.seed]
            values[place], images[place] = one.row.value, one.row.n
    row = _row(column)
    aggregate = bool(AGGREGATE.match(row.corruption or "") or MEAN_OF_SETS.fullmatch(row.dataset))
    return Metric(name, column.suite, row, column.better, values, _accuracy(column, values), images, aggregate)


def _accuracy(column: Column, values: np.ndarray) -> np.ndarray | None:
    plain = column.metric.removeprefix("mean_").split("(")[0]
    if column.better < 0 and any(fnmatchcase(plain, pattern) for pattern in WRONG):
        return 1 - values
    if column.better > 0 and plain in RIGHT:
        return values
    return None


def _label(methods: Sequence[Method], at: int, seed: int | None) -> str:
    mine, several = methods[at], len({method.arch for method in methods}) > 1
    parts = [mine.aug, mine.reg if mine.reg != "none" else "", mine.arch if several else "", mine.variant]
    return ", ".join(filter(None, [*parts, f"seed {seed}" if len(mine.runs) > 1 else ""]))
