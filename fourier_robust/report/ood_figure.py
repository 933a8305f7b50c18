"""Pictures of OOD scores: how their values lie, and the trade between the two kinds of error."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from fourier_robust.metric.detection import auroc, count
from fourier_robust.report.figure import png

BINS = 60
ACROSS = 4  # panels
LEAST = 5e-4  # share drawn


def histograms_png(title: str, scores: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]]) -> bytes:
    """A panel per score: the share of images by value, the in-distribution set filled, a line for each OOD set.

    Args:
        title: above all.
        scores: score -> values of the in-distribution images, and set -> values of its images. Beyond the range of
            0.5 to 99.5 % of all values images count in the outermost bins.
    """
    from matplotlib.figure import Figure

    across = min(ACROSS, len(scores))
    down = -(-len(scores) // across)
    figure = Figure(figsize=(max(6.4, 3.2 * across), 1.3 + 2.3 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for axes, (name, (inside, outside)) in zip(panels, scores.items(), strict=False):
        every = np.concatenate([inside, *outside.values()])
        low, high = np.quantile(every[np.isfinite(every)], (0.005, 0.995))
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        axes.stairs(_shares(inside, edges), edges, fill=True, color="0.8", label="in-distribution")
        for position, (one, values) in enumerate(outside.items()):
            style = ("-", "--", ":")[position // 10 % 3]
            axes.stairs(_shares(values, edges), edges, color=f"C{position}", linestyle=style, linewidth=1, label=one)
        axes.set_title(name, size=8)
        axes.set_yscale("log")
        axes.set_ylim(LEAST, 1.2)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(scores) :]:
        axes.set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    figure.suptitle(f"{title}\nshare of images (log) by score, larger = more OOD", size=8, x=0.01, ha="left")
    return png(figure)


def roc_png(title: str, score: str, inside: np.ndarray, outside: Mapping[str, np.ndarray]) -> bytes:
    """The share of OOD images flagged over that of ID images flagged, a line for each set; auroc beside its name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.subplots()
    for position, (name, values) in enumerate(outside.items()):
        counts = count(torch.from_numpy(inside), torch.from_numpy(values))
        across = [*(counts.inside_from / len(inside)).tolist(), 0.0]
        up = [*(counts.outside_from / len(values)).tolist(), 0.0]
        style = ("-", "--", ":")[position // 10 % 3]
        axes.plot(across, up, color=f"C{position}", linestyle=style, linewidth=1.2,
                  label=f"{name} {float(auroc(counts)):.3f}")  # fmt: skip
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
    axes.set_xlabel("ID images flagged", size=8)
    axes.set_ylabel("OOD images flagged", size=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title=f"auroc of {score}", title_fontsize=8, fontsize=7, loc="lower right", frameon=False)
    figure.suptitle(title, size=8, x=0.01, ha="left")
    return png(figure)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
