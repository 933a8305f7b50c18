"""Pictures of Fourier sensitivity: the profile over rings, and the centred map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fourier_robust.report.figure import png


def profile_png(
    title: str, arrays: Mapping[str, np.ndarray], bands: Mapping[str, tuple[int, int]], density: bool = False
) -> bytes:
    """p(k) with one standard deviation over images, beside white noise; with `density`, also p(k) over white noise.

    Args:
        title: above the picture.
        arrays: ``k``, ``p``, ``sd``, ``white``, each (K,).
        bands: name -> first and last ring.
        density: draw the second panel.
    """
    from matplotlib.figure import Figure

    k, p, sd, white = (arrays[name] for name in ("k", "p", "sd", "white"))
    figure = Figure(figsize=(7.2, 6.4 if density else 4.0), layout="constrained")
    panels = figure.subplots(2 if density else 1, sharex=True, squeeze=False)[:, 0]
    _curve(panels[0], k, p, sd)
    panels[0].plot(k, white, color="0.4", linestyle="--", linewidth=1.2, label="white noise")
    panels[0].set_ylabel("share of power p(k)", size=8)
    if density:
        _curve(panels[1], k, p / white, sd / white)
        panels[1].set_ylim(0, 1.5 * float(max((p / white).max(), 1)))  # the corners' few coefficients have a wide band
        panels[1].axhline(1, color="0.4", linestyle="--", linewidth=1.2, label="white noise")
        panels[1].set_ylabel("density p(k) / white noise", size=8)
    for axes in panels:
        axes.set_xlim(k[0] - 0.5, k[-1] + 0.5)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        for first, _ in list(bands.values())[1:]:
            axes.axvline(first - 0.5, color="0.8", linewidth=0.8, zorder=0)
    for name, (first, last) in bands.items():
        share = f"{name} {float(p[first - 1 : last].sum()):.3f}"
        place = ((first + last) / 2, 0.98)
        panels[0].text(*place, share, transform=panels[0].get_xaxis_transform(), ha="center", va="top", size=8)
    panels[0].set_ylim(0, 1.15 * float(max((p + sd).max(), white.max())))
    panels[0].legend(fontsize=8, frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
    panels[-1].set_xlabel("spatial frequency k (cycles per image)", size=8)
    panels[0].set_title(title, size=8, loc="left")
    return png(figure)


def plane_png(title: str, plane: np.ndarray) -> bytes:
    """The share of each frequency, DC in the middle and blank.

    Args:
        title: above the picture.
        plane: (H,W), centred, DC 0.
    """
    from matplotlib.figure import Figure

    height, width = plane.shape
    shown = plane.copy()
    shown[height // 2, width // 2] = np.nan
    left, top = -(width // 2) - 0.5, -(height // 2) - 0.5
    figure = Figure(figsize=(5.6, 5.0), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shown, cmap="viridis", vmin=0, extent=(left, left + width, top + height, top))
    axes.set_xlabel("frequency across (cycles per image)", size=8)
    axes.set_ylabel("frequency down (cycles per image)", size=8)
    axes.tick_params(labelsize=8)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label(f"share of power (white noise: {1 / (plane.size - 1):.2g})", size=8)
    bar.ax.tick_params(labelsize=8)
    axes.set_title(title, size=8, loc="left", wrap=True)
    return png(figure)


def _curve(axes: Any, k: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> None:
    axes.fill_between(k, np.maximum(mean - sd, 0), mean + sd, color="C0", alpha=0.2, linewidth=0, label="±1 sd")
    axes.plot(k, mean, color="C0", linewidth=1.6, marker="o" if len(k) <= 40 else "", markersize=3, label="mean")
