"""The streaming kind of a split: images decoded and cropped by worker processes, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fourier_robust.dataset.base import Batch, ResidentSplit
from fourier_robust.dataset.crops import Crop, LevelsCrop
from fourier_robust.dataset.locate import ImageFiles
from fourier_robust.errors import UserError

Decoder = Literal["pillow", "torchvision"]
_MOST_WORKERS = 8
_AHEAD = 2  # batches each worker decodes ahead of the reader
_JPEG = (".jpg", ".jpeg")


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
        decoder: ``pillow``, or ``torchvision``, which reads JPEGs to the same bytes and resizes as `LevelsCrop` does.
    """

    def __init__(
        self,
        files: ImageFiles,
        crop: Crop,
        device: torch.device | str = "cpu",
        num_workers: int | None = None,
        decoder: Decoder = "pillow",
    ) -> None:
        self.labels = files.labels
        self._files = files
        self._crop = crop
        self._device = torch.device(device)
        self._workers = worker_count(num_workers)
        self._decoder: Decoder = decoder

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def identity(self) -> str:
        """Of the files, and of what decodes them; see `identity_of`."""
        return self._files.identity() + ("" if self._decoder == "pillow" else f"+{self._decoder}")

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, seed: int = 0, drop_last: bool = False
    ) -> Iterator[Batch]:
        """See `Split.batches`; `seed` decides the random crops.

        Raises:
            UserError: an image that cannot be read (named), or a worker that died.
        """
        order = torch.arange(len(self)) if order is None else order
        plan = [index for index in order.split(batch_size) if not drop_last or len(index) == batch_size]
        for index, (pixels,) in zip(plan, self._decoded(plan, (self._crop,), seed), strict=True):
            yield self._batch(pixels, index)

    def each(self, crops: Sequence[Crop], batch_size: int, order: torch.Tensor | None = None) -> Iterator[Batch]:
        """Batches as of `batches`, but of each stretch of images one per crop of `crops`, in their order.

        A file is read and decoded once, whatever the number of crops; the split's own crop has no part in it.

        Raises:
            UserError: see `batches`.
        """
        order = torch.arange(len(self)) if order is None else order
        plan = list(order.split(batch_size))
        for index, crops_of in zip(plan, self._decoded(plan, crops, 0), strict=True):
            for pixels in crops_of:
                yield self._batch(pixels, index)

    def alone(self) -> StreamingSplit:
        """The same split, decoded by the process that asks: for one that has no use for workers of its own."""
        return StreamingSplit(self._files, self._crop, self._device, 0, self._decoder)

    def resident(self, device: torch.device | str = "cpu") -> ResidentSplit:
        """The whole split decoded once (crops of seed 0) and held on `device`."""
        size = self._crop.size
        pixels = torch.empty(len(self), size, size, 3, dtype=torch.uint8)
        plan = list(torch.arange(len(self)).split(100))
        for index, (part,) in zip(plan, self._decoded(plan, (self._crop,), 0), strict=True):
            pixels[index[0] : index[-1] + 1] = part
        return ResidentSplit(pixels, self.labels, device)

    def _batch(self, pixels: torch.Tensor, index: torch.Tensor) -> Batch:
        """On the device, in [0,1]; nothing of it lies in `pixels`."""
        labels = self.labels[index]
        if self._device.type == "cuda":
            pixels, labels = pixels.pin_memory(), labels.pin_memory()
        images = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        return Batch(images.float().div_(255), labels.to(self._device, non_blocking=True), index)

    def _decoded(self, plan: Sequence[torch.Tensor], crops: Sequence[Crop], seed: int) -> Iterator[list[torch.Tensor]]:
        """(B,size,size,3) uint8 of each crop, for each index tensor of `plan`, in order; gone with the next.

        Workers write into shared memory that is theirs for the whole pass, one place per batch that may be under way.
        New memory for each batch must be mapped and cleared: with it a worker decoded 895 instead of 1,166 images of
        341 x 256 per CPU second, 306 instead of 357 of 500 x 375 (Pillow, one core of a Zen 4).
        """
        workers = min(self._workers, len(plan))
        places = 1 + _AHEAD * workers  # one that the reader has, and those under way
        try:
            room = [_room(places, max(map(len, plan), default=0), crop.size, workers > 0) for crop in crops]
        except RuntimeError as error:
            raise UserError(f"no shared memory for {workers} workers: {error}; try dataset.num_workers=0") from error
        jobs = [(number % places, index) for number, index in enumerate(plan)]
        loader = DataLoader(
            _Decoded(self._files, crops, seed, self._decoder, room),
            batch_size=None,
            sampler=jobs,
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            generator=torch.Generator(),  # else each pass would take a number from the global one
        )
        try:
            for (place, index), wrong in zip(jobs, loader, strict=True):
                if wrong:
                    raise UserError(wrong)
                yield [pixels[place, : len(index)] for pixels in room]
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                f"a worker that decodes {self._files.folder} died (out of memory, or of shared memory in /dev/shm?); "
                "try dataset.num_workers=0"
            ) from error


def _room(places: int, batch: int, size: int, shared: bool) -> torch.Tensor:
    """(places,batch,size,size,3) uint8, in memory that other processes write to if `shared`."""
    room = torch.empty(places, batch, size, size, 3, dtype=torch.uint8)
    return room.share_memory_() if shared else room


class _Decoded(Dataset[str]):
    """Decodes the images of an index tensor into one place of `room`; what is wrong, or an empty string.

    A string, since an exception that crosses from a worker arrives as a page of two processes' tracebacks.
    """

    def __init__(
        self, files: ImageFiles, crops: Sequence[Crop], seed: int, decoder: Decoder, room: Sequence[torch.Tensor]
    ) -> None:
        self.files = files
        self.crops = crops
        self.seed = seed
        self.room = room
        self.cropped = _by_pillow
        if decoder == "torchvision":
            import torchvision.io  # noqa: F401 (here, or each worker takes 1.5 s of CPU for it)

            self.cropped = _by_torchvision

    def __getitem__(self, job: tuple[int, torch.Tensor]) -> str:
        place, index = job
        pixels = [room[place].numpy() for room in self.room]
        generator = torch.Generator()
        for row, position in enumerate(index.tolist()):
            path = self.files.folder / os.fsdecode(self.files.paths[position])
            generator.manual_seed(_mixed(self.seed, position))
            try:
                for images, image in zip(pixels, self.cropped(path, self.crops, generator), strict=True):
                    images[row] = image
            except FileNotFoundError:
                return f"{path} is gone"
            except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                reason = " ".join(str(error).replace(str(path), "it").split())
                return f"{path} is not a readable image: {reason}; replace or remove it"
        return ""


def _by_pillow(path: Path, crops: Sequence[Crop], generator: torch.Generator) -> Iterator[Any]:
    """(size,size,3) uint8 of each crop."""
    with Image.open(path) as image:
        image.load()
        whole = image if image.mode == "RGB" else image.convert("RGB")
        for crop in crops:
            yield np.asarray(crop(whole, generator))


def _by_torchvision(path: Path, crops: Sequence[Crop], generator: torch.Generator) -> Iterator[Any]:
    """The same, resized by torch; other files than JPEGs, and those torchvision refuses, are read by Pillow.

    torchvision calls its decoder deprecated since 0.29, in favour of a package of its own.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    whole = None
    if path.suffix.lower() in _JPEG:
        try:
            content = torch.from_numpy(np.fromfile(path, np.uint8))
            whole = decode_jpeg(content, mode=ImageReadMode.RGB)
        except RuntimeError:  # no JPEG inside, or damaged: Pillow knows, or says what is wrong
            whole = None
    if whole is None:
        with Image.open(path) as image:
            whole = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    for crop in crops:
        yield cast(LevelsCrop, crop).of_levels(whole, generator).permute(1, 2, 0).numpy()


def _mixed(seed: int, position: int) -> int:
    """One 64-bit seed of two numbers; NumPy's mixing, which keeps neighbours apart and never changes."""
    return int(np.random.SeedSequence((seed, position)).generate_state(1, np.uint64)[0])
