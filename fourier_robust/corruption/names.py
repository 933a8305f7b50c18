"""The nineteen corruption names; they stand in `dataset.corrupted`, whose readers (one floor down) need them too."""

from fourier_robust.dataset.corrupted import COMMON, EXTRA, NAMES

__all__ = ["COMMON", "EXTRA", "NAMES"]
