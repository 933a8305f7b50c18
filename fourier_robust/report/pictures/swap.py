"""Whose label is seen where the phase is of one image and the amplitude of another: shares, overall and by radius."""

from __future__ import annotations

import re
from collections.abc import Hashable

from fourier_robust.report.pictures.series import Group, Material, Point, groups_of
from fourier_robust.report.pictures.svg import LETTER, WIDTH, Line, Panel, num, panels, rule, svg, text
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("swap:follows_*",)
WHOM = ("phase", "amplitude", "neither")
NAMED = re.compile(r"follows_(\w+)(?:\((<|>=)(\d+(?:\.\d+)?)\))?")
SIDES = {"<": "amplitudes below r exchanged", ">=": "amplitudes from r on exchanged"}
BAR = 18.0


def sections(material: Material) -> list[Section]:
    """One section per data set."""
    return [_section(material, group) for group in groups_of(material, "swap", _pick)]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    found = NAMED.fullmatch(row.metric) if row.suite == "swap" else None
    if found is None or found[1] not in WHOM:
        return None
    return (row.dataset.removesuffix("_swap"),), (found[2] or "", float(found[3] or 0), found[1])


def _section(material: Material, group: Group) -> Section:
    keys: list[tuple[str, float, str]] = sorted(key for key in group.places() if isinstance(key, tuple))
    places = sorted({key[:2] for key in keys})
    rows = [
        (
            material.looks[method].name,
            "all" if not side else f"{side} {radius:g}",
            *(of[side, radius, whom].text() if (side, radius, whom) in of else "" for whom in WHOM),
        )
        for method, of in group.points.items()
        for side, radius in places
        if any((side, radius, whom) in of for whom in WHOM)
    ]
    said = "; ".join(
        f"{material.looks[method].name} " + ", ".join(f"{whom} {of['', 0.0, whom].text()}" for whom in WHOM)
        for method, of in group.points.items()
        if all(("", 0.0, whom) in of for whom in WHOM)
    )
    numbers = Numbers(("method, share (%)", "amplitudes exchanged", *WHOM), rows)
    pictures = []
    if said:
        pictures.append(
            Picture(
                "Whom predictions follow, all amplitudes exchanged",
                _bars(material, group),
                f"Shares of predictions in percent that follow the image of the {', '.join(WHOM)}: {said}.",
                Numbers(numbers.columns, [row for row in rows if row[1] == "all"]),
            )
        )
    drawn = []
    for side, where in SIDES.items():
        for whom in WHOM[:2]:
            lines = [
                Line(
                    material.looks[method],
                    [
                        (radius, 100 * of[one, radius, whom].mean, _percent(of[one, radius, whom]))
                        for one, radius in places
                        if one == side and (one, radius, whom) in of
                    ],
                )
                for method, of in group.points.items()
            ]
            if any(line.points for line in lines):
                drawn.append(Panel(f"follows {whom}: {where}", lines))
    if drawn:
        pictures.append(
            Picture(
                "The same by radius",
                panels(drawn, [material.looks[method] for method in group.points], "share of predictions (%)",
                       "radius r (cycles per image)", 2, 130, (0.0, 100.0)),
                f"Shares by the radius within which amplitudes are exchanged; all exchanged: {said}.",
                numbers,
            )
        )  # fmt: skip
    notes = [
        f"Each test image of {group.of[0]} keeps its phase and takes the amplitude of an image of another class. "
        "Higher is better for the phase, where the shape of things lies.",
        *group.notes("follows_phase", "follows_amplitude", "follows_neither"),
    ]
    return Section(f"swap-{group.key}", group.titled(f"Phase or amplitude: {group.of[0]}"), notes, pictures)


def _percent(point: Point) -> float | None:
    return None if point.std is None else 100 * point.std


def _bars(material: Material, group: Group) -> str:
    """A panel per share, a bar per method in its colour, whiskers over seeds."""
    names = [material.looks[method].name for method in group.points]
    left = min(max(map(len, names)) * LETTER + 10, 240.0)
    gap = 34.0
    wide = (WIDTH - left - gap * len(WHOM)) / len(WHOM)
    parts = []
    bottom = 24 + BAR * len(names)
    for column, whom in enumerate(WHOM):
        x = left + column * (wide + gap)
        parts.append(text(x, 12, f"follows {whom} (%)", style='font-weight="600"'))
        for share in (0, 50, 100):
            at = x + share / 100 * wide
            parts += [rule(at, 20, at, bottom), text(at, bottom + 14, str(share), "middle")]
        for down, (method, of) in enumerate(group.points.items()):
            y = 24 + down * BAR
            if column == 0:
                parts.append(text(left - 8, y + 12, names[down], "end"))
            point = of.get(("", 0.0, whom))
            if point is None:
                continue
            end = x + point.mean * wide
            colour = material.looks[method].colour
            parts.append(f'<path d="M{num(x)} {num(y + 2)}H{num(end)}v{num(BAR - 6)}H{num(x)}z" fill="{colour}"/>')
            if point.std is not None:
                parts.append(rule(end - point.std * wide, y + 8, end + point.std * wide, y + 8, "1"))
            parts.append(text(end + 4 + (point.std or 0) * wide, y + 12, f"{100 * point.mean:.1f}"))
    return svg(WIDTH, bottom + 22, parts)
