"""Logits that one suite computed and another can use: beside the checkpoint, bounded in size."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from fourier_robust.run.atomic import write_bytes
from fourier_robust.run.results import npz_bytes


class PredictionCache:
    """Logits and labels under a key that says of which weights, input, data and precision they are.

    Several processes may share a folder: files appear whole, and one that another process removed is computed again.

    Args:
        folder: where the files lie; made with the first.
        limit: bytes they may take together; the least recently used go first. 0 keeps and finds nothing.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def load(self, key: str) -> tuple[np.ndarray, np.ndarray] | None:
        """(N,K) float32 logits and (N,) int64 labels under `key`; None where they are absent or damaged."""
        if not self.limit:
            return None
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as file:
                found = file["logits"], file["labels"]
            os.utime(path)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return None
        return found

    def save(self, key: str, logits: np.ndarray, labels: np.ndarray) -> None:
        """Keep them if they fit, and drop what was used longest ago until all do."""
        size = logits.nbytes + labels.nbytes
        if size > self.limit:
            return
        self._make_room(self.limit - size)
        write_bytes(self._path(key), npz_bytes({"logits": logits, "labels": labels}, compressed=False))

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

    def _path(self, key: str) -> Path:
        return self.folder / f"{key[:40]}.npz"
