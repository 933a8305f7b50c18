"""The pictures of the analyses, as SVG: a map of correlations, and accuracy under shift against clean accuracy."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fourier_robust.metric.effective_robustness import sigmoid
from fourier_robust.report.analysis import Robustness, Shift, logits_of

TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
PANELS = 12  # at most
INK = "#010203"  # drawn in this, shown in the page's ink
STYLE: dict[Any, str] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "svg.fonttype": "none",
    "svg.hashsalt": "fourier_robust",
}
FITTED, OTHER = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion


def svg(draw: Callable[[], Any]) -> str:
    """What `draw` gives, a matplotlib figure, as one ``<svg>`` element.

    Its text is text, its ground transparent, its ink that of the page; the same bytes for the same picture.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(STYLE):
        draw().savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().replace(INK, "currentColor")
    used = set(re.findall(r"#([\w-]+)", text))  # ids by content; all others would stand in one page twice
    text = re.sub(r' id="([\w-]+)"', lambda found: found[0] if found[1] in used else "", text)
    return text[text.index("<svg") :].strip()


def order_of(matrix: np.ndarray) -> list[int]:
    """An order of M metrics with alike ones side by side: by their angle in the plane of the first two eigenvectors.

    Args:
        matrix: (M,M) correlations; NaN counts as 0.

    Source: Friendly, "Corrgrams: exploratory displays for correlation matrices", The American Statistician 2002.
    """
    values, vectors = np.linalg.eigh(np.nan_to_num(matrix))
    if len(values) < 3:
        return list(range(len(values)))
    first, second = (vectors[:, -at] * (1 if vectors[:, -at].sum() >= 0 else -1) for at in (1, 2))
    angles = np.round(np.arctan2(second, first), 9)
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * np.pi)
    return [int(at) for at in np.roll(order, -int(gaps.argmax()) - 1)]


def correlation_map(names: Sequence[str], matrix: np.ndarray) -> str:
    """(M,M) correlations as coloured squares, -1 orange to 1 purple, each with its number; grey: not defined."""
    return svg(partial(_map, names, matrix))


def _map(names: Sequence[str], matrix: np.ndarray) -> Any:
    from matplotlib.figure import Figure

    many, longest = len(names), max(map(len, names))
    size = 0.42 * many + 0.075 * longest + 0.4
    figure = Figure(figsize=(size + 0.9, size), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("0.75")
    drawn = axes.pcolormesh(matrix, cmap="PuOr", vmin=-1, vmax=1, edgecolors="white", linewidth=1)
    for (down, across), value in np.ndenumerate(matrix):
        text = "" if np.isnan(value) else f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.0f}"
        axes.text(
            across + 0.5, down + 0.5, text, ha="center", va="center", size=7, color="w" if abs(value) > 0.6 else "k"
        )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xticks(np.arange(many) + 0.5, names, size=8, rotation=90)
    axes.set_yticks(np.arange(many) + 0.5, names, size=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axes, shrink=0.6).ax.tick_params(labelsize=7)
    return figure


def shift_panels(found: Robustness) -> str:
    """A panel per shift (the first `PANELS`): runs, the line with its band, the diagonal; both axes in logits."""
    return svg(partial(_panels, found))


def _panels(found: Robustness) -> Any:
    from matplotlib.figure import Figure

    shown = found.shifts[:PANELS]
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(3.3 * across + 0.3, 2.9 * down + 0.5), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, shift in zip(panels, shown, strict=False):
        _panel(axes, found, shift)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    handles = {label: one for axes in panels for one, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=5, fontsize=8, frameon=False)
    return figure


def _panel(axes: Any, found: Robustness, shift: Shift) -> None:
    x, y = logits_of(shift.against), logits_of(shift.metric)
    there = ~(np.isnan(x) | np.isnan(y))
    grid = np.linspace(x[there].min() - 0.15, x[there].max() + 0.15, 60)
    if len(shift.line.drawn):
        low, high = (_logit(edge) for edge in shift.line.band(grid))
        axes.fill_between(grid, low, high, color=FITTED, alpha=0.2, linewidth=0, label="95 % band of the line")
    axes.plot(grid, shift.line.intercept + shift.line.slope * grid, color=FITTED, linewidth=1.2, label="line")
    axes.plot(grid, grid, color="0.5", linewidth=0.8, linestyle=":", label="as accurate as clean")
    for members, colour, marker, name in (
        (found.members, FITTED, "o", "runs of the fit"),
        (~found.members, OTHER, "^", "other runs"),
    ):
        if (members & there).any():
            chosen = members & there
            axes.scatter(x[chosen], y[chosen], s=22, color=colour, marker=marker, edgecolors="white", linewidths=0.5,
                         label=name, zorder=3)  # fmt: skip
    bounds = np.concatenate([y[there], grid[[0, -1]] * shift.line.slope + shift.line.intercept])
    axes.set_xlim(grid[0], grid[-1])
    axes.set_ylim(bounds.min() - 0.2, bounds.max() + 0.2)
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = _ticks(*limits)
        axis.set_ticks([float(_logit(np.array(tick))) for tick in ticks], [f"{100 * tick:g}" for tick in ticks])
    axes.tick_params(labelsize=7)
    axes.grid(color="0.5", alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(shift.metric.name, size=8, loc="left")
    axes.set_xlabel("clean accuracy (%)" if shift.against is found.clean else "clean accuracy, its classes (%)", size=8)
    axes.set_ylabel("accuracy (%)", size=8)


def _logit(share: np.ndarray) -> np.ndarray:
    return np.log(share / (1 - share))


def _ticks(low: float, high: float) -> list[float]:
    """Round accuracies between two logits, few enough to be read."""
    span = float(high - low)
    chosen: list[float] = []
    for tick in TICKS:
        place = float(_logit(np.array(tick)))
        if low <= place <= high and (not chosen or place - float(_logit(np.array(chosen[-1]))) > span / 9):
            chosen.append(tick)
    return chosen or [float(np.round(sigmoid(np.array((low + high) / 2)), 3))]
