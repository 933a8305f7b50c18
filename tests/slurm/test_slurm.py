"""A real sweep on a real SLURM (`make test-slurm`): killed, requeued and broken jobs cost no other."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from support import TINY, compose_config

from fourier_robust.run import checkpoint
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.sweep import Jobs

pytestmark = pytest.mark.slurm

EPOCHS = 40
PATIENCE = 240.0  # seconds; a busy machine needs some for a job's start alone
SMALL = (*TINY, f"trainer.epochs={EPOCHS}", f"trainer.checkpoint_every={EPOCHS}")  # what is saved, a signal has saved
LAUNCHER = (
    "hydra/launcher=slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.gpus_per_node=null",
    "hydra.launcher.mem_gb=1",
    "hydra.launcher.timeout_min=10",
)


def scheduler(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


@pytest.fixture(scope="module", autouse=True)
def slurm() -> None:
    if "SLURM_CONF" not in os.environ or shutil.which("sinfo") is None:
        pytest.skip("no SLURM here: scripts/slurm/up.sh, then SLURM_CONF as it says")
    if subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=30).returncode:
        pytest.skip("SLURM does not answer")
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("the extra `slurm` is not installed: pip install 'fourier-robust[slurm]'")


class Sweep:
    """``fr-train -m hydra/launcher=slurm`` in `folder`, started; one job per seed, in their order."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder, before = folder, self._sweeps(folder)
        command = [sys.executable, "-m", "fourier_robust.train", "-m", *LAUNCHER, *overrides]
        self.process = subprocess.Popen(
            [*command, f"paths.output_dir={folder}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.path = until(lambda: next(iter(self._sweeps(folder) - before), None), "the sweep's folder")
        until(lambda: (self.path / "jobs/0.json").exists(), "the first note")

    @staticmethod
    def _sweeps(folder: Path) -> set[Path]:
        return set((folder / "sweeps").glob("*")) if (folder / "sweeps").is_dir() else set()

    def notes(self) -> dict[int, dict[str, Any]]:
        return {one["job"]: one for one in Jobs(self.path).all()}

    def job(self, number: int) -> str:
        """SLURM's name of a job, once it has begun."""
        return str(until(lambda: self.notes().get(number, {}).get("slurm"), f"the start of job {number}"))

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    begun: list[Sweep] = []

    def begin(*overrides: str) -> Sweep:
        begun.append(Sweep(tmp_path / "cluster", *overrides))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
    subprocess.run(["scancel", f"--user={os.environ.get('USER', 'root')}"], timeout=30)


def until(found: Callable[[], Any], what: str) -> Any:
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE:.0f} s for {what}")


def run_folder(folder: Path, seed: int) -> Path | None:
    return next(folder.glob(f"shapes/*/*/s{seed}-*"), None)


def in_training(folder: Path, seed: int) -> bool:
    """Whether some epochs are done."""
    run = run_folder(folder, seed)
    history = run / "train.csv" if run else None
    return bool(history and history.exists() and len(history.read_text().splitlines()) > 4)


def status(folder: Path, seed: int) -> dict[str, Any]:
    run = run_folder(folder, seed)
    assert run is not None
    return dict(json.loads((run / "status.json").read_text()))


def weights(run: Path | None) -> dict[str, torch.Tensor]:
    assert run is not None
    return {name: tensor.clone() for name, tensor in checkpoint.read(run).weights.items()}


def start_now(job: str) -> None:
    """SLURM lets a requeued job wait two minutes; the tests three seconds.

    One that began again half a second after its requeue was seen to end at once with exit code 1, without a line.
    """

    def pending() -> bool:
        return scheduler("squeue", "--noheader", "--array", "--format=%T", f"--jobs={job}").strip() == "PENDING"

    until(pending, f"job {job} in the queue again")
    time.sleep(3)
    scheduler("scontrol", "update", f"JobId={job}", "StartTime=now")


def test_what_happens_to_one_job_costs_no_other(
    sweep: Callable[..., Sweep], train_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    outputs = tmp_path / "cluster"
    config, names = compose_config("train", *SMALL, "seed=4")
    in_the_way = RunFolder.of(outputs, names, 4, config).path
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where the run's folder should be")
    command = (*SMALL, "seed=0,1,2,3,4,5")
    first = sweep(*command)

    def disturb(seed: int, *command: str, returns: bool = False) -> None:
        job = first.job(seed)
        until(lambda: in_training(outputs, seed), f"training of seed {seed}")
        whom = str(first.notes()[seed]["pid"]) if command[0] == "kill" else job
        subprocess.run([*command, whom], timeout=60)  # scancel's exit code tells whether the job was still there
        if returns:
            start_now(job)

    with ThreadPoolExecutor() as at_once:
        done = [
            at_once.submit(disturb, 1, "scancel", "--signal=TERM"),
            at_once.submit(disturb, 2, "kill", "-KILL"),  # as the kernel does when memory runs out
            at_once.submit(disturb, 3, "scontrol", "requeue", returns=True),
            at_once.submit(disturb, 5, "scancel", "--signal=USR2", returns=True),  # as SLURM does when time is up
        ]
        undisturbed = {seed: train_tiny(*SMALL, f"seed={seed}") for seed in (1, 3, 5)}
    for one in done:
        one.result()
    code, said = first.end()
    assert code == 1, said
    states = ["done", "preempted", "lost", "done", "failed", "done"]
    assert [one["state"] for one in first.notes().values()] == states, said
    assert "sweep of 6 jobs: 3 done, 1 failed, 1 lost, 1 preempted" in said
    assert "Error" in first.notes()[4]["reason"]
    assert "seed=4" in said
    assert [status(outputs, seed)["attempt"] for seed in (0, 3, 5)] == [1, 2, 2]
    assert status(outputs, 1)["state"] == "preempted"

    in_the_way.unlink()
    second = sweep(*command)
    code, said = second.end()
    assert code == 0, said
    assert "sweep of 6 jobs: 3 done, 3 skipped" in said
    assert [status(outputs, seed)["attempt"] for seed in range(6)] == [1, 2, 2, 2, 1, 2]
    for seed, folder in undisturbed.items():
        expected, found = weights(folder), weights(run_folder(outputs, seed))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected), f"seed {seed}"
