"""The files of CIFAR-10 and CIFAR-100: both official layouts, checked byte for byte."""

from __future__ import annotations

import hashlib
from http.client import HTTPException
from pathlib import Path
from tarfile import TarError
from typing import NamedTuple

import numpy as np

from fourier_robust.dataset.locate import missing, places
from fourier_robust.dataset.unpickle import load_arrays
from fourier_robust.errors import UserError

_PIXELS = 3 * 32 * 32


class BatchFile(NamedTuple):
    """One official file: its stem, its rows, and the checksums that prove it (hex).

    Attributes:
        records: of the official binary file, hence of the same rows rebuilt from any layout: SHA-256 or MD5 by length.
        pickle_md5: of the official python file, which proves the rows as well; empty where `records` suffices.
    """

    stem: str
    rows: int
    records: str
    pickle_md5: str = ""


class Release(NamedTuple):
    """A data set as published: records of label bytes, then 3072 pixel bytes (R, G and B planes of 32x32).

    Attributes:
        torchvision: name of the torchvision class that knows its address.
        label_keys: keys of the python layout's labels, in the order of the record's label bytes; the last is the label.
    """

    title: str
    torchvision: str
    binary_folder: str
    python_folder: str
    label_keys: tuple[str, ...]
    splits: dict[str, tuple[BatchFile, ...]]


def read_split(release: Release, root: str, folder: str, split: str, download: bool) -> tuple[np.ndarray, np.ndarray]:
    """Read and check one split from the first layout that has all its files.

    Args:
        release: which data set.
        root: looked in, after ``root/<folder>``.
        folder: name of the data set's own folder in `root`.
        split: a key of ``release.splits``.
        download: fetch the python layout into `root` where no layout is found.

    Returns:
        (N,32,32,3) uint8 images and (N,) int64 labels, in the official order.

    Raises:
        UserError: files not found, damaged, or not to be had from the network.
    """
    files = _find(release, root, folder, split)
    if files is None and download:
        _download(release, root)
        files = _find(release, root, folder, split)
    if files is None:
        first = release.splits[split][0].stem
        raise missing(
            f"{release.title} {split} files",
            (f"{release.binary_folder}/{first}.bin", f"{release.python_folder}/{first}"),
            places(root, (folder,)),
            f"unpack the official archive there, name its folder with FR_DATA=..., or set dataset.download=true "
            f"where there is a network (all {len(release.splits[split])} files are needed)",
        )
    rows = sum(batch.rows for batch in release.splits[split])
    images, labels = np.empty((rows, 1024, 3), np.uint8), np.empty(rows, np.int64)
    start = 0
    for path, batch in zip(files, release.splits[split], strict=True):
        try:
            records = _records(path, batch, release)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
        stop = start + batch.rows
        planes = records[:, -_PIXELS:].reshape(batch.rows, 3, 1024)
        for channel in range(3):  # plane by plane: 0.10 s for all of CIFAR-10, against 0.27 s for one transpose
            images[start:stop, :, channel] = planes[:, channel]
        labels[start:stop] = records[:, -_PIXELS - 1]
        start = stop
    return images.reshape(rows, 32, 32, 3), labels


def _find(release: Release, root: str, folder: str, split: str) -> list[Path] | None:
    """The split's files in the first place and layout that has them all."""
    for place in places(root, (folder,)):
        for layout, suffix in ((release.binary_folder, ".bin"), (release.python_folder, "")):
            files = [place / layout / f"{batch.stem}{suffix}" for batch in release.splits[split]]
            if all(file.is_file() for file in files):
                return files
    return None


def _records(path: Path, batch: BatchFile, release: Release) -> np.ndarray:
    """(rows, label bytes + 3072) uint8: the official binary records of one file of either layout, checked."""
    width = len(release.label_keys) + _PIXELS
    if path.suffix == ".bin":
        size = path.stat().st_size
        if size != batch.rows * width:
            raise UserError(f"{path} is damaged: {size} bytes instead of {batch.rows * width}; fetch it again")
        records = np.fromfile(path, np.uint8).reshape(batch.rows, width)
    else:
        records = _records_of_pickle(path, batch, release)
    if not _proven(path, batch, records):
        raise UserError(
            f"{path} is damaged: its images or labels differ from the published {release.title}; fetch it again"
        )
    return records


def _proven(path: Path, batch: BatchFile, records: np.ndarray) -> bool:
    algorithm = "sha256" if len(batch.records) == 64 else "md5"
    if hashlib.new(algorithm, records.data, usedforsecurity=False).hexdigest() == batch.records:
        return True
    pickled = batch.pickle_md5 and path.suffix != ".bin"
    return bool(pickled) and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == batch.pickle_md5


def _records_of_pickle(path: Path, batch: BatchFile, release: Release) -> np.ndarray:
    content = load_arrays(path)
    data, shape = content.get("data"), (batch.rows, _PIXELS)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != shape:
        found = f"{data.shape} {data.dtype}" if isinstance(data, np.ndarray) else "none"
        raise UserError(f"{path} is damaged: 'data' must be {shape} uint8, found {found}; fetch it again")
    records = np.empty((batch.rows, len(release.label_keys) + _PIXELS), np.uint8)
    records[:, -_PIXELS:] = data
    for column, key in enumerate(release.label_keys):
        values = content.get(key)
        if (
            not isinstance(values, list)
            or len(values) != batch.rows
            or not all(type(value) is int and 0 <= value < 256 for value in values)
        ):
            raise UserError(f"{path} is damaged: {key!r} must be a list of {batch.rows} class indices; fetch it again")
        records[:, column] = values
    return records


def _download(release: Release, root: str) -> None:
    """Fetch and unpack the official python archive; address and checksum are torchvision's."""
    from torchvision import datasets

    source = getattr(datasets, release.torchvision)
    try:
        datasets.utils.download_and_extract_archive(
            source.url, root, filename=source.filename, md5=source.tgz_md5, remove_finished=True
        )
    except (OSError, RuntimeError, HTTPException, TarError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{release.title} could not be downloaded from {source.url} into {root}: {reason}; "
            "fetch it elsewhere and name its folder with FR_DATA=..."
        ) from None
