"""OOD detection: AUROC set by set, and from ``scores.npz`` how one score's values lie and the ROC curves.

What ``scores.npz`` holds: `report.ood_arrays.score_arrays`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np

from fourier_robust.report.methods import Method
from fourier_robust.report.pictures.arrays import arrays_of
from fourier_robust.report.pictures.looks import Look
from fourier_robust.report.pictures.series import Group, Material, groups_of
from fourier_robust.report.pictures.svg import LETTER, WIDTH, Line, Panel, marks, num, panels, path, rule, svg, text
from fourier_robust.report.pictures.svg import legend as legend_of
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.run.results import Row

ROWS = ("ood:auroc",)
KEYS = {"score": 1, "set": 1, "edges": 2, "share": 3, "flagged_id": 1, "flagged_ood": 3}
PREFERRED = "max_logit"
STEP, HISTOGRAMS = 18.0, (6, 6)  # pixels of a line; methods and sets of the histograms
CHANCE = Look("chance", dash="3 3", reference=True)


def sections(material: Material) -> list[Section]:
    """One section per in-distribution set, of one score: max_logit where it was measured."""
    return [_section(material, group) for group in groups_of(material, "ood", _pick)]


def _pick(row: Row) -> tuple[tuple[str, ...], Hashable] | None:
    if row.suite != "ood" or row.metric != "auroc" or row.score is None:
        return None
    return (row.train_dataset,), (row.score, row.dataset)


def _section(material: Material, group: Group) -> Section:
    keys = [key for key in group.places() if isinstance(key, tuple)]
    scores = list(dict.fromkeys(score for score, _ in keys))
    score = PREFERRED if PREFERRED in scores else scores[0]
    every = list(dict.fromkeys(of for _, of in keys))
    sets = sorted((of for of in every if not of.startswith("mean_")), key=lambda of: -_middle(group, score, of))
    sets += sorted(of for of in every if of.startswith("mean_"))
    rows = [
        (material.looks[method].name, one, *(of[one, place].text() if (one, place) in of else "" for place in sets))
        for method, of in group.points.items()
        for one in scores
        if any((one, place) in of for place in sets)
    ]
    said = "; ".join(
        f"{material.looks[method].name} "
        + ", ".join(f"{place} {of[score, place].text()}" for place in sets if (score, place) in of)
        for method, of in group.points.items()
    )
    pictures = [
        Picture(
            f"AUROC of {score}, set by set",
            _dots(material, group, score, sets),
            f"AUROC of {score} in percent: {said}.",
            Numbers(("method, AUROC (%)", "score", *sets), rows),
        ),
        *_from_arrays(material, group, score),
    ]
    others = [one for one in scores if one != score]
    notes = [
        f"How well the score {score} tells images of other sets (OOD, the positive class) from the test images of "
        f"{group.train_dataset}. 50 % is chance, higher is better.",
        *([f"Numbers of {len(others)} more scores stand below the picture: {', '.join(others)}."] if others else []),
        *group.notes(),
    ]
    if len(pictures) == 1:
        notes.append("No histogram or ROC curve: no readable scores.npz beside the rows.")
    return Section(f"ood-{group.key}", f"OOD detection, trained on {group.train_dataset}", notes, pictures)


def _middle(group: Group, score: str, of: str) -> float:
    values = [points[score, of].mean for points in group.points.values() if (score, of) in points]
    return sum(values) / len(values) if values else 0.0


def _dots(material: Material, group: Group, score: str, sets: list[str]) -> str:
    """A line per set, a dot per method, whiskers over seeds."""
    parts, top = legend_of([material.looks[method] for method in group.points], dots=True)
    left = max(map(len, sets)) * LETTER + 10
    points = [of[score, one] for of in group.points.values() for one in sets if (score, one) in of]
    low = min([40.0, *(10 * int(10 * (point.mean - (point.std or 0))) for point in points)])
    wide = WIDTH - left - 20

    def at(value: float) -> float:
        return left + (100 * value - low) / (100 - low) * wide

    bottom = top + STEP * len(sets) + 6
    for level in range(int(low), 101, 10):
        x = at(level / 100)
        parts += [rule(x, top, x, bottom, ".5" if level == 50 else ".15"), text(x, bottom + 14, str(level), "middle")]
    for down, one in enumerate(sets):
        y = top + STEP * (down + 0.6)
        parts += [text(left - 8, y + 4, one, "end"), rule(left, y, left + wide, y)]
        for method, of in group.points.items():
            point = of.get((score, one))
            if point is None:
                continue
            look = material.looks[method]
            if point.std:
                d = f"M{num(at(point.mean - point.std))} {num(y)}H{num(at(point.mean + point.std))}"
                parts.append(path(d, Look("", look.colour), 2))
            parts.append(marks([(at(point.mean), y)], look, 8))
    parts.append(text(left + wide / 2, bottom + 28, "AUROC (%)", "middle", 'font-style="italic"'))
    return svg(WIDTH, bottom + 34, parts)


Read = Mapping[str, np.ndarray]


def _from_arrays(material: Material, group: Group, score: str) -> list[Picture]:
    """Histograms and ROC curves of the methods with arrays, of their first seed; empty without any."""
    read: dict[Method, Read] = {}
    for method, receipts in group.receipts.items():
        known = arrays_of(material, receipts[0], "scores.npz", KEYS) if receipts else None
        if known is not None and _fits(known) and score in known["score"]:
            read[method] = known
    if not read:
        return []
    sets = list(dict.fromkeys(str(name) for arrays in read.values() for name in arrays["set"][1:]))
    drawn, rows, roc = [], [], []
    for name in sets:
        lines = [Line(CHANCE, [(0.0, 0.0, None), (100.0, 100.0, None)], marks=False)]
        for method, arrays in read.items():
            at = [str(one) for one in arrays["set"]].index(name) if name in arrays["set"] else 0
            if at:
                flagged = arrays["flagged_ood"][list(arrays["score"]).index(score)][at - 1]
                across = arrays["flagged_id"]
                points = [(100 * float(x), 100 * float(y), None) for x, y in zip(across, flagged, strict=True)]
                lines.append(Line(material.looks[method], points, marks=False))
                picked = [int(np.abs(across - share).argmin()) for share in SHARES]
                rows.append((material.looks[method].name, name, *(f"{points[one][1]:.2f}" for one in picked)))
        drawn.append(Panel(name, lines, {0: "0", 50: "50", 100: "100"}, (0.0, 100.0)))
        roc.append(name)
    looks = [*(material.looks[method] for method in read), CHANCE]
    head = ("method, OOD flagged (%)", "set", *(f"at {100 * share:g} % of ID flagged" for share in SHARES))
    return [
        _histograms(material, read, score, sets),
        Picture(
            f"ROC curves of {score}",
            panels(drawn, looks, "OOD images flagged (%)", "ID images flagged (%)", 5, 120, (0.0, 100.0)),
            f"Share of OOD images flagged over the share of in-distribution images flagged, for {', '.join(roc)}; one "
            "seed of each method.",
            Numbers(head, rows),
        ),
    ]


SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


def _fits(arrays: Read) -> bool:
    scores, sets = len(arrays["score"]), len(arrays["set"])
    bins, points = arrays["edges"].shape[1] - 1, len(arrays["flagged_id"])
    shapes = {"edges": (scores, bins + 1), "share": (scores, sets, bins), "flagged_ood": (scores, sets - 1, points)}
    finite = all(np.isfinite(arrays[key]).all() for key in (*shapes, "flagged_id"))
    return sets > 1 and bins > 0 and finite and all(arrays[key].shape == shape for key, shape in shapes.items())


def _histograms(material: Material, read: Mapping[Method, Read], score: str, sets: list[str]) -> Picture:
    """A row per method, a column per set: the in-distribution images filled, the set's in the method's colour."""
    methods, names = list(read)[: HISTOGRAMS[0]], sets[: HISTOGRAMS[1]]
    wide, high, top = (WIDTH - 12 * len(names)) / len(names), 60.0, 40.0
    parts = [text(0, 12, "filled: in-distribution; line: the set named above", style='font-style="italic"')]
    rows = []
    for down, method in enumerate(methods):
        arrays = read[method]
        at = [str(one) for one in arrays["score"]].index(score)
        edges, inside = arrays["edges"][at], arrays["share"][at, 0]
        known = [str(one) for one in arrays["set"]]
        rows.append((material.looks[method].name, known[0], *_quartiles(edges, inside)))
        y = top + down * (high + 34)
        parts.append(text(0, y + 4, material.looks[method].name, style='font-weight="600"'))
        for column, name in enumerate(names):
            if name not in known:
                continue
            share = arrays["share"][at, known.index(name)]
            rows.append((material.looks[method].name, name, *_quartiles(edges, share)))
            x = column * (wide + 12)
            if down == 0:
                parts.append(text(x, 28, name))
            peak = max(float(inside.max()), float(share.max())) or 1.0
            filled = _stairs(inside / peak, x, y + 10, wide, high)
            parts.append(f'<path d="{filled}z" fill="currentColor" fill-opacity=".25"/>')
            parts.append(path(_stairs(share / peak, x, y + 10, wide, high), Look("", material.looks[method].colour)))
            parts.append(rule(x, y + 10 + high, x + wide, y + 10 + high, ".6"))
    left = [f"{len(read) - len(methods)} methods" if len(read) > len(methods) else "",
            f"{len(sets) - len(names)} sets" if len(sets) > len(names) else ""]  # fmt: skip
    said = f"; not drawn: {' and '.join(filter(None, left))}" if any(left) else ""
    return Picture(
        f"Values of {score}: in-distribution and OOD{said}",
        svg(WIDTH, top + len(methods) * (high + 34), parts),
        f"Histograms of {score}, larger is more OOD: the less the line and the filled area overlap, the better the "
        "sets are told apart; one seed of each method.",
        Numbers(("method", "set", "quarter of the images below", "half", "three quarters"), rows),
    )


def _stairs(share: np.ndarray, x: float, y: float, wide: float, high: float) -> str:
    step = wide / len(share)
    d = f"M{num(x)} {num(y + high)}"
    for at, value in enumerate(share):
        d += f"V{num(y + high * (1 - float(value)))}H{num(x + (at + 1) * step)}"
    return d + f"V{num(y + high)}"


def _quartiles(edges: np.ndarray, share: np.ndarray) -> list[str]:
    """Upper edges of the bins within which a quarter, half, three quarters of the images are reached."""
    total = np.cumsum(share)
    found = [int(np.searchsorted(total, part * total[-1])) for part in (0.25, 0.5, 0.75)]
    return [f"{float(edges[min(at + 1, len(edges) - 1)]):.4g}" for at in found]
