"""Published numbers beside measured ones: what is reproduced, what is not, and what was never run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from fourier_robust.report.collect import Found, Receipt
from fourier_robust.report.method_table import PERCENT, precision_of, shown
from fourier_robust.report.methods import Method
from fourier_robust.report.published_compare import (
    DIFFERS,
    NEVER,
    NOISE,
    OTHER,
    REPRODUCED,
    STATUSES,
    Beside,
    compare,
    plain,
)
from fourier_robust.report.published_profiles import DRAWN, Curve, profile_of, profile_sections, ring_of
from fourier_robust.report.published_values import Published, published
from fourier_robust.report.section import Numbers, Section


def published_sections(paper: str, found: Sequence[Found], methods: Sequence[Method]) -> list[Section]:
    """A summary, then one section per table of the paper; profiles over frequency are drawn instead.

    Args:
        paper: one of `published_values.papers`.
        found: rows, those of `published_values.selectors` among them.
        methods: behind them, in the order of the report's tables.

    Raises:
        UserError: there is no such paper.
    """
    besides = compare(published(paper), found, methods)
    tables: dict[str, list[Beside]] = {}
    for one in besides:
        tables.setdefault(one.published.table, []).append(one)
    sections = [_summary(paper, tables)]
    curves = []
    for place, (name, lines) in enumerate(tables.items(), 1):
        if lines[0].published.metric.startswith("p("):
            curves += _curves(lines, found)
        else:
            sections.append(_table(f"published-{_slug(paper)}-{place}", name, lines))
    return [*sections, *profile_sections(f"published-{_slug(paper)}", curves, methods)]


def _summary(paper: str, tables: Mapping[str, Sequence[Beside]]) -> Section:
    counts = {name: Counter(one.status for one in lines) for name, lines in tables.items()}
    total = sum(counts.values(), Counter())
    lines = []
    for name, count in counts.items():
        lines.append((name, str(len(tables[name])), *(str(count[status]) for status in STATUSES)))
    notes = (
        f"Of {total.total()} published numbers {total[REPRODUCED]} are reproduced, {total[DIFFERS]} were measured "
        f"under the same conditions and differ, {total[OTHER]} were measured under other conditions only, and "
        f"{total[NEVER]} were never run.",
        f"{REPRODUCED}: same training data, augmentation, regularizer, architecture, test data, number of images and "
        f"settings as far as the paper's are known, and a difference of at most {NOISE:g} times the seed noise "
        "(standard deviation over our seeds, n - 1; nothing with one seed), plus the tolerance of the row, plus half a "
        f"unit of the last digit printed. {DIFFERS}: the same, and more than that.",
        f"{OTHER}: the same method, under conditions that are known to differ or are not known; neither reproduced nor "
        f"refuted by it. {NEVER}: no run of these folders measured it.",
        "The tolerance is this project's own band for another training of the same recipe, or the error of reading a "
        "figure; it is no statement of the paper. How many seeds are behind a published number is not known.",
    )
    table = Numbers(("table", "numbers", *STATUSES), lines)
    return Section(f"published-{_slug(paper)}", f"Published beside measured: {paper}", notes, table=table)


def _slug(text: str) -> str:
    return text.replace("_", "-")


def _table(key: str, title: str, lines: Sequence[Beside]) -> Section:
    """The numbers of one published table; columns without any text are left away."""
    first, count = lines[0].published, Counter(one.status for one in lines)
    sources, remarks = ({get(one.published) for one in lines} for get in (_read, lambda one: one.note))
    notes = [", ".join(f"{count[status]} {status}" for status in STATUSES if count[status]) + "."]
    notes += [f"Read in {source}." for source in sources if len(sources) == 1]
    notes += [f"All: {remark}." for remark in remarks if remark and len(remarks) == 1]
    metrics = ", ".join(dict.fromkeys(one.published.metric for one in lines))
    better = "neither high nor low" if first.better == "neither" else first.better
    unit = "; in %, differences in points of percent" if _percent(first.metric) else ""
    notes.append(f"{metrics}: {better} is better{unit}. Difference: measured minus published.")
    measured = [one.measured[0] for one in lines if one.measured]
    if measured and all(one.noise is None for one in measured):
        notes.append("One seed each, so the seed noise is not known.")
    cells: dict[str, list[str]] = {"published method": [_method(one.published) for one in lines]}
    if len({_what(one.published) for one in lines}) > 1:
        cells["number"] = [_what(one.published) for one in lines]
    cells["published"] = [_published(one.published) for one in lines]
    cells["measured"] = [_mean(one) for one in lines]
    cells["difference"] = [_difference(one) for one in lines]
    cells["in seed noises"] = [_noises(one) for one in lines]
    cells["status"] = [one.status for one in lines]
    cells["what differs: here (published)"] = [
        "; ".join(one.measured[0].differs) if one.measured else "" for one in lines
    ]
    cells["measured under"] = [_under(one) for one in lines]
    cells["tolerance"] = [_tolerance(one.published) for one in lines]
    cells["source"] = [_read(one.published) if len(sources) > 1 else "" for one in lines]
    cells["note"] = [one.published.note if len(remarks) > 1 else "" for one in lines]
    for name in ("what differs: here (published)", "measured under", "tolerance"):
        texts = {text for text in cells[name] if text}
        if len(texts) == 1 and len(lines) > 1:  # said once
            rows = "every row" if name == "tolerance" else "every measured row"
            notes.append(f"{name[:1].upper()}{name[1:]}, {rows}: {texts.pop()}.")
            del cells[name]
    if any(len(one.measured) > 1 for one in lines):
        notes.append("Where several methods here measured a number, that under the closest conditions is shown.")
    kept = {name: texts for name, texts in cells.items() if any(texts)}
    return Section(key, title, notes, table=Numbers(tuple(kept), list(zip(*kept.values(), strict=True))))


def _read(one: Published) -> str:
    return f"{one.source} ({one.read})"


def _published(one: Published) -> str:
    percent = _percent(one.metric)
    digits = max(0, round(-math.log10(2 * one.half_unit)) - (2 if percent else 0))
    return f"{(100 if percent else 1) * one.value:.{digits}f}"


def _mean(one: Beside) -> str:
    if not one.measured:
        return ""
    best, percent = one.measured[0], _percent(one.published.metric)
    mean = shown(best.mean, percent)
    return mean if best.noise is None else f"{mean} ± {shown(best.noise, percent)} ({len(best.rows)} seeds)"


def _difference(one: Beside) -> str:
    if not one.measured:
        return ""
    return ("-" if one.difference < 0 else "+") + shown(abs(one.difference), _percent(one.published.metric))


def _noises(one: Beside) -> str:
    noise = one.measured[0].noise if one.measured else None
    return f"{one.difference / noise:+.1f}" if noise else ""


def _tolerance(one: Published) -> str:
    return shown(one.tolerance, _percent(one.metric)) if one.tolerance else ""


def _method(one: Published) -> str:
    name = " + ".join([one.aug, *([one.reg] if one.reg != "none" else [])])
    variant = ", ".join(f"{key.partition('.')[2]}={plain(value)}" for key, value in one.variant.items())
    return f"{name} ({variant}), {one.arch}" if variant else f"{name}, {one.arch}"


def _what(one: Published) -> str:
    eps = "" if one.eps is None else f"eps {one.eps:.4g}"
    return " ".join(filter(None, (one.dataset, one.corruption, one.attack, eps, one.score, one.metric)))


def _under(one: Beside) -> str:
    """Precisions and images of the closest measurement."""
    if not one.measured:
        return ""
    best = one.measured[0]
    trained = json.loads((best.rows[0].receipt.run.settings or {}).get("trainer.precision", '"unknown precision"'))
    precisions = " and ".join(sorted({precision_of(each.receipt) for each in best.rows}))
    return f"trained in {trained}, measured in {precisions}, n = {best.rows[0].row.n:,}"


def _percent(metric: str) -> bool:
    return metric in PERCENT or any(fnmatchcase(metric.removeprefix("mean_"), pattern) for pattern in PERCENT)


def _curves(lines: Sequence[Beside], found: Sequence[Found]) -> list[Curve]:
    """Published profiles, each with the whole profiles of the methods that measured it under the closest conditions."""
    rings: dict[Receipt, list[Found]] = {}
    for row in found:
        if row.row.metric.startswith("p("):
            rings.setdefault(row.receipt, []).append(row)
    curves: dict[tuple[str, ...], Curve] = {}
    for one in lines:
        wanted = one.published
        origin = f"{wanted.arch}, {_read(wanted)}"
        key = wanted.dataset, wanted.reg, origin
        if key not in curves:
            profiles = {each.method: profile_of(each.rows, rings) for each in one.measured[:DRAWN]}
            left = max(0, len(one.measured) - DRAWN)
            curves[key] = Curve(wanted.dataset, wanted.reg, origin, profiles, left)
        curves[key].published[ring_of(wanted.metric)] = wanted.value
    return list(curves.values())
