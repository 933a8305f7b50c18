"""Rows sorted for pictures: what may stand in one picture, means over seeds, and what its notes say."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fourier_robust.report.collect import Found, Receipt
from fourier_robust.report.method_table import definition_of, precision_of, signatures
from fourier_robust.report.methods import Method
from fourier_robust.report.pictures.looks import Look
from fourier_robust.run.results import Row

LONG = 60  # characters of a difference; only definitions are longer
SPREAD = "Means over seeds; bands and ± are one standard deviation (n - 1) over seeds, where a method has several."


@dataclass
class Material:
    """What pictures are made of.

    Attributes:
        found: the rows that pictures ask for.
        receipts: of all evaluations.
        methods: in the order of the tables.
        looks: of each.
        limit: methods in one picture.
        skipped: what could not be read; a line each, added while pictures are made.
    """

    found: Sequence[Found]
    receipts: Sequence[Receipt]
    methods: Sequence[Method]
    looks: Mapping[Method, Look]
    limit: int
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_suite: dict[str, list[Found]] = {}
        for one in self.found:
            self._by_suite.setdefault(one.row.suite, []).append(one)

    def of_suite(self, start: str) -> list[Found]:
        """The rows of all suites whose names start so."""
        return [one for suite, rows in self._by_suite.items() if suite.startswith(start) for one in rows]


@dataclass(frozen=True)
class Point:
    """A mean over seeds, its standard deviation (None for one seed), and how many."""

    mean: float
    std: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Point:
        """Of one value per seed, at least one."""
        mean = math.fsum(values) / len(values)
        if len(values) < 2:
            return cls(mean, None, 1)
        return cls(mean, math.sqrt(math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1)), len(values))

    def scaled(self, factor: float, offset: float = 0.0) -> Point:
        """``offset + factor * self``."""
        return Point(offset + factor * self.mean, None if self.std is None else abs(factor) * self.std, self.seeds)

    def text(self, factor: float = 100, digits: int = 2) -> str:
        """``12.34``, or ``12.34 ± 0.56 (3)``."""
        mean = f"{factor * self.mean:.{digits}f}"
        return mean if self.std is None else f"{mean} ± {factor * self.std:.{digits}f} ({self.seeds})"


@dataclass(frozen=True)
class Group:
    """Numbers of one definition, on the same data, under the same settings.

    Attributes:
        of: what `pick` called it.
        train_dataset: of the methods.
        apart: what sets it apart from groups of the same name; or empty.
        number: among those, from 0.
        points: method -> key of `pick` -> mean over seeds; at most the limit, in the order of the tables.
        receipts: of each method, one per seed.
        left: methods that are measured and not drawn.
        rows: of the methods drawn.
        others: whether other methods of the report were trained on other data.
    """

    of: tuple[str, ...]
    train_dataset: str
    apart: str
    number: int
    points: Mapping[Method, Mapping[Hashable, Point]]
    receipts: Mapping[Method, tuple[Receipt, ...]]
    left: int
    rows: tuple[Found, ...]
    others: bool = False

    def titled(self, title: str) -> str:
        """`title`, with the training data where methods of the report are trained on several."""
        return f"{title} (trained on {self.train_dataset})" if self.others else title

    @property
    def key(self) -> str:
        """For links."""
        said = "-".join([self.train_dataset, *self.of]) + (f"-{self.number + 1}" if self.number else "")
        return "".join(one if one.isascii() and one.isalnum() else "-" for one in said.lower())

    def places(self) -> list[Hashable]:
        """Of all points, in the order of the rows."""
        return list(dict.fromkeys(key for points in self.points.values() for key in points))

    def notes(self, *metrics: str) -> list[str]:
        """Who was trained on what, on which images, by which definition, and what is not drawn."""
        mine = [one for one in self.rows if not metrics or one.row.metric.split("(")[0] in metrics]
        images = sorted({one.row.n for one in mine})
        n = " to ".join(f"{count:,}" for count in dict.fromkeys((images[0], images[-1])))
        precisions = sorted({precision_of(receipt) for every in self.receipts.values() for receipt in every})
        said = [f"Trained on {self.train_dataset}; n = {n}; measured in {' and '.join(precisions)}."]
        said += [SPREAD] if any(len(every) > 1 for every in self.receipts.values()) else ["One seed each."]
        said += [f"Apart from its namesakes: {self.apart}."] if self.apart else []
        texts: dict[str, str] = {}
        for one in {one.row.metric: one for one in reversed(mine)}.values():
            texts[definition_of(one)] = one.row.metric.split("(")[0]
        said += [f"{head}: {text}." for text, head in reversed(texts.items()) if text]
        if self.left:
            more = f"{len(self.points)} of {len(self.points) + self.left} methods are drawn, the first of the table"
            said.append(f"{more}; the others' numbers stand in rows.csv.")
        return said


Pick = Callable[[Row], tuple[tuple[str, ...], Hashable] | None]


def groups_of(material: Material, suite: str, pick: Pick) -> list[Group]:
    """Rows that `pick` gives a group and a key within it, apart by definition, data and settings.

    Of several copies of a checkpoint, and several folders of one seed, the first counts.

    Args:
        material: of the report.
        suite: the start of the suites' names.
        pick: (group, key) of a row, or None.
    """
    place_of = {run: (method, seed, turn) for method in material.methods
                for seed, runs in method.runs.items() for turn, run in enumerate(runs)}  # fmt: skip
    picked: dict[tuple[str, tuple[str, ...]], list[tuple[Found, Hashable]]] = {}
    for one in material.of_suite(suite):
        said = pick(one.row)
        if said is not None and one.receipt.run in place_of:
            picked.setdefault((place_of[one.receipt.run][0].train_dataset, said[0]), []).append((one, said[1]))
    groups = []
    for (_, of), rows in sorted(picked.items(), key=lambda item: item[0]):
        meaning = _meaning([one for one, _ in rows])
        kinds = sorted(set(meaning.values()))
        for number, kind in enumerate(kinds):
            apart = ", ".join("the definition below" if len(text) > LONG else text for text in kind if text)
            there = {place_of[receipt.run][0] for receipt, mine in meaning.items() if mine == kind}
            drawn = [method for method in material.methods if method in there][: material.limit]
            mine = [(one, key) for one, key in rows
                    if meaning[one.receipt] == kind and place_of[one.receipt.run][0] in drawn]  # fmt: skip
            mine.sort(key=lambda pair: (place_of[pair[0].receipt.run][2], pair[0].receipt.name))
            values: dict[Method, dict[Hashable, dict[int | None, Found]]] = {method: {} for method in drawn}
            for one, key in mine:
                method, seed, _ = place_of[one.receipt.run]
                values[method].setdefault(key, {}).setdefault(seed, one)
            groups.append(_group(material, of, apart, number, values, len(there) - len(drawn)))
    return groups


def _group(
    material: Material,
    of: tuple[str, ...],
    apart: str,
    number: int,
    values: Mapping[Method, Mapping[Hashable, Mapping[int | None, Found]]],
    left: int,
) -> Group:
    return Group(
        of=of,
        train_dataset=next(iter(values)).train_dataset,
        apart=apart,
        number=number,
        points={
            method: {
                key: Point.of([seeds[seed].row.value for seed in sorted(seeds, key=str)]) for key, seeds in keys.items()
            }
            for method, keys in values.items()
        },
        receipts={method: _receipts(keys.values()) for method, keys in values.items()},
        left=left,
        rows=tuple(one for keys in values.values() for seeds in keys.values() for one in seeds.values()),
        others=len({method.train_dataset for method in material.methods}) > 1,
    )


def _receipts(values: Iterable[Mapping[int | None, Found]]) -> tuple[Receipt, ...]:
    first: dict[int | None, Receipt] = {}
    for seeds in values:
        for seed, one in seeds.items():
            first.setdefault(seed, one.receipt)
    return tuple(first[seed] for seed in sorted(first, key=str))


def _meaning(rows: Sequence[Found]) -> dict[Receipt, tuple[str, ...]]:
    """Per receipt what its numbers mean, by the metrics that all receipts have."""
    first: dict[Receipt, dict[str, Found]] = {}
    for one in rows:
        first.setdefault(one.receipt, {}).setdefault(one.row.metric.split("(")[0], one)
    common = sorted(set.intersection(*(set(one) for one in first.values())))
    parts: list[list[tuple[str, ...]]] = []
    for head in common or [""]:
        samples = [metrics[head] if head else next(iter(metrics.values())) for metrics in first.values()]
        parts.append(signatures(samples))
    merged = []
    for each in zip(*parts, strict=True):
        merged.append(tuple(text for part in each for text in part))
    return dict(zip(first, _distinct(merged), strict=True))


def _distinct(signs: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The same with each differing text kept once: metrics of a suite share data and settings."""
    differing = [at for at in range(len(signs[0])) if len({one[at] for one in signs}) > 1]
    columns = dict.fromkeys(tuple(one[at] for one in signs) for at in differing)
    return [tuple(column[place] for column in columns) for place in range(len(signs))]
