"""Corrupted images in the published benchmarks' layouts: made by worker processes, each file whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from fourier_robust.errors import UserError
from fourier_robust.run.atomic import write_bytes
from fourier_robust.run.claim import NAME as CLAIM
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.pool import spread, usable_cores
from fourier_robust.run.release_receipt import ReleaseReceipt, identity
from fourier_robust.run.siscore_release import SIScoreRelease, write_siscore

_SEVERITIES = (1, 2, 3, 4, 5)
_LABELS = "labels.npy"
_STRETCH = 1 << 20  # bytes of pixels per job (but no fewer than _FEWEST images): short enough to share out evenly
_FEWEST = 64


@dataclass(frozen=True)
class Release:
    """What is to be written, and how it is made.

    Attributes:
        folder: where.
        corruptions: name -> how it is made (generator, parameter table), for the receipt.
        severities: of each; the array layout needs all five.
        labels: (N,) integers from 0.
        size: (H, W), pixels.
        files: N paths below ``<corruption>/<severity>/`` for a tree of JPEGs; None for arrays.
        quality: of the JPEGs, as libjpeg counts.
        make: (corruption, severity, first, last) -> (last-first,H,W,3) uint8; can be pickled.
        source: what decides the images beside that: data identity, seed; for the receipt.

    Raises:
        UserError: severities are missing, or two files would have one path.
    """

    folder: Path
    corruptions: Mapping[str, Mapping[str, Any]]
    severities: tuple[int, ...]
    labels: np.ndarray
    size: tuple[int, int]
    files: tuple[str, ...] | None
    quality: int
    make: Callable[[str, int, int, int], np.ndarray]
    source: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.files is None and set(self.severities) != set(_SEVERITIES):
            raise UserError("suite.save: an array file holds all five severities; leave suite.severities as they are")
        twice = [name for name, count in Counter(self.files).items() if count > 1]
        if twice:
            raise UserError(f"suite.save: two test images would be written as {twice[0]}; rename one of them")

    def facts(self) -> dict[str, Any]:
        """What must agree for two launches to write into one folder."""
        coded = None if self.files is None else {"format": "JPEG", "quality": self.quality, "optimize": True}
        layout = "arrays" if self.files is None else "tree"
        return {"layout": layout, "size": list(self.size), "n": len(self.labels), "coded": coded, **self.source}


class _Job(NamedTuple):
    """Images `first` up to `last` of one condition, for the unit that becomes visible at once."""

    unit: str  # "fog.npy" or "fog/3", below the folder
    corruption: str
    severity: int
    first: int
    last: int


def write(release: Release | SIScoreRelease, workers: int | None = None) -> str:
    """Write what is not there yet; returns a line that says what was done.

    What an earlier launch finished is checked against the receipt and kept, what a killed one left half-written is
    removed. The bytes depend on neither the number of workers nor on interruptions.

    Args:
        release: what to write.
        workers: processes of one thread each; None takes one per core this process may use, 0 or 1 none but this one.

    Raises:
        UserError: the folder holds something else, is in use, or can't be written; or a worker died.
    """
    if isinstance(release, SIScoreRelease):
        return write_siscore(release, workers)
    folder = release.folder
    try:
        ReleaseReceipt(folder, release.facts(), release.corruptions)  # refuses before anything is made
        with RunFolder(folder).claimed():
            return _write(release, ReleaseReceipt(folder, release.facts(), release.corruptions), workers)
    except BrokenProcessPool:
        raise UserError(
            f"a process that makes images for {folder} died (out of memory?); what is finished is kept: the same "
            "command goes on, with suite.workers=1 it needs least memory"
        ) from None
    except OSError as error:
        raise UserError(f"writing {folder} stopped: {error}; what is finished is kept") from error


def _write(release: Release, receipt: ReleaseReceipt, workers: int | None) -> str:
    started = time.perf_counter()
    for rest in release.folder.glob(".*.tmp"):
        if rest.name.startswith(CLAIM):  # of another process that asks for the folder
            continue
        shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
    jobs = [job for job in _jobs(release) if not receipt.keeps(job.unit)]
    images = sum(job.last - job.first for job in jobs)
    processes = max(1, min(usable_cores() if workers is None else workers, len(jobs)))
    if jobs:
        receipt.begin(processes, images)
    if release.files is None and not receipt.keeps(_LABELS):
        _write_labels(release, receipt)
    left = Counter(job.unit for job in jobs)
    bars = tqdm(total=images, unit="img", unit_scale=True, disable=None)
    with bars as bar, closing(spread(partial(_store, release), jobs, processes)) as done:
        for job in done:
            bar.set_description(job.corruption, refresh=False)
            bar.update(job.last - job.first)
            left[job.unit] -= 1
            if not left[job.unit]:
                _publish(release, receipt, job.unit)
    seconds = time.perf_counter() - started
    if jobs:
        receipt.end(seconds)
    what = " x ".join(str(len(part)) for part in (release.corruptions, release.severities, release.labels))
    effort = f"{images} made in {seconds:.1f} s by {processes} process{'es' * (processes > 1)}"
    return f"{release.folder}: {what} images, {effort if jobs else 'all made before'}"


def _jobs(release: Release) -> list[_Job]:
    step, n = max(_FEWEST, _STRETCH // (release.size[0] * release.size[1] * 3)), len(release.labels)
    unit = "{}.npy" if release.files is None else "{}/{}"
    return [
        _Job(unit.format(name, severity), name, severity, first, min(first + step, n))
        for name in release.corruptions
        for severity in sorted(release.severities)
        for first in range(0, n, step)
    ]


def _store(release: Release, job: _Job) -> None:
    """Make the images of a job and put them into the temporary file or folder of its unit."""
    images = release.make(job.corruption, job.severity, job.first, job.last)
    wanted = (job.last - job.first, *release.size, 3)
    if images.shape != wanted or images.dtype != np.uint8:
        raise ValueError(f"{job.corruption} made {images.shape} {images.dtype} where {wanted} uint8 is due")
    target = _temporary(release, job.unit)
    if release.files is None:
        row = (job.severity - 1) * len(release.labels) + job.first
        _put(target, np.ascontiguousarray(images).data.cast("B"), len(_header(release)) + row * images[0].size)
        return
    for image, name in zip(images, release.files[job.first : job.last], strict=True):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, "JPEG", quality=release.quality, optimize=True)


def _publish(release: Release, receipt: ReleaseReceipt, unit: str) -> None:
    """Flush a finished unit to the disk, note it, and give it its name."""
    target, path = _temporary(release, unit), release.folder / unit
    if release.files is None:
        _put(target, _header(release), 0)  # last: before, the file is no array
        with open(target, "rb") as file:
            os.fsync(file.fileno())
    else:
        os.sync()  # one call for thousands of small files
    receipt.add(unit, identity(target))
    path.parent.mkdir(exist_ok=True)
    os.replace(target, path)


def _write_labels(release: Release, receipt: ReleaseReceipt) -> None:
    highest = int(release.labels.max())
    tiled = np.tile(release.labels.astype(np.min_scalar_type(highest)), len(_SEVERITIES))  # uint8 up to 256 classes
    content = io.BytesIO()
    np.save(content, tiled)
    receipt.add(_LABELS, hashlib.sha256(content.getvalue()).hexdigest())
    write_bytes(release.folder / _LABELS, content.getvalue())


def _temporary(release: Release, unit: str) -> Path:
    return release.folder / f".{unit.replace('/', '.')}.tmp"


def _put(path: Path, content: bytes | memoryview, offset: int) -> None:
    """Write into a file at a place, beyond its end too. (A memory map would crash on a full disk.)"""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        while content:
            written = os.pwrite(handle, content, offset)
            content, offset = content[written:], offset + written
    finally:
        os.close(handle)


def _header(release: Release) -> bytes:
    """The start of an array file of uint8 (5 N,H,W,3)."""
    buffer = io.BytesIO()
    shape = (len(_SEVERITIES) * len(release.labels), *release.size, 3)
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()
