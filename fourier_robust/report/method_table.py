"""Methods down, metrics across: means over seeds, and the best where it is significantly better than every other.

A little over 200 lines: columns, cells, marks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np

from fourier_robust.metric.significance import mcnemar_p, paired_p, welch_p
from fourier_robust.report.collect import Found, Receipt, Run, flatten
from fourier_robust.report.methods import Method
from fourier_robust.report.pairs import Images, images_of

ALPHA = 0.05
# What a suite's setting may differ in without changing what one of its numbers means: where things lie, what runs
# them, and which numbers are measured beside it (a partial set has another name in the row).
SELECTION = frozenset(
    ("root", "workers", "save", "stretch", "checks", "corruptions", "severities", "scores", "sets", "splits", "eps_255",
     "eps_l2", "folders", "textures", "against", "without", "only", "attacks", "download", "num_workers")
)  # fmt: skip
PERCENT = ("*error", "error(*", "error_*", "best_error_masked", "gap", "gap_masked", "worst_case", "ce", "mce",
           "relative_mce", "*accuracy", "accuracy(*", "flip_rate", "flip_rate(*", "mfr", "follows_*", "gain", "drop",
           "difference", "auroc", "aupr*", "fpr95*", "ece", "ece_*", "rms_ce*")  # fmt: skip
NEITHER = "neither high nor low is better"


@dataclass(frozen=True)
class Cell:
    """One method under one column.

    Attributes:
        values: (seed, value, receipt), one per seed.
        best: whether it is marked.
    """

    values: tuple[tuple[int | None, float, Receipt], ...]
    best: bool = False

    @property
    def mean(self) -> float:
        """Over seeds."""
        return math.fsum(value for _, value, _ in self.values) / len(self.values)

    @property
    def std(self) -> float | None:
        """Over seeds, n - 1; None for one seed."""
        if len(self.values) < 2:
            return None
        mean = self.mean
        return math.sqrt(math.fsum((value - mean) ** 2 for _, value, _ in self.values) / (len(self.values) - 1))


@dataclass(eq=False)
class Column:
    """One metric under one definition.

    Attributes:
        suite, metric, dataset: as in the rows.
        what: corruption, severity, attack, eps and score of the rows.
        better: 1 where higher is better, -1 where lower is, 0 where neither.
        percent: whether values are fractions printed in percent.
        definition: from the receipts, or empty.
        apart: what sets it apart from columns of the same name under other definitions, settings or data; or empty.
        mark: letter of such a column, or empty.
        images: numbers n of its rows.
        precisions: under which its values were measured.
        found: method's place -> its rows.
        verdict: how the best was looked for.
        p: of the comparison that decides, corrected; None without a test.
    """

    suite: str
    metric: str
    dataset: str
    what: str
    better: int
    percent: bool
    definition: str
    apart: str = ""
    mark: str = ""
    images: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    found: dict[int, list[Found]] = field(default_factory=dict)
    verdict: str = ""
    p: float | None = None

    @property
    def name(self) -> str:
        """Metric, what it is of, and the letter where one name has several definitions."""
        return " ".join(filter(None, (self.metric, self.what, f"[{self.mark}]" if self.mark else "")))


@dataclass(frozen=True)
class MethodTable:
    """Methods trained on one data set, down, and some columns; None is an empty cell."""

    train_dataset: str
    methods: tuple[Method, ...]
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell | None, ...], ...]


def tables_of(found: Sequence[Found], methods: Sequence[Method], width: int, alpha: float = ALPHA) -> list[MethodTable]:
    """One table per training data set; one of more than `width` columns goes on in the next, between suites."""
    tables = []
    for name in dict.fromkeys(method.train_dataset for method in methods):
        rows = [method for method in methods if method.train_dataset == name]
        columns = _columns(found, rows)
        for column in columns:
            _judge(column, alpha)
        for part in _parts(columns, width):
            cells = [tuple(_cell(column, place) for column in part) for place in range(len(rows))]
            filled = [place for place, line in enumerate(cells) if any(line)]
            shown = tuple(rows[place] for place in filled)
            tables.append(MethodTable(name, shown, tuple(part), tuple(cells[place] for place in filled)))
    return tables


def _parts(columns: Sequence[Column], width: int) -> list[list[Column]]:
    parts: list[list[Column]] = []
    for suite in dict.fromkeys(column.suite for column in columns):
        block = [column for column in columns if column.suite == suite]
        if parts and len(parts[-1]) + len(block) <= width:
            parts[-1] += block
        else:
            parts += [block[first : first + width] for first in range(0, len(block), width)]
    return parts


def _columns(found: Sequence[Found], methods: Sequence[Method]) -> list[Column]:
    """The columns in the order of the selectors, then by name; definitions, settings and data are never mixed."""
    place_of = {run: (at, seed, turn) for at, method in enumerate(methods)
                for seed, runs in method.runs.items() for turn, run in enumerate(runs)}  # fmt: skip
    named: dict[tuple[object, ...], list[Found]] = {}
    for one in found:
        if one.receipt.run in place_of:
            row = one.row
            what = (row.corruption, row.severity, row.attack, row.eps, row.score)
            texts = tuple("" if part is None else str(part) for part in what)
            named.setdefault((one.place, row.suite, row.metric, row.dataset, texts), []).append(one)
    columns = []
    for key in sorted(named, key=lambda key: _numbers_last(key)):
        same: dict[tuple[str, ...], list[Found]] = {}
        for one, signature in zip(named[key], signatures(named[key]), strict=True):
            same.setdefault(signature, []).append(one)
        for letter, signature in zip(_letters(len(same)), sorted(same), strict=True):
            columns.append(_column(same[signature], signature, list(same), letter, place_of))
    return columns


def _numbers_last(key: tuple[object, ...]) -> tuple[object, ...]:
    return (*key[:4], *((text.zfill(12) if text.replace(".", "").isdigit() else text) for text in key[4]))  # type: ignore[attr-defined]


def _letters(count: int) -> list[str]:
    return [""] if count == 1 else [f"{chr(97 + at % 26)}{at // 26 or ''}" for at in range(count)]


def _column(
    rows: list[Found],
    signature: tuple[str, ...],
    others: list[tuple[str, ...]],
    letter: str,
    place_of: Mapping[Run, tuple[int, int | None, int]],
) -> Column:
    row, definition = rows[0].row, signature[0]
    eps = "" if row.eps is None else f"eps {row.eps:.4g}"
    severity = "" if row.severity is None else f"severity {row.severity}"
    data = row.dataset if row.dataset != row.train_dataset else ""
    what = " ".join(filter(None, (data, row.corruption, severity, row.attack, eps, row.score)))
    by_seed: dict[tuple[int, int | None], list[Found]] = {}
    for one in sorted(rows, key=lambda one: (place_of[one.receipt.run], one.receipt.name)):
        by_seed.setdefault(place_of[one.receipt.run][:2], []).append(one)  # copies and second folders behind
    kept: dict[int, list[Found]] = {}
    for (place, _), values in by_seed.items():
        kept.setdefault(place, []).append(values[0])
    every = [one for values in kept.values() for one in values]
    differing = [at for at in range(1, len(signature)) if len({other[at] for other in others}) > 1]
    said = [signature[at] for at in differing if signature[at]]
    if len({other[0] for other in others}) > 1:
        said.insert(0, "by this definition" if definition else "without a definition in the receipt")
    return Column(
        suite=row.suite,
        metric=row.metric,
        dataset=row.dataset,
        what=what,
        better=0 if NEITHER in definition else 1 if row.higher_is_better else -1,
        percent=any(fnmatchcase(row.metric.removeprefix("mean_"), pattern) for pattern in PERCENT)
        or row.metric in PERCENT,
        definition=definition,
        apart=", ".join(said),
        mark=letter,
        images=tuple(sorted({one.row.n for one in every})),
        precisions=tuple(sorted({precision_of(one.receipt) for one in every})),
        found=kept,
    )


def signatures(rows: Sequence[Found]) -> list[tuple[str, ...]]:
    """Per row what its number means: definition, identity of the data, settings of the suite that all receipts name.

    The order of a tuple is the same for all; equal tuples mean numbers that may stand in one column.
    """
    settings = [suite_settings(one.receipt, one.row.metric) for one in rows]
    common = sorted(set(settings[0]).intersection(*settings[1:]))
    keys = [key for key in common if len({one[key] for one in settings}) > 1]
    return [
        (
            definition_of(one),
            f"data {_data(one)[:12]}" if _data(one) else "",
            "higher is better" if one.row.higher_is_better else "lower is better",
            *(f"{key}={mine[key]}" for key in keys),
        )
        for one, mine in zip(rows, settings, strict=True)
    ]


def suite_settings(receipt: Receipt, metric: str) -> dict[str, str]:
    """The suite's settings that say what its numbers mean, flat, as JSON."""
    suite = (receipt.content.get("config") or {}).get("suite") or {}
    return _settings(json.dumps(suite), metric == "worst_case")


@lru_cache(maxsize=4096)
def _settings(suite: str, with_attacks: bool) -> dict[str, str]:
    kept = SELECTION - ({"attacks"} if with_attacks else set())
    return {key: text for key, text in flatten(json.loads(suite)).items() if not kept & set(key.split("."))}


def definition_of(one: Found) -> str:
    """What the receipt says of the row's metric: by its name, or by a pattern with that of the plain metric."""
    definitions = dict(one.receipt.content.get("definitions") or {})
    mine = {name.split(": ", 1)[1]: text for name, text in definitions.items() if name.startswith(f"{one.row.suite}: ")}
    definitions = mine or definitions  # those of suite=all name the suite
    metric = one.row.metric
    if metric in definitions:
        return str(definitions[metric])
    head = metric.split("(")[0] + "("
    patterns = [name for name in definitions if fnmatchcase(metric, name) or ("(" in metric and name.startswith(head))]
    plain = metric.removeprefix("mean_").removesuffix("_scaled")
    texts = [str(definitions[name]) for name in patterns]
    return "; ".join([*texts, f"{plain}: {definitions[plain]}"] if plain in definitions else texts)


def _data(one: Found) -> str:
    """Identity of the uncorrupted images behind a row."""
    data = one.receipt.content.get("data") or {}
    names = [key for key in data if one.row.dataset == key or one.row.dataset.startswith(f"{key}_")]
    return str(data[max(names, key=len)] if names else next(iter(data.values()), ""))


def precision_of(receipt: Receipt) -> str:
    """``fp32``, ``bf16``, or ``unknown precision``."""
    return str((receipt.content.get("config") or {}).get("precision") or "unknown precision")


def _cell(column: Column, place: int) -> Cell | None:
    rows = column.found.get(place)
    if not rows:
        return None
    return Cell(tuple((one.row.seed, one.row.value, one.receipt) for one in rows), place == _marked(column))


def _marked(column: Column) -> int | None:
    return _ranked(column)[0] if column.p is not None and column.verdict.startswith("best") else None


def _ranked(column: Column) -> list[int]:
    means = {place: math.fsum(one.row.value for one in rows) / len(rows) for place, rows in column.found.items()}
    return sorted(means, key=lambda place: (-column.better * means[place], place))


def _judge(column: Column, alpha: float) -> None:
    """Compare the best with each other method, the closest first; say in `verdict` what was found."""
    if column.better == 0:
        column.verdict = "no best: " + NEITHER
        return
    if len(column.found) < 2:
        return
    best, *others = _ranked(column)
    mine = _images(column.found[best])
    tests: dict[str, None] = {}
    worst = 0.0
    for other in others:
        p, test = _compare(column.found[best], column.found[other], mine)
        if p is None:
            column.verdict = f"none marked: {test}"
            return
        tests[test] = None
        worst = max(worst, min(1.0, p * len(others)))
        if worst >= alpha:
            break
    column.p = worst
    by = "; ".join(tests) + (f"; p times {len(others)} comparisons (Bonferroni)" if len(others) > 1 else "")
    outcome = f"best marked, p {_small(worst)}" if worst < alpha else f"none marked, p {worst:.2g}"
    column.verdict = f"{outcome}: {by}"


def _small(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def _images(rows: Iterable[Found]) -> list[Images] | None:
    every = [images_of(one) for one in rows]
    known = [one for one in every if one is not None]
    return known if len(known) == len(every) else None


def _compare(best: Sequence[Found], other: Sequence[Found], mine: list[Images] | None) -> tuple[float | None, str]:
    """(p, the test) of two methods under a column; (None, why not) without one."""
    theirs = _images(other) if mine is not None else None
    if mine is not None and theirs is not None and _same_images([*mine, *theirs]):
        if len(mine) == len(theirs) == 1 and mine[0].exact:
            first, second = mine[0].value > 0, theirs[0].value > 0
            p = mcnemar_p(int((first & ~second).sum()), int((second & ~first).sum()))
            return p, "exact McNemar test over the same images"
        means = [np.mean([one.value for one in side], axis=0) for side in (mine, theirs)]
        return paired_p(means[0] - means[1]), "paired t-test over the same images, each image's values averaged first"
    over_seeds = welch_p([one.row.value for one in best], [one.row.value for one in other])
    few = min(len(best), len(other)) < 2
    why = "no predictions of the same images at hand, and " + ("only one seed" if few else "seeds without any spread")
    return (over_seeds, "Welch's t-test over seeds") if over_seeds is not None else (None, why)


def _same_images(every: Sequence[Images]) -> bool:
    first = every[0]
    return all(one.data == first.data and np.array_equal(one.label, first.label) for one in every)


def shown(value: float, percent: bool) -> str:
    """A number as tables print it: percent with 2 decimals, or 4 decimals."""
    return f"{100 * value:.2f}" if percent else f"{value:.4f}"


def direction(column: Column) -> str:
    """``%`` where it is percent, and whether lower or higher is better."""
    arrow = {1: "higher is better", -1: "lower is better", 0: "neither is better"}[column.better]
    return ("%, " if column.percent else "") + arrow
