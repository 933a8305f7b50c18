"""Result rows and the files they go to: one measurement per line, tidy CSV, written whole."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fourier_robust.run.atomic import write_bytes, write_text


@dataclass(frozen=True)
class Row:
    """One measurement. Fractions in [0,1]; percent only when printed. None is an empty field."""

    run: str
    suite: str
    dataset: str
    corruption: str | None
    severity: int | None
    attack: str | None
    eps: float | None
    score: str | None
    metric: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    higher_is_better: bool
    train_dataset: str
    arch: str
    aug: str
    reg: str
    seed: int | None


_END_OF_ZIP = -22  # bytes from the end: where an archive without a comment says how many files it holds
COLUMNS = tuple(field.name for field in fields(Row))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with a header line; floats with 6 decimals, booleans as true/false, None as empty."""
    columns = list(columns)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return buffer.getvalue()


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write ``results.csv`` atomically."""
    write_text(path, csv_text(COLUMNS, map(asdict, rows)))


def write_receipt(path: Path, receipt: Mapping[str, Any]) -> None:
    """Write the receipt (``eval.json``) atomically."""
    write_text(path, json.dumps(receipt, indent=2) + "\n")


def npz_bytes(arrays: Mapping[str, np.ndarray], compressed: bool = True) -> bytes:
    """The content of an ``.npz`` file; logits hardly shrink, so theirs need not be compressed."""
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    (np.savez_compressed if compressed else np.savez)(buffer, **named)
    return buffer.getvalue()


def read_npz(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray] | None:
    """The arrays `names` (None: all) of an ``.npz`` file of ours, each held against its checksum.

    None where the file or one of them is absent or damaged. A damaged archive can raise nearly anything (zlib.error,
    RuntimeError for "encrypted", MemoryError for a shape out of all bounds), or come out with fewer files.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            raw.seek(_END_OF_ZIP, os.SEEK_END)
            if len(file.files) != int.from_bytes(raw.read()[10:12], "little"):
                return None
            return {name: file[name] for name in (file.files if names is None else names)}
    except Exception:
        return None


class OutcomeStore:
    """Per-image outcomes of finished conditions, so that an interrupted evaluation goes on where it stopped.

    Args:
        folder: where the ``.npz`` files lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def load(self, key: str, identity: str) -> dict[str, np.ndarray] | None:
        """The arrays stored under `key`, or None where they are absent, damaged, or of another `identity`."""
        arrays = read_npz(self._path(key))
        return arrays if arrays is not None and str(arrays.pop("identity", "")) == identity else None

    def save(self, key: str, identity: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under `key`; `identity` says of which weights, data and settings they are."""
        write_bytes(self._path(key), npz_bytes({"identity": np.array(identity), **arrays}))
