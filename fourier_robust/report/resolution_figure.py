"""Accuracy against the size of the test images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from fourier_robust.metric.outcome import Estimate
from fourier_robust.report.figure import png

_WIDTH = 110  # characters of the title that stand side by side


def curves(
    title: str, sizes: Sequence[int], errors: Mapping[str, Sequence[Estimate]], own: int, chance: float
) -> bytes:
    """A line per set and model, in percent with its 95 % intervals; a ring around each line's best size.

    Args:
        title: above the picture.
        sizes: pixels, ascending.
        errors: name -> error (fraction) at each size.
        own: the data set's own size, drawn as a vertical line.
        chance: accuracy (fraction) of guessing, drawn where it is in sight.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    counts = {one.n for estimates in errors.values() for one in estimates}
    axes.axvline(own, color="0.6", linewidth=1.0, linestyle="--", label=f"own size, {own}")
    lowest = 100.0
    for position, (name, estimates) in enumerate(errors.items()):
        value, high, low = (100 * (1 - np.array([one[index] for one in estimates])) for index in range(3))
        colour, best = f"C{position % 10}", int(value.argmax())
        count = f" (n = {estimates[0].n})" if len(counts) > 1 else ""
        shown = f"{name}{count}: best {value[best]:.1f} at {sizes[best]}"
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(sizes, value, color=colour, marker="o", markersize=3.5, label=shown)
        axes.plot([sizes[best]], [value[best]], "o", markersize=9, color=colour, markerfacecolor="none")
        lowest = min(lowest, float(low.min()))
    if lowest < 100 * chance + 5:
        axes.axhline(100 * chance, color="0.4", linestyle=":", linewidth=1.0, label="chance")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("size of the test images (pixels per side)", size=8)
    axes.set_ylabel("accuracy (%)", size=8)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, _WIDTH)]
    figure.suptitle("\n".join(lines), size=8, x=0.01, ha="left")
    return png(figure)
