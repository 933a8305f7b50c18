"""Pictures of what is added to images: mean spectra side by side, and effects against the share of high frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fourier_robust.metric.line import Line
from fourier_robust.metric.outcome import Estimate
from fourier_robust.report.figure import png

COLUMNS = 5


class Panel(NamedTuple):
    """A spectrum (H,W), centred and not below 0, its name, and its share of energy at high frequencies (NaN: none)."""

    name: str
    plane: np.ndarray
    share: float = float("nan")


class Point(NamedTuple):
    """A corruption's share of energy at high frequencies, and its effect on accuracy, both fractions."""

    name: str
    share: Estimate
    effect: Estimate


def spectra_png(title: str, panels: Sequence[Panel], label: str, first_high: int | None = None) -> bytes:
    """All panels on one logarithmic colour scale; `label` names it. `first_high` outlines a cross in the first panel.

    Args:
        title: above the picture.
        panels: at least one.
        label: of the colours, without the logarithm.
        first_high: the lowest frequency along an axis that counts as high.
    """
    from matplotlib.figure import Figure

    values = np.stack([panel.plane for panel in panels]).astype(np.float64)
    seen = values[values > 0]
    low, high = np.log10(np.quantile(seen, (0.01, 0.995))) if len(seen) else (-1.0, 0.0)
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(9, 1.92 * rows + 0.5), layout="constrained")
    cells = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in cells:
        axes.axis("off")
    for axes, panel in zip(cells, panels, strict=False):
        shown = np.log10(np.maximum(panel.plane, 10**low))
        drawn = axes.imshow(shown, cmap="magma", vmin=low, vmax=high, interpolation="nearest")
        share = "" if np.isnan(panel.share) else f"\nhigh {panel.share:.2f}"
        axes.set_title(panel.name + share, size=8)
    if first_high is not None:
        height, width = panels[0].plane.shape
        for edge in (0.5 - first_high, first_high - 0.5):
            cells[0].axhline(height // 2 + edge, color="cyan", linewidth=0.7)
            cells[0].axvline(width // 2 + edge, color="cyan", linewidth=0.7)
    figure.colorbar(drawn, ax=list(cells), shrink=0.6, label=f"log10 {label}")
    figure.suptitle(title, size=8, x=0.01, ha="left")
    return png(figure)


def scatter_png(title: str, points: Sequence[Point], line: Line | None, across: str, up: str, white: float) -> bytes:
    """Effects in points of percent over shares, with 95 % intervals and the fitted line.

    Args:
        title: above the picture.
        points: one per corruption.
        line: of the effects as fractions, or None.
        across: what the horizontal axis shows.
        up: what the vertical axis shows.
        white: the share of white noise, marked.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 5.4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.axvline(white, color="0.5", linestyle=":", linewidth=1, zorder=0, label=f"share of white noise, {white:.2f}")
    if points:
        share, effect = (np.array([point[place] for point in points]) for place in (1, 2))
        reach = [100 * (effect[:, 0] - effect[:, 1]), 100 * (effect[:, 2] - effect[:, 0])]
        axes.errorbar(share[:, 0], 100 * effect[:, 0], reach, fmt="o", markersize=4, elinewidth=0.8, color="C0")
    if line is not None:
        ends = np.array([min(point.share.value for point in points), max(point.share.value for point in points)])
        slope, low, high = (100 * number for number in line.slope[:3])
        interval = f"95 % interval {low:.3g} to {high:.3g}, {line.slope.n} corruptions"
        label = f"slope {slope:.3g} points per unit of share, {interval}"
        axes.plot(ends, 100 * line.intercept + slope * ends, color="C3", linewidth=1.4, zorder=1, label=label)
    axes.set_xlim(-0.03, max([white, *(point.share.value for point in points)]) + 0.16)
    axes.margins(y=0.12)
    axes.set_xlabel(across, size=8)
    axes.set_ylabel(up, size=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    axes.set_title(title, size=8, loc="left", wrap=True)
    _name(figure, axes, points)
    return png(figure)


def _name(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Each name right of its point, moved up or down until it covers no other name."""
    figure.draw_without_rendering()
    unit = figure.dpi / 72  # pixels per point of type
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: point.effect.value):
        at = (point.share.value, 100 * point.effect.value)
        x, y = axes.transData.transform(at) / unit
        moves = (sign * step for step in range(80) for sign in (2, -2))
        move = next(one for one in moves if all(abs(x - a) > 75 or abs(y + one - b) >= 8 for a, b in taken))
        taken.append((x, y + move))
        place = {"xytext": (7, move), "textcoords": "offset points", "va": "center"}
        line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(point.name, at, size=7, arrowprops=line, **place)
