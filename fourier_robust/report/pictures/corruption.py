"""Errors on corrupted images: a curve over severity for each corruption, and all of them as shades."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from fourier_robust.report.methods import Method
from fourier_robust.report.pictures.series import Group, Material, Point, groups_of
from fourier_robust.report.pictures.shades import cells, scale
from fourier_robust.report.pictures.svg import LETTER, WIDTH, Line, Panel, cut, panels, svg, text
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("corruptions:error@[1-5]", "corruptions_bar:error@[1-5]")
WIDE, HIGH = 26.0, 17.0  # of a cell


def sections(material: Material) -> list[Section]:
    """One section per set of corrupted images."""
    return [_section(material, group) for group in groups_of(material, "corruptions", _pick)]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    if row.suite not in ("corruptions", "corruptions_bar") or row.metric != "error" or row.severity is None:
        return None
    return (row.suite, row.dataset), (row.corruption or "", row.severity)


def _section(material: Material, group: Group) -> Section:
    points = {method: _by_name(of) for method, of in group.points.items()}
    fullest = max(points.values(), key=len)  # in the order of the suite's rows
    names = list(dict.fromkeys([*fullest, *(name for of in points.values() for name in of)]))
    levels = sorted({level for of in points.values() for one in of.values() for level in one})
    numbers = Numbers(
        ("method, error (%)", "corruption", *(f"severity {level}" for level in levels)),
        [
            (material.looks[method].name, name, *(of[name][one].text() if one in of[name] else "" for one in levels))
            for method, of in points.items()
            for name in names
            if name in of
        ],
    )
    means = "; ".join(
        f"{material.looks[method].name} {_mean(of, levels[0]):.1f} to {_mean(of, levels[-1]):.1f}"
        for method, of in points.items()
    )
    alternative = (
        f"Mean error in percent over the corruptions measured, from severity {levels[0]} to severity {levels[-1]}: "
        f"{means}."
    )
    what = "released" if not group.of[1].endswith("_generated") else "generated here, not the released files"
    note = "Partial sets: a method is drawn where it was measured."
    partial = len({frozenset(of) for of in group.points.values()}) > 1
    return Section(
        f"severity-{group.key}",
        group.titled(f"Error over severity: {group.of[1]}"),
        [f"Lower is better. Images: {group.of[1]} ({what}).", *([note] if partial else []), *group.notes()],
        [
            Picture("Error over severity", _curves(material, points, names, levels), alternative, numbers),
            Picture("Error as shades", _shades(material, points, names, levels), alternative, numbers),
        ],
    )


Errors = Mapping[Method, Mapping[str, Mapping[int, Point]]]


def _by_name(points: Mapping[Hashable, Point]) -> dict[str, dict[int, Point]]:
    named: dict[str, dict[int, Point]] = {}
    for key, point in points.items():
        assert isinstance(key, tuple)
        named.setdefault(key[0], {})[key[1]] = point
    return named


def _mean(of: Mapping[str, Mapping[int, Point]], level: int) -> float:
    values = [one[level].mean for one in of.values() if level in one]
    return 100 * sum(values) / len(values) if values else float("nan")


def _curves(material: Material, points: Errors, names: list[str], levels: list[int]) -> str:
    drawn = []
    for name in names:
        lines = []
        for method, of in points.items():
            places = [
                (float(level), 100 * one.mean, None if one.std is None else 100 * one.std)
                for level, one in sorted(of.get(name, {}).items())
            ]
            lines.append(Line(material.looks[method], places))
        drawn.append(Panel(name.replace("_", " "), lines, {float(level): str(level) for level in levels}))
    looks = [material.looks[method] for method in points]
    return panels(drawn, looks, "error (%)", "severity", 5, 86, own=False)


def _shades(material: Material, points: Errors, names: list[str], levels: list[int]) -> str:
    """A block per method, corruptions down and severities across, the error in each cell in whole percent."""
    left = max(len(name) for name in names) * LETTER + 8
    wide = WIDE * len(levels) + 14
    across = max(1, int((WIDTH - left) // wide))
    parts = scale(28, 2, 160, "0", "100 % error")
    block, top = HIGH * len(names) + 50, 60.0
    values = {}
    for place, (method, of) in enumerate(points.items()):
        row, column = divmod(place, across)
        x, y = left + column * wide, top + row * block
        heading = material.looks[method].name
        parts.append(text(x, y - 16, cut(heading, wide - 4), style='font-weight="600"'))
        parts += [text(x + (at + 0.5) * WIDE, y - 4, str(level), "middle") for at, level in enumerate(levels)]
        for down, name in enumerate(names):
            if column == 0:
                parts.append(text(left - 6, y + (down + 0.5) * HIGH + 4, name.replace("_", " "), "end"))
            for at, level in enumerate(levels):
                point = of.get(name, {}).get(level)
                if point is not None:
                    values[x + at * WIDE, y + down * HIGH] = (point.mean, f"{100 * point.mean:.0f}")
    rows = -(-len(points) // across)
    return svg(WIDTH, top + rows * block - 24, [*parts, *cells(values, WIDE, HIGH)])
