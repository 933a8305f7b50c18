"""What a training run leaves in its folder, and what it leaves alone once another process has taken the folder over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import TINY, compose_config

from fourier_robust.errors import UserError
from fourier_robust.run import checkpoint
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.seal import SEALED, whole
from fourier_robust.run.train_record import TrainRecord
from fourier_robust.train import train

CPU = torch.device("cpu")
NAMES = {"dataset": "shapes", "arch": "speednet", "aug": "none", "reg": "none"}
Train = Callable[..., Path]


def damage(folder: Path, how: str) -> Path:
    """Damage the last checkpoint in `folder`; the file that a message about it has to name."""
    last = folder / "last.pt"
    weights = folder / str(checkpoint.read(last).beside)
    if how == "truncated":
        last.write_bytes(last.read_bytes()[:100])
    elif how == "zeros":
        last.write_bytes(bytes(last.stat().st_size))
    elif how == "gone":
        last.unlink()
    elif how == "weights gone":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    return weights if how.startswith("weights") else last


def test_a_process_that_lost_its_folder_writes_nothing_there(tmp_path: Path) -> None:
    """status.json, run.json and train.csv are then of the process that has it."""
    folder, held = RunFolder(tmp_path), [True]
    record = TrainRecord(folder, {}, "", NAMES, [], False, lambda: held[0])
    record.begin({"train": "a", "val": None}, {"git": {}})
    record.write_history([{"epoch": 1}])
    TrainRecord(folder, {}, "", NAMES, [], False).begin({"train": "a", "val": None}, {"git": {}}, whose="another")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    held[0] = False
    record.write_history([{"epoch": 1}, {"epoch": 2}])
    record.end("failed", 1.0, CPU, reason="lost")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    held[0] = True
    record.end("failed", 1.0, CPU, reason="lost")
    assert folder.status() == "failed"


@pytest.mark.parametrize("how", ["truncated", "zeros", "gone", "weights gone", "weights flipped"])
def test_a_done_run_whose_checkpoint_is_damaged_goes_on_from_the_one_before(
    how: str, train_tiny: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train_tiny()
    before = {name: tensor.clone() for name, tensor in checkpoint.read(folder).weights.items()}
    named = damage(folder, how)
    capsys.readouterr()
    state, again = train(*compose_config("train", *TINY, f"paths.output_dir={tmp_path}/outputs"))
    assert (state, again) == ("done", folder)  # in a sweep, not skipped
    said = capsys.readouterr().out
    (warning,) = [line for line in said.splitlines() if "warning: " in line]
    assert named.name in warning
    assert warning.endswith("going on from the one before, previous.pt")
    assert "resuming at step 4" in said  # of 8
    weights = checkpoint.read(folder).weights
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())
    assert whole(folder / "last.pt")


@pytest.mark.parametrize("why", ["both checkpoints gone", "resume=false"])
def test_a_run_that_starts_anew_sets_aside_what_was_measured_before(
    why: str, train_tiny: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train_tiny()
    (folder / "eval/clean").mkdir(parents=True)
    (folder / "eval/clean/results.csv").write_text("of the model before")
    gone = why != "resume=false"
    if gone:
        for name in ("last.pt", "previous.pt"):
            (folder / name).unlink()
    capsys.readouterr()
    train_tiny(*([] if gone else [why]))
    said = capsys.readouterr().out
    assert ("last.pt is gone, and so is the one before: it is trained anew" in said) == gone
    (moved,) = (folder / "superseded").iterdir()
    assert f"what was measured on the model that was here before is in {moved / 'eval'}" in said
    assert (moved / "eval/clean/results.csv").read_text() == "of the model before"
    assert not (folder / "eval").exists()
    assert folder.joinpath("last.pt").exists()


def test_a_run_that_goes_on_keeps_what_was_measured(train_tiny: Train) -> None:
    folder = train_tiny()
    (folder / "eval").mkdir()
    damage(folder, "truncated")
    train_tiny()
    assert (folder / "eval").exists()


def test_a_done_run_is_passed_over_without_torch(train_tiny: Train, tmp_path: Path) -> None:
    """In a sweep that is repeated, most jobs are."""
    folder = train_tiny()
    code = "import sys; from fourier_robust.train import main; main(); print('torch' in sys.modules)"
    settings = [*TINY, f"paths.output_dir={tmp_path}/outputs"]
    done = subprocess.run([sys.executable, "-c", code, *settings], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [f"already done: {folder}", "False"], done.stderr


def test_whole_is_what_read_takes(tmp_path: Path) -> None:
    """With the seal, and of before it."""
    checkpoint.save(
        tmp_path, 5, {"weight": torch.ones(2)}, {"weights": "x", "sha256": "y"}, {"names": {"weights": "z"}}
    )
    last = tmp_path / "last.pt"
    assert whole(last)
    content = last.read_bytes()
    last.write_bytes(content[:-SEALED])
    assert whole(last)
    last.write_bytes(content[:-SEALED].replace(b"step00000005", b"step00000006"))
    assert not whole(last)
    torch.save({"state_dict": {}}, last)  # somebody else's
    assert not whole(last)
    assert not whole(tmp_path / "nothing.pt")


def test_an_error_before_the_run_begins_is_noted(train_tiny: Train) -> None:
    folder = train_tiny()
    for name in ("last.pt", "previous.pt"):
        (folder / name).write_bytes(b"")
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "running"}))  # as one that was killed
    with pytest.raises(UserError, match=r"nor can the one before be read: .*; resume=false trains anew$") as raised:
        train_tiny()
    after = json.loads((folder / "status.json").read_text())
    assert (after["state"], after["reason"], after["attempt"]) == ("failed", f"UserError: {raised.value}", 2)


def test_an_error_of_a_process_that_lost_its_folder_is_not_noted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(UserError), folder.noting(lambda: False):
        raise UserError("lost")
    assert folder.status() is None


@pytest.mark.parametrize(
    "content", ["null", "[3]", '{"launches": 3}', '{"launches": [3]}', '{"launches": [{"data": null}]}']
)
def test_a_receipt_of_odd_types_is_a_damaged_one(content: str, tmp_path: Path) -> None:
    folder, data = RunFolder(tmp_path), {"train": "a", "val": None}
    checkpoint.save(tmp_path, 5, {"weight": torch.ones(2)}, {"step": 5}, {})
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "status.json").write_text('{"state": "preempted", "attempt": "x"}')
    record = TrainRecord(folder, {}, "", NAMES, [], True)
    said = "is damaged; what it said of earlier launches is lost"
    assert record.warnings == [f"{tmp_path / name} {said}" for name in ("run.json", "status.json")]
    record.begin(data, {})
    record.end("done", 1.0, CPU)
    (launch,) = folder.read_json("run.json")["launches"]
    assert (launch["data"], launch["from_step"], folder.read_json("status.json")["attempt"]) == (data, 5, 1)


@pytest.mark.parametrize("size", [4, None])
def test_the_size_to_which_the_batch_was_halved_is_noted(size: int | None, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    record = TrainRecord(folder, {}, "", NAMES, [], True)
    record.begin({"train": "a", "val": None}, {})
    state: dict[str, Any] = {"step": 3, "micro_batch": size}
    record.save(3, {"weight": torch.ones(2)}, state)
    record.end("done", 1.0, CPU)
    (launch,) = folder.read_json("run.json")["launches"]
    assert launch.get("micro_batch_reached") == size
    assert ("micro_batch_reached" in launch) == (size is not None)
