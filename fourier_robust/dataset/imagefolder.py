"""Any tree of train/ and val/ (or test/) folders with one folder per class, decoded while it is used."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch

from fourier_robust.dataset.arguments import at_least, rgb_constants
from fourier_robust.dataset.crops import CentreCrop, Crop, Interpolation, RandomResizedCrop
from fourier_robust.dataset.holdout import stratified_holdout
from fourier_robust.dataset.locate import ImageFiles, image_files, missing, places, subfolders
from fourier_robust.dataset.streaming import Decoder, StreamingSplit, worker_count
from fourier_robust.errors import UserError


class ImageFolder:
    """Images in ``train/<class>/`` and ``val/<class>/`` (or ``test/<class>/``), streamed by worker processes.

    `test` is the val/ folder (test/ where there is no val/); `val` is cut from train/, so nothing is selected on
    `test`. Class indices are places in the sorted folder names. No file is touched before a split or the classes are
    asked for, and a missing train/ does not matter until `train` or `val` is.

    Args:
        root: the folder that holds train/ and val/.
        size: pixels, of every image the model sees.
        resize: pixels of the short side before the central crop of evaluation.
        interpolation: of that resize: "bilinear", "bicubic" or "lanczos".
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.
        val_size: images of `val`, cut from train/, classes in proportion; 0 trains on all of them.
        val_seed: decides which images those are.
        train_crop: "random_resized" (area 8 to 100 %, ratio 3/4 to 4/3) or "none" (as in evaluation); flips belong to
            the augmentation.
        mean: of each channel, in [0,1] pixels; applied by the model's first layer.
        std: likewise.
        num_classes: None counts the folders; a number must agree with them.
        decoder: ``pillow``, or ``torchvision``: sooner; the same decoded bytes, resized as by `crops.LevelsCrop` (by
            bilinear one grey level away in 0.1 % of the values), and not by lanczos.
    """

    _title = "image folder"
    _folders: tuple[str, ...] = ()  # below `root`, looked in before `root` itself

    def __init__(
        self,
        root: str,
        size: int = 224,
        resize: int = 256,
        interpolation: Interpolation = "bilinear",
        num_workers: int | None = None,
        val_size: int = 0,
        val_seed: int = 0,
        train_crop: Literal["random_resized", "none"] = "random_resized",
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
        num_classes: int | None = None,
        decoder: Decoder = "pillow",
    ) -> None:
        if decoder not in get_args(Decoder) or (decoder == "torchvision" and interpolation == "lanczos"):
            raise ValueError(f"decoder={decoder!r} must be 'pillow', or, without lanczos, 'torchvision'")
        if train_crop not in ("random_resized", "none"):
            raise ValueError(f"train_crop={train_crop!r} must be 'random_resized' or 'none'")
        self._test_crop = CentreCrop(size, resize, interpolation)
        self._train_crop: Crop = RandomResizedCrop(size) if train_crop == "random_resized" else self._test_crop
        self._num_workers, self._decoder = worker_count(num_workers), decoder
        self._num_classes = None if num_classes is None else at_least("num_classes", num_classes, 1)
        self.root = root
        self.name = Path(root).expanduser().absolute().name
        self.size = size
        self.val_size = at_least("val_size", val_size, 0)
        self.val_seed = val_seed
        self.mean, self.std = rgb_constants(mean, std)

    @property
    def num_classes(self) -> int:
        """As given, else counted."""
        return len(self.class_names) if self._num_classes is None else self._num_classes

    @property
    def test_crop(self) -> CentreCrop:
        """What evaluation makes of an image of any size; images of other sets are measured with it too."""
        return self._test_crop

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The sorted class folders; the same in train/ and val/ where both exist.

        Raises:
            UserError: no such folder, none in it, another number than `num_classes`, or two that disagree.
        """
        found = {folder: subfolders(folder) for folder in (self._find("val", "test"), self._find("train")) if folder}
        if not found:
            raise self._missing("val/", "test/", "train/")
        (folder, names), *others = found.items()
        for other, theirs in others:
            if theirs != names:
                odd = sorted(set(theirs) ^ set(names))
                raise UserError(f"{folder} and {other} hold different classes, e.g. {' '.join(odd[:3])}: labels clash")
        if not names:
            raise UserError(f"no class folder in {folder}: one folder of images per class is needed")
        self._check_classes(folder, names)
        return names

    def split(self, name: str, device: torch.device | str = "cpu") -> StreamingSplit:
        """`train` (what `val` leaves of it), `val` or `test`; pixels are read as the batches are.

        Raises:
            ValueError: another name, `val` with ``val_size=0``, or a `val_size` beyond the training images.
            UserError: missing folders, classes that do not agree, a class without images.
        """
        if name == "test":
            return self._streamed(self.test_files(), self._test_crop, device)
        if name not in ("train", "val"):
            raise ValueError(f"split={name!r} must be 'train', 'val' or 'test'")
        if name == "val" and self.val_size == 0:
            raise ValueError("val_size=0 leaves no 'val' split; set dataset.val_size above 0")
        folder = self._find("train")
        if folder is None:
            raise self._missing("train/")
        files = image_files(folder, self.class_names)
        train, val = stratified_holdout(files.labels, self.val_size, self.val_seed)
        if name == "val":
            return self._streamed(files.take(val), self._test_crop, device)
        return self._streamed(files.take(train), self._train_crop, device)

    def test_files(self) -> ImageFiles:
        """The images of `test`; a data set with this method is kept as files, and so is a release made from it."""
        folder = self._find("val", "test")
        if folder is None:
            raise self._missing("val/", "test/")
        return image_files(folder, self.class_names)

    def _streamed(self, files: ImageFiles, crop: Crop, device: torch.device | str) -> StreamingSplit:
        return StreamingSplit(files, crop, device, self._num_workers, self._decoder)

    def _check_classes(self, folder: Path, names: tuple[str, ...]) -> None:
        if self._num_classes not in (None, len(names)):
            raise UserError(f"{folder} holds {len(names)} class folders, dataset.num_classes says {self._num_classes}")

    def _find(self, *folders: str) -> Path | None:
        """The first of `folders` in the first place that has one."""
        for place in places(self.root, self._folders):
            for folder in folders:
                if (place / folder).is_dir():
                    return place / folder
        return None

    def _missing(self, *folders: str) -> UserError:
        how = "put one folder of images per class there, or name another place with dataset.root=... or FR_DATA=..."
        return missing(f"{self._title} files", folders, places(self.root, self._folders), how)
