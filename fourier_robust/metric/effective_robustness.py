"""Accuracy under a shift beyond what clean accuracy predicts: a line on logit axes, and what each model is off it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fourier_robust.metric.bootstrap import central_95


@dataclass(frozen=True, eq=False)
class LogitLine:
    """``logit(shifted) = intercept + slope * logit(clean)``.

    Attributes:
        slope: of the line.
        intercept: in logits.
        slope_low, slope_high: the central 95 % of the drawn slopes.
        r2: share of the variance of the fitted models' logits that the line explains.
        n: models it was fitted on.
        drawn: (R,2) intercepts and slopes over drawn models, those without a slope left out.
    """

    slope: float
    intercept: float
    slope_low: float
    slope_high: float
    r2: float
    n: int
    drawn: np.ndarray

    def at(self, clean: np.ndarray) -> np.ndarray:
        """(N,) accuracies expected at (N,) clean logits."""
        return sigmoid(self.intercept + self.slope * clean)

    def band(self, clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The central 95 % of the drawn lines at (N,) clean logits, as accuracies; for the line, not for a model."""
        lines = self.drawn[:, :1] + self.drawn[:, 1:] * clean
        low, high = np.quantile(lines, [0.025, 0.975], axis=0)
        return sigmoid(low), sigmoid(high)


def logit(accuracy: np.ndarray, images: np.ndarray | float) -> np.ndarray:
    """``log(p / (1 - p))`` of (N,) accuracies, p kept half an image away from 0 and 1.

    Args:
        accuracy: in [0,1]; NaN stays.
        images: that each was measured on.
    """
    edge = 0.5 / np.asarray(images, dtype=np.float64)
    kept = np.clip(accuracy, edge, 1 - edge)
    return np.log(kept / (1 - kept))


def sigmoid(value: np.ndarray) -> np.ndarray:
    """The inverse of `logit`."""
    return 0.5 * (1 + np.tanh(np.asarray(value) / 2))


def fit_logits(clean: np.ndarray, shifted: np.ndarray, counts: np.ndarray) -> LogitLine | None:
    """Least squares over the models that have both.

    Args:
        clean: (N,) logits of clean accuracy, NaN where there is none.
        shifted: likewise, under the shift.
        counts: (R,N) of `bootstrap.counts_of_groups`: how often each model is drawn.

    Returns:
        None where no slope is defined: fewer than two models, or one clean accuracy for all.

    Source: Taori et al., "Measuring Robustness to Natural Distribution Shifts in Image Classification", NeurIPS 2020
        (effective robustness; their testbed fits on logit axes and draws models 1,000 times).
    """
    both = ~(np.isnan(clean) | np.isnan(shifted))
    clean, shifted = clean[both], shifted[both]
    fitted = _lines(clean, shifted, np.ones((1, len(clean)))) if len(clean) > 1 else np.full((1, 2), np.nan)
    if np.isnan(fitted).any():
        return None
    intercept, slope = fitted[0]
    drawn = _lines(clean, shifted, counts[:, both])
    drawn = drawn[~np.isnan(drawn).any(1)]
    left = float(((shifted - intercept - slope * clean) ** 2).sum())
    spread = float(((shifted - shifted.mean()) ** 2).sum())
    r2 = 1 - left / spread if spread > 1e-12 else float("nan")
    return LogitLine(float(slope), float(intercept), *central_95(drawn[:, 1]), r2, len(clean), drawn)


def _lines(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(R,2) intercepts and slopes, each point as often as (R,N) `counts` say; NaN without spread."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total = counts.sum(1)
        mean_x, mean_y = counts @ x / total, counts @ y / total
        spread = counts @ (x * x) / total - mean_x**2
        slope = np.where(spread > 1e-9, (counts @ (x * y) / total - mean_x * mean_y) / spread, np.nan)
    return np.stack([mean_y - slope * mean_x, slope], 1)
