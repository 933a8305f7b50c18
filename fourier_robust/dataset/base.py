"""The contract of every data set, and its resident kind: the whole split as one uint8 tensor on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch


class Batch(NamedTuple):
    """images (B,C,H,W) float32 in [0,1]; labels (B,) int64; indices (B,) int64 positions in the split (on the CPU)."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


class Split(Protocol):
    """One split of a data set.

    Attributes:
        labels: (N,) int64 on the CPU.
    """

    labels: torch.Tensor

    @property
    def identity(self) -> str:
        """Hex SHA-256 of what is read (pixels and labels, or files), for receipts."""
        ...

    def __len__(self) -> int: ...

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Batches on the split's device, in `order` ((M,) int64 CPU indices; None = 0..N-1).

        `seed` replays whatever the split itself draws (random crops of streamed training images).
        """
        ...


class Dataset(Protocol):
    """A data set: what a model must know of it, and its splits `train`, `val` (cut from train) and `test`.

    `val_size` is the number of images of `val`, 0 for none. A data set with more test splits than one lists them in
    `test_splits`.
    """

    name: str
    size: int
    val_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def num_classes(self) -> int: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def split(self, name: str, device: torch.device | str = "cpu") -> Split: ...


def content_identity(*tensors: torch.Tensor) -> str:
    """SHA-256 (hex) over shape, dtype and bytes of CPU tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


class ResidentSplit:
    """A split held as one uint8 (N,H,W,C) tensor on the device; batches come out channels_last.

    Args:
        images: (N,H,W,C) uint8, CPU.
        labels: (N,) int64, CPU.
        device: where the pixels live and the batches are made.
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, device: torch.device | str = "cpu") -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != len(labels):
            raise ValueError(
                f"a resident split needs (N,H,W,C) uint8 images and N labels, got {tuple(images.shape)} {images.dtype}"
            )
        self.labels = labels.to(torch.int64)
        self.identity = content_identity(images, self.labels)
        self._images = images.to(device)
        self._labels = self.labels.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`; nothing is drawn here, so `seed` changes nothing."""
        order = torch.arange(len(self)) if order is None else order
        for index in order.split(batch_size):
            if drop_last and len(index) < batch_size:
                return
            rows = index.to(self._images.device, non_blocking=True)
            pixels = self._images[rows].permute(0, 3, 1, 2)
            yield Batch(pixels.float().div_(255), self._labels[rows], index)
