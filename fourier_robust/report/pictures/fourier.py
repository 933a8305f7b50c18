"""Errors under Fourier noise: the map over the plane of frequencies, and its mean over each ring."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import numpy as np

from fourier_robust.report.methods import Method
from fourier_robust.report.pictures.arrays import arrays_of
from fourier_robust.report.pictures.series import Group, Material, groups_of
from fourier_robust.report.pictures.shades import image, scale
from fourier_robust.report.pictures.svg import WIDTH, Line, Panel, cut, panels, rule, svg, text
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("heatmap:error([0-9])", "heatmap:error([0-9][0-9])", "heatmap:error([0-9][0-9][0-9])", "heatmap:mean_error")
SIDE, ACROSS = 190.0, 4


def sections(material: Material) -> list[Section]:
    """One section per norm of the noise and data set."""
    return [_section(material, group) for group in groups_of(material, "heatmap", _pick)]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    if row.suite != "heatmap":
        return None
    of = (row.dataset.removesuffix("_fourier"), "" if row.eps is None else f"{row.eps:g}")
    if row.metric == "mean_error":
        return of, -1
    inside = row.metric.removeprefix("error(").removesuffix(")")
    return (of, int(inside)) if row.metric.startswith("error(") and inside.isdecimal() else None


def _section(material: Material, group: Group) -> Section:
    dataset, eps = group.of
    rings = sorted(key for key in group.places() if isinstance(key, int) and key > 0)
    looks = [material.looks[method] for method in group.points]
    numbers = Numbers(
        ("method, error (%)", "mean", *(f"k = {ring}" for ring in rings)),
        [
            (material.looks[method].name, *(of[key].text() if key in of else "" for key in (-1, *rings)))
            for method, of in group.points.items()
        ],
    )
    means = "; ".join(f"{material.looks[m].name} {of[-1].text()}" for m, of in group.points.items() if -1 in of)
    pictures = []
    maps = _maps(material, group)
    if maps:
        pictures.append(
            Picture(
                "Fourier heat maps",
                _draw(material, maps),
                "Error in percent at every frequency, zero in the middle; means over the plane: "
                f"{means}. " + " ".join(_extremes(material.looks[method].name, one) for method, one in maps.items()),
                _table(material, maps),
            )
        )
    lines = [
        Line(
            material.looks[method],
            [
                (float(ring), 100 * of[ring].mean, None if of[ring].std is None else 100 * (of[ring].std or 0))
                for ring in rings
                if ring in of
            ],
            marks=False,
        )
        for method, of in group.points.items()
    ]
    if rings:
        pictures.append(
            Picture(
                "Error over the radius",
                panels([Panel("", lines)], looks, "error (%)", "spatial frequency k (cycles per image)", 1, 200),
                f"Error in percent over the radius of the added frequency; means over the plane: {means}.",
                numbers,
            )
        )
    said = [
        f"Error on {dataset} when one spatial frequency is added to each image, L2 norm {eps} per channel, pixels in "
        "[0,1]. Lower is better. Each cell of a map also stands in rows.csv as error(u,v).",
        *group.notes(),
    ]
    lacking = [material.looks[method].name for method in group.points if method not in maps]
    said += [f"No map is there for {', '.join(lacking)}: heatmap.npz is absent or damaged."] if lacking else []
    return Section(f"fourier-{group.key}", group.titled(f"Fourier noise on {dataset}, norm {eps}"), said, pictures)


def _maps(material: Material, group: Group) -> dict[Method, np.ndarray]:
    """Per method its map (H,W), the mean over seeds, zero frequency in the middle; cut to what was measured."""
    found = {}
    for method, receipts in group.receipts.items():
        planes = []
        for receipt in receipts:
            arrays = arrays_of(material, receipt, "heatmap.npz", {"error": 2})
            if arrays is not None and np.isfinite(arrays["error"]).any():
                planes.append(arrays["error"])
        if planes and len({plane.shape for plane in planes}) == 1:
            found[method] = np.mean(planes, axis=0)
    return {method: _cut(plane) for method, plane in found.items()}


def _cut(plane: np.ndarray) -> np.ndarray:
    """Without the rim where nothing was measured."""
    known = np.isfinite(plane)
    rows, columns = known.any(1).nonzero()[0], known.any(0).nonzero()[0]
    return plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else plane


def _centre(plane: np.ndarray) -> tuple[int, int]:
    return plane.shape[0] // 2, plane.shape[1] // 2


def _extremes(name: str, plane: np.ndarray) -> str:
    (most, at_most), (least, at_least) = _ends(plane)
    return f"{name}: from {100 * least:.1f} at {at_least} to {100 * most:.1f} at {at_most}."


def _ends(plane: np.ndarray) -> tuple[tuple[float, str], tuple[float, str]]:
    """Largest and smallest value, each with its frequency as (u,v): cycles down, across; one of each pair."""
    down, across = _centre(plane)
    found = []
    for sign in (1, -1):
        place = int(np.nanargmin(-sign * plane))
        u, v = place // plane.shape[1] - down, place % plane.shape[1] - across
        found.append((float(plane.flat[place]), f"({u},{v})"))
    return found[0], found[1]


def _table(material: Material, maps: Mapping[Method, np.ndarray]) -> Numbers:
    rows = []
    for method, plane in maps.items():
        (most, at_most), (least, at_least) = _ends(plane)
        quartiles = np.nanquantile(plane, (0.25, 0.5, 0.75))
        rows.append(
            (
                material.looks[method].name,
                f"{100 * least:.2f} at {at_least}",
                *(f"{100 * float(one):.2f}" for one in quartiles),
                f"{100 * most:.2f} at {at_most}",
                f"{int(np.isfinite(plane).sum()):,}",
            )
        )
    columns = ("method, error (%)", "least, at (u,v)", "25 % of cells below", "median", "75 %", "most, at", "cells")
    return Numbers(columns, rows)


def _draw(material: Material, maps: Mapping[Method, np.ndarray]) -> str:
    step = SIDE + 26
    parts = scale(28, 2, 160, "0", "100 % error; cycles per image, zero in the middle")
    for place, (method, plane) in enumerate(maps.items()):
        row, column = divmod(place, ACROSS)
        x, y = 4 + column * step, 46 + row * (SIDE + 48)
        name = material.looks[method].name
        parts.append(text(x, y - 8, cut(name, step - 4), style='font-weight="600"'))
        parts.append(image(plane, x, y, SIDE))
        across = _centre(plane)[1]
        cell = SIDE / plane.shape[1]
        for at in sorted({-across, 0, plane.shape[1] - 1 - across}):
            tick = x + (at + across + 0.5) * cell
            parts += [rule(tick, y + SIDE, tick, y + SIDE + 4, ".6"), text(tick, y + SIDE + 15, str(at), "middle")]
    rows = math.ceil(len(maps) / ACROSS)
    return svg(WIDTH, 46 + rows * (SIDE + 48) - 20, parts)
