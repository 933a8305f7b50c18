"""The paper trail of one training run: config, status, history, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fourier_robust.errors import UserError
from fourier_robust.run import checkpoint
from fourier_robust.run.atomic import also_as, write_text
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.provenance import peak_memory
from fourier_robust.run.results import csv_text


class TrainRecord:
    """Writes everything a training run leaves in its folder, and reads back where it stopped.

    Args:
        folder: the run folder, held by this process.
        config: resolved config.
        config_yaml: the same as the text of config.yaml.
        names: of dataset, arch, aug, reg.
        class_names: K names, stored in the checkpoint.
        resume: read the last checkpoint, or the one before if the last is damaged; otherwise the run starts anew.
        held: whether this process still holds the folder; nothing is written once it does not.

    Attributes:
        state: the trainer's state to go on from, or None for a fresh start.
        warnings: about checkpoints and notes that are gone or could not be read.

    Raises:
        UserError: no checkpoint that is there can be read.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Mapping[str, Any],
        config_yaml: str,
        names: Mapping[str, str],
        class_names: Sequence[str],
        resume: bool,
        held: Callable[[], bool] = lambda: True,
    ) -> None:
        self.folder = folder
        self.config_yaml = config_yaml
        self.meta = {"config": dict(config), "names": dict(names), "class_names": list(class_names)}
        self.state: dict[str, Any] | None = None
        self.warnings: list[str] = []
        self._held = held
        self._saved: int | None = None  # step of the last checkpoint of this launch
        self._weights: str | None = None  # file of the last checkpoint read or saved
        self._micro_batch: int | None = None  # to which the batch had been halved when this launch last saved
        if resume:
            self._read()
            for name in ("run.json", "status.json"):
                if (folder.path / name).exists() and not folder.read_json(name):
                    self.warnings.append(f"{folder.path / name} is damaged; what it said of earlier launches is lost")

    @property
    def step(self) -> int:
        """Global step to go on from; 0 for a fresh start."""
        return int(self.state["step"]) if self.state else 0

    def supersede(self) -> Path | None:
        """Of a run that starts anew: set aside, whole, what was measured on the model before; its folder, or None."""
        measured = self.folder.path / "eval"
        if self.state is not None or not measured.exists():
            return None
        aside = self.folder.path / "superseded" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) / "eval"
        aside.parent.mkdir(parents=True, exist_ok=True)
        return measured.rename(aside)

    def begin(self, data: Mapping[str, str | None], code: Mapping[str, Any], **details: Any) -> None:
        """Write config.yaml and run.json and mark the run as running.

        Args:
            data: split -> identity of its images.
            code: `provenance` of this launch.
            details: what else run.json is to say of it.

        Raises:
            UserError: the run that is there was trained on other images.
        """
        launches = self.folder.read_json("run.json").get("launches", []) if self.state else []
        same_data(self.folder, data, launches)
        write_text(self.folder.path / "config.yaml", self.config_yaml)
        launch = {"from_step": self.step, "data": dict(data), **details} | dict(code)
        self.folder.write_json("run.json", {"names": self.meta["names"], "launches": [*launches, launch]})
        self.folder.set_status("running")

    def save(self, step: int, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Write the checkpoint of `step`; the one before it stays.

        Raises:
            UserError: another process took the folder over.
        """
        if not self._held():
            raise UserError(f"another process took over {self.folder.path}: nothing more is saved here")
        self._weights = checkpoint.save(self.folder.path, step, weights, state, self.meta, self._weights)
        self._saved, self._micro_batch = step, state.get("micro_batch")

    def write_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite train.csv: one line per finished epoch."""
        if self._held():
            write_text(self.folder.path / "train.csv", csv_text(history[0], history))

    def end(self, state: str, seconds: float, device: torch.device, **details: Any) -> None:
        """Note what this launch took and how far it came in run.json, and set the status; after `begin`."""
        if not self._held():  # what is written there is of another process
            return
        run = self.folder.read_json("run.json")
        reached = self.step if self._saved is None else self._saved
        run["launches"][-1] |= {
            "to_step": reached,
            "wall_seconds": round(seconds, 1),
            "peak_memory": peak_memory(device),
        }
        if self._micro_batch is not None:
            run["launches"][-1]["micro_batch_reached"] = self._micro_batch
        self.folder.write_json("run.json", run | details)
        self.folder.set_status(state, **details)

    def _read(self) -> None:
        """The last checkpoint; where it is damaged or gone, the one before, with a warning that names it.

        Where neither is there, the run starts anew; with a warning if it had been done.
        """
        last, before = self.folder.checkpoint, self.folder.path / checkpoint.PREVIOUS
        found = None
        if last.exists() or before.exists():
            try:
                found = checkpoint.read(last)
            except UserError as error:
                if not before.exists():
                    raise UserError(f"{error}; there is none before it: resume=false trains anew") from None
                try:
                    found = checkpoint.read(before)
                except UserError as other:
                    raise UserError(
                        f"{error}; nor can the one before be read: {other}; resume=false trains anew"
                    ) from other
                if last.exists():
                    last.replace(last.with_name("last.pt.damaged"))
                also_as(before, last)
                self.warnings.append(f"{error}; going on from the one before, {before.name}")
        elif self.folder.status() == "done":
            self.warnings.append(f"the run was done, but {last} is gone, and so is the one before: it is trained anew")
        if found is not None:
            self.state = {"model": found.weights} | found.state
            self._weights = found.beside


def same_data(folder: RunFolder, data: Mapping[str, str | None], launches: Sequence[Mapping[str, Any]]) -> None:
    """Hold the identities of the splits against those of earlier launches.

    Raises:
        UserError: the run that is there was trained on other images; where images lie is no part of a run's name.
    """
    for launch in launches:
        seen = launch.get("data", {})
        for split, identity in data.items():
            if split in seen and seen[split] != identity:
                raise UserError(
                    f"{folder.path} was trained on other images ({split}: {seen[split]}, now {identity}): give another "
                    "paths.output_dir, or resume=false to train it anew"
                )
