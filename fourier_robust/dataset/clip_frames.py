"""ImageNet-P as folders of frames: the clips of slowly changing images, taken apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from fourier_robust.dataset.base import Dataset
from fourier_robust.dataset.clips import chosen
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.label_space import by_name, model_classes, need_wnids, without_images
from fourier_robust.dataset.locate import image_files, labelled, places, subfolders
from fourier_robust.dataset.ood import NO_CLASS, ExactSize
from fourier_robust.dataset.readable import FileSplit
from fourier_robust.dataset.shifted import Cell, Checked
from fourier_robust.dataset.streaming import worker_count
from fourier_robust.dataset.wnids import WNIDS
from fourier_robust.errors import UserError

SCORED = (
    *("gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow"),
    *("brightness", "translate", "rotate", "tilt", "scale"),
)
ALEXNET = {
    **{"gaussian_noise": 0.23653, "shot_noise": 0.30062, "motion_blur": 0.09297, "zoom_blur": 0.05942, "snow": 0.11928},
    **{"brightness": 0.04889, "translate": 0.11007, "rotate": 0.13104, "tilt": 0.07050, "scale": 0.23531},
}
"""Flip rates of AlexNet on the released videos, as in clovaai/assembled-cnn at 45bb83b (mce/eval_robustness.py)."""


class FrameTree:
    """ImageNet-P whose clips were taken apart: ``<perturbation>/<wnid>/<clip>/<number>.png``, any image format.

    The release holds ``.mp4`` files; no decoder is used here, for decoders differ. Checked: wnid folders of the
    model's classes, frames with a number, the same in all clips of a perturbation, the same clips in all
    perturbations; frames are not resized, and another size than the model's is refused. Clips of a part of ImageNet's
    classes are a remark.

    Args:
        root: data folder.
        folders: below `root`, the first that exists is read.
        perturbations: names; None takes the ten that are scored, those that are there.
        num_workers: decoding processes; 0 decodes in this one, None takes one per core, 8 at most.

    Source: Hendrycks and Dietterich 2019 (1903.12261).
    """

    def __init__(
        self,
        root: str,
        folders: Sequence[str] = ("ImageNet-P",),
        perturbations: Sequence[str] | None = None,
        num_workers: int | None = None,
    ) -> None:
        self._where, self._names = places(root, folders)[: len(folders)], perturbations
        self._num_workers = worker_count(num_workers)

    def absent(self) -> str | None:
        """See `ShiftedSet`; videos are no frames."""
        root = next((place for place in self._where if place.is_dir()), None)
        if root is None:
            layout = "<perturbation>/<wnid>/<clip>/<number>.png"
            return f"no folder {' or '.join(map(str, self._where))}; put the frames of the clips there ({layout})"
        names = subfolders(root) if self._names is None else self._names
        video = next(filter(None, (_video(root / name) for name in names)), None)
        if video is None:
            return None
        frames = f"{video.with_suffix('')}/%02d.png"
        return f"{root} holds videos: take them apart and move them away, e.g. ffmpeg -i {video} {frames}"

    def check(self, inside: Dataset) -> Checked:
        """See `ShiftedSet`; lists the frames."""
        reason = self.absent()
        if reason is not None:
            raise UserError(reason)
        root = next(place for place in self._where if place.is_dir())
        there = subfolders(root)
        names, mean = chosen(root, self._names, there, SCORED)
        model = model_classes(inside)
        need_wnids(model, str(root))
        self._listed = {name: _frames(root / name) for name in names}
        first = self._listed[names[0]]
        wnids = sorted({clip.split("/")[0] for clip in first})
        by_name(model, wnids, partial=True)
        other = next((name for name in names if list(self._listed[name]) != list(first)), None)
        if other:
            raise UserError(f"{root / names[0]} and {root / other} hold different clips: one is incomplete")
        self._root = root
        whole = mean[1] == SCORED
        said = _of_a_part(root, len(first), wnids, whole) + without_images(str(root), model, wnids)
        if not whole:
            said += (f"{root}: no mfr, which is over all of {', '.join(SCORED)}",)
        return Checked(None, tuple(map(Cell, names)), said, headline=mean, alexnet=ALEXNET if whole else None)

    def split(self, inside: Dataset, cell: Cell, crop: Crop, device: torch.device | str) -> FrameFiles:
        """See `ShiftedSet`."""
        return FrameFiles(
            self._root / str(cell.corruption),
            self._listed[str(cell.corruption)],
            inside.size,
            device,
            self._num_workers,
        )


class FrameFiles(FileSplit):
    """A `ClipSplit` of image files.

    Args:
        folder: what the paths are relative to.
        clips: clip -> (path, bytes) of its frames in their order, equally many for all.
        size: pixels per side that every frame must have.
        device: where the batches end up.
        num_workers: as in `FileSplit`.
    """

    def __init__(
        self,
        folder: Path,
        clips: dict[str, list[tuple[str, int]]],
        size: int,
        device: torch.device | str,
        num_workers: int | None,
    ) -> None:
        self.frames = len(next(iter(clips.values())))
        files = labelled(folder, [(path, size, NO_CLASS) for frames in clips.values() for path, size in frames])
        super().__init__(files, ExactSize(size), device, num_workers)


def _frames(folder: Path) -> dict[str, list[tuple[str, int]]]:
    """``<wnid>/<clip>`` -> (path, bytes) of its frames, by their number."""
    wnids = subfolders(folder)
    if not wnids:
        raise UserError(f"{folder} holds no wnid folder: <wnid>/<clip>/<number>.png is needed")
    files = image_files(folder, wnids)
    clips: dict[str, list[tuple[int, str, int]]] = {}
    for raw, size in zip(files.paths, files.sizes, strict=True):
        path = bytes(raw).decode(errors="surrogateescape")
        parts = path.split("/")
        number = re.search(r"(\d+)\.\w+$", parts[-1])
        if len(parts) != 3 or number is None:
            raise UserError(f"{folder / path} is no frame of a clip: <wnid>/<clip>/<number>.png is needed")
        clips.setdefault("/".join(parts[:2]), []).append((int(number[1]), path, int(size)))
    lengths = {clip: len(frames) for clip, frames in clips.items()}
    shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if lengths[shortest] != lengths[longest] or lengths[shortest] < 2:
        raise UserError(
            f"{folder} holds clips of {lengths[shortest]} ({shortest}) and {lengths[longest]} frames ({longest})"
        )
    numbers = {clip: sorted(number for number, *_ in frames) for clip, frames in clips.items()}
    first = next(iter(numbers))
    odd = next((clip for clip, own in numbers.items() if own != numbers[first]), None)
    if odd is not None:
        lacking = min(set(numbers[first]) ^ set(numbers[odd]))
        raise UserError(f"{folder}: {first} and {odd} hold frames of other numbers, e.g. {lacking}: one is incomplete")
    return {clip: [(path, size) for _, path, size in sorted(frames)] for clip, frames in sorted(clips.items())}


def _of_a_part(root: Path, clips: int, wnids: Sequence[str], mfr: bool) -> tuple[str, ...]:
    """A remark on clips that are not of all the classes of the release."""
    gone = len(set(WNIDS).difference(wnids))
    if not gone:
        return ()
    against = ", and so is mfr, though AlexNet's rates are those of the whole" * mfr
    part = f"{clips} clips of {len(wnids)} classes, none of the other {gone} of ImageNet's {len(WNIDS)}"
    return (f"{root}: {part}: flip rates are of a part of the release{against}",)


def _video(folder: Path) -> Path | None:
    """A video among the clips of the first class, if there is one."""
    wnids = subfolders(folder) if folder.is_dir() else ()
    return next((path for wnid in wnids[:1] for path in sorted((folder / wnid).glob("*.mp4"))), None)
