"""Maps over the plane of spatial frequencies as PNG pictures."""

from __future__ import annotations

import numpy as np

from fourier_robust.report.figure import png


def heatmap_png(title: str, plane: np.ndarray, limits: tuple[float, float], label: str) -> bytes:
    """(H,W) values, zero frequency at (H//2,W//2), as a picture; what was not measured is grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.9), layout="constrained")
    axes = figure.subplots()
    height, width = plane.shape
    # Whole frequencies at the centres of the cells.
    edges = (-(width // 2) - 0.5, (width - 1) // 2 + 0.5, (height - 1) // 2 + 0.5, -(height // 2) - 0.5)
    colours = "RdBu_r" if limits[0] < 0 else "magma"
    axes.set_facecolor("0.8")
    drawn = axes.imshow(plane, cmap=colours, vmin=limits[0], vmax=limits[1], extent=edges, interpolation="nearest")
    axes.set_xlabel("cycles per image, across", size=8)
    axes.set_ylabel("cycles per image, down", size=8)
    axes.tick_params(labelsize=7)
    axes.set_title(title, size=8, loc="left", wrap=True)
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.85)
    return png(figure)
