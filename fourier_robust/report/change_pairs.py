"""Which numbers of two sets of runs are of the same method and mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fourier_robust.errors import UserError
from fourier_robust.report.change import Seeds
from fourier_robust.report.collect import Found, Run, results_files
from fourier_robust.report.method_table import signatures
from fourier_robust.report.methods import Method

SETTINGS = 6  # changed settings named per method
Key = tuple[int, str, str, str, tuple[str, ...]]


def folders_of(places: Sequence[str], places_b: Sequence[str]) -> tuple[set[Path], set[Path]]:
    """Folders of results below `places`, and below `places_b`.

    Raises:
        UserError: a place is not there, the second holds no results, or both hold the same.
    """
    first = {path.parent for path in results_files(places)}
    try:
        second = {path.parent for path in results_files(places_b)}
    except UserError as error:
        raise UserError(str(error).replace("runs:", "runs_b:", 1)) from None
    if not second:
        raise UserError(f"runs_b: no results.csv below {', '.join(places_b)}")
    if first == second:
        raise UserError("runs and runs_b hold the same results: there is nothing to compare")
    return first, second


def two_sets(found: Sequence[Found], places: Sequence[str], places_b: Sequence[str]) -> tuple[list[Found], list[Found]]:
    """The rows below `places` and those below `places_b`, of rows collected from both.

    Raises:
        UserError: as `folders_of`.
    """
    a, b = ([one for one in found if one.receipt.folder in side] for side in folders_of(places, places_b))
    return a, b


def matched(a: Sequence[Method], b: Sequence[Method]) -> Iterator[tuple[Method | None, Method | None]]:
    """Pairs in the order of A's table, then what is in B alone."""
    left_a, left_b, pairs = list(a), list(b), []
    for exact in (True, False):
        for one in list(left_a):
            rivals = [other for other in left_b if _names(other) == _names(one)]
            if exact:
                rivals = [other for other in rivals if _training(other) == _training(one)]
            alone = sum(_names(other) == _names(one) for other in left_a) == 1
            if rivals and (exact or (alone and len(rivals) == 1)):
                pairs.append((one, rivals[0]))
                left_a.remove(one)
                left_b.remove(rivals[0])
    yield from sorted(pairs, key=lambda pair: a.index(pair[0]))
    yield from ((one, None) for one in left_a)
    yield from ((None, other) for other in left_b)


def retrained(label: str, one: Method, other: Method) -> list[str]:
    """A line where two matched methods were not trained alike."""
    first, second = _training(one), _training(other)
    if first == second:
        return []
    if first is None or second is None:
        return [f"{label}: matched by name; the settings of {'A' if first is None else 'B'} are unknown."]
    keys = [key for key in sorted({*first, *second}) if first.get(key) != second.get(key)]
    said = [f"{key} {first.get(key, 'absent')} to {second.get(key, 'absent')}" for key in keys[:SETTINGS]]
    more = [f"{len(keys) - SETTINGS} more"] if len(keys) > SETTINGS else []
    return [f"{label}: matched by name; settings changed: {', '.join([*said, *more])}."]


def rows_of(method: Method | None, by_run: Mapping[Run, Sequence[Found]]) -> dict[Key, dict[int | None, Found]]:
    """Number -> seed -> row; of copies and second folders of a seed the first."""
    if method is None:
        return {}
    place_of = {run: (seed, turn) for seed, runs in method.runs.items() for turn, run in enumerate(runs)}
    mine = [one for run in place_of for one in by_run.get(run, ())]
    rows: dict[Key, dict[int | None, Found]] = {}
    for one in sorted(mine, key=lambda one: (place_of[one.receipt.run][1], one.receipt.name)):
        row = one.row
        eps = "" if row.eps is None else f"eps {row.eps:.4g}"
        severity = "" if row.severity is None else f"severity {row.severity}"
        what = (row.corruption or "", severity, row.attack or "", eps, row.score or "")
        key = one.place, row.suite, row.metric, row.dataset, what
        rows.setdefault(key, {}).setdefault(place_of[one.receipt.run][0], one)
    return rows


def number_of(key: Key) -> str:
    """A number's name as shown."""
    _, suite, metric, dataset, what = key
    return f"{suite}: {' '.join(filter(None, (metric, dataset, *what)))}"


def redefined(a: Seeds, b: Seeds) -> str:
    """In what the numbers of both sides mean different things; empty where they mean the same."""
    rows = [*a.values(), *b.values()]
    if all(_meaning(one) == _meaning(rows[0]) for one in rows):
        return ""  # the usual case, without flattening every setting
    signs = signatures(rows)
    if len(set(signs)) == 1:
        return ""
    said = ["the definition differs"] if len({sign[0] for sign in signs}) > 1 else []
    for at in range(1, len(signs[0])):
        texts = list(dict.fromkeys(sign[at] or "unknown" for sign in signs))
        said += [" against ".join(texts)] if len(texts) > 1 else []
    return "; ".join(said)


def _meaning(one: Found) -> tuple[object, ...]:
    content = one.receipt.content
    suite = (content.get("config") or {}).get("suite")
    return content.get("definitions"), content.get("data"), suite, one.row.higher_is_better


def label_of(method: Method) -> str:
    """A method's name as shown."""
    names = ", ".join(_names(method))
    return f"{names}; {method.variant}" if method.variant else names


def _names(method: Method) -> tuple[str, ...]:
    return method.train_dataset, method.arch, method.aug, method.reg


def _training(method: Method) -> Mapping[str, str] | None:
    return next(iter(method.runs.values()))[0].settings
