"""Pictures of SI-Score: accuracy over size and angle, the map of places, and the images themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fourier_robust.dataset.siscore_composed import Composed
from fourier_robust.dataset.siscore_design import place_of, reference_of
from fourier_robust.metric.factor import Scores
from fourier_robust.report.band_figure import Panel, Picture, curves_png, pictures_png
from fourier_robust.report.figure import png

_ACROSS = {"size": "area of the object's box (% of the image)", "rotation": "angle (degrees, counter-clockwise)"}
_SHOWN = 8  # images per row
_NUMBERED = 11  # places per axis up to which a map's cells say their number


def curves(title: str, factors: Mapping[str, tuple[Scores, Scores]], chance: float) -> bytes:
    """A panel per factor of (accuracy, flips), in percent with 95 % intervals over objects; the mean, and chance."""
    panels = []
    for factor, (accuracy, flips) in factors.items():
        scale, unit = (100, " %") if factor == "size" else (1, "°")
        reference = f"{scale * float(reference_of(factor, list(accuracy.at))):g}{unit}"
        lines = {"accuracy": accuracy.at, f"prediction differs from that at {reference}": flips.at}
        drawn = {
            name: ([scale * float(value) for value in line], list(line.values()))
            for name, line in lines.items()
            if line
        }
        panels.append(Panel(_ACROSS[factor], drawn, {"mean accuracy": _mean(accuracy), "chance": chance}))
    return curves_png(title, "% of the images", panels)


def location(title: str, accuracy: Scores, flips: Scores) -> bytes:
    """Two maps over the place of the object's centre: accuracy, and flips against the place in the middle."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.4 + 0.2 * len(title.splitlines())), layout="constrained")
    reference = reference_of("location", list(accuracy.at))
    shown = (
        (f"accuracy (%), mean {100 * _mean(accuracy):.1f}", accuracy.at, "viridis"),
        (f"prediction differs from that at {reference.replace('_', ', ')} (%)", flips.at, "magma_r"),
    )
    xs, ys = (sorted({place_of(key)[axis] for key in accuracy.at}) for axis in (0, 1))
    for axes, (name, values, colours) in zip(figure.subplots(1, 2), shown, strict=True):
        plane = np.full((len(ys), len(xs)), np.nan)
        for key, estimate in values.items():
            x, y = place_of(key)
            plane[ys.index(y), xs.index(x)] = 100 * estimate.value
        axes.set_facecolor("0.8")
        drawn = axes.imshow(plane, cmap=colours, vmin=0, vmax=100, interpolation="nearest")
        for (down, across), value in np.ndenumerate(plane) if len(xs) <= _NUMBERED else ():
            if value == value:
                dark = (value < 55) == (colours == "viridis")
                axes.text(across, down, f"{value:.0f}", ha="center", va="center", size=7, color="w" if dark else "k")
        every = max(1, len(xs) // 10)
        axes.set_xticks(range(0, len(xs), every), [f"{x:.3g}" for x in xs[::every]])
        axes.set_yticks(range(0, len(ys), every), [f"{y:.3g}" for y in ys[::every]])
        axes.set_xlabel("object's centre, across (share of the width)", size=8)
        axes.set_ylabel("object's centre, down (share of the height)", size=8)
        axes.tick_params(labelsize=7)
        axes.set_title(name, size=8, loc="left")
        figure.colorbar(drawn, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)
    figure.suptitle(title, size=8, x=0.01, ha="left")
    return png(figure)


def examples(composed: Composed, factors: Sequence[str]) -> bytes:
    """Two objects of different classes, where there are, and how each factor moves them."""
    objects, pairs = composed.scenes.objects.classes, composed.scenes.pairs.objects.tolist()
    classes = list(dict.fromkeys(objects))
    values = {factor: composed.values(factor) for factor in factors}
    columns, rows = min(_SHOWN, *map(len, values.values())), []
    for factor, every in values.items():
        order = np.linspace(0, len(every) - 1, columns).round().astype(int)
        if factor == "location":
            order = _scattered(len(every), columns)
        for name in dict.fromkeys((classes[len(classes) // 2], classes[-1])):
            pair = next(place for place, one in enumerate(pairs) if objects[one] == name)
            row = [(factor, every[place]) for place in order]
            rows.append([Picture(composed.picture(*at, pair), f"{name}, {_caption(*at)}") for at in row])
    return pictures_png("what the model is shown: one factor moves, all else stays", [""] * columns, rows)


def _scattered(places: int, count: int) -> np.ndarray:
    """(count,) of the places of a square grid: from left to right, now high, now low."""
    side = round(places**0.5)
    steps = np.linspace(0, side - 1, count).round().astype(int)
    stride = 3 if count % 3 else count - 1  # has no divisor in common with `count`
    return np.minimum(steps * side + steps[np.arange(count) * stride % count], places - 1)


def _mean(scores: Scores) -> float:
    return float("nan") if scores.mean is None else scores.mean.value


def _caption(factor: str, value: str) -> str:
    if factor == "size":
        return f"{100 * float(value):g} %"
    return f"{value}°" if factor == "rotation" else value.replace("_", ", ")
