"""The corruptions' names; they stand in `dataset.corrupted`, whose readers (one floor down) need them too."""

from fourier_robust.dataset.corrupted import CIFAR_BAR, COMMON, EXTRA, IMAGENET_BAR, NAMES

__all__ = ["CIFAR_BAR", "COMMON", "EXTRA", "IMAGENET_BAR", "NAMES"]
