"""``hydra/launcher=slurm``, ``local`` and ``ray``: they compose everywhere, and run where their extra is installed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import TINY, compose_config

from fourier_robust import sweeping
from fourier_robust.config import conf_dir
from fourier_robust.engine.interrupt import Stopped
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.sweep import Jobs

EXTRAS = {"slurm": "submitit", "local": "hydra_plugins.hydra_joblib_launcher", "ray": "ray"}
SCHEMAS = {
    "slurm": ("hydra_plugins.hydra_submitit_launcher.config", "SlurmQueueConf"),
    "ray": ("hydra_plugins.hydra_ray_launcher._config", "RayLauncherConf"),
}


def installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(EXTRAS[name]) is not None
    except ModuleNotFoundError:
        return False


def fr_train(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "fourier_robust.train", "-m", f"paths.output_dir={tmp_path}/swept", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", EXTRAS)
def test_every_launcher_composes_and_has_a_header(name: str) -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[f"hydra/launcher={name}"], return_hydra_config=True)
    settings = {key for key in cfg.hydra.launcher if key != "_target_"}
    assert cfg.hydra.launcher["_target_"].startswith("hydra_plugins.")
    assert settings
    text = (conf_dir() / "hydra" / "launcher" / f"{name}.yaml").read_text()
    for word in ("source", "command", "cost", "expect", "needs"):
        assert f"\n# {word}: " in text, f"{name}.yaml says no {word}"
    if installed(name):
        module, _, launcher = cfg.hydra.launcher["_target_"].rpartition(".")
        known = set(inspect.signature(getattr(importlib.import_module(module), launcher)).parameters)
        if name in SCHEMAS:  # these take any word
            module, schema = SCHEMAS[name]
            known = set(getattr(importlib.import_module(module), schema).__dataclass_fields__)
        assert settings <= known, f"unknown to the launcher: {sorted(settings - known)}"


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_extra_is_one_line(name: str, tmp_path: Path) -> None:
    if installed(name):
        pytest.skip(f"the extra `{name}` is installed")
    code, said = fr_train(tmp_path, f"hydra/launcher={name}", *TINY, "seed=0,1")
    assert code == 2, said
    assert said == f"error: hydra/launcher={name} is an extra: pip install 'fourier-robust[{name}]'\n"


@pytest.mark.parametrize(
    ("error", "extra"),
    [
        (RuntimeError("Unknown plugin class : 'hydra_plugins.hydra_joblib_launcher.joblib_launcher.J'"), "local"),
        (RuntimeError("Unknown plugin class : 'hydra_plugins.fourier_robust_joblib.PatientJoblibLauncher'"), "local"),
        (RuntimeError("Unknown plugin class : 'hydra_plugins.fourier_robust_slurm.PatientSlurmLauncher'"), "slurm"),
        (ModuleNotFoundError("No module named 'ray'", name="ray"), "ray"),
        (ModuleNotFoundError("No module named 'submitit'", name="submitit"), "slurm"),
        (ModuleNotFoundError("No module named 'array_api'", name="array_api"), None),
        (RuntimeError("the array of ray tracing and joblib failed"), None),
    ],
)
def test_which_extra(error: Exception, extra: str | None) -> None:
    said = sweeping.missing_extra(error)
    assert said == (extra and f"hydra/launcher={extra} is an extra: pip install 'fourier-robust[{extra}]'")


def equal_to_alone(tmp_path: Path, folder: Path, train_tiny: Any, seed: int) -> bool:
    """Whether a run of a sweep has the history of the same run alone, but for its times."""

    def history(run: Path) -> list[str]:
        lines = [line.split(",") for line in (run / "train.csv").read_text().splitlines()]
        kept = [k for k, name in enumerate(lines[0]) if "seconds" not in name and "per_s" not in name]
        return [",".join(line[k] for k in kept) for line in lines]

    config, names = compose_config("train", *TINY, f"seed={seed}")
    return history(RunFolder.of(folder, names, seed, config).path) == history(train_tiny(f"seed={seed}"))


@pytest.mark.parametrize(
    ("name", "launcher"),
    [
        ("local", ("hydra/launcher=local", "hydra.launcher.n_jobs=2")),
        ("slurm", ("hydra/launcher=submitit_local",)),  # the same jobs, by processes instead of SLURM
        ("ray", ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2")),
    ],
)
def test_jobs_at_once(name: str, launcher: tuple[str, ...], tmp_path: Path, train_tiny: Any) -> None:
    """Two jobs that work and one that fails; the same command again does what is left, which is nothing."""
    if not installed(name):
        pytest.skip(f"the extra `{name}` is not installed")
    arguments = (*launcher, *TINY, "seed=0,1", "trainer.batch_size=16,999")
    code, said = fr_train(tmp_path, *arguments)
    assert code == 1, said
    assert "sweep of 4 jobs: 2 done, 2 failed" in said
    assert "trainer.batch_size=999 exceeds the 64 training images" in said
    assert equal_to_alone(tmp_path, tmp_path / "swept", train_tiny, 1)
    processes = {one["pid"] for one in Jobs(next((tmp_path / "swept" / "sweeps").iterdir())).all()}
    assert len(processes) > 1
    assert os.getpid() not in processes
    code, said = fr_train(tmp_path, *arguments)
    assert code == 1
    assert "sweep of 4 jobs: 2 failed, 2 skipped" in said
    statuses = [json.loads(path.read_text()) for path in (tmp_path / "swept").rglob("status.json")]
    attempts = sorted((one["state"], one["attempt"]) for one in statuses)
    assert attempts == [("done", 1), ("done", 1), ("failed", 2), ("failed", 2)]


def test_a_process_that_is_killed_costs_its_own_job_alone(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    from hydra_plugins.fourier_robust_joblib import _each, _reason

    def work(number: int) -> int:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2:
            raise SystemExit(143)
        time.sleep(1)  # at work while the other is killed
        return os.getpid()

    found: dict[int, BaseException | None] = {}
    _each(work, [(number,) for number in range(5)], 2, Jobs(tmp_path), found.__setitem__)
    assert {number for number, error in found.items() if error is None} == {0, 3, 4}
    assert isinstance(found[2], SystemExit)
    assert found[1] is not None
    assert _reason(found[1]) == "its process was killed (SIGKILL(-9)): out of memory?"


def test_a_job_that_starts_up_when_the_sweep_is_stopped_is_told_once_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra_plugins import fourier_robust_joblib as launcher

    jobs, begun = Jobs(tmp_path), threading.Event()
    jobs.note(0, "waiting", ["seed=0"])

    def start_up() -> int:
        begun.wait()
        job = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        jobs.note(0, "running", ["seed=0"], pid=job.pid)
        return job.wait()

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(start_up)
        threading.Timer(2 * launcher._LOOK, begun.set).start()
        launcher._let_save(Stopped(signal.SIGTERM), [job], jobs)
        assert job.result(timeout=0) == -signal.SIGTERM


def test_hydra_finds_the_launchers_without_loading_torch() -> None:
    plugins = "hydra_plugins.fourier_robust_joblib, hydra_plugins.fourier_robust_slurm"
    code = f"import {plugins}, sys; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def started(tmp_path: Path, arguments: tuple[str, ...], ready: Callable[[dict[int, Any]], bool]) -> Any:
    """A local sweep of fr-train, and what is noted of its jobs once they are `ready`."""
    command = [sys.executable, "-m", "fourier_robust.train", "-m", f"paths.output_dir={tmp_path}/swept", *arguments]
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and sweep.poll() is None:
        for folder in tmp_path.glob("swept/sweeps/*"):
            noted = {one["job"]: one for one in Jobs(folder).all()}
            if ready(noted):
                return sweep, noted
        time.sleep(0.05)
    sweep.kill()
    raise AssertionError(f"the sweep never came so far: {sweep.communicate()[0]}")


def at_work(tmp_path: Path, count: int) -> Callable[[dict[int, Any]], bool]:
    """Once so many jobs have a checkpoint."""
    return lambda noted: len(noted) == 3 and len(list(tmp_path.glob("swept/**/last.pt"))) == count


@pytest.mark.slow
def test_a_killed_job_of_a_local_sweep_is_lost_alone_and_goes_on_with_the_same_command(tmp_path: Path) -> None:
    if not installed("local"):
        pytest.skip("the extra `local` is not installed")
    arguments = ("hydra/launcher=local", "hydra.launcher.n_jobs=2", *TINY, "seed=0,1,2", "trainer.epochs=60")
    sweep, noted = started(tmp_path, arguments, at_work(tmp_path, 2))
    os.kill(noted[0]["pid"], signal.SIGKILL)
    said = sweep.communicate(timeout=300)[0]
    assert sweep.returncode == 1, said
    assert "Traceback" not in said
    assert "sweep of 3 jobs: 2 done, 1 lost" in said
    assert "lost      #0 seed=0: its process was killed (SIGKILL(-9)): out of memory?" in said
    code, said = fr_train(tmp_path, *arguments)
    assert code == 0, said
    assert "sweep of 3 jobs: 1 done, 2 skipped" in said
    statuses = [json.loads(path.read_text()) for path in (tmp_path / "swept").rglob("status.json")]
    assert sorted((one["state"], one["attempt"]) for one in statuses) == [("done", 1), ("done", 1), ("done", 2)]


@pytest.mark.slow
def test_sigterm_of_a_local_sweep_reaches_its_jobs(tmp_path: Path) -> None:
    if not installed("local"):
        pytest.skip("the extra `local` is not installed")
    arguments = ("hydra/launcher=local", "hydra.launcher.n_jobs=2", *TINY, "seed=0,1,2", "trainer.epochs=5000")
    sweep, _ = started(tmp_path, arguments, at_work(tmp_path, 2))
    sweep.send_signal(signal.SIGTERM)
    said = sweep.communicate(timeout=120)[0]
    assert sweep.returncode == 128 + signal.SIGTERM, said
    assert "sweep of 3 jobs: 2 preempted, 1 waiting" in said
    statuses = [json.loads(path.read_text()) for path in (tmp_path / "swept").rglob("status.json")]
    assert [one["state"] for one in statuses] == ["preempted", "preempted"]
