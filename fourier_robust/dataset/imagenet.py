"""ImageNet-1k: an ImageFolder whose 1000 wnid folders are checked, since their order is the meaning of the labels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from fourier_robust.dataset.arguments import exactly
from fourier_robust.dataset.crops import Interpolation
from fourier_robust.dataset.imagefolder import ImageFolder
from fourier_robust.dataset.streaming import Decoder
from fourier_robust.errors import UserError

_CLASSES = 1000
_WNIDS_SHA256 = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"  # of the sorted wnids, one per line


class ImageNet(ImageFolder):
    """ImageNet-1k in ``train/<wnid>/`` and ``val/<wnid>/``, with the 224-pixel recipe; `class_names` are the wnids.

    Class indices are places among the 1000 sorted wnids, as in every published checkpoint; so exactly these folders
    must be there. ``val/`` is `test`, as everywhere in the field.

    Args:
        root: data folder; ``root/imagenet``, ``root/ILSVRC2012`` and `root` are searched for train/ and val/.
        size: as in `ImageFolder`.
        resize: as in `ImageFolder`.
        interpolation: as in `ImageFolder`.
        num_workers: as in `ImageFolder`.
        val_size: as in `ImageFolder`.
        val_seed: as in `ImageFolder`.
        train_crop: as in `ImageFolder`.
        mean: as in `ImageFolder`.
        std: as in `ImageFolder`.
        num_classes: 1000.
        decoder: as in `ImageFolder`.

    Source: Deng et al., "ImageNet: A large-scale hierarchical image database", 2009; Russakovsky et al., 2015.
    """

    _title = "ImageNet"
    _folders = ("imagenet", "ILSVRC2012")

    def __init__(
        self,
        root: str,
        size: int = 224,
        resize: int = 256,
        interpolation: Interpolation = "bilinear",
        num_workers: int | None = None,
        val_size: int = 10000,
        val_seed: int = 0,
        train_crop: Literal["random_resized", "none"] = "random_resized",
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
        num_classes: int = _CLASSES,
        decoder: Decoder = "pillow",
    ) -> None:
        exactly("num_classes", num_classes, _CLASSES)
        super().__init__(
            root=root,
            size=size,
            resize=resize,
            interpolation=interpolation,
            num_workers=num_workers,
            val_size=val_size,
            val_seed=val_seed,
            train_crop=train_crop,
            mean=mean,
            std=std,
            num_classes=num_classes,
            decoder=decoder,
        )
        self.name = "imagenet"

    def _check_classes(self, folder: Path, names: tuple[str, ...]) -> None:
        if hashlib.sha256("\n".join(names).encode()).hexdigest() != _WNIDS_SHA256:
            raise UserError(
                f"{folder} holds {len(names)} class folders, not the {_CLASSES} wnids of ImageNet-1k, so its labels "
                "would not be ImageNet's; for a subset or other classes use dataset=imagefolder"
            )
