"""Two processes against one: weights, tables, a stop, an error. `two_processes` is what each of them does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import TINY

from fourier_robust.engine.distributed import ALONE, Team, launched

HERE = Path(__file__).parent
WORK = HERE / "two_processes.py"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
SUITES = (
    ("suite=corruptions", "suite.corruptions=[contrast,gaussian_noise]", "suite.severities=[1,5]"),
    ("suite=calibration", "suite.corruptions=[contrast]", "suite.severities=[1,5]"),  # needs logits of earlier ones
    ("suite=sensitivity",),  # passes of its own, one condition: the second process has none
    ("suite=heatmap", "suite.images=12", "suite.cells=rings", "suite.per_ring=1"),  # conditions that share batches
)
ON_CPU = ("device.name=cpu", "device.threads=1", "device.keep_blocks=false")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, trained by one process."""
    from support import compose_config

    from fourier_robust.train import train

    outputs = tmp_path_factory.mktemp("one")
    return train(*compose_config("train", *TINY, f"paths.output_dir={outputs}")).folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> dict[str, Any]:
    """What one process, and each of two, found; and the tables of both in ``tables-1`` and ``tables-2``."""
    folder = tmp_path_factory.mktemp("two")
    settings = json.dumps([[f"ckpt={checkpoint}", *ON_CPU, *suite] for suite in SUITES])
    for count, start in ((1, (sys.executable,)), (2, TORCHRUN)):
        command = [*start, str(WORK), "work", str(folder), settings]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        shutil.move(checkpoint / "eval", folder / f"tables-{count}")
    loaded = {key: torch.load(folder / f"trained-{key}.pt") for key in ("1-0", "2-0", "2-1")}
    return {"folder": folder, **loaded}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Largest difference of two state dicts, over the largest value."""
    assert one.keys() == other.keys()
    scale = max(float(tensor.abs().amax()) for tensor in one.values())
    return max(float((tensor - other[name]).abs().amax()) for name, tensor in one.items()) / scale


@pytest.mark.parametrize("name", ["none", "standard", "apr_sp", "reg", "micro", "average"])
def test_two_processes_end_with_the_weights_of_one(name: str, trained: dict[str, Any]) -> None:
    one, first, second = (trained[key][name] for key in ("1-0", "2-0", "2-1"))
    assert one["history"][-1]["step"] == 20
    assert distance(one["weights"], first["weights"]) < 1e-5
    assert distance(first["weights"], second["weights"]) == 0
    assert distance(one["saved"], first["saved"]) < 1e-5
    assert second["saved"] is None  # the first process alone writes
    for alone, shared in zip(one["history"], first["history"], strict=True):
        assert alone.keys() == shared.keys()
        assert shared["train_accuracy"] == alone["train_accuracy"]
        assert shared["val_error"] == alone["val_error"]
        for key in ("train_loss", "val_loss", *(["reg_size"] if name == "reg" else [])):
            assert shared[key] == pytest.approx(alone[key], rel=1e-5)


def test_partners_stay_in_each_process_unless_asked(trained: dict[str, Any]) -> None:
    one, first, second = (trained[key]["apr_sp_local"]["weights"] for key in ("1-0", "2-0", "2-1"))
    assert distance(one, trained["1-0"]["apr_sp"]["weights"]) == 0
    assert distance(one, first) > 1e-3
    assert distance(first, second) == 0


def test_batch_norm_of_each_process_leaves_all_alike(trained: dict[str, Any]) -> None:
    one, first, second = (trained[key]["norm"]["weights"] for key in ("1-0", "2-0", "2-1"))
    assert distance(first, second) == 0  # running statistics too: they are averaged
    assert distance(one, first) > 1e-4  # each process normalises by its own part


def test_a_signal_to_one_process_stops_all_at_one_step_and_the_first_saves(trained: dict[str, Any]) -> None:
    first, second = trained["2-0"], trained["2-1"]
    assert first["stopped"] == {"signum": signal.SIGTERM, "saved": [5, 7]}
    assert second["stopped"] == {"signum": signal.SIGTERM, "saved": []}
    assert distance(first["resumed"]["weights"], first["whole"]["weights"]) == 0
    for line, other in zip(first["resumed"]["history"], first["whole"]["history"], strict=True):
        assert {**line, "seconds": 0, "images_per_s": 0} == {**other, "seconds": 0, "images_per_s": 0}


def test_a_run_goes_on_with_another_number_of_processes(trained: dict[str, Any]) -> None:
    from engine.two_processes import SETTINGS, Run

    run = Run(ALONE, norm=True)
    history = SETTINGS.fit(run.job, torch.load(trained["folder"] / "state-2.pt"))
    assert [line["step"] for line in history] == [5, 10, 15, 20]
    assert 0 <= history[1]["train_accuracy"] <= 1


@pytest.mark.parametrize("suite", ["corruptions", "calibration", "sensitivity", "heatmap"])
def test_two_processes_measure_the_tables_of_one(suite: str, trained: dict[str, Any]) -> None:
    one, two = (trained["folder"] / f"tables-{count}" / suite for count in (1, 2))
    assert sorted(path.relative_to(one) for path in one.rglob("*")) == sorted(
        path.relative_to(two) for path in two.rglob("*")
    )
    assert (one / "results.csv").read_bytes() == (two / "results.csv").read_bytes()
    alone, shared = (json.loads((folder / "eval.json").read_text()) for folder in (one, two))
    assert (alone["processes"], shared["processes"]) == (1, 2)
    for key in ("images", "conditions_wanted", "conditions_measured", "conditions_reused", "rows", "data"):
        assert alone[key] == shared[key]


def test_what_one_process_meets_in_an_evaluation_all_hear_and_go_on(trained: dict[str, Any]) -> None:
    one, first, second = (trained[key]["surveys"] for key in ("1-0", "2-0", "2-1"))
    assert first["errors"] == second["errors"] == one["errors"] == ["3 is odd", "2 is odd", "4 does not sum up"]
    assert first["kept"] == one["kept"] == {number: [number, 0, 0] for number in range(6)}
    assert second["kept"] == {}
    assert first["stored"] == one["stored"] == list(range(6))
    assert second["stored"] == []
    assert first["measured"] == 6
    assert first["again"] == {number: [number, 0, 0] for number in range(6)}
    assert first["measured_again"] == 0


def test_an_error_of_one_process_ends_all(tmp_path: Path) -> None:
    command = [*TORCHRUN, str(WORK), "fails", str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "error: process 1 of 2: an image is damaged" in said
    assert set(said) <= {
        "error: process 1 of 2: an image is damaged",
        "error: another process of this run ended, so all do; its own message says why",
    }


@pytest.mark.slow
def test_torchrun_is_stopped_and_started_again(tmp_path: Path, train_tiny: Callable[..., Path]) -> None:
    """The front door, as a user or a scheduler does it: torchrun gets the signal."""
    settings = [*TINY, "trainer.epochs=40", "arch.widths=[8,8,8]", f"paths.output_dir={tmp_path}/two"]
    command = [*TORCHRUN, "-m", "fourier_robust.train", *settings]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        while "epoch   2/40" not in run.stdout.readline():
            assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=120)
    assert run.returncode != 0
    (folder,) = (tmp_path / "two").glob("shapes/speednet/standard-none/s0-*")
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "preempted"
    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert "resuming at step" in again.stdout
    launches = json.loads((folder / "run.json").read_text())["launches"]
    assert [launch["processes"]["count"] for launch in launches] == [2, 2]
    assert launches[0]["processes"]["batch_per_process"] == 8


@pytest.mark.slow
def test_a_job_of_a_sweep_starts_its_own_processes(tmp_path: Path) -> None:
    settings = [*TINY, "device.processes=2", "trainer.epochs=1", f"paths.output_dir={tmp_path}"]
    sweep = [sys.executable, "-m", "fourier_robust.train", "-m", "seed=0,1", *settings]
    done = subprocess.run(sweep, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    runs = sorted(tmp_path.glob("shapes/speednet/standard-none/s?-*/run.json"))
    assert [path.parent.name[:2] for path in runs] == ["s0", "s1"]
    for path in runs:
        (launch,) = json.loads(path.read_text())["launches"]
        assert launch["processes"]["count"] == 2


def test_who_is_who(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert launched() == (0, 1, 0)  # some clusters set a rank for everything
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert launched() == (5, 8, 1)
    parts = [Team(rank, 4).rows(12) for rank in range(4)]
    assert [row for part in parts for row in range(12)[part]] == list(range(12))
    assert not Team(1, 2).first
    assert ALONE.first
    assert ALONE.sum([1.5, 2.0]) == [1.5, 2.0]
    assert ALONE.first_does(lambda: 7) == 7
