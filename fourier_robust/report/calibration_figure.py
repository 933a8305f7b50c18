"""Reliability diagrams: how often a model is right over how sure it is, and how many images are how sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fourier_robust.metric.calibration import Bins
from fourier_robust.report.figure import png

JOINED = 10  # images that a bin must have for the line to pass through its point


class Panel(NamedTuple):
    """One diagram.

    Attributes:
        name: above it.
        bins: as the model is, then, where there is one, at its temperature.
        ece: of each, a fraction.
    """

    name: str
    bins: Sequence[Bins]
    ece: Sequence[float]


def reliability_png(title: str, panels: Sequence[Panel], temperature: float | None) -> bytes:
    """Accuracy over confidence of each bin, in percent, the area of a point its share of images; below, the shares.

    Lines pass by the points of bins with fewer than `JOINED` images.

    Args:
        title: above the picture.
        panels: side by side, at least one.
        temperature: of the second diagram in each, for the legend.
    """
    from matplotlib.figure import Figure

    names = ["as it is"] + ([] if temperature is None else [f"T = {temperature:.3f}"])
    figure = Figure(figsize=(max(4.6, 0.6 + 2.75 * len(panels)), 4.6), layout="constrained")
    grid = figure.subplots(
        2, len(panels), sharex=True, sharey="row", squeeze=False, gridspec_kw={"height_ratios": [3, 1]}
    )
    for (upper, lower), panel in zip(grid.T, panels, strict=True):
        upper.plot([0, 100], [0, 100], color="0.6", linestyle="--", linewidth=1, zorder=1)
        for place, (name, bins, ece) in enumerate(zip(names, panel.bins, panel.ece, strict=True)):
            colour, share = f"C{place}", bins.share.numpy()
            seen = share > 0
            across, up = (100 * values.numpy()[seen] for values in (bins.confidence, bins.accuracy))
            joined, label = bins.images.numpy()[seen] >= JOINED, f"{name}: ece {100 * ece:.1f} %"
            upper.plot(across[joined], up[joined], color=colour, linewidth=1.2, label=label)
            upper.scatter(across, up, 4, color=colour, clip_on=False, zorder=3)
            upper.scatter(across, up, 300 * share[seen], color=colour, alpha=0.45, linewidth=0, clip_on=False)
            edges = np.linspace(0, 100, len(share) + 1)
            lower.stairs(100 * share, edges, color=colour, fill=place == 0, alpha=0.45 if place == 0 else 1)
        upper.set_title(panel.name, size=8)
        upper.set_xlim(0, 100)
        upper.set_ylim(0, 100)
        upper.set_aspect("equal")
        upper.legend(fontsize=7, frameon=False, loc="upper left", borderaxespad=0.2)
        lower.set_xlabel("confidence (%)", size=8)
        for axes in (upper, lower):
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel("right (% of the bin)", size=8)
    grid[1, 0].set_ylabel("images (%)", size=8)
    figure.suptitle(title, size=8, x=0.01, ha="left")
    return png(figure)
