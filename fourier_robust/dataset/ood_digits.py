"""The digits of SVHN and MNIST, from the files in which they are published; images alone."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from fourier_robust.dataset.base import Dataset, ResidentSplit
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.locate import missing, places
from fourier_robust.dataset.ood import resident
from fourier_robust.errors import UserError

_COMPRESSED, _MATRIX, _UINT8, _INT32 = 15, 14, 2, 5  # element types of a MAT-file


class _Digits:
    """One file in one of several places.

    Args:
        root: data folder; it and its folders of usual name are searched.
    """

    title: str
    folders: Sequence[str]
    files: Sequence[str]

    def __init__(self, root: str) -> None:
        self._where = places(root, self.folders)

    def _path(self) -> Path | None:
        candidates = (place / file for place in self._where for file in self.files)
        return next((path for path in candidates if path.is_file()), None)

    def absent(self) -> str | None:
        """See `Reader`."""
        how = "put the published file there"
        return None if self._path() else str(missing(self.title, self.files, self._where, how))

    def split(self, inside: Dataset, crop: Crop, device: torch.device | str) -> ResidentSplit:
        """See `Reader`."""
        path = self._path()
        if path is None:
            raise UserError(self.absent())
        try:
            images = self._read(path)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): download it again") from None
        return resident(images, crop, device, str(path))

    def _read(self, path: Path) -> np.ndarray:
        raise NotImplementedError


class SVHN(_Digits):
    """Street View House Numbers, cropped digits, test: 26,032 images of 32x32.

    The MAT-file (version 5) is read here: no pickle, and SciPy is not needed.

    Source: Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
    """

    title = "SVHN test images"
    folders = ("svhn", "SVHN")
    files = ("test_32x32.mat",)

    def _read(self, path: Path) -> np.ndarray:
        """(N,H,W,3) uint8."""
        found = dict(_uint8_arrays(path.read_bytes()))
        if "X" not in found or found["X"].ndim != 4 or found["X"].shape[2] != 3:
            raise ValueError("no array X of (H,W,3,N) bytes")
        return found["X"].transpose(3, 0, 1, 2)


class MNIST(_Digits):
    """MNIST, test: 10,000 grey images of 28x28; they become RGB.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
    """

    title = "MNIST test images"
    folders = ("MNIST/raw", "mnist")
    files = ("t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte")

    def _read(self, path: Path) -> np.ndarray:
        """(N,H,W) uint8."""
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        magic, *shape = np.frombuffer(data[:16], ">u4").tolist()
        if magic != 2051:
            raise ValueError("not an IDX file of images")
        return np.frombuffer(data, np.uint8, offset=16).reshape(shape)


def _uint8_arrays(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Name and content of each array of bytes in a MAT-file of version 5."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("not a MAT-file of version 5")
    for kind, whole in _elements(data[128:], order):
        if kind == _COMPRESSED:
            ((kind, whole),) = _elements(zlib.decompress(whole), order)
        if kind != _MATRIX:
            continue
        _, (dims_kind, dims), (_, name), *content = _elements(whole, order)
        if dims_kind == _INT32 and content and content[0][0] == _UINT8:
            shape = np.frombuffer(dims, f"{order}i4")
            yield name.decode("ascii"), np.frombuffer(content[0][1], np.uint8).reshape(shape, order="F")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element; one of at most four bytes shares the eight of its tag."""
    start = 0
    while start + 8 <= len(data):
        first, second = np.frombuffer(data, f"{order}u4", 2, start).tolist()
        if first >> 16:
            yield first & 0xFFFF, data[start + 4 : start + 4 + (first >> 16)]
            start += 8
            continue
        if start + 8 + second > len(data):
            raise ValueError("it ends too early")
        yield first, data[start + 8 : start + 8 + second]
        start += 8 + second + (0 if first == _COMPRESSED else -second % 8)
