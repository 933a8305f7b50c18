"""What changed between two sets of runs: the same numbers of the same methods, with intervals and tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fourier_robust.metric.comparison import holm
from fourier_robust.report.change import Difference, Seeds, difference
from fourier_robust.report.change_pairs import Key, label_of, matched, number_of, redefined, retrained, rows_of
from fourier_robust.report.collect import Found, Run
from fourier_robust.report.method_table import ALPHA, NEITHER, PERCENT, definition_of, precision_of, shown
from fourier_robust.report.methods import methods_of
from fourier_robust.report.section import Numbers, Section

CORRECTION = "Holm's correction"


@dataclass(frozen=True, eq=False)
class Change:
    """One number of one method in both sets."""

    method: str
    number: str
    percent: bool
    better: int
    a: Seeds
    b: Seeds
    difference: Difference


@dataclass(frozen=True)
class Apart:
    """A number that is not compared, and why."""

    method: str
    number: str
    why: str


def change_sections(a: Sequence[Found], b: Sequence[Found], alpha: float = ALPHA) -> list[Section]:
    """What changed from A to B, and what could not be compared.

    Methods are matched by training data, architecture, augmentation, regularizer and settings; where that leaves one
    method of these names on each side, those two, and the changed settings are named.

    Args:
        a: rows of the first set, as `two_sets` parts them.
        b: rows of the second.
        alpha: level of significance, of all tests together.
    """
    changes: list[Change] = []
    apart: list[Apart] = []
    remarks = []
    of_a, of_b = _by_run(a), _by_run(b)
    for one, other in matched(methods_of(a)[0], methods_of(b)[0]):
        either = one or other
        assert either is not None
        label = label_of(either)
        mine, theirs = rows_of(one, of_a), rows_of(other, of_b)
        if one and other:
            remarks += retrained(label, one, other)
        for key in sorted(mine.keys() | theirs.keys()):
            rows, rows_b = mine.get(key), theirs.get(key)
            if rows is None or rows_b is None:
                apart.append(Apart(label, number_of(key), f"only in {'B' if rows is None else 'A'}"))
                continue
            why = redefined(rows, rows_b)
            if why:
                apart.append(Apart(label, number_of(key), f"not compared: {why}"))
                continue
            changes.append(_change(label, key, rows, rows_b))
    both = {one.receipt for one in a} & {one.receipt for one in b}
    if both:
        remarks.append(
            f"{len(both)} evaluation{'s stand' if len(both) > 1 else ' stands'} in both sets: no change there."
        )
    return [_changed(changes, apart, remarks, alpha), *_left(apart)]


def _by_run(found: Sequence[Found]) -> dict[Run, list[Found]]:
    rows: dict[Run, list[Found]] = {}
    for one in found:
        rows.setdefault(one.receipt.run, []).append(one)
    return rows


def _change(label: str, key: Key, a: Seeds, b: Seeds) -> Change:
    one = next(iter(a.values()))
    metric = one.row.metric
    percent = metric in PERCENT or any(fnmatchcase(metric.removeprefix("mean_"), pattern) for pattern in PERCENT)
    better = 0 if NEITHER in definition_of(one) else 1 if one.row.higher_is_better else -1
    precisions = [sorted({precision_of(row.receipt) for row in side.values()}) for side in (a, b)]
    number = number_of(key)
    if precisions[0] != precisions[1]:
        number += f" ({' '.join(precisions[0])} to {' '.join(precisions[1])})"
    return Change(label, number, percent, better, a, b, difference(a, b))


def _changed(changes: Sequence[Change], apart: Sequence[Apart], remarks: Sequence[str], alpha: float) -> Section:
    tested = [one for one in changes if one.difference.p is not None]
    corrected = dict(zip(tested, holm([one.difference.p or 0.0 for one in tested]), strict=True))
    verdicts = {one: _verdict(one, corrected.get(one), alpha) for one in changes}
    lines = []
    for one in sorted(changes, key=lambda one: -one.difference.size):
        delta, holms = one.difference, corrected.get(one)
        bounds = [_signed(bound, one) for bound in (delta.low, delta.high) if bound is not None]
        p = ["" if p is None else f"{p:.2g}" for p in (delta.p, holms)]
        cells = [
            one.method,
            one.number,
            _value(one.a, one),
            _value(one.b, one),
            _signed(delta.value, one),
            " to ".join(bounds),
        ]
        lines.append([*cells, *p, verdicts[one], delta.test])
    columns = ["method", "number", "A", "B", "B - A", "95 % interval", "p", "p corrected", "change", "test"]
    if not tested:
        del columns[6:8]
        lines = [[*line[:6], *line[8:]] for line in lines]
    notes = [_summary(changes, apart, Counter(verdicts.values()), len(tested), alpha)]
    if changes:
        notes.append(
            "Sorted by size: the difference over half the width of its interval. Percent metrics in %, differences in "
            "points of percent. A single seed compares two checkpoints, not two ways of training."
        )
    if tested:
        notes.append(f"p corrected: {CORRECTION} over the {len(tested)} tests of this table.")
    if len(tested) < len(changes):
        notes.append(
            "Test none: fewer than two seeds on a side and no outcomes of the same images at hand. The interval is "
            "then put together from those of both rows, as if each had images of its own; that is too wide where both "
            "saw the same. It is not corrected for the number of comparisons."
        )
    table = Numbers(columns, lines) if lines else None
    return Section("changes", "What changed from A (runs) to B (runs_b)", [*notes, *remarks], table=table)


def _verdict(one: Change, p: float | None, alpha: float) -> str:
    delta = one.difference
    if p is None and (delta.low is None or delta.high is None):
        return "not tested"
    clear = p < alpha if p is not None else not (delta.low or 0) <= 0 <= (delta.high or 0)
    if not clear:
        return "within chance" if p is not None else "interval holds 0"
    word = {1: "better", -1: "worse", 0: "changed"}[0 if one.better == 0 else 1 if one.better * delta.value > 0 else -1]
    return word if p is not None else f"{word} by its interval"


def _summary(
    changes: Sequence[Change], apart: Sequence[Apart], verdicts: Mapping[str, int], tested: int, alpha: float
) -> str:
    clear = {word: verdicts.get(word, 0) for word in ("better", "worse", "changed")}
    hinted = sum(count for verdict, count in verdicts.items() if verdict.endswith("by its interval"))
    why = Counter("not compared" if one.why.startswith("not compared") else one.why for one in apart)
    if not changes:
        head = "No number is in both sets under the same definition."
    elif not tested:
        head = f"Of {len(changes)} numbers in both sets none could be tested; {hinted} differ by their intervals."
    else:
        untested = f"; of the {len(changes) - tested} without a test {hinted} differ by their intervals"
        head = (
            f"Of {len(changes)} numbers in both sets {tested} could be tested, and {sum(clear.values())} changed "
            f"beyond chance (level {alpha:g}, {CORRECTION}): {clear['better']} better, {clear['worse']} worse, "
            f"{clear['changed']} where neither direction is better{untested if tested < len(changes) else ''}."
        )
    tail = f"{why['only in A']} only in A, {why['only in B']} only in B, {why['not compared']} not compared since they"
    return f"{head} {tail} mean different things."


def _value(rows: Seeds, one: Change) -> str:
    values = [row.row.value for row in rows.values()]
    mean = sum(values) / len(values)
    if len(values) < 2:
        return shown(mean, one.percent)
    std = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    return f"{shown(mean, one.percent)} ± {shown(std, one.percent)} ({len(values)})"


def _signed(value: float, one: Change) -> str:
    text = shown(abs(value), one.percent)
    return text if not text.strip("0.") else ("-" if value < 0 else "+") + text


def _left(apart: Sequence[Apart]) -> list[Section]:
    """What was not compared, one line per method and reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in apart:
        groups.setdefault((one.method, one.why), []).append(one.number)
    if not groups:
        return []
    lines = [(method, why, str(len(numbers)), ", ".join(numbers)) for (method, why), numbers in groups.items()]
    table = Numbers(("method", "why", "count", "numbers"), lines)
    notes = ("Numbers of one set only, and numbers whose definition, data or settings of measurement changed.",)
    return [Section("changes-apart", "Not compared", notes, table=table)]
