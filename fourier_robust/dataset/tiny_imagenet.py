"""Tiny-ImageNet-200, resident: decoded once by workers, then kept as one uint8 tensor on the device."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch

from fourier_robust.dataset.arguments import at_least, exactly, rgb_constants
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.holdout import stratified_holdout
from fourier_robust.dataset.locate import (
    ImageFiles,
    image_files,
    labelled,
    leaves,
    missing,
    places,
    subfolders,
    text_of,
)
from fourier_robust.dataset.streaming import StreamingSplit, worker_count
from fourier_robust.errors import UserError

_CLASSES = 200


class TinyImageNet:
    """Tiny-ImageNet-200: 100,000 training and 10,000 test images of 64x64, 200 classes of ImageNet-1k.

    Reads the official layout (``train/<wnid>/images/``, ``val/images/`` with ``val_annotations.txt``) and the one with
    a folder per class (``val/<wnid>/``). Class indices are places among the 200 sorted wnids, which `class_names` are;
    ``wnids.txt`` lists them in another order, which some code uses as labels. The val/ folder is `test`: the official
    test/ has no labels. Grey images become RGB. All of train is 1.2 GB on the device.

    Args:
        root: data folder; ``root/tiny-imagenet-200`` and `root` are searched.
        size: pixels; 64 keeps the files' pixels, less is resized (bilinear, antialiased).
        num_workers: decoding processes, used once; 0 decodes in this one, None takes one per core, 8 at most.
        val_size: images of `val`, cut from train/, classes in equal share; 0 trains on all of them.
        val_seed: decides which images those are.
        mean: of each channel, in [0,1] pixels; applied by the model's first layer.
        std: likewise.
        num_classes: 200.

    Source: Le and Yang, "Tiny ImageNet Visual Recognition Challenge", CS231N, 2015.
    """

    name = "tiny_imagenet"

    def __init__(
        self,
        root: str,
        size: int = 64,
        num_workers: int | None = None,
        val_size: int = 5000,
        val_seed: int = 0,
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
        num_classes: int = _CLASSES,
    ) -> None:
        self._crop = CentreCrop(at_least("size", size, 1), size)
        self._num_workers = worker_count(num_workers)
        self.root = root
        self.size = size
        self.val_size = at_least("val_size", val_size, 0)
        self.val_seed = val_seed
        self.mean, self.std = rgb_constants(mean, std)
        self.num_classes = exactly("num_classes", num_classes, _CLASSES)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The 200 sorted wnids, from ``wnids.txt`` or else from the class folders."""
        folder = self._folder("wnids.txt", "train", "val")
        if (folder / "wnids.txt").is_file():
            source = folder / "wnids.txt"
            names = tuple(sorted(text_of(source).split()))
        else:
            source = folder / ("train" if (folder / "train").is_dir() else "val")
            names = subfolders(source)
        if len(names) != _CLASSES:
            raise UserError(f"{source} names {len(names)} classes instead of {_CLASSES}: not Tiny-ImageNet-200")
        return names

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        """`train` (what `val` leaves of it), `val` or `test`, decoded and moved to `device`.

        Raises:
            ValueError: another name, or `val` with ``val_size=0``.
            UserError: missing folders or files, an image that cannot be read.
        """
        if name == "test":
            files = self.test_files()
        elif name == "val" and self.val_size == 0:
            raise ValueError("val_size=0 leaves no 'val' split; set dataset.val_size above 0")
        elif name in ("train", "val"):
            files = image_files(self._folder("train") / "train", self.class_names)
            files = files.take(stratified_holdout(files.labels, self.val_size, self.val_seed)[name == "val"])
        else:
            raise ValueError(f"split={name!r} must be 'train', 'val' or 'test'")
        return StreamingSplit(files, self._crop, "cpu", self._num_workers).resident(device)

    def test_files(self) -> ImageFiles:
        """The images of `test`; a data set with this method is kept as files, and so is a release made from it."""
        folder = self._folder("val") / "val"
        if not (folder / "images").is_dir():
            return image_files(folder, self.class_names)
        table = folder / "val_annotations.txt"
        if not table.is_file():
            raise missing("Tiny-ImageNet labels", (table.name,), (folder,), "unpack the official archive again")
        place = {wnid: label for label, wnid in enumerate(self.class_names)}
        files = []
        for line in text_of(table).splitlines():
            image, wnid, *_ = [*line.split("\t"), ""]
            path = folder / "images" / image
            if wnid not in place or leaves(image) or not path.is_file():
                raise UserError(f"{table} is damaged: no image or no class for its line {line!r}; fetch it again")
            files.append((place[wnid], f"images/{image}", path.stat().st_size))
        if not files:
            raise UserError(f"{table} is damaged: it is empty; fetch it again")
        # By class, then by name: the other layout's order, so indices and identity agree.
        return labelled(folder, [(path, size, label) for label, path, size in sorted(files)])

    def _folder(self, *needed: str) -> Path:
        """The first place that has one of `needed`."""
        where = places(self.root, ("tiny-imagenet-200",))
        for place in where:
            if any((place / item).exists() for item in needed):
                return place
        how = "unpack the official archive there, or name its folder with FR_DATA=..."
        raise missing("Tiny-ImageNet-200", needed, where, how)
