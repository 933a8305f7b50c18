"""Errors of calibration as means over images: (N,) float64 values whose mean is the metric, for its interval.

The values are those of the metric's linearisation: to first order, changing an image changes the metric as it changes
their mean. Bins are held as they are, and each bin's gap keeps its sign. Against the spread over 300 draws of 1,000
images, five classes: standard errors of 0.97 to 1.08 times it where gaps are well above their noise; of a calibrated
model, 1.7 times (ece, ece_mass) and 1.4 times (rms_ce), around a metric that is not 0 but its noise (ece 0.036).
Arguments and errors are those of `metric.calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from fourier_robust.metric.calibration import BINS, Bins, reliability, reliability_mass, reliability_runs, width_bin

ROWS = 4096  # images at a time where all classes are looked at: 33 MB in float64 for 1000 classes


def ece_values(confidence: torch.Tensor, correct: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Of `ece`: confidence - correct, with the sign that this has in the image's bin."""
    return _gap_values(reliability(confidence, correct, bins), confidence, correct)


def ece_mass_values(confidence: torch.Tensor, correct: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Of `ece_mass`."""
    return _gap_values(reliability_mass(confidence, correct, bins), confidence, correct)


def rms_ce_values(
    confidence: torch.Tensor, correct: torch.Tensor, bin_size: int = 100, published: bool = False
) -> torch.Tensor:
    """Of `rms_ce`: with g a bin's gap and d = confidence - correct, the square's are 2 g d - g^2; all 0 at 0."""
    found = reliability_runs(confidence, correct, bin_size)
    gap = (found.confidence - found.accuracy).nan_to_num(0.0)
    if published:
        gap[-1] = 0
    linear, constant = (_of_images(confidence, _spread(found, each)) for each in (2 * gap, gap.square()))
    squares = linear * (confidence.double() - correct.double()) - constant
    root = math.sqrt(max(0.0, float(squares.mean())))
    return root + (squares - root**2) / (2 * root) if root > 0 else torch.zeros_like(squares)


def ece_classwise_values(logits: torch.Tensor, labels: torch.Tensor, bins: int = BINS) -> torch.Tensor:
    """Of `ece_classwise`: mean over classes of p_k - [the label is k], with the sign of its class and bin.

    Holds probabilities of `ROWS` images at a time.
    """
    size = logits.shape[1] * bins
    excess = torch.zeros(size, dtype=torch.float64, device=logits.device)
    for place, gap in _by_class(logits, labels, bins):
        excess += place.flatten().bincount(gap.flatten(), size)
    sign = excess.sign()
    return torch.cat([(sign[place] * gap).mean(1) for place, gap in _by_class(logits, labels, bins)])


def brier_values(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of `brier`: each image's own."""
    return torch.cat([gap.square().sum(1) for _, gap in _by_class(logits, labels, BINS)])


def nll_values(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of `nll`: each image's own."""
    pairs = zip(logits.split(ROWS), labels.split(ROWS), strict=True)
    return torch.cat([torch.nn.functional.cross_entropy(rows.double(), own, reduction="none") for rows, own in pairs])


def aurc_values(confidence: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """Of `aurc`: an image counts by its error, by its place among the risks, and by those it thins out.

    With r_n the error among the n most confident of N, an image at place n has
    r_n + error * sum over m = n..N of 1/m - sum over m = n..N of r_m/m.
    """
    error = 1 - correct.double()
    shared = _of_images(confidence, error[confidence.double().argsort()])
    count = torch.arange(1, len(error) + 1, dtype=torch.float64, device=error.device)
    risk = shared[confidence.double().argsort(descending=True)].cumsum(0) / count
    later = ((values / count).flip(0).cumsum(0) for values in (torch.ones_like(count), risk))
    weight, thinned = (_of_images(confidence, values) for values in later)
    return _of_images(confidence, risk.flip(0)) + error * weight - thinned


def temperature_values(logits: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Of `fit_temperature`, whose result is `temperature`: T + T^2 s/h, s an image's slope of nll in 1/T, h the mean
    curvature.
    """
    scaled = logits.double()
    probability = (scaled / temperature).softmax(1)
    mean = (probability * scaled).sum(1)
    curvature = ((probability * scaled.square()).sum(1) - mean.square()).mean()
    slope = mean - scaled.gather(1, labels[:, None])[:, 0]
    return temperature + temperature**2 * slope / curvature


def _gap_values(found: Bins, confidence: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    sign = (found.confidence - found.accuracy).nan_to_num(0.0).sign()
    return _of_images(confidence, _spread(found, sign)) * (confidence.double() - correct.double())


def _spread(found: Bins, of_bins: torch.Tensor) -> torch.Tensor:
    """(M,) values of bins -> (N,), by rising confidence."""
    return of_bins.repeat_interleave(found.images.long())


def _of_images(confidence: torch.Tensor, by_place: torch.Tensor) -> torch.Tensor:
    """(N,) values of places by rising confidence -> of the images in their own order; ties share their mean."""
    _, tie, counts = confidence.double().unique(return_inverse=True, return_counts=True)
    place = torch.arange(len(counts), device=tie.device).repeat_interleave(counts)
    mean = torch.zeros(len(counts), dtype=torch.float64, device=tie.device).index_add_(0, place, by_place) / counts
    return mean[tie]


def _by_class(logits: torch.Tensor, labels: torch.Tensor, bins: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Of some images after others, (n,K): the bin among all classes' of each p_k, and p_k - [the label is k]."""
    first = bins * torch.arange(logits.shape[1], device=logits.device)
    for rows, own in zip(logits.split(ROWS), labels.split(ROWS), strict=True):
        probability = rows.double().softmax(1)
        place = width_bin(probability, bins) + first
        probability[torch.arange(len(own), device=own.device), own] -= 1
        yield place, probability
