"""What papers print: the numbers in ``papers/<name>.csv``, as fractions, each with where it was read and under what."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError
from fourier_robust.report.selection import Selector

FOLDER = Path(__file__).parent / "papers"
TEXTS = ("table", "source", "read", "train_dataset", "arch", "aug", "reg", "suite", "dataset", "corruption", "attack",
         "score", "metric", "better", "note")  # fmt: skip
EPS = 1e-5  # eps is kept with 6 decimals


@dataclass(frozen=True)
class Published:
    """One printed number, named as this project's rows and settings would name it.

    Attributes:
        table: which of the paper's tables or figures it belongs to.
        source: what was read.
        read: how: ``verified`` in that source, digitised off a figure, or deduced from such numbers.
        train_dataset, arch, aug, reg: of the model.
        variant: settings that make the method; a run with others is another method.
        settings: of the training as far as they are known; a run with others was trained under other conditions.
        suite, dataset, corruption, attack, eps, score, metric: of the row that measures it on the published data.
        value: a fraction where the metric is one.
        half_unit: half a unit of the last digit printed.
        better: ``higher``, ``lower`` or ``neither``.
        images: on how many it was measured, or None.
        tolerance: by how much another training may differ beyond seed noise; this project's own band, or the error of
            reading a figure.
        note: what else is to be known.
    """

    table: str
    source: str
    read: str
    train_dataset: str
    arch: str
    aug: str
    reg: str
    variant: Mapping[str, Any]
    settings: Mapping[str, Any]
    suite: str
    dataset: str
    corruption: str
    attack: str
    eps: float | None
    score: str
    metric: str
    value: float
    half_unit: float
    better: str
    images: int | None
    tolerance: float
    note: str

    @property
    def key(self) -> tuple[str, ...]:
        """What a row must equal; data set and eps are compared apart."""
        return self.train_dataset, self.suite, self.metric, self.corruption, self.attack, self.score


def papers() -> list[str]:
    """Names that `published` takes."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


def published(paper: str) -> list[Published]:
    """All numbers of a paper, in the order of its file.

    Raises:
        UserError: there is no such paper.
    """
    if paper not in papers():
        raise UserError(f"paper={paper}: no published numbers of it are kept; there are {', '.join(papers())}")
    with (FOLDER / f"{paper}.csv").open(newline="", encoding="utf-8") as file:
        return [_of(line) for line in csv.DictReader(file)]


def selectors(paper: str) -> list[Selector]:
    """Of the rows that measure a paper's numbers.

    Raises:
        UserError: there is no such paper.
    """
    wanted: dict[Selector, None] = {}
    for one in published(paper):
        eps = "" if one.eps is None else f"{one.eps:.4f}*"
        data = "" if one.corruption or one.metric == "mce" else one.dataset
        parts = tuple(filter(None, (data, one.corruption, one.attack, eps, one.score)))
        wanted[Selector(one.suite, "p(*)" if one.metric.startswith("p(") else one.metric, parts)] = None
    return list(wanted)


def _of(line: Mapping[str, str]) -> Published:
    texts = {name: line[name] for name in TEXTS}
    decimals = len(line["value"].partition(".")[2])
    return Published(
        **texts,
        variant=_settings(line["variant"]),
        settings=_settings(line["settings"]),
        eps=float(line["eps"]) if line["eps"] else None,
        value=float(line["value"]),
        half_unit=0.5 * 10.0**-decimals,
        images=int(line["images"]) if line["images"] else None,
        tolerance=float(line["tolerance"] or 0),
    )


def _settings(text: str) -> dict[str, Any]:
    """Dotted key -> value, from ``key=value key=value``."""
    found = {}
    for part in text.split():
        key, _, value = part.partition("=")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
