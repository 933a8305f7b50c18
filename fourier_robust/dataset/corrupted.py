"""Published corruption benchmarks as they lie on disk: CIFAR-10-C and -100-C arrays, ImageNet-C folder trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fourier_robust.dataset.base import Batch, content_identity
from fourier_robust.dataset.locate import ImageFiles, image_files, subfolders
from fourier_robust.dataset.ood import ExactSize
from fourier_robust.dataset.readable import FileSplit
from fourier_robust.errors import UserError

COMMON = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
NAMES = COMMON + EXTRA
CIFAR_BAR = (
    *("blue_noise_sample", "brownish_noise", "checkerboard_cutout", "circular_motion_blur", "inverse_sparkles"),
    *("lines", "pinch_and_twirl", "ripple", "sparkles", "transverse_chromatic_abberation"),
)
IMAGENET_BAR = (
    *("blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout", "cocentric_sine_waves"),
    *("inverse_sparkles", "perlin_noise", "plasma_noise", "single_frequency_greyscale", "sparkles"),
)
_SEVERITIES = 5
_FAMILIES = ("noise", "blur", "weather", "digital", "extra")


def available(root: str, names: Sequence[str] = NAMES) -> tuple[str, ...]:
    """Those of `names` with a ``<root>/<corruption>.npy``; a partial release is normal."""
    return tuple(name for name in names if (Path(root) / f"{name}.npy").is_file())


def available_tree(root: str, names: Sequence[str] = NAMES) -> tuple[str, ...]:
    """Those of `names` with a folder in an ImageNet-C tree; a partial release is normal."""
    return tuple(name for name in names if _tree_folder(root, name).is_dir())


class CifarCRelease:
    """One corruption at one severity of CIFAR-10-C, CIFAR-100-C or a set in their layout: a block of an array file.

    The file stays on disk (memory map); batches travel as uint8 and come out channels_last, as from `ResidentSplit`.
    `identity` hashes this block and its labels (31 MB, about 0.05 s), and equals that of a `ResidentSplit` of the same
    pixels and labels.

    Args:
        root: the folder of ``<corruption>.npy``, (5 N,H,W,3) uint8 with severity 1 first, and ``labels.npy``, (5 N,).
        corruption: one of `NAMES`, or another name that has a file there.
        severity: 1 to 5.
        num_images: N that the files must have (10,000 in the releases); None takes it from the files.
        device: where the batches end up.
        size: pixels, of both sides or (H, W), that the images must have; 32 in the releases.

    Raises:
        ValueError: an unknown corruption or severity.
        UserError: files missing, unreadable or of another shape.

    Source: Hendrycks and Dietterich 2019 (1903.12261); Zenodo records 2535967 (CIFAR-10-C), 3555552 (CIFAR-100-C).
    """

    def __init__(
        self,
        root: str,
        corruption: str,
        severity: int,
        num_images: int | None = None,
        device: torch.device | str = "cpu",
        size: int | tuple[int, int] = 32,
    ) -> None:
        paths = Path(root) / f"{corruption}.npy", Path(root) / "labels.npy"
        _check(corruption, severity, paths[0].is_file())
        sides = (size, size) if isinstance(size, int) else size
        images, labels = map(_array, paths)
        count = labels.size // _SEVERITIES if num_images is None else num_images
        if labels.shape != (_SEVERITIES * count,) or labels.dtype.kind not in "ui":
            raise _unfit(paths[1], labels, (_SEVERITIES * count,))
        if images.shape != (_SEVERITIES * count, *sides, 3) or images.dtype != np.uint8:
            raise _unfit(paths[0], images, (_SEVERITIES * count, *sides, 3))
        block = slice((severity - 1) * count, severity * count)
        self.labels = torch.from_numpy(labels[block].astype(np.int64))
        self._images = images[block]
        self._device = torch.device(device)

    @cached_property
    def identity(self) -> str:
        """See `Split.identity`; reads the whole block once."""
        return content_identity(torch.from_numpy(np.array(self._images)), self.labels)

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
            labels = self.labels[index].to(self._device, non_blocking=True)
            yield Batch(pixels.permute(0, 3, 1, 2).float().div_(255), labels, index)


class ImageNetCRelease(FileSplit):
    """One corruption at one severity of ImageNet-C (or Tiny-ImageNet-C), decoded by worker processes, never resized.

    The files are already cropped to the model's size. The usual Resize(256) and CenterCrop(224) on top costs 1.0 to 1.4
    points of accuracy (RobustBench issue 59: ResNet-50 38.12 -> 39.23 % once it was removed), so another size is an
    error. Labels are the places of the sorted class folders.

    Args:
        root: holds ``<corruption>/<severity>/<wnid>/*.JPEG``, or the same below ``noise/``, ``blur/``, ``weather/``,
            ``digital/`` and ``extra/``, the published archives.
        corruption: one of `NAMES`, or another name that has a folder there.
        severity: 1 to 5.
        size: pixels per side that every file must have; 64 for Tiny-ImageNet-C.
        class_names: the sorted class folders there must be, since one missing shifts the labels; None accepts any.
        device: where the batches end up.
        num_workers: decoding processes, 0 decodes in this one, None takes one per core, 8 at most.

    Raises:
        ValueError: an unknown corruption or severity.
        UserError: folder missing, other classes than `class_names`, files of another size (the first is checked
            here, the others as they are read).

    Source: Hendrycks and Dietterich 2019 (1903.12261); Zenodo record 2235448.
    """

    def __init__(
        self,
        root: str,
        corruption: str,
        severity: int,
        size: int = 224,
        class_names: tuple[str, ...] | None = None,
        device: torch.device | str = "cpu",
        num_workers: int | None = None,
    ) -> None:
        folder = _tree_folder(root, corruption) / str(severity)
        _check(corruption, severity, folder.parent.is_dir())
        classes = subfolders(folder) if folder.is_dir() else ()
        if not classes:
            raise UserError(
                f"{folder} not found or empty: unpack ImageNet-C (Zenodo 2235448) as {root}/{corruption}/1..5"
            )
        if class_names is not None and classes != tuple(class_names):
            raise UserError(f"{folder} holds {len(classes)} class folders, not the data set's {len(class_names)}")
        files = image_files(folder, classes)
        _check_first(files, size)
        super().__init__(files, _Uncropped(size), device, num_workers)


class _Uncropped(ExactSize):
    """The same, and says why there is no resize."""

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        if image.size != (self.size, self.size):
            width, height = image.size
            raise ValueError(
                f"it is {width}x{height}, not {self.size}x{self.size}, and a second resize would cost 1.0-1.4 points"
            )
        return image


def _check_first(files: ImageFiles, size: int) -> None:
    """The size of the first file; whether files can be read is seen as they are."""
    path = files.folder / bytes(files.paths[0]).decode(errors="surrogateescape")
    try:
        with Image.open(path) as image:
            _Uncropped(size)(image, torch.Generator())
    except OSError:
        return
    except ValueError as error:
        raise UserError(f"{path} does not fit the release: {error}") from None


def _check(corruption: str, severity: int, there: bool) -> None:
    if corruption not in NAMES and not there:
        raise ValueError(f"corruption={corruption!r}: must be one of {', '.join(NAMES)}")
    if not 1 <= severity <= _SEVERITIES:
        raise ValueError(f"severity={severity}: must be 1, 2, 3, 4 or 5")


def _tree_folder(root: str, corruption: str) -> Path:
    """The corruption's folder under a family's, else the flat one (whether it exists or not)."""
    families = (Path(root) / family / corruption for family in _FAMILIES)
    return next((folder for folder in families if folder.is_dir()), Path(root) / corruption)


def _unfit(path: Path, array: np.ndarray, shape: tuple[int, ...]) -> UserError:
    return UserError(f"{path} holds {array.shape} {array.dtype}, expected {shape} uint8: severities 1 to 5 in turn")


def _array(path: Path) -> np.ndarray:
    """Memory map of a .npy file; no pickle is ever read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(
            f"{path} not found: unpack CIFAR-10-C (Zenodo 2535967) or CIFAR-100-C (3555552) in {path.parent}, or "
            "generate it (suite.save)"
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): download it again") from None
