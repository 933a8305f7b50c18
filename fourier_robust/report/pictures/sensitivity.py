"""Fourier sensitivity: how the power of the input gradient lies over the rings of frequency, beside white noise."""

from __future__ import annotations

from collections.abc import Hashable

from fourier_robust.report.pictures.arrays import arrays_of
from fourier_robust.report.pictures.looks import REFERENCE
from fourier_robust.report.pictures.series import Group, Material, groups_of
from fourier_robust.report.pictures.svg import Line, Panel, panels
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

DENSEST = 8.0  # of what is drawn: a ring of few frequencies reaches hundreds
ROWS = ("sensitivity*:p(*)",)


def sections(material: Material) -> list[Section]:
    """One section per definition of the gradient and data set."""
    return [_section(material, group) for group in groups_of(material, "sensitivity", _pick)]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    inside = row.metric.removeprefix("p(").removesuffix(")")
    if not row.suite.startswith("sensitivity") or not row.metric.startswith("p(") or not inside.isdecimal():
        return None
    return (row.suite, row.dataset), int(inside)


def _section(material: Material, group: Group) -> Section:
    rings = sorted(key for key in group.places() if isinstance(key, int))
    white = _white(material, group, len(rings))
    looks = [material.looks[method] for method in group.points]
    shares, densities = [], []
    for method, of in group.points.items():
        points = [(float(ring), of[ring].mean, of[ring].std) for ring in rings if ring in of]
        shares.append(Line(material.looks[method], points, marks=False))
        if white:
            scaled = [(k, p / white[int(k)], None if sd is None else sd / white[int(k)]) for k, p, sd in points]
            densities.append(Line(material.looks[method], scaled, marks=False))
    drawn = [Panel("share of power p(k)", shares)]
    if white:
        looks = [*looks, REFERENCE]
        shares.append(Line(REFERENCE, [(float(ring), white[ring], None) for ring in rings], marks=False))
        densities.append(Line(REFERENCE, [(float(ring), 1.0, None) for ring in rings], marks=False))
        top = max(y for line in densities for _, y, _ in line.points)
        cutoff = f", cut off at {DENSEST:g}" if top > DENSEST else ""
        limits = (0.0, min(DENSEST, 1.05 * top))
        drawn.append(Panel(f"density: p(k) over that of white noise{cutoff}", densities, limits=limits))
    rows = [
        (material.looks[method].name, *(of[ring].text(1, 4) if ring in of else "" for ring in rings))
        for method, of in group.points.items()
    ]
    rows += [(REFERENCE.name, *(f"{white[ring]:.4f}" for ring in rings))] if white else []
    peaks = "; ".join(
        f"{material.looks[method].name} at k = {max(of, key=lambda ring: of[ring].mean)}"
        for method, of in group.points.items()
    )
    said = [
        "How much of the input gradient's power lies at each frequency: where it lies high, small changes of the image "
        "there move the output most. A shape, not a size: each image's shares sum to 1; neither side is better.",
        *group.notes(),
    ]
    if not white:
        said.append("Without the line of white noise: no readable sensitivity.npz beside the rows.")
    return Section(
        f"profile-{group.key}",
        group.titled(
            f"Fourier sensitivity on {group.of[1]}" + ("" if group.of[0] == "sensitivity" else f" ({group.of[0]})")
        ),
        said,
        [
            Picture(
                "Share of the gradient's power over frequency",
                panels(drawn, looks, "", "spatial frequency k (cycles per image)", 2, 210, own=True),
                f"Ring with the largest share of the gradient's power: {peaks}.",
                Numbers(("method, p(k)", *(f"k = {ring}" for ring in rings)), rows),
            )
        ],
    )


def _white(material: Material, group: Group, rings: int) -> dict[int, float]:
    """Ring -> share of white noise, from the first readable sensitivity.npz; empty without one."""
    found: dict[int, float] = {}
    for receipts in group.receipts.values():
        for receipt in receipts:
            arrays = arrays_of(material, receipt, "sensitivity.npz", {"k": 1, "white": 1})
            if not found and arrays is not None and len(arrays["k"]) == len(arrays["white"]) == rings:
                white = arrays["white"].astype(float)
                if (white > 0).all():
                    found = {int(k): float(share) for k, share in zip(arrays["k"], white, strict=True)}
    return found
