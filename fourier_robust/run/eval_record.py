"""The paper trail of one evaluation: outcomes as they come, then rows, table, picture and receipt."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fourier_robust.run.atomic import write_bytes, write_text
from fourier_robust.run.checkpoint import Checkpoint
from fourier_robust.run.claim import Claim
from fourier_robust.run.folder import slug
from fourier_robust.run.predictions import PredictionCache
from fourier_robust.run.provenance import peak_memory, provenance
from fourier_robust.run.results import OutcomeStore, Row, csv_text, npz_bytes, write_receipt, write_rows


class EvalRecord:
    """Files of one evaluation, in ``eval/<name>/`` beside the checkpoint.

    Args:
        checkpoint: what is measured.
        name: of the folder.
        device: where it is measured.
        preprocessing: of its input; outcomes under another one are not reused.

    Attributes:
        folder: where the files go; made with the first file.
        run: what the rows call the run: the name of the checkpoint's folder, or the file's for a lone file.
        store: per-image outcomes of finished conditions.
        about: code and machine, as they are at the start (the checkout may change while a long evaluation runs).
    """

    def __init__(
        self, checkpoint: Checkpoint, name: str, device: torch.device, preprocessing: Mapping[str, Any] | None = None
    ) -> None:
        self._input = json.dumps({key: value for key, value in (preprocessing or {}).items() if key != "from"})
        self.checkpoint, self.about, self._device = checkpoint, provenance(device), device
        evaluations = checkpoint.path.parent / "eval"
        if not checkpoint.meta:  # somebody else's files may lie side by side
            evaluations /= slug(checkpoint.path.stem)
        self.folder = evaluations / slug(name)
        self.run = slug(checkpoint.path.resolve().parent.name if checkpoint.meta else checkpoint.path.stem)
        self.store = OutcomeStore(self.folder / "outcomes")

    @contextlib.contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Hold the folder for this process; one in which nothing was written is gone afterwards.

        Raises:
            Busy: another process measures or writes there now.
            OSError: the folder can't be made or written.
        """
        claim, held = Claim(self.folder, doing="is measuring this"), False
        try:
            while not held:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    claim.__enter__()
                    held = True
                except FileNotFoundError:  # another process has just removed it, as below
                    continue
                except FileExistsError:  # the same within mkdir, or a file is in its place
                    if self.folder.exists() or self.folder.parent.is_file():
                        raise
            yield claim
        finally:
            if held:
                claim.__exit__()
            empty = self.folder
            with contextlib.suppress(OSError):  # something is in it
                while empty != self.checkpoint.path.parent:
                    empty.rmdir()
                    empty = empty.parent

    def predictions(self, limit: int, precision: str) -> PredictionCache:
        """What all suites of this checkpoint share, up to `limit` bytes."""
        return PredictionCache(self.folder.parent / "predictions", limit, lambda data: self.identity(data, precision))

    def identity(self, data: str, precision: str) -> str:
        """Of what an outcome is: weights, input, data and precision, as one hex digest."""
        return hashlib.sha256(f"{self.checkpoint.sha256}/{self._input}/{data}/{precision}".encode()).hexdigest()

    def finish(
        self,
        rows: Sequence[Row],
        table: Sequence[Mapping[str, Any]],
        files: Mapping[str, bytes | Mapping[str, np.ndarray]],
        receipt: Mapping[str, Any],
    ) -> None:
        """Write table.csv, eval.json and `files` (bytes, or the arrays of an ``.npz``), and results.csv last.

        Where results.csv is, all of them are.
        """
        write_text(self.folder / "table.csv", csv_text(table[0], table))
        for name, content in files.items():
            write_bytes(self.folder / name, content if isinstance(content, bytes) else npz_bytes(content))
        subject = {"path": self.checkpoint.path.name, "sha256": self.checkpoint.sha256}
        spent = {"peak_memory": peak_memory(self._device)}
        write_receipt(self.folder / "eval.json", {"checkpoint": subject, **receipt, **spent, **self.about})
        write_rows(self.folder / "results.csv", rows)
