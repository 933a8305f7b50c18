"""Sweeps: a job that fails costs no other, what became of each is noted, fr-status says it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fourier_robust import status, sweeping
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.errors import Busy, UserError
from fourier_robust.run import checkpoint
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.gpu import free_gpu
from fourier_robust.run.sweep import Jobs, Outcome

Train = Callable[..., Path]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs one job of a sweep; gives what is noted of it."""

    def run(work: Callable[[str | None], Outcome | None], number: int = 0, retry: int = 0) -> dict[str, Any]:
        config = SimpleNamespace(
            sweep=SimpleNamespace(dir=str(tmp_path / "sweep")),
            job=SimpleNamespace(num=number),
            overrides=SimpleNamespace(task=["aug=apr_s", f"seed={number}"]),
            launcher={"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"},
        )
        monkeypatch.setattr(sweeping, "HydraConfig", SimpleNamespace(get=lambda: config))
        monkeypatch.setattr(sweeping, "_started", [tmp_path / "sweep"])
        sweeping.job(work, retry)
        return Jobs(tmp_path / "sweep").all()[-1]

    return run


def fails(error: BaseException, times: int = 99) -> Callable[[str | None], Outcome | None]:
    left = [times]

    def work(device: str | None) -> Outcome:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return Outcome("done", Path("there"))

    return work


def test_states(sweep: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(lambda _: Outcome("done", Path("outputs/x")), 0)["folder"] == "outputs/x"
    assert sweep(lambda _: Outcome("skipped", Path("outputs/x")), 1)["state"] == "skipped"
    assert sweep(lambda _: None, 2)["state"] == "done"
    assert sweep(fails(Busy("another process is running this")), 3)["state"] == "elsewhere"
    assert sweeping.finish() == 0
    assert sweep(fails(UserError("lr must be > 0")), 4)["reason"] == "lr must be > 0"
    found = sweep(fails(ZeroDivisionError("by zero")), 5)
    assert (found["state"], found["reason"]) == ("failed", "ZeroDivisionError: by zero")
    assert "test_sweeping.py" in found["trace"]
    capsys.readouterr()
    assert sweeping.finish() == 1
    said = capsys.readouterr().err
    assert "sweep of 6 jobs: 2 done, 1 elsewhere, 2 failed, 1 skipped" in said
    assert "failed    #5 seed=5: ZeroDivisionError: by zero" in said


@pytest.mark.parametrize(("retry", "state"), [(0, "failed"), (1, "failed"), (2, "done"), (5, "done")])
def test_a_failure_is_tried_again_as_often_as_asked(
    sweep: Callable[..., dict[str, Any]], retry: int, state: str
) -> None:
    assert sweep(fails(RuntimeError("now and then"), times=2), retry=retry)["state"] == state


def test_a_mistake_is_not_tried_again(sweep: Callable[..., dict[str, Any]]) -> None:
    assert sweep(fails(UserError("wrong"), times=1), retry=3)["state"] == "failed"


def test_a_signal_stops_the_sweep(sweep: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        sweep(fails(Interrupted(signal.SIGTERM, "stopped after epoch 3; saved")))
    assert left.value.code == 128 + signal.SIGTERM
    assert Jobs(tmp_path / "sweep").all()[0]["state"] == "preempted"
    assert sweeping.finish() == 1


def test_a_scheduler_gets_its_signal_back_once_all_is_saved(sweep: Callable[..., dict[str, Any]]) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda signum, _: heard.append(signum))
    try:
        with pytest.raises(SystemExit):
            sweep(fails(Interrupted(signal.SIGUSR2, "stopped; saved")))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]


def test_a_signal_in_work_that_keeps_its_units_leaves_a_note(
    sweep: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    def work(device: str | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as left:
        sweep(work)
    assert left.value.code == 128 + signal.SIGTERM
    noted = Jobs(tmp_path / "sweep").all()[0]
    assert noted["state"] == "preempted"
    assert "SIGTERM" in noted["reason"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_was_never_begun_is_lost_unless_only_the_watching_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweeping, "_started", [tmp_path])
    assert sweeping.finish(RuntimeError("before its first job")) is None
    jobs = Jobs(tmp_path)
    jobs.note(0, "waiting", ["a=1"])
    jobs.note(1, "running", ["a=2"], slurm="12_1")
    assert sweeping.finish(KeyboardInterrupt()) == 1
    assert "sweep of 2 jobs: 1 running, 1 waiting" in capsys.readouterr().err
    assert sweeping.finish() == 1
    assert "sweep of 2 jobs: 2 lost" in capsys.readouterr().err


def test_a_job_that_ends_without_a_word_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(tmp_path)
    jobs.note(0, "done", ["a=1"])
    jobs.note(1, "running", ["a=2"], host=socket.gethostname(), pid=2**22 + 1)
    jobs.note(2, "running", ["a=3"], host=socket.gethostname(), pid=os.getpid())
    (tmp_path / "jobs/3.json").write_text("{")
    assert [line.state for line in status.found(tmp_path)] == ["done", "lost", "running", "lost"]
    monkeypatch.setattr(sweeping, "_started", [tmp_path])
    assert sweeping.finish() == 1
    assert "lost      #1 a=2: it ended without a word" in capsys.readouterr().err


def test_no_sweep_no_table() -> None:
    assert sweeping.finish() is None


def test_status_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, state, details in (
        ("cifar10/a", "done", {}),
        ("cifar10/b", "failed", {"reason": "first line\nUserError: the loss is not finite"}),
        ("cifar10/c", "running", {}),
        ("cifar10/d", "running", {}),
        ("cifar10/e", "preempted", {}),
    ):
        RunFolder(tmp_path / name).set_status("running")
        RunFolder(tmp_path / name).set_status(state, **details)
    (tmp_path / "f").mkdir()
    (tmp_path / "f/status.json").write_text("[]")
    with RunFolder(tmp_path / "cifar10/c").claimed(), pytest.raises(SystemExit) as left:
        status.main([str(tmp_path)])
    assert left.value.code == 1
    counts, *lines = capsys.readouterr().out.splitlines()
    assert counts == "1 done, 2 failed, 1 lost, 1 preempted, 1 running"
    assert [line.split()[0] for line in lines] == ["failed", "running", "lost", "preempted", "failed"]
    assert "UserError: the loss is not finite" in lines[0]
    assert "first line" not in lines[0]
    status.main([str(tmp_path / "cifar10/a"), "--all"])
    assert capsys.readouterr().out.startswith("1 done\ndone ")
    for words in (["--al"], [str(tmp_path / "nowhere")]):
        with pytest.raises(SystemExit) as left:
            status.main(words)
        assert left.value.code == 2


def test_each_job_has_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with free_gpu(2) as first:
        # a claim of this very process counts as living: a second job of it gets the next
        with free_gpu(2) as second, free_gpu(2) as third:
            assert (first, second, third) == (0, 1, None)
        with free_gpu(2) as again:
            assert again == 1
    with free_gpu(0) as none:
        assert none is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "gone", "weights"])
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(
    train_tiny: Train, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train_tiny("trainer.epochs=3")
    whole = checkpoint.read(folder)
    weights_before = {name: tensor.clone() for name, tensor in whole.weights.items()}  # they may be mapped to the file
    last = folder / "last.pt"
    content = bytearray(last.read_bytes())
    if damage == "truncated":
        last.write_bytes(content[:-200])
    elif damage == "flipped":
        assert whole.beside is not None
        weights = bytearray((folder / whole.beside).read_bytes())
        weights[-5] ^= 0x10
        (folder / whole.beside).write_bytes(weights)
    elif damage == "empty":
        last.write_bytes(b"")
    elif damage == "gone":
        last.unlink()
    else:
        assert whole.beside is not None
        (folder / whole.beside).unlink()
    (folder / "status.json").unlink()
    capsys.readouterr()
    train_tiny("trainer.epochs=3")
    said = capsys.readouterr().out
    assert "warning: " in said
    assert "going on from the one before, previous.pt" in said
    assert "resuming at step 8" in said  # of 12: one epoch is trained again
    again = checkpoint.read(folder)
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in weights_before.items())
    status_ = json.loads((folder / "status.json").read_text())
    assert status_["state"] == "done"
    assert "nan" not in (folder / "train.csv").read_text()
