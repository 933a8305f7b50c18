"""The paper trail of one evaluation: outcomes as they come, then rows, table, picture and receipt."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fourier_robust.errors import Busy, UserError
from fourier_robust.run.atomic import write_bytes, write_text
from fourier_robust.run.checkpoint import Checkpoint
from fourier_robust.run.claim import Claim
from fourier_robust.run.folder import slug
from fourier_robust.run.predictions import PredictionCache
from fourier_robust.run.provenance import peak_memory, provenance
from fourier_robust.run.results import OutcomeStore, Row, csv_text, npz_bytes, write_receipt, write_rows
from fourier_robust.run.seal import weights_of


class EvalRecord:
    """Files of one evaluation, in ``eval/<name>/`` beside the checkpoint.

    A run's folder holds more checkpoints than ``last.pt``: of other weights it is ``eval/<name>.<stem of the file>/``.

    Args:
        checkpoint: what is measured.
        name: of the folder, as ``last.pt`` has it.
        device: where it is measured.
        preprocessing: of its input; outcomes under another one are not reused.
        about: code and machine as they were when the command began; see `provenance`.
        job: which job of a sweep this is, if it is one: ``<folder of the sweep>#<number>@<hash of its settings>``.

    Attributes:
        folder: where the files go; made with the first file.
        run: what the rows call the run: the name of the checkpoint's folder, or the file's for a lone file.
        store: per-image outcomes of finished conditions.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        device: torch.device,
        preprocessing: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
        job: str = "",
    ) -> None:
        self._input = json.dumps({key: value for key, value in (preprocessing or {}).items() if key != "from"})
        self.checkpoint, self._device, self._job = checkpoint, device, job
        self._about = provenance(device) if about is None else about
        evaluations = checkpoint.path.parent / "eval"
        if not checkpoint.meta:  # somebody else's files may lie side by side
            evaluations /= slug(checkpoint.path.stem)
        elif checkpoint.path.name != "last.pt" and self._of_last() != checkpoint.sha256:
            name += f".{checkpoint.path.stem}"
        self.folder = evaluations / slug(name)
        self.run = slug(checkpoint.path.resolve().parent.name if checkpoint.meta else checkpoint.path.stem)
        self.store = OutcomeStore(self.folder / "outcomes")
        self._claim: Claim | None = None

    @contextlib.contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Hold the folder for this process; one in which nothing was written is gone afterwards.

        Raises:
            Busy: another process measures or writes there now.
            UserError: another job of the same sweep does, or did, with other settings.
            OSError: the folder can't be made or written.
        """
        claim, held = Claim(self.folder, doing="is measuring this", job=self._job), False
        try:
            while not held:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    claim.__enter__()
                    held = True
                except Busy as error:
                    self._not_by_another(error.job)
                    raise
                except FileNotFoundError:  # another process has just removed it, as below
                    continue
                except FileExistsError:  # the same within mkdir, or a file is in its place
                    if self.folder.exists() or self.folder.parent.is_file():
                        raise
            self._not_by_another(str(self._receipt().get("job", "")))
            self._claim = claim
            yield claim
        finally:
            self._claim = None
            if held:
                claim.__exit__()
            empty = self.folder
            with contextlib.suppress(OSError):  # something is in it
                while empty != self.checkpoint.path.parent:
                    empty.rmdir()
                    empty = empty.parent

    def _not_by_another(self, job: str) -> None:
        """Raise UserError if `job` is of this sweep and has other settings: its rows would be lost here, or ours."""
        (sweep, number, settings), mine = _parts(job), _parts(self._job)
        if sweep and sweep == mine[0] and settings != mine[2]:
            raise UserError(
                f"{self.folder} is job #{number}'s of this sweep, with other settings: give each a folder, name=..."
            )

    def _receipt(self) -> dict[str, Any]:
        """What an earlier launch left, of whatever weights; empty where there is none."""
        try:
            found = json.loads((self.folder / "eval.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _before(self) -> dict[str, Any]:
        """The same of the same weights."""
        found = self._receipt()
        subject = found.get("checkpoint")
        return found if isinstance(subject, dict) and subject.get("sha256") == self.checkpoint.sha256 else {}

    def _of_last(self) -> str:
        """SHA-256 of the weights that the run's last.pt names; empty where there is none."""
        named = weights_of(self.checkpoint.path.with_name("last.pt"))
        return named[1] if named else ""

    def has_rows(self) -> bool:
        """Whether an earlier launch left rows here, of the same weights."""
        return bool(self._before()) and (self.folder / "results.csv").exists()

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
    ) -> bool:
        """Write table.csv, eval.json and `files` (bytes, or the arrays of an ``.npz``), and results.csv last.

        Where results.csv is, all of them are. The receipt says of this launch and, as ``earlier``, of those before it
        that measured something.

        Returns:
            Whether the rows are new: no launch has left the same.

        Raises:
            UserError: the folder that was claimed is another's now, or was set aside: the run was trained anew.
        """
        if self._claim is not None and not self._claim.held():
            raise UserError(f"{self.folder} was taken over, or set aside by a new training: nothing is written there")
        before = self._before()
        launch = ("git", "command", "time", "device", "conditions_measured", "conditions_reused", "wall_seconds")
        earlier = list(before.get("earlier", []))
        if before and (not earlier or before.get("conditions_measured", 0) > before.get("conditions_reused", 0)):
            earlier.append({key: before[key] for key in launch if key in before})
        write_text(self.folder / "table.csv", csv_text(table[0], table))
        for name, content in files.items():
            write_bytes(self.folder / name, content if isinstance(content, bytes) else npz_bytes(content))
        subject = {"path": self.checkpoint.path.name, "sha256": self.checkpoint.sha256}
        spent = {"peak_memory": peak_memory(self._device)}
        whole = {"checkpoint": subject, **receipt, **spent, "job": self._job, **self._about, "earlier": earlier}
        write_receipt(self.folder / "eval.json", whole)
        results = self.folder / "results.csv"
        was = results.read_bytes() if results.exists() else None
        write_rows(results, rows)
        return results.read_bytes() != was


def _parts(job: str) -> tuple[str, str, str]:
    """Folder of the sweep, number and hash of the settings of a job."""
    sweep, _, rest = job.rpartition("#")
    number, _, settings = rest.partition("@")
    return sweep, number, settings
