"""The validation set: cut from the training images, by a seed of its own."""

from __future__ import annotations

import numpy as np
import torch


def stratified_holdout(labels: torch.Tensor, val_size: int, val_seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut `val_size` positions out of N, each class in proportion to its share.

    A class with a share of n of the N images gives ``val_size * n / N`` of them, rounded down; the places left over go
    to the largest remainders (the lower class first among equals), so the sizes always add up.

    Args:
        labels: (N,) int64.
        val_size: 0 to N - 1 images.
        val_seed: decides which images; the training seed has no part in it, so runs of all seeds share one cut.

    Returns:
        (N - val_size,) and (val_size,) int64 positions of train and val, ascending, disjoint, together 0..N-1.

    Raises:
        ValueError: `val_size` outside 0 to N - 1.
    """
    count = len(labels)
    if not 0 <= val_size < count:
        raise ValueError(f"val_size={val_size} must lie in 0 to {count - 1} (the training set has {count} images)")
    classes = labels.numpy()
    share, remainder = np.divmod(val_size * np.bincount(classes), count)
    share[np.argsort(-remainder, kind="stable")[: val_size - share.sum()]] += 1

    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(val_seed)).numpy()
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    sizes = np.bincount(classes)
    rank = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # place of an image within its class
    held_out = rank < np.repeat(share, sizes)
    train, val = np.sort(by_class[~held_out]), np.sort(by_class[held_out])
    return torch.from_numpy(train), torch.from_numpy(val)
