"""Accuracy under attack over the size of the perturbation, attack by attack."""

from __future__ import annotations

from collections.abc import Hashable

from fourier_robust.report.pictures.series import Group, Material, Point, groups_of
from fourier_robust.report.pictures.svg import Line, Panel, panels
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("attacks:error", "attacks:worst_case")
CLEAN = ("", 0.0)


def sections(material: Material) -> list[Section]:
    """One section per data set."""
    return [_section(material, group) for group in groups_of(material, "attacks", _pick)]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    if row.suite != "attacks" or row.metric not in ("error", "worst_case"):
        return None
    if row.attack is None:
        return (row.dataset,), CLEAN
    name = f"worst case, {row.attack}" if row.metric == "worst_case" else row.attack
    return (row.dataset,), (name, row.eps or 0.0)


def _section(material: Material, group: Group) -> Section:
    keys: list[tuple[str, float]] = [key for key in group.places() if isinstance(key, tuple) and key != CLEAN]
    names = sorted({name for name, _ in keys}, key=lambda name: (not name.startswith("worst case"), name))
    drawn, rows = [], []
    for name in names:
        sizes = sorted({eps for one, eps in keys if one == name})
        lines = []
        for method, of in group.points.items():
            if not any((name, eps) in of for eps in sizes):
                continue
            places = [CLEAN] if CLEAN in of else []
            places += [(name, eps) for eps in sizes if (name, eps) in of]
            right = {place: of[place].scaled(-1, 1) for place in places}
            lines.append(
                Line(material.looks[method], [(eps, 100 * right[one, eps].mean, _percent(right[one, eps]))
                                              for one, eps in places])
            )  # fmt: skip
            said = ", ".join(f"{size_text(eps)}: {right[one, eps].text()}" for one, eps in places)
            rows.append((material.looks[method].name, name, said))
        drawn.append(Panel(name, lines, {eps: size_text(eps) for eps in _spaced([0.0, *sizes])}))
    looks = [material.looks[method] for method in group.points]
    worst = "; ".join(f"{who}, {name}: {said}" for who, name, said in rows if name.startswith("worst case"))
    notes = [
        f"Accuracy on {group.of[0]} under attack; higher is better. The sizes of linf and l2 perturbations can't be "
        "compared. Panels named worst case: an image counts as right where it is right under every attack measured "
        "of that norm, so methods can be compared there only where they met the same attacks.",
        *group.notes(),
    ]
    return Section(
        f"attacks-{group.key}",
        group.titled(f"Accuracy under attack: {group.of[0]}"),
        notes,
        [
            Picture(
                "Accuracy over the size of the perturbation",
                panels(drawn, looks, "accuracy (%)", "eps, pixels in [0,1]", 4, 110, (0.0, 100.0)),
                f"Accuracy in percent by eps. {worst}.",
                Numbers(("method", "attack", "eps: accuracy (%)"), rows),
            )
        ] if drawn else [],
    )  # fmt: skip


def size_text(eps: float) -> str:
    """``8/255`` where it is a whole number of 255ths below 64, else the number."""
    steps = 255 * eps
    whole = abs(steps - round(steps)) < 2e-3 and 0 < round(steps) <= 64
    return f"{round(steps)}/255" if whole else f"{eps:.4g}"


def _percent(point: Point) -> float | None:
    return None if point.std is None else 100 * point.std


def _spaced(sizes: list[float]) -> list[float]:
    """Those of `sizes` whose texts do not run into each other, the last among them."""
    kept: list[float] = []
    for size in reversed(sizes):
        if not kept or kept[-1] - size >= 0.22 * sizes[-1]:
            kept.append(size)
    return kept[::-1]
