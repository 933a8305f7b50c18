"""Clips of slowly changing frames, as arrays: CIFAR-10-P and CIFAR-100-P."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from fourier_robust.dataset.base import Batch, Dataset
from fourier_robust.dataset.cifar import CIFAR10, CIFAR100
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.label_space import by_name
from fourier_robust.dataset.locate import places
from fourier_robust.dataset.ood import NO_CLASS
from fourier_robust.dataset.shifted import Cell, Checked
from fourier_robust.errors import UserError

SCORED = (
    *("gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "spatter"),
    *("brightness", "translate", "rotate", "tilt", "scale"),
)
EXTRA = ("speckle_noise", "gaussian_blur", "snow", "shear")
FRAMES = {"motion_blur": 21, "translate": 16}  # of CIFAR-10-P; 31 of all others
_CLASSES = {"cifar10": CIFAR10.class_names, "cifar100": CIFAR100.class_names}


class CifarClips:
    """CIFAR-10-P or CIFAR-100-P: ``<perturbation>.npy``, (10000,F,32,32,3) uint8; clip n is of test image n.

    Checked: type, size of the images, F of each perturbation, and equally many clips in all files.

    Args:
        root: data folder.
        of: ``cifar10`` or ``cifar100``.
        folders: below `root`, the first that exists is read.
        perturbations: names; None takes the ten that are scored, those that are there.
        clips: the first so many of each; None all.
        count: clips of the release; None accepts any.

    Source: Hendrycks and Dietterich 2019 (1903.12261); frames as their ``make_cifar_p.py`` writes them.
    """

    def __init__(
        self,
        root: str,
        of: str,
        folders: Sequence[str],
        perturbations: Sequence[str] | None = None,
        clips: int | None = None,
        count: int | None = 10000,
    ) -> None:
        if of not in _CLASSES:
            raise ValueError(f"of={of!r} must be one of {', '.join(_CLASSES)}")
        if clips is not None and clips < 2:
            raise ValueError(f"clips={clips} must be at least 2")
        self._where, self._of = places(root, folders)[: len(folders)], of
        self._names, self._clips, self._count = perturbations, clips, count

    def absent(self) -> str | None:
        """See `ShiftedSet`."""
        if any(place.is_dir() for place in self._where):
            return None
        return f"no folder {' or '.join(map(str, self._where))}; put the release's <perturbation>.npy there"

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`; reads the heads of the files."""
        by_name(inside.class_names, _CLASSES[self._of])
        root = self._root
        there = [name for name in (*SCORED, *EXTRA) if (root / f"{name}.npy").is_file()]
        names, mean = chosen(root, self._names, there, SCORED)
        counts = {name: len(self._array(name, inside.size)) for name in names}
        if len(set(counts.values())) > 1:
            raise UserError(f"{root} holds {counts} clips: the files are not of one release")
        found = counts[names[0]]
        said: tuple[str, ...] = ()
        if self._count not in (None, found):
            said = (f"{root}: {found} clips, the release has {self._count}",)
        if self._clips is not None and self._clips < found:
            said += (f"{root}: the first {self._clips} of {found} clips",)
        return Checked(None, tuple(map(Cell, names)), said, headline=mean)

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> FrameArray:
        """See `ShiftedSet`."""
        return FrameArray(self._array(str(cell.corruption), inside.size)[: self._clips], device)

    def _array(self, name: str, size: int) -> np.ndarray:
        path = self._root / f"{name}.npy"
        try:
            clips = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path} is damaged ({(str(error).splitlines() or ['empty'])[0]})") from None
        wanted = (FRAMES.get(name, 31), size, size, 3)
        if clips.dtype != np.uint8 or clips.shape[1:] != wanted or len(clips) < 2:
            raise UserError(f"{path} holds {clips.shape} {clips.dtype}, expected (clips, {str(wanted)[1:-1]}) uint8")
        return clips

    @property
    def _root(self) -> Path:
        folder = next((place for place in self._where if place.is_dir()), None)
        if folder is None:
            raise UserError(str(self.absent()))
        return folder


class FrameArray:
    """A `ClipSplit` of a (N,F,H,W,3) uint8 array, which may stay on disk; without labels.

    Args:
        clips: the array.
        device: where the batches end up.
    """

    def __init__(self, clips: np.ndarray, device: torch.device | str = "cpu") -> None:
        self.frames = clips.shape[1]
        self.labels = torch.full((clips.shape[0] * self.frames,), NO_CLASS)
        self._images = clips.reshape(-1, *clips.shape[2:])
        self._device = torch.device(device)
        digest = hashlib.sha256(str(clips.shape).encode())
        for start in range(0, len(self._images), 10000):
            digest.update(self._images[start : start + 10000].tobytes())
        self.identity = digest.hexdigest()

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
            pixels = torch.from_numpy(self._images[index.numpy()]).to(self._device, non_blocking=True)
            yield Batch(pixels.permute(0, 3, 1, 2).float().div_(255), self.labels[index].to(self._device), index)


def chosen(
    root: Path, wanted: Sequence[str] | None, there: Sequence[str], scored: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, tuple[str, ...]]]:
    """The perturbations to measure, and name and members of their mean."""
    names = tuple(wanted) if wanted is not None else tuple(name for name in scored if name in there)
    absent = [name for name in names if name not in there]
    if absent or not names:
        raise UserError(f"{root} holds no {absent[0] if absent else 'perturbation'}; scored are {', '.join(scored)}")
    members = tuple(name for name in scored if name in names)
    mean = f"common{len(scored)}" if members == scored else f"common{len(members)}of{len(scored)}"
    return names, (mean, members)
