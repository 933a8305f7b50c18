"""Reliability diagrams: accuracy over confidence, of clean images and of all corrupted ones together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from fourier_robust.report.methods import Method
from fourier_robust.report.pictures.arrays import arrays_of
from fourier_robust.report.pictures.looks import Look
from fourier_robust.report.pictures.series import Group, Material, Point, groups_of
from fourier_robust.report.pictures.svg import Line, Panel, panels
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("calibration:ece",)
KEYS = {"dataset": 1, "corruption": 1, "severity": 1, "temperature": 1, "confidence": 3, "accuracy": 3, "images": 3}
PERFECT = Look("confidence = accuracy", dash="3 3", reference=True)
LEAST = 20  # images in a bin that is drawn
Bins = tuple[np.ndarray, np.ndarray, np.ndarray]  # confidence, accuracy, images; (bins,) each


def sections(material: Material) -> list[Section]:
    """One section per data set that has arrays."""
    made = (_section(material, group) for group in groups_of(material, "calibration", _pick))
    return [section for section in made if section is not None]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    return ((row.dataset,), "ece") if row.suite == "calibration" and row.metric == "ece" else None


def _section(material: Material, group: Group) -> Section | None:
    named: dict[tuple[str, str], dict[Method, list[Bins]]] = {}
    for method, receipts in group.receipts.items():
        for receipt in receipts:
            arrays = arrays_of(material, receipt, "reliability.npz", KEYS)
            for what, bins in (_diagrams(arrays) if arrays else {}).items():
                named.setdefault(what, {}).setdefault(method, []).append(bins)
    if not named:
        return None
    drawn, rows = [], []
    shown = Counter(title for title, _ in named)
    for (title, mark), of in sorted(named.items(), key=lambda item: (not item[0][0].startswith("clean"), item[0])):
        title += f" [{mark}]" if shown[title] > 1 else ""
        lines = [Line(PERFECT, [(0.0, 0.0, None), (100.0, 100.0, None)], marks=False)]
        for method, seeds in of.items():
            points = _points(seeds)
            lines.append(
                Line(
                    material.looks[method],
                    [
                        (100 * x, 100 * y.mean, None if y.std is None else 100 * y.std)
                        for x, y, images in points
                        if images >= LEAST
                    ],
                )
            )
            rows += [
                (material.looks[method].name, title, f"{100 * x:.2f}", y.text(), f"{images:,}")
                for x, y, images in points
            ]
        drawn.append(Panel(title, lines, {0: "0", 25: "25", 50: "50", 75: "75", 100: "100"}, (0.0, 100.0)))
    clean = "; ".join(f"{material.looks[method].name} {of['ece'].text()}" for method, of in group.points.items())
    looks = [*(material.looks[method] for method in group.points), PERFECT]
    notes = [
        f"Accuracy of the images whose confidence lies in one bin. Below the diagonal a model is too sure, above it "
        f"not sure enough. Bins of fewer than {LEAST} images are not drawn.",
        *group.notes(),
    ]
    if len(named) > 1:
        notes.append("Corruptions: images of all sets named in a panel are put into one diagram; other sets in "
                     "another panel. Scaled: by a fitted temperature.")  # fmt: skip
    return Section(
        f"reliability-{group.key}",
        group.titled(f"Reliability: {group.of[0]}"),
        notes,
        [
            Picture(
                "Accuracy over confidence",
                panels(drawn, looks, "accuracy (%)", "confidence (%)", min(3, len(drawn)), 200, (0.0, 100.0)),
                f"Expected calibration error on clean images, percent: {clean}.",
                Numbers(("method", "images of", "confidence (%)", "accuracy (%)", "images"), rows),
            )
        ],
    )


def _diagrams(arrays: Mapping[str, np.ndarray]) -> dict[tuple[str, str], Bins]:
    """(title, mark of the set) -> bins: clean, and all corrupted sets together; each also at a fitted temperature."""
    shape = arrays["confidence"].shape
    conditions, temperatures = len(arrays["corruption"]), len(arrays["temperature"])
    same = all(arrays[key].shape == shape for key in ("accuracy", "images"))
    if not same or shape[:2] != (conditions, temperatures) or len(arrays["severity"]) != conditions:
        return {}
    clean = arrays["severity"] == 0
    names = sorted({str(name) for name in arrays["corruption"][~clean]})
    levels = sorted({int(level) for level in arrays["severity"][~clean]})
    wanted = [f"{name}{level}" for name, level in zip(arrays["corruption"], arrays["severity"], strict=True)]
    which = f"{len(names)} corruptions" if len(names) > 1 else "".join(names)
    span = f"severities {levels[0]}-{levels[-1]}" if len(levels) > 1 else f"severity {levels[0] if levels else 0}"
    mark = hashlib.sha256(" ".join(sorted(wanted)).encode()).hexdigest()[:4]
    sets = {("clean", ""): clean, (f"{which}, {span}", mark): ~clean}
    found = {}
    for (title, of), chosen in sets.items():
        for at in range(temperatures if chosen.any() else 0):
            part = [arrays[key][chosen, at] for key in ("confidence", "accuracy", "images")]
            found[title + (", scaled" if at else ""), of] = _pooled(*part)
    return found


def _pooled(confidence: np.ndarray, accuracy: np.ndarray, images: np.ndarray) -> Bins:
    """(conditions, bins) each -> all images in one diagram; NaN where a bin is empty."""
    total = images.sum(0)
    with np.errstate(invalid="ignore"):
        means = [np.nansum(np.nan_to_num(one) * images, 0) / total for one in (confidence, accuracy)]
    return means[0], means[1], total


def _points(seeds: Sequence[Bins]) -> list[tuple[float, Point, int]]:
    """Per bin that every seed fills: mean confidence, accuracy over seeds, images of all."""
    found = []
    for at in range(min(len(bins[0]) for bins in seeds)):
        values = [tuple(float(part[at]) for part in bins) for bins in seeds]
        if all(images > 0 for _, _, images in values):
            across = sum(confidence for confidence, _, _ in values) / len(values)
            images = int(sum(images for _, _, images in values))
            found.append((across, Point.of([accuracy for _, accuracy, _ in values]), images))
    return found
