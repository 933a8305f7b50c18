"""What a corruption costs, or a training gains on it, over the share of its energy that lies at high frequencies."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

from fourier_robust.report.collect import Found
from fourier_robust.report.pictures.looks import Look
from fourier_robust.report.pictures.series import Group, Material, Pick, groups_of
from fourier_robust.report.pictures.svg import Line, Panel, panels
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("spectra:hf_fraction", "spectra:drop", "spectra:gain", "spectra:drop_slope", "spectra:gain_slope")
WORDS = {
    "drop": ("Accuracy lost", "clean accuracy minus accuracy under the corruption (points); lower is better"),
    "gain": ("Accuracy gained over another model", "accuracy minus the other model's (points); higher is better"),
}


def sections(material: Material) -> list[Section]:
    """Losses: a section per data set. Gains: one per data set and model gained over."""
    found = [_section(material, group) for group in groups_of(material, "spectra", _of("drop"))]
    others: dict[str, list[Found]] = {}
    for one in material.found:
        suite = (one.receipt.content.get("config") or {}).get("suite") or {}
        if one.row.suite == "spectra" and suite.get("against"):
            others.setdefault(str(suite["against"]), []).append(one)
    for other, rows in sorted(others.items()):
        part = Material(rows, material.receipts, material.methods, material.looks, material.limit, material.skipped)
        found += [_section(part, group, other) for group in groups_of(part, "spectra", _of("gain"))]
    made = [section for section in found if section is not None]
    return [_apart(section, [one.key for one in made[:place]]) for place, section in enumerate(made)]


def _of(metric: str) -> Pick:
    def pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
        if row.suite != "spectra" or row.dataset.endswith("_aug"):
            return None
        if row.metric in ("hf_fraction", metric) and row.corruption:
            return (metric, row.dataset), (row.metric, row.corruption)
        return ((metric, row.dataset), (row.metric, "")) if row.metric == f"{metric}_slope" else None

    return pick


def _apart(section: Section, before: Sequence[str]) -> Section:
    count = sum(key == section.key or key.startswith(f"{section.key}-over") for key in before)
    if not count:
        return section
    return Section(f"{section.key}-over{count}", section.title, section.notes, section.pictures, section.table)


def _section(material: Material, group: Group, other: str = "") -> Section | None:
    metric, dataset = group.of
    names = sorted({key[1] for key in group.places() if isinstance(key, tuple) and key[0] == metric})
    if not names:
        return None
    lines, rows, slopes = [], [], []
    for method, of in group.points.items():
        look = material.looks[method]
        both = [name for name in names if (metric, name) in of and ("hf_fraction", name) in of]
        points = [
            (100 * of["hf_fraction", name].mean, 100 * of[metric, name].mean, _percent(of[metric, name].std))
            for name in both
        ]
        lines.append(Line(look, points, joined=False))
        slope = of.get((f"{metric}_slope", ""))
        if slope is not None and points:
            slopes.append(f"{look.name} {slope.text(1)}")
            across, up = [x for x, _, _ in points], [y for _, y, _ in points]
            left, right, x0, y0 = min(across), max(across), sum(across) / len(across), sum(up) / len(up)
            ends = [(x, y0 + slope.mean * (x - x0), None) for x in (left, right)]
            lines.append(Line(Look(look.name, look.colour, look.dash), ends, marks=False))
        rows += [(look.name, name, of["hf_fraction", name].text(), of[metric, name].text()) for name in both]
    title, words = WORDS[metric]
    over = f" (measured against {_folder(other)})" if other else ""
    return Section(
        f"{metric}-{group.key}",
        group.titled(f"{title} over high-frequency energy: {dataset}"),
        [
            f"A dot per corruption and method: across, the share of the energy of what the corruption adds that lies "
            f"at high frequencies; up, {words}{over}. The line is the least-squares fit.",
            *group.notes("hf_fraction", metric),
        ],
        [
            Picture(
                f"{title} over the share of energy at high frequencies",
                panels(
                    [Panel("", lines, flags=_flags(group, names))],
                    [material.looks[method] for method in group.points],
                    f"{title.lower()} (points)",
                    "energy of the change at high frequencies (%)",
                    1,
                    240,
                ),
                f"Slope of the fitted line, accuracy per 1 of the share: {'; '.join(slopes) or 'none measured'}.",
                Numbers(("method", "corruption", "high-frequency share (%)", f"{metric} (points)"), rows),
            )
        ],
    )


def _flags(group: Group, names: Sequence[str]) -> list[tuple[float, str]]:
    """Where each corruption's dots stand: the share is of the corruption, nearly the same for all methods."""
    found: dict[str, float] = {}
    for of in group.points.values():
        for name in names:
            if ("hf_fraction", name) in of:
                found.setdefault(name, 100 * of["hf_fraction", name].mean)
    return [(share, name.replace("_", " ")) for name, share in found.items()]


def _folder(path: str) -> str:
    """The run that a spectra.npz lies in, without the path of a machine."""
    parts = PurePosixPath(path).parts
    kept = [part for part in parts if part not in ("eval", "spectra", "spectra.npz")]
    return "/".join(kept[-2:]) or "another model"


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
