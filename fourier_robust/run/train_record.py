"""The paper trail of one training run: config, status, history, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fourier_robust.run import checkpoint
from fourier_robust.run.atomic import write_text
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.provenance import provenance
from fourier_robust.run.results import csv_text


class TrainRecord:
    """Writes everything a training run leaves in its folder, and reads back where it stopped.

    Args:
        folder: the run folder, held by this process.
        config: resolved config.
        config_yaml: the same as the text of config.yaml.
        names: of dataset, arch, aug, reg.
        class_names: K names, stored in the checkpoint.
        resume: read the last checkpoint; otherwise the run starts anew and overwrites it.

    Attributes:
        state: the trainer's state to go on from, or None for a fresh start.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Mapping[str, Any],
        config_yaml: str,
        names: Mapping[str, str],
        class_names: Sequence[str],
        resume: bool,
    ) -> None:
        self.folder = folder
        self.config_yaml = config_yaml
        self.meta = {"config": dict(config), "names": dict(names), "class_names": list(class_names)}
        self.state: dict[str, Any] | None = None
        if resume and folder.checkpoint.exists():
            last = checkpoint.read(folder.checkpoint)
            self.state = {"model": last.weights} | last.state

    @property
    def step(self) -> int:
        """Global step to go on from; 0 for a fresh start."""
        return int(self.state["step"]) if self.state else 0

    def begin(self, device: torch.device, data: Mapping[str, str | None]) -> None:
        """Write config.yaml and run.json (code, machine, identity of the data) and mark the run as running."""
        write_text(self.folder.path / "config.yaml", self.config_yaml)
        launches = self.folder.read_json("run.json").get("launches", []) if self.state else []
        launch = {"from_step": self.step, "data": dict(data)} | provenance(device)
        self.folder.write_json("run.json", {"names": self.meta["names"], "launches": [*launches, launch]})
        self.folder.set_status("running")

    def save(self, step: int, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Write the checkpoint of `step`."""
        checkpoint.save(self.folder.path, step, weights, state, self.meta)

    def write_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite train.csv: one line per finished epoch."""
        write_text(self.folder.path / "train.csv", csv_text(history[0], history))

    def end(self, state: str, seconds: float, **details: Any) -> None:
        """Note the wall time of this launch in run.json and set the status."""
        run = self.folder.read_json("run.json")
        run["launches"][-1]["wall_seconds"] = round(seconds, 1)
        self.folder.write_json("run.json", run | details)
        self.folder.set_status(state, **details)
