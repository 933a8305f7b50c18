"""Maps over the plane of spatial frequencies as PNG pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fourier_robust.report.figure import png


class Panel(NamedTuple):
    """A map: name above, plane (H,W) with zero frequency at (H//2,W//2), limits and label of its colours."""

    name: str
    plane: np.ndarray
    limits: tuple[float, float]
    label: str


def heatmap_png(title: str, plane: np.ndarray, limits: tuple[float, float], label: str) -> bytes:
    """(H,W) values, zero frequency at (H//2,W//2), as a picture; what was not measured is grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.9), layout="constrained")
    _draw(figure, figure.subplots(), Panel(title, plane, limits, label))
    return png(figure)


def heatmaps_png(title: str, panels: Sequence[Panel], across: int = 3) -> bytes:
    """Maps of the same frequencies beside each other, at most `across` in a row; what was not measured is grey."""
    from matplotlib.figure import Figure

    columns = min(len(panels), across)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(5.4, 3.7 * columns), 3.4 * rows + 0.5), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, panel in zip(places, panels, strict=False):
        _draw(figure, axes, panel)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(title, size=8, x=0.01, ha="left")
    return png(figure)


def _draw(figure: Any, axes: Any, panel: Panel) -> None:
    height, width = panel.plane.shape
    # Whole frequencies at the centres of the cells.
    edges = (-(width // 2) - 0.5, (width - 1) // 2 + 0.5, (height - 1) // 2 + 0.5, -(height // 2) - 0.5)
    low, high = panel.limits
    axes.set_facecolor("0.8")
    drawn = axes.imshow(
        panel.plane,
        cmap="RdBu_r" if low < 0 else "magma",
        vmin=low,
        vmax=high,
        extent=edges,
        interpolation="nearest",
    )
    axes.set_xlabel("cycles per image, across", size=8)
    axes.set_ylabel("cycles per image, down", size=8)
    axes.tick_params(labelsize=7)
    axes.set_title(panel.name, size=8, loc="left", wrap=True)
    colours = figure.colorbar(drawn, ax=axes, shrink=0.85)
    colours.set_label(panel.label, size=8)
    colours.ax.tick_params(labelsize=7)
