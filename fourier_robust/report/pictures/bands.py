"""Errors when only low or only high frequencies are left, or noise lies in a band of them."""

from __future__ import annotations

import re
from collections.abc import Hashable

from fourier_robust.report.pictures.series import Group, Material, groups_of
from fourier_robust.report.pictures.svg import Line, Panel, panels
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("bands:error(*)", "bands:error")
KINDS = {
    "low": "low-pass: what is below r is left",
    "high": "high-pass: what is from r on is left",
    "noise": "noise in a band of frequencies",
}
INSIDE = re.compile(r"error\((\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?\)")


def sections(material: Material) -> list[Section]:
    """One section per data set."""
    return [_section(material, group) for group in groups_of(material, "bands", _pick)]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    if row.suite != "bands":
        return None
    if row.metric == "error":
        return (row.dataset,), ("clean", 0.0, "clean")
    dataset, _, kind = row.dataset.rpartition("_")
    found = INSIDE.fullmatch(row.metric)
    if kind not in KINDS or found is None:
        return None
    first, last = float(found[1]), float(found[2] or found[1])
    return (dataset,), (kind, (first + last) / 2, found[0][6:-1])


def _section(material: Material, group: Group) -> Section:
    keys: list[tuple[str, float, str]] = sorted(key for key in group.places() if isinstance(key, tuple))
    drawn, columns = [], []
    for kind, title in KINDS.items():
        places = [key for key in keys if key[0] == kind]
        if not places:
            continue
        columns += places
        lines = [
            Line(
                material.looks[method],
                [(key[1], 100 * of[key].mean, _percent(of[key].std)) for key in places if key in of],
            )
            for method, of in group.points.items()
        ]
        drawn.append(Panel(title, lines, {key[1]: key[2] for key in places}))
    clean = ("clean", 0.0, "clean")
    rows = [
        (material.looks[method].name, *(of[key].text() if key in of else "" for key in (clean, *columns)))
        for method, of in group.points.items()
    ]
    ends = []
    for kind, _, at in (place for place in columns if place in (columns[0], columns[-1])):
        values = [
            f"{material.looks[method].name} {of[key].text()}"
            for method, of in group.points.items()
            for key in of
            if isinstance(key, tuple) and (key[0], key[2]) == (kind, at)
        ]
        ends.append(f"{kind} {at}: {', '.join(values)}")
    looks = [material.looks[method] for method in group.points]
    return Section(
        f"bands-{group.key}",
        group.titled(f"Low-pass, high-pass, noise in bands: {group.of[0]}"),
        ["Error over the radius r of the filter, or the band of the noise, in cycles per image. Lower is better.",
         *group.notes()],
        [
            Picture(
                "Error over the frequencies left or disturbed",
                panels(drawn, looks, "error (%)", "cycles per image", 3, 170, (0.0, 100.0)),
                f"Error in percent: {'; '.join(ends)}.",
                Numbers(("method, error (%)", "clean", *(f"{kind} {at}" for kind, _, at in columns)), rows),
            )
        ] if drawn else [],
    )  # fmt: skip


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
