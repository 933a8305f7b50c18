"""Detection metrics from their definitions, slowly: one threshold at a time, counting images in Python."""

from __future__ import annotations

from collections.abc import Sequence


def detection_reference(scores_in: Sequence[float], scores_out: Sequence[float]) -> dict[str, float]:
    """All metrics of `fourier_robust.metric.detection`, as plain loops over pairs and thresholds."""
    pairs = [(out > inside) + 0.5 * (out == inside) for out in scores_out for inside in scores_in]
    thresholds = sorted({*scores_in, *scores_out})
    flagged = [(share_from(scores_in, t), share_from(scores_out, t)) for t in thresholds]
    accepted = [(share_to(scores_in, t), share_to(scores_out, t)) for t in thresholds]
    n, m = len(scores_in), len(scores_out)
    return {
        "auroc": sum(pairs) / len(pairs),
        "aupr_in": average_precision([(a * n, b * m) for a, b in accepted]),
        "aupr_out": average_precision([(b * m, a * n) for a, b in reversed(flagged)]),
        "fpr95": min(a for a, b in flagged if b >= 0.95),
        "fpr95_id": min(b for a, b in accepted if a >= 0.95),
        "detection_accuracy": max(0.5 * (b + 1 - a) for a, b in flagged),
    }


def share_from(scores: Sequence[float], threshold: float) -> float:
    return sum(score >= threshold for score in scores) / len(scores)


def share_to(scores: Sequence[float], threshold: float) -> float:
    return sum(score <= threshold for score in scores) / len(scores)


def average_precision(taken: list[tuple[float, float]]) -> float:
    """From (right, wrong) images taken at each threshold, growing: sum of precision times gain in recall."""
    total, before = 0.0, 0.0
    for right, wrong in taken:
        total += (right - before) * right / (right + wrong)
        before = right
    return total / before
