"""Pictures of filtered and recombined images: curves over frequency, and the images themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fourier_robust.metric.outcome import Estimate
from fourier_robust.report.figure import png


class Panel(NamedTuple):
    """One diagram of rates in percent.

    Attributes:
        across: what the horizontal axis shows.
        lines: name -> the places on that axis, and an estimate (fractions) for each.
        levels: name -> a rate (fraction) drawn as a dashed line.
    """

    across: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[Estimate]]]
    levels: Mapping[str, float]


class Picture(NamedTuple):
    """An image (H,W,C), its caption, and the colour of the caption."""

    image: np.ndarray
    caption: str
    colour: str = "black"


def curves_png(title: str, label: str, panels: Sequence[Panel]) -> bytes:
    """`panels` side by side, rates from 0 to 100 % with their 95 % intervals; `label` names the rates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.8 + 4.4 * len(panels), 4.0), layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(row, panels, strict=True):
        for position, (name, (places, estimates)) in enumerate(panel.lines.items()):
            value, low, high = (100 * np.array([one[index] for one in estimates]) for index in range(3))
            axes.fill_between(places, low, high, color=f"C{position}", alpha=0.2, linewidth=0)
            axes.plot(places, value, color=f"C{position}", marker="o", markersize=3.5, label=name)
        for style, (name, rate) in zip(("--", ":", "-."), panel.levels.items(), strict=False):
            axes.axhline(100 * rate, color="0.4", linestyle=style, linewidth=1.2, label=name)
        axes.set_xlabel(panel.across, size=8)
        axes.set_ylim(0, 102)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
    row[0].set_ylabel(label, size=8)
    figure.suptitle(title, size=8, x=0.01, ha="left")
    return png(figure)


def pictures_png(title: str, columns: Sequence[str], rows: Sequence[Sequence[Picture]]) -> bytes:
    """A grid of captioned images, drawn as a screen would: values outside [0,1] cut."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.75 * len(columns), 0.7 + 1.8 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for down, line in enumerate(rows):
        for axes, picture, column in zip(grid[down], line, columns, strict=True):
            axes.imshow(np.clip(picture.image, 0, 1), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_xlabel(picture.caption, size=7, color=picture.colour)
            if down == 0:
                axes.set_title(column, size=8)
    figure.suptitle(title, size=8, x=0.01, ha="left")
    return png(figure)
