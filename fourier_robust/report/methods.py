"""Which runs are one method: equal in everything but the seed. Only over such runs is a mean taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fourier_robust.report.collect import Found, Run

SHOWN = 3  # differing settings named in a row's label


@dataclass(frozen=True, eq=False)
class Method:
    """Runs that differ in nothing but the seed.

    Attributes:
        train_dataset, arch, aug, reg: as in the rows.
        variant: settings in which it differs from other methods of these names, or the run; empty where it is alone.
        runs: seed (None where it is unknown) -> the run; more than one where a checkpoint lies in several places.
    """

    train_dataset: str
    arch: str
    aug: str
    reg: str
    variant: str
    runs: Mapping[int | None, tuple[Run, ...]]


Names = tuple[str, str, str, str]


def methods_of(found: Iterable[Found]) -> tuple[list[Method], list[str]]:
    """The methods behind the rows, in the order of a table, and a line for each copy of a checkpoint or of a run.

    A second run of a seed is a method of its own; the same checkpoint in two places counts once.
    """
    of_run: dict[Run, tuple[Names, int | None, str]] = {}
    for one in found:
        row = one.row
        names = (row.train_dataset, row.arch, row.aug, row.reg)
        of_run.setdefault(one.receipt.run, (names, row.seed, _checkpoint(one) or row.run))
    groups: dict[tuple[Names, str, int], dict[int | None, tuple[Run, ...]]] = {}
    copies = []
    for run in sorted(of_run, key=lambda run: run.shown):
        names, seed, checkpoint = of_run[run]
        settings = "" if run.settings is None else _digest(run.settings)
        for turn in range(len(of_run)):
            group = groups.setdefault((names, settings, turn), {})
            if seed not in group:
                group[seed] = (run,)
                break
            if of_run[group[seed][0]][2] == checkpoint:
                copies.append(f"{run.shown}: the checkpoint of {group[seed][0].shown}; numbers of both count once")
                group[seed] += (run,)
                break
            if turn == 0 and settings:
                first = group[seed][0].shown
                copies.append(
                    f"{run.shown}: settings and seed of {first}, but another checkpoint; kept apart by folder"
                )
    methods = []
    for (names, _, _), group in groups.items():
        rivals = [other for (theirs, _, _), other in groups.items() if theirs == names]
        variant = _variant(group, [_first(one) for one in rivals])
        methods.append(Method(*names, variant, group))
    repeated: dict[tuple[Names, str], int] = {}
    for method in methods:
        repeated[_label(method)] = repeated.get(_label(method), 0) + 1
    methods = [method if repeated[_label(method)] == 1 else _named_by_run(method) for method in methods]
    return sorted(methods, key=_order), copies


def _checkpoint(one: Found) -> str | None:
    checkpoint = one.receipt.content.get("checkpoint")
    return checkpoint.get("sha256") if isinstance(checkpoint, Mapping) else None


def _digest(settings: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def _first(runs: Mapping[int | None, tuple[Run, ...]]) -> Run:
    return next(iter(runs.values()))[0]


def _variant(runs: Mapping[int | None, tuple[Run, ...]], rivals: list[Run]) -> str:
    """The fewest settings that tell these runs from `rivals` (themselves among them), and how many others differ."""
    run = _first(runs)
    if len(rivals) == 1:
        return "" if None not in runs else run.shown.rsplit("/", 1)[-1]
    if run.settings is None:
        return run.shown
    others = [one.settings for one in rivals if one.settings is not None]
    keys = sorted({key for one in others for key in one})
    differing = [key for key in keys if len({one.get(key) for one in others}) > 1 and key in run.settings]
    alike = [one for one in others if one != run.settings]
    telling: list[str] = []
    while alike and len(telling) < SHOWN:
        left = {key: [one for one in alike if one.get(key) == run.settings[key]] for key in differing}
        best = min(differing, key=lambda key: len(left[key]), default=None)
        if best is None or len(left[best]) == len(alike):
            break
        telling.append(best)
        alike = left[best]
    telling = sorted(telling or differing[:SHOWN])
    shown = [f"{key.rsplit('.', 1)[-1]}={_plain(run.settings[key])}" for key in telling]
    more = [f"{len(differing) - len(telling)} more"] if len(differing) > len(telling) else []
    return ", ".join(shown + more) or run.shown


def _plain(text: str) -> str:
    value = json.loads(text)
    return value.rsplit(".", 1)[-1] if isinstance(value, str) else text


def _label(method: Method) -> tuple[Names, str]:
    return (method.train_dataset, method.arch, method.aug, method.reg), method.variant


def _named_by_run(method: Method) -> Method:
    names, variant = _label(method)
    where = _first(method.runs).shown
    return Method(*names, f"{variant} ({where})" if variant else where, method.runs)


def _order(method: Method) -> tuple[object, ...]:
    plain = {"none": 0, "standard": 1}
    return (
        method.train_dataset,
        method.arch,
        plain.get(method.aug, 2),
        method.aug,
        plain.get(method.reg, 2),
        method.reg,
        method.variant,
    )
