"""Tables and comparisons as PNG pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from fourier_robust.report.table import Table


def png(figure: Any) -> bytes:
    """A matplotlib figure as the bytes of a PNG, the same for the same picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def table_png(table: Table) -> bytes:
    """`table` as a PNG: each cell coloured by its value (0 to 100 % of error where values are fractions)."""
    from matplotlib.figure import Figure

    height, width = 0.34 * (len(table.rows) + 1) + 0.75 + 0.22 * len(table.remarks), 2.6 + 0.85 * len(table.columns)
    figure = Figure(figsize=(max(width, 6.4), height), layout="constrained")
    axes = figure.subplots()
    values = [[float("nan") if value is None else value for value in line] for _, line in table.rows]
    top = 1.0 if table.percent else max(1.0, *(value for line in values for value in line if value == value))
    axes.imshow(values, cmap="YlOrRd", vmin=0, vmax=top, aspect="auto")
    for down, (_, line) in enumerate(table.rows):
        for across, value in enumerate(line):
            colour = "white" if value is not None and value / top > 0.6 else "black"
            axes.text(across, down, table.cell(value), ha="center", va="center", size=8, color=colour)
    axes.set_xticks(range(len(table.columns)), table.columns, size=8)
    axes.set_yticks(range(len(table.rows)), [name for name, _ in table.rows], size=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(table.title, size=9, loc="left")
    if table.remarks:
        axes.set_xlabel("\n".join(table.remarks), size=7, loc="left", wrap=True)
    return png(figure)


def comparison_png(title: str, rows: Sequence[str], series: Mapping[str, Sequence[float]]) -> bytes:
    """Grouped horizontal bars of error (%): `rows` down, one bar per entry of `series` (fractions)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    thickness = 0.8 / len(series)
    for position, (name, values) in enumerate(series.items()):
        places = [row + (position - (len(series) - 1) / 2) * thickness for row in range(len(rows))]
        bars = axes.barh(places, [100 * value for value in values], thickness, label=name)
        axes.bar_label(bars, fmt="%.1f", size=7, padding=2)
    axes.set_yticks(range(len(rows)), rows, size=8)
    axes.invert_yaxis()
    axes.set_xlim(0, min(108, 115 * max(value for values in series.values() for value in values) + 5))
    axes.set_xlabel("error (%), lower is better", size=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="lower right", frameon=False)
    axes.set_title(title, size=9, loc="left")
    return png(figure)
