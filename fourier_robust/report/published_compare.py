"""Each published number with what measured it here, and under which other conditions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fourier_robust.report.collect import Found, Run
from fourier_robust.report.methods import Method
from fourier_robust.report.published_values import EPS, Published

REPRODUCED, DIFFERS, OTHER, NEVER = "reproduced", "differs", "other conditions", "never run"
STATUSES = (REPRODUCED, DIFFERS, OTHER, NEVER)
NOISE = 2.0  # standard deviations over seeds within which a difference counts as noise


@dataclass(frozen=True)
class Measured:
    """One method that measured a published number.

    Attributes:
        method: equal to the published one in training data, augmentation and regularizer.
        rows: one per seed.
        differs: conditions that are known to differ from the published ones, or are unknown; a phrase each.
    """

    method: Method
    rows: tuple[Found, ...]
    differs: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return math.fsum(one.row.value for one in self.rows) / len(self.rows)

    @property
    def noise(self) -> float | None:
        """Standard deviation over seeds, n - 1; None for one seed."""
        if len(self.rows) < 2:
            return None
        return math.sqrt(math.fsum((one.row.value - self.mean) ** 2 for one in self.rows) / (len(self.rows) - 1))


@dataclass(frozen=True)
class Beside:
    """A published number and all methods that measured it, the closest conditions first."""

    published: Published
    measured: tuple[Measured, ...]

    @property
    def difference(self) -> float:
        """Measured minus published, of the closest."""
        return self.measured[0].mean - self.published.value

    @property
    def status(self) -> str:
        """One of `STATUSES`, by the closest."""
        if not self.measured:
            return NEVER
        if self.measured[0].differs:
            return OTHER
        allowed = NOISE * (self.measured[0].noise or 0) + self.published.tolerance + self.published.half_unit
        return REPRODUCED if abs(self.difference) <= allowed + 1e-9 else DIFFERS


def compare(wanted: Sequence[Published], found: Sequence[Found], methods: Sequence[Method]) -> list[Beside]:
    """Each published number with what measured it."""
    place_of = {run: (at, seed, turn) for at, method in enumerate(methods)
                for seed, runs in method.runs.items() for turn, run in enumerate(runs)}  # fmt: skip
    by_key: dict[tuple[str, ...], list[Found]] = {}
    for one in found:
        row = one.row
        if row.severity is None and one.receipt.run in place_of:
            key = row.train_dataset, row.suite, row.metric, row.corruption or "", row.attack or "", row.score or ""
            by_key.setdefault(key, []).append(one)
    return [Beside(each, _measured(each, by_key.get(each.key, []), methods, place_of)) for each in wanted]


def _measured(
    wanted: Published,
    rows: Sequence[Found],
    methods: Sequence[Method],
    place_of: Mapping[Run, tuple[int, int | None, int]],
) -> tuple[Measured, ...]:
    by_method: dict[tuple[int, str], dict[int | None, Found]] = {}
    for one in sorted(rows, key=lambda one: (place_of[one.receipt.run][2], one.receipt.name)):
        at, seed, _ = place_of[one.receipt.run]
        if _same_method(wanted, methods[at], one.receipt.run) and _same_data(wanted, one):
            by_method.setdefault((at, one.row.dataset), {}).setdefault(seed, one)
    every = []
    for (at, _), seeds in by_method.items():
        chosen = tuple(seeds[seed] for seed in sorted(seeds, key=str))
        differs = tuple(_differing(wanted, methods[at], chosen))
        every.append(((len(differs), _distance(wanted, chosen[0]), at), Measured(methods[at], chosen, differs)))
    return tuple(one for _, one in sorted(every, key=lambda pair: pair[0]))


def _distance(wanted: Published, one: Found) -> float:
    """How far numeric settings are from the published ones: sum of the logarithms of their ratios."""
    settings = one.receipt.run.settings or {}
    total = 0.0
    for key, value in wanted.settings.items():
        mine = json.loads(settings.get(key, "null"))
        if all(isinstance(each, int | float) and each > 0 for each in (value, mine)):
            total += abs(math.log(mine / value))
    return round(total, 9)


def _same_method(wanted: Published, method: Method, run: Run) -> bool:
    if (method.aug, method.reg) != (wanted.aug, wanted.reg):
        return False
    settings = run.settings or {}
    return all(key in settings and json.loads(settings[key]) == value for key, value in wanted.variant.items())


def _same_data(wanted: Published, one: Found) -> bool:
    eps = (wanted.eps is None) == (one.row.eps is None) and abs((wanted.eps or 0) - (one.row.eps or 0)) < EPS
    return eps and one.row.dataset in (wanted.dataset, f"{wanted.dataset}_generated")


def _differing(wanted: Published, method: Method, rows: Sequence[Found]) -> list[str]:
    """Here, and published in brackets."""
    said = [f"{method.arch} ({wanted.arch})"] if method.arch != wanted.arch else []
    known = rows[0].receipt.run.settings
    said += ["training unknown: no config.yaml"] if known is None else []
    settings = known or {}
    for key, value in wanted.settings.items() if settings else ():
        name = key.partition(".")[2]
        if key not in settings:
            said.append(f"no {name} ({plain(value)})")
        elif json.loads(settings[key]) != value:
            said.append(f"{name} {plain(json.loads(settings[key]))} ({plain(value)})")
    if rows[0].row.dataset != wanted.dataset:
        said.append("generated (released) corruptions")
    counts = sorted({one.row.n for one in rows})
    if wanted.images is not None and counts != [wanted.images]:
        said.append(f"n = {' to '.join(f'{n:,}' for n in dict.fromkeys((counts[0], counts[-1])))} ({wanted.images:,})")
    return said


def plain(value: object) -> str:
    """A setting as shown."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
