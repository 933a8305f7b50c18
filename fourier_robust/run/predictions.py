"""Logits and features that one suite computed and another can use: beside the checkpoint, bounded in size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fourier_robust.run.atomic import write_bytes
from fourier_robust.run.results import npz_bytes, read_npz


class PredictionCache:
    """Logits, labels and features, found again by the identity of the images they are of.

    Several processes may share a folder: files appear whole, and one that another process removed is computed again.

    Args:
        folder: where the files lie; made with the first.
        limit: bytes they may take together; the least recently used go first. 0 keeps and finds nothing.
        key: identity of images -> hex digest that also says of which weights, input and precision.
    """

    def __init__(self, folder: Path, limit: int, key: Callable[[str], str]) -> None:
        self.folder, self.limit, self._key = folder, limit, key

    def load(self, identity: str, names: Sequence[str] = ("logits", "labels")) -> dict[str, np.ndarray] | None:
        """The arrays `names`: logits (N,K) float32, labels (N,) int64, features (N,D) float32.

        None where one is absent or the file is damaged.
        """
        if not self.limit:
            return None
        path = self._path(identity)
        found = read_npz(path, names)
        if found is not None:
            with contextlib.suppress(OSError):  # removed by another process in this moment, or not ours to touch
                os.utime(path)
        return found

    def save(self, identity: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep them if they fit, and drop what was used longest ago until all do."""
        size = sum(array.nbytes for array in arrays.values())
        if size > self.limit:
            return
        self._make_room(self.limit - size)
        write_bytes(self._path(identity), npz_bytes(arrays, compressed=False))

    def _make_room(self, limit: int) -> None:
        files = []
        for path in self.folder.glob("*.npz"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another process was faster
                continue
            files.append((state.st_mtime_ns, state.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= limit:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, identity: str) -> Path:
        return self.folder / f"{self._key(identity)[:40]}.npz"
