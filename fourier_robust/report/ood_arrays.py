"""How OOD scores lie, in few numbers: histograms and ROC curves as arrays, for ``scores.npz``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

BINS, POINTS = 60, 101


def score_arrays(
    inside_name: str, scores: Mapping[str, tuple[np.ndarray, Mapping[str, np.ndarray]]]
) -> dict[str, np.ndarray]:
    """Histograms over 0.5 to 99.5 % of all values, and ROC curves.

    Args:
        inside_name: of the in-distribution set.
        scores: score -> values of its images (N,), and set -> values of the set's images (M,); the same sets for all.

    Returns:
        ``score`` (K,) and ``set`` (S,), the in-distribution set first: names. ``edges`` (K,B+1): of equal bins.
        ``share`` (K,S,B): of each set's images; what lies beyond counts in the outermost bins. ``flagged_id`` (P,): 0
        to 1. ``flagged_ood`` (K,S-1,P): the largest share of an OOD set that is flagged by a threshold which flags at
        most ``flagged_id`` of the in-distribution images.
    """
    names = list(next(iter(scores.values()))[1])
    flagged = np.linspace(0, 1, POINTS)
    edges, shares, curves = [], [], []
    for inside, outside in scores.values():
        every = np.concatenate([inside, *outside.values()])
        finite = every[np.isfinite(every)]
        low, high = np.quantile(finite, (0.005, 0.995)) if len(finite) else (0.0, 1.0)
        edges.append(np.linspace(low, high if high > low else low + 1, BINS + 1))
        shares.append([_shares(values, edges[-1]) for values in (inside, *outside.values())])
        curves.append([_curve(inside, outside[name], flagged) for name in names])
    return {
        "score": np.array(list(scores)),
        "set": np.array([inside_name, *names]),
        "edges": np.stack(edges),
        "share": np.array(shares, dtype=np.float32),
        "flagged_id": flagged,
        "flagged_ood": np.array(curves, dtype=np.float32),
    }


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    inside = np.clip(np.nan_to_num(values, nan=edges[0], posinf=edges[-1], neginf=edges[0]), edges[0], edges[-1])
    return np.histogram(inside, edges)[0] / len(values)


def _curve(inside: np.ndarray, outside: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """With k images allowed to be flagged, the threshold lies right above the k+1 largest in-distribution score."""
    largest = np.sort(inside)[::-1]
    allowed = np.floor(flagged * len(inside) + 1e-9).astype(int)
    above = [1.0 if k >= len(inside) else float((outside > largest[k]).mean()) for k in allowed]
    return np.array(above)
