"""What a training run leaves in its folder, and what it leaves alone once another process has taken the folder over."""

from __future__ import annotations

from pathlib import Path

import torch

from fourier_robust.run.folder import RunFolder
from fourier_robust.run.train_record import TrainRecord

CPU = torch.device("cpu")


def test_a_process_that_lost_its_folder_writes_nothing_there(tmp_path: Path) -> None:
    """status.json, run.json and train.csv are then of the process that has it."""
    folder, held = RunFolder(tmp_path), [True]
    names = {"dataset": "shapes", "arch": "speednet", "aug": "none", "reg": "none"}
    record = TrainRecord(folder, {}, "", names, [], False, lambda: held[0])
    record.begin({"train": "a", "val": None}, {"git": {}})
    record.write_history([{"epoch": 1}])
    TrainRecord(folder, {}, "", names, [], False).begin({"train": "a", "val": None}, {"git": {}}, whose="another")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    held[0] = False
    record.write_history([{"epoch": 1}, {"epoch": 2}])
    record.end("failed", 1.0, CPU, reason="lost")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    held[0] = True
    record.end("failed", 1.0, CPU, reason="lost")
    assert folder.status() == "failed"
