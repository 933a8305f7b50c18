"""Does a confidence of 0.8 mean right in 8 of 10? Errors of calibration, proper scores, and the temperature.

`confidence` is (N,) in [0,1], the largest softmax probability; `correct` is (N,), 1 or True where the prediction is the
label; `logits` is (N,K), `labels` (N,) int64. Everything is summed in float64. Where images are sorted by confidence,
each takes the mean of `correct` over all images of its confidence: the result does not depend on the order of ties.
Every function raises ValueError, in one line, for no images, unequal shapes, NaN, and values outside their range.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

BINS = 15


class Bins(NamedTuple):
    """A reliability diagram: one entry per bin, (M,) float64; an empty bin has confidence and accuracy NaN, images 0.

    Attributes:
        confidence: mean confidence in the bin.
        accuracy: share of right predictions.
        images: how many.
    """

    confidence: torch.Tensor
    accuracy: torch.Tensor
    images: torch.Tensor

    @property
    def gap(self) -> torch.Tensor:
        """|accuracy - confidence|, 0 where a bin is empty."""
        return (self.accuracy - self.confidence).abs().nan_to_num(0.0)

    @property
    def share(self) -> torch.Tensor:
        """Of the images, by bin."""
        return self.images / self.images.sum()


def width_bin(probability: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """The equal-width bin, 0 to bins - 1, of each value in [0,1]; see `reliability`."""
    edges = torch.linspace(0, 1, bins + 1, dtype=probability.dtype, device=probability.device)
    return torch.bucketize(probability.contiguous(), edges[1:-1].contiguous())


def reliability(confidence: torch.Tensor, correct: torch.Tensor, bins: int = BINS) -> Bins:
    """Equal-width bins ((i-1)/bins, i/bins], the first with 0; bounds are compared in the dtype of `confidence`.

    torchmetrics 1.9 closes its bins on the other side: a confidence that is a bound lies one bin higher there.
    """
    right = _checked(confidence, correct, bins)
    return _gather(width_bin(confidence, bins), confidence.double(), right, bins)


def reliability_mass(confidence: torch.Tensor, correct: torch.Tensor, bins: int = BINS) -> Bins:
    """Images sorted by confidence, cut into `bins` runs whose sizes differ by 1 at most."""
    right = _checked(confidence, correct, bins)
    n = len(confidence)
    sorted_confidence, right = _sorted(confidence, right)
    return _gather(torch.arange(n, device=right.device) * bins // n, sorted_confidence, right, bins)


def reliability_runs(confidence: torch.Tensor, correct: torch.Tensor, bin_size: int = 100) -> Bins:
    """Images sorted by confidence, cut into runs of `bin_size`; the last takes the rest, fewer images are one bin."""
    right = _checked(confidence, correct, bin_size)
    bins = max(1, len(right) // bin_size)
    sorted_confidence, right = _sorted(confidence, right)
    run = torch.arange(len(right), device=right.device).div(bin_size, rounding_mode="floor").clamp_max(bins - 1)
    return _gather(run, sorted_confidence, right, bins)


def ece(confidence: torch.Tensor, correct: torch.Tensor, bins: int = BINS) -> float:
    """Expected calibration error: mean over images of their bin's gap, equal-width bins; in [0,1]."""
    found = reliability(confidence, correct, bins)
    return float((found.share * found.gap).sum())


def ece_mass(confidence: torch.Tensor, correct: torch.Tensor, bins: int = BINS) -> float:
    """As `ece`, with bins of equal mass."""
    found = reliability_mass(confidence, correct, bins)
    return float((found.share * found.gap).sum())


def mce_cal(confidence: torch.Tensor, correct: torch.Tensor, bins: int = BINS) -> float:
    """Maximum calibration error: the largest gap of an equal-width bin. Not the mCE of corruptions."""
    return float(reliability(confidence, correct, bins).gap.max())


def rms_ce(confidence: torch.Tensor, correct: torch.Tensor, bin_size: int = 100, published: bool = False) -> float:
    """Root mean square calibration error over runs of `bin_size` images sorted by confidence; the last takes the rest.

    Args:
        confidence: (N,).
        correct: (N,).
        bin_size: images per bin; fewer images than that are one bin.
        published: leave out the last bin, with the most confident images, as the helper of Hendrycks et al. does
            (``calib_err``, in natural-adv-examples, PixMix, imagenet-r): smaller than the definition says. Fewer images
            than two bins then have no error at all.

    Source: Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", ICLR 2019, appendix; their code.
    """
    found = reliability_runs(confidence, correct, bin_size)
    terms = found.share * found.gap.square()
    return math.sqrt(float(terms[:-1].sum() if published else terms.sum()))


def aurc(confidence: torch.Tensor, correct: torch.Tensor) -> float:
    """Area under the risk-coverage curve: the mean over n = 1..N of the error among the n most confident images.

    Source: Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", ICLR 2019.
    """
    _, right = _sorted(confidence, _checked(confidence, correct, 1))
    errors = (1 - right).flip(0).cumsum(0)
    return float((errors / torch.arange(1, len(right) + 1, device=right.device)).mean())


def ece_classwise(logits: torch.Tensor, labels: torch.Tensor, bins: int = BINS) -> float:
    """Mean over the K classes of the error of p_k against "the label is k", equal-width bins.

    Source: Kull et al., "Beyond temperature scaling", NeurIPS 2019.
    """
    _check_logits(logits, labels)
    probability, classes = logits.double().softmax(1), logits.shape[1]
    place = width_bin(probability, bins) + bins * torch.arange(classes, device=logits.device)
    found = _gather(place.flatten(), probability.flatten(), _one_hot(probability, labels).flatten(), bins * classes)
    return float((found.share * found.gap).sum())


def nll(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean negative log-likelihood of the label, nats."""
    _check_logits(logits, labels)
    return float(torch.nn.functional.cross_entropy(logits.double(), labels))


def brier(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean over images of the sum over classes of (p - [is the label]) squared; 0 to 2."""
    _check_logits(logits, labels)
    probability = logits.double().softmax(1)
    return float((probability - _one_hot(probability, labels)).square().sum(1).mean())


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """T > 0 with the least `nll` of ``logits / T``, to a relative 1e-10. To be fitted on images never reported on.

    In b = 1/T the likelihood is convex: Newton's steps, halving the bracket of the minimum where a step would leave it.

    Raises:
        ValueError: also where no finite T > 0 is best, because every label has the largest logit, or because
            labels have no larger logits than other classes on average.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    _check_logits(logits, labels)
    centred = logits.double() - logits.double().gather(1, labels[:, None])
    scale = float(centred.abs().mean())  # b is sought in units of 1/scale
    if scale == 0 or float(centred.mean()) >= 0:
        raise ValueError("no temperature fits: the labels' logits are no larger than the others on average")
    if float(centred.amax()) <= 0:
        raise ValueError(f"no temperature fits: all {len(labels)} images are classified right, so T would go to 0")
    centred /= scale
    low, high, b = 0.0, math.inf, 1.0
    for _ in range(200):
        probability = (b * centred).softmax(1)
        mean = (probability * centred).sum(1)
        slope = float(mean.mean())
        curvature = float(((probability * centred.square()).sum(1) - mean.square()).mean())
        low, high = (b, high) if slope < 0 else (low, b)
        newton = b - slope / curvature if curvature > 0 else math.inf
        middle = 2 * b if high == math.inf else (low + high) / 2
        following = newton if low < newton < high else middle
        if abs(following - b) <= 1e-10 * b:
            break
        b = following
    return scale / b


def _checked(confidence: torch.Tensor, correct: torch.Tensor, bins: int) -> torch.Tensor:
    """`correct` as float64."""
    if confidence.ndim != 1 or confidence.shape != correct.shape or len(confidence) == 0:
        raise ValueError(f"need (N,) confidence and correct, got {tuple(confidence.shape)} and {tuple(correct.shape)}")
    if bins < 1:
        raise ValueError(f"need at least one bin and one image in it, got {bins}")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"confidence must lie in [0, 1], got {float(confidence.min())} to {float(confidence.max())}")
    return correct.double()


def _check_logits(logits: torch.Tensor, labels: torch.Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(logits) == 0:
        raise ValueError(f"need (N,K) logits and (N,) labels, got {tuple(logits.shape)} and {tuple(labels.shape)}")
    if not logits.isfinite().all():
        bad = int((~logits.isfinite()).any(1).sum())
        raise ValueError(f"the logits of {bad} of {len(logits)} images are not finite")
    if int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
        raise ValueError(f"labels must lie in 0..{logits.shape[1] - 1}, got {int(labels.min())} to {int(labels.max())}")


def _sorted(confidence: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in float64 by rising confidence; ties share their mean of `right`."""
    confidence = confidence.double()
    _, tie, counts = confidence.unique(return_inverse=True, return_counts=True)
    mean = torch.zeros(len(counts), dtype=right.dtype, device=right.device).index_add_(0, tie, right) / counts
    order = confidence.argsort()
    return confidence[order], mean[tie[order]]


def _gather(place: torch.Tensor, confidence: torch.Tensor, right: torch.Tensor, bins: int) -> Bins:
    count, total, hits = (place.bincount(weights, bins).double() for weights in (None, confidence, right))
    return Bins(total / count, hits / count, count)


def _one_hot(probability: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(probability).scatter_(1, labels[:, None], 1.0)
