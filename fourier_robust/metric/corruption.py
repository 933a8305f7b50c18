"""Corruption errors against AlexNet's: CE, mCE, relative mCE of ImageNet-C."""

from __future__ import annotations

from collections.abc import Mapping

# AlexNet's error on each ImageNet-C corruption, mean over the five severities, as used by the AugMix code
# (google-research/augmix, imagenet.py) and by every published mCE since; in the canonical order of the fifteen.
ALEXNET_ERROR = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
# 1 - 56.522 %, the top-1 accuracy that torchvision documents for the same AlexNet weights on ImageNet val.
ALEXNET_CLEAN_ERROR = 0.43478


def ce(error: float, corruption: str) -> float:
    """Corruption error: `error` (mean over five severities, fraction) over AlexNet's."""
    return error / ALEXNET_ERROR[corruption]


def mce(errors: Mapping[str, float]) -> float:
    """Mean corruption error over the fifteen common corruptions, as a fraction (0.767 for torchvision's ResNet-50).

    Args:
        errors: mean error over the five severities, by corruption; all fifteen.

    Raises:
        ValueError: a corruption is missing (a mean over fewer is not mCE).
    """
    _require_all(errors)
    return sum(ce(errors[name], name) for name in ALEXNET_ERROR) / len(ALEXNET_ERROR)


def relative_mce(errors: Mapping[str, float], clean_error: float) -> float:
    """Mean over the fifteen of (error - clean error), over the same difference of AlexNet; a fraction.

    Raises:
        ValueError: a corruption is missing.
    """
    _require_all(errors)
    ratios = [(errors[name] - clean_error) / (alexnet - ALEXNET_CLEAN_ERROR) for name, alexnet in ALEXNET_ERROR.items()]
    return sum(ratios) / len(ratios)


def _require_all(errors: Mapping[str, float]) -> None:
    missing = [name for name in ALEXNET_ERROR if name not in errors]
    if missing:
        raise ValueError(f"mCE needs all fifteen corruptions; missing: {', '.join(missing)}")
