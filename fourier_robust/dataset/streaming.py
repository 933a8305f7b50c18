"""The streaming kind of a split: images decoded and cropped by worker processes, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fourier_robust.dataset.base import Batch, ResidentSplit
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.locate import ImageFiles
from fourier_robust.errors import UserError

_MOST_WORKERS = 8


def worker_count(num_workers: int | None) -> int:
    """`num_workers` (0 decodes in this process), or for None: one per core this process may use, 8 at most."""
    if num_workers is None:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(usable, _MOST_WORKERS)
    if num_workers < 0:
        raise ValueError(f"num_workers={num_workers} must be at least 0")
    return num_workers


class StreamingSplit:
    """A split that stays on disk.

    Each image's crop is drawn from a generator of its own, seeded by (seed, index): a draw is replayed by the same seed
    whatever the order, the batch size or the number of workers.

    Args:
        files: what to read.
        crop: makes every decoded RGB image (size, size).
        device: where the batches end up; they travel as uint8, through pinned memory to a CUDA device.
        num_workers: as in `worker_count`.
    """

    def __init__(
        self, files: ImageFiles, crop: Crop, device: torch.device | str = "cpu", num_workers: int | None = None
    ) -> None:
        self.labels = files.labels
        self.identity = files.identity()
        self._files = files
        self._crop = crop
        self._device = torch.device(device)
        self._workers = worker_count(num_workers)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`; `seed` decides the random crops.

        Raises:
            UserError: an image that cannot be read (named), or a worker that died.
        """
        order = torch.arange(len(self)) if order is None else order
        plan = [index for index in order.split(batch_size) if not drop_last or len(index) == batch_size]
        for index, (pixels, labels) in zip(plan, self._decoded(plan, seed), strict=True):
            images = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
            yield Batch(images.float().div_(255), labels.to(self._device, non_blocking=True), index)

    def alone(self) -> StreamingSplit:
        """The same split, decoded by the process that asks: for one that has no use for workers of its own."""
        return StreamingSplit(self._files, self._crop, self._device, num_workers=0)

    def resident(self, device: torch.device | str = "cpu") -> ResidentSplit:
        """The whole split decoded once (crops of seed 0) and held on `device`."""
        size = self._crop.size
        pixels = torch.empty(len(self), size, size, 3, dtype=torch.uint8)
        plan = list(torch.arange(len(self)).split(500))
        for index, (part, _) in zip(plan, self._decoded(plan, 0), strict=True):
            pixels[index[0] : index[-1] + 1] = part
        return ResidentSplit(pixels, self.labels, device)

    def _decoded(self, plan: Sequence[torch.Tensor], seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(B,size,size,3) uint8 and (B,) int64 for each index tensor of `plan`, in order."""
        loader = DataLoader(
            _Decoder(self._files, self._crop, seed),
            batch_size=None,
            sampler=plan,
            num_workers=min(self._workers, len(plan)),
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # else each pass would take a number from the global one
        )
        try:
            for part in loader:
                if isinstance(part, str):
                    raise UserError(part)
                yield part
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                f"a worker that decodes {self._files.folder} died (out of memory, or of shared memory in /dev/shm?); "
                "try dataset.num_workers=0"
            ) from error


class _Decoder(Dataset[tuple[torch.Tensor, torch.Tensor] | str]):
    """One batch per index tensor; a string instead where an image cannot be read.

    A string, since an exception that crosses from a worker arrives as a page of two processes' tracebacks.
    """

    def __init__(self, files: ImageFiles, crop: Crop, seed: int) -> None:
        self.files = files
        self.crop = crop
        self.seed = seed

    def __getitem__(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | str:
        pixels = np.empty((len(index), self.crop.size, self.crop.size, 3), np.uint8)
        generator = torch.Generator()
        for row, position in enumerate(index.tolist()):
            path = self.files.folder / os.fsdecode(self.files.paths[position])
            generator.manual_seed(_mixed(self.seed, position))
            try:
                with Image.open(path) as image:
                    pixels[row] = np.asarray(self.crop(image.convert("RGB"), generator))
            except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                reason = " ".join(str(error).replace(str(path), "it").split())
                return f"{path} is not a readable image: {reason}; replace or remove it"
        return torch.from_numpy(pixels), self.files.labels[index]


def _mixed(seed: int, position: int) -> int:
    """One 64-bit seed of two numbers; NumPy's mixing, which keeps neighbours apart and never changes."""
    return int(np.random.SeedSequence((seed, position)).generate_state(1, np.uint64)[0])
