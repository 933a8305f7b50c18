"""Tiny fake releases, in the layouts of the real ones, and data sets whose models would be measured on them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fourier_robust.dataset.base import ResidentSplit


class Known:
    """A resident data set of the given classes; one random test image of each."""

    val_size, mean, std = 0, (0.5,) * 3, (0.5,) * 3

    def __init__(self, class_names: Sequence[str], size: int = 32, name: str = "known") -> None:
        self.class_names, self.size, self.name = tuple(class_names), size, name
        self.num_classes = len(self.class_names)

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        pixels = torch.randint(
            0, 256, (self.num_classes, self.size, self.size, 3), generator=torch.Generator().manual_seed(1)
        )
        return ResidentSplit(pixels.to(torch.uint8), torch.arange(self.num_classes), device)


def picture(path: Path, level: int = 128, size: tuple[int, int] = (32, 32)) -> Path:
    """A grey image of one level, without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), level, np.uint8)).save(path, "PNG")
    return path


def tree(root: Path, folders: Iterable[str], file: str = "0.png", size: tuple[int, int] = (32, 32)) -> Path:
    """One image in each folder, all the same file on disk."""
    folders = list(folders)
    first = picture(root / folders[0] / file, size=size)
    for folder in folders[1:]:
        (root / folder).mkdir(parents=True, exist_ok=True)
        os.link(first, root / folder / file)
    return root
