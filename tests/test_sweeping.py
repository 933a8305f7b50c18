"""Sweeps: a job that fails costs no other, what became of each is noted, fr-status says it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import TINY

from fourier_robust import status, sweeping
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.errors import Busy, UserError
from fourier_robust.run import checkpoint, gpu
from fourier_robust.run import sweep as sweep_module
from fourier_robust.run.claim import Claim
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.gpu import free_gpus
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


@pytest.mark.parametrize(
    "text",
    [
        *('{"jnb": 1}x', "[]", "null", "3", "", "\x00", "[" * 100_000, '{"state": 3}', '{"state": "done", "pid": "x"}'),
        *('{"state": "done", "overrides": 1}', '{"state": "done", "overrides": [1]}'),
    ],
)
def test_a_damaged_note_is_called_so(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Jobs(tmp_path).note(1, "done", ["a=2"])
    (tmp_path / "jobs/0.json").write_text(text)
    (tmp_path / "jobs/2.json").write_text('{"jnb": 2, "state": "done", "overrides": ["a=3"]}')  # one letter of a key
    (tmp_path / "jobs/note.json").write_text("{}")
    with pytest.raises(SystemExit) as left:
        status.main([str(tmp_path)])
    assert left.value.code == 1
    counts, line = capsys.readouterr().out.splitlines()
    assert counts == "2 done, 1 lost"
    assert line.startswith("lost")
    assert line.endswith(f"#0   {tmp_path}/jobs/0.json is damaged")
    assert [one["job"] for one in Jobs(tmp_path).all()] == [0, 1, 2]


def test_a_job_shows_its_age_and_is_lost_once_it_is_silent(tmp_path: Path) -> None:
    jobs, elsewhere = Jobs(tmp_path), {"host": "a-host-that-is-down", "pid": 1}
    for number, seconds, state in ((0, 60, "running"), (1, 600, "running"), (2, 600, "waiting"), (3, 7200, "done")):
        jobs.note(number, state, [f"a={number}"], **elsewhere)
        os.utime(tmp_path / f"jobs/{number}.json", (time.time() - seconds,) * 2)
    found = list(status.found(tmp_path))
    assert [line.state for line in found] == ["running", "lost", "waiting", "done"]
    assert [line.age for line in found] == pytest.approx([60, 600, 600, 7200], abs=30)
    assert "lost       10 min  #1 a=1" in status.table(found, False)


def test_a_job_gives_signs_of_life(
    sweep: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "BEAT", 0.01)

    def work(device: str | None) -> None:
        note = tmp_path / "sweep/jobs/0.json"
        os.utime(note, (0, 0))
        until = time.monotonic() + 60
        while note.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert note.stat().st_mtime > 0

    assert sweep(work)["state"] == "done"


def test_a_stopped_sweep_counts_the_jobs_that_it_never_began(tmp_path: Path) -> None:
    """Hydra's own launcher, in the process that the signal reaches."""
    swept = [f"paths.output_dir={tmp_path}", "trainer.epochs=5000", "seed=0,1,2", "aug=standard,apr_s"]
    command = [sys.executable, "-m", "fourier_robust.train", "-m", *TINY, *swept]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("shapes/**/last.pt")) and time.monotonic() < until and run.poll() is None:
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=120)[1]
    assert run.returncode == 128 + signal.SIGINT, said
    assert "sweep of 6 jobs: 1 preempted, 5 waiting" in said
    assert "waiting   #5 seed=2 aug=apr_s" in said
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert [line.state for line in status.found(folder)] == ["preempted", *["waiting"] * 5]


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


def write_note(folder: Path, ago: float, number: int, state: str, overrides: list[str], **details: Any) -> None:
    """A job's note of `ago` seconds before now."""
    Jobs(folder).note(number, state, overrides, **details)
    os.utime(folder / f"jobs/{number}.json", (time.time() - ago,) * 2)


@pytest.mark.parametrize("below", [".", "sweeps"])
def test_jobs_of_sweeps_are_seen_from_above(below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "sweeps/1", tmp_path / "sweeps/2"
    for number, state in enumerate(("failed", "failed", "done", "failed")):
        write_note(first, 900, number, state, ["suite=clean", f"ckpt={number}"], reason=f"no checkpoint at {number}")
    write_note(second, 60, 0, "skipped", ["suite=clean", "ckpt=1"])  # done since
    write_note(second, 60, 1, "failed", ["suite=clean", "ckpt=3"], reason="again")
    write_note(second, 60, 2, "waiting", ["suite=clean", "ckpt=4"])
    with pytest.raises(SystemExit) as left:
        status.main([str(tmp_path / below)])
    assert left.value.code == 1
    counts, *lines = capsys.readouterr().out.splitlines()
    assert counts == "2 failed, 1 waiting"
    where = "" if below == "sweeps" else "sweeps/"
    assert lines[0].endswith(f"{where}1 #0 ckpt=0  no checkpoint at 0")
    assert lines[1].endswith(f"{where}2 #1 ckpt=3  again")
    assert lines[2].endswith(f"{where}2 #2 ckpt=4")


def test_a_sweep_that_is_done_is_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Jobs(tmp_path / "sweeps/1").note(0, "done", ["a=1"])
    Jobs(tmp_path / "sweeps/1").note(1, "elsewhere", ["a=2"])
    status.main([str(tmp_path)])
    assert capsys.readouterr().out == "no runs, no unfinished jobs\n"


@pytest.mark.parametrize(
    ("job", "run", "shown"),
    [
        (
            ("failed", {"reason": "the loss is not finite"}),
            ("failed", {"reason": "UserError: the loss is not finite"}),
            1,
        ),
        (("failed", {"reason": "no such data"}), ("failed", {"reason": "UserError: the loss is not finite"}), 2),
        (("preempted", {"reason": "saved"}), ("preempted", {}), 1),
        (("failed", {"reason": "by zero", "pid": 1}), ("failed", {"reason": "by zero"}), 2),
        (("failed", {"reason": "by zero", "host": "another"}), ("failed", {"reason": "by zero"}), 2),
        (("running", {"pid": 2**22 + 1}), ("running", {"pid": 2**22 + 1}), 1),
        (("lost", {"pid": 2**22 + 1}), ("running", {"pid": 2**22 + 1}), 1),  # as the launcher notes it
        (("failed", {"reason": "ended", "pid": 1, "overrides": ["seed=1", "aug=apr_s"]}), ("done", {}), 1),
        (("failed", {"reason": "ended", "pid": 1, "overrides": ["seed=2", "aug=apr_s"]}), ("done", {}), 2),
    ],
)
def test_no_run_is_shown_as_a_job_too(
    job: tuple[str, dict[str, Any]], run: tuple[str, dict[str, Any]], shown: int, tmp_path: Path
) -> None:
    """Same process and same end; or, for several processes and for who repeats a job by itself, the same words."""
    about = {"host": socket.gethostname(), "pid": os.getpid(), "overrides": ["seed=0"], "seconds": 5.0}
    folder = RunFolder(tmp_path / "cifar10/a")
    folder.set_status("running")
    folder.set_status(run[0], **run[1])
    folder.write_json("run.json", {"launches": [{"command": ["train.py", "aug=apr_s", "seed=1"]}]})
    write_note(tmp_path / "sweeps/1", 0, 0, job[0], **(about | job[1]))
    lines = list(status.found(tmp_path))
    assert len(lines) == shown
    assert lines[0].name.startswith("cifar10/a")
    write_note(tmp_path / "sweeps/1", -3600, 0, job[0], **(about | job[1]))  # the run's end is long before the job's
    assert len(list(status.found(tmp_path))) == 2


def test_what_is_lost_stays_known_by_its_process(tmp_path: Path) -> None:
    Jobs(tmp_path).note(0, "running", ["a=1"], host="here", pid=3)
    Jobs(tmp_path).note(0, "lost", ["a=1"], reason="killed")
    (noted,) = Jobs(tmp_path).all()
    assert (noted["state"], noted["host"], noted["pid"], noted["reason"]) == ("lost", "here", 3, "killed")
    Jobs(tmp_path).note(0, "waiting", ["a=1"])
    assert "pid" not in Jobs(tmp_path).all()[0]


def test_what_was_set_aside_is_not_lost(tmp_path: Path) -> None:
    aside = tmp_path / "cifar10/a/superseded/20261122T063812Z/eval/clean"
    aside.mkdir(parents=True)
    (aside / ".claim").write_text("{}")
    os.utime(aside / ".claim", (0, 0))
    assert list(status.found(tmp_path)) == []


def test_a_sweep_over_a_folder_that_jobs_alone_know_counts_them(tmp_path: Path) -> None:
    """Its variable may be set where jobs run; where it is not, each says so, and the sweep tells."""
    words = ["-m", f"paths.output_dir={tmp_path}", "paths.data_dir=${oc.env:FR_NOWHERE}/x", "seed=0,1"]
    done = subprocess.run(
        [sys.executable, "-m", "fourier_robust.train", *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert "sweep of 2 jobs: 2 failed" in done.stderr


def test_an_evaluation_that_was_killed_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "sweeps/1"
    for suite in ("clean", "ood", "bands"):
        (tmp_path / f"cifar10/a/eval/{suite}").mkdir(parents=True)
    (tmp_path / "cifar10/a/eval/bands/results.csv").touch()
    with (
        Claim(tmp_path / "cifar10/a/eval/clean", job=f"{sweep}#0@abc"),
        Claim(tmp_path / "cifar10/a/eval/ood"),
        Claim(tmp_path / "cifar10/a/eval/bands"),
    ):
        Jobs(sweep).note(0, "running", ["suite=clean"], host="another", pid=7)  # of one of its processes
        assert [(line.state, line.name) for line in status.found(tmp_path)] == [
            ("running", f"cifar10/a/eval/{suite}") for suite in ("bands", "clean", "ood")
        ]
        for path in tmp_path.rglob(".claim"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"start": "of another process"}))
        with pytest.raises(SystemExit) as left:
            status.main([str(tmp_path)])
    assert left.value.code == 1
    counts, *lines = capsys.readouterr().out.splitlines()
    assert counts == "2 lost"
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [
        ("lost", f"cifar10/a/eval/{suite}") for suite in ("clean", "ood")
    ]


def test_a_smaller_sweep_in_the_folder_of_another_counts_its_own_jobs(
    tmp_path: Path,
) -> None:
    for number in range(3):
        Jobs(tmp_path / "sweep").note(number, "failed", [f"seed={number}"])
    common = [f"paths.output_dir={tmp_path}", f"hydra.sweep.dir={tmp_path}/sweep", "trainer.epochs=1", "seed=0,1"]
    command = [sys.executable, "-m", "fourier_robust.train", "-m", *TINY, *common]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "sweep of 2 jobs: 2 done" in done.stderr) == (0, True), done.stderr


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of GPUs in a folder of the test's own, and no waiting between two looks."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("getpass.getuser", lambda: {}["no name"])  # as in a container
    monkeypatch.setattr(gpu, "_LOOK", 0.01 - os.getpid() % 100 / 100)


@pytest.mark.usefixtures("quick")
def test_each_job_has_a_gpu_of_its_own() -> None:
    names = ["GPU-a", "GPU-b", "GPU-c"]
    with free_gpus(names) as first:
        # a claim of this very process counts as living: a second job of it gets the next
        with free_gpus(names) as second, free_gpus(names) as third:
            assert (first, second, third) == ([0], [1], [2])
        with free_gpus(names, 2) as both:
            assert both == [1, 2]
        with free_gpus(["GPU-b", "GPU-a"]) as elsewhere:  # another CUDA_VISIBLE_DEVICES
            assert elsewhere == [0]
        with free_gpus(["GPU-a", "GPU-b"]) as elsewhere:
            assert elsewhere == [1]
    with pytest.raises(UserError, match=r"device\.processes=4: there are 3 GPUs here"), free_gpus(names, 4):
        pass


@pytest.mark.usefixtures("quick")
def test_a_job_waits_for_its_gpu_and_holds_none_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    names, got = ["GPU-a", "GPU-b"], []

    def job() -> None:
        with free_gpus(names, 2) as held:
            got.append(held)

    with free_gpus(names[:1]):
        waits = threading.Thread(target=job)
        waits.start()
        until = time.monotonic() + 60
        while "waiting for GPUs" not in capsys.readouterr().err and time.monotonic() < until:
            time.sleep(0.01)
        assert time.monotonic() < until
        with free_gpus(["GPU-b"]):
            assert got == []
    waits.join(timeout=60)
    assert got == [[0, 1]]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("settings", "device", "shown"),
    [
        ({"name": "auto", "processes": 1}, "cuda:0", "4,7"),
        ({"name": "auto", "processes": 2}, None, "4,7"),
        ({"name": "cuda", "processes": 2}, None, "4,7"),
        ({"name": "cpu", "processes": 1}, None, "4,7,9"),  # it needs none, and waits for none
        ({"name": "cuda:1", "processes": 1}, None, "4,7,9"),
        ({"name": None, "processes": None}, None, "4,7,9"),
    ],
)
def test_a_job_of_a_local_sweep_gets_as_many_gpus_as_it_has_processes(
    settings: dict[str, Any], device: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = SimpleNamespace(launcher={"_target_": "hydra_plugins.fourier_robust_joblib.PatientJoblibLauncher"})
    monkeypatch.setattr(sweeping, "HydraConfig", SimpleNamespace(get=lambda: launcher))
    monkeypatch.setattr(sweeping, "_device", settings)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"uuid-{index}"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7,9")
    with sweeping._gpus() as given:
        assert given == device
        if settings["processes"] != 1:
            assert os.environ["CUDA_VISIBLE_DEVICES"] == shown
        held = sorted(path.parent.name for path in Path(tempfile.gettempdir()).glob("*/*/.claim"))
        assert held == [f"uuid-{k}" for k in range(0 if shown == "4,7,9" else settings["processes"])]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7,9"


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
