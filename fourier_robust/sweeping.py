"""A job of a sweep, which costs no other job when it fails; and the end of a sweep, where it was started."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import env_override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fourier_robust.config import check_paths
from fourier_robust.engine.interrupt import Interrupted, Stopped, leave_on_signals
from fourier_robust.errors import Busy, UserError
from fourier_robust.run.sweep import FINE, Jobs, Outcome, summary

EXTRAS = {"slurm|submitit": "slurm", "joblib": "local", r"\bray\b|hydra_ray": "ray"}  # by what Hydra misses
_started: list[Path] = []  # the folder of the sweep that this process started
_planned: list[list[str]] = []  # of each job of that sweep, its overrides; empty where another sweeper makes them
_device: dict[str, Any] = {}  # the settings of the job that this process does


class NoteFolder(Callback):
    """Hydra calls it where a sweep is started, and where a job of it runs."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Remember the sweep's folder, and its jobs where Hydra's own sweeper makes them: no others count there.

        Raises:
            SystemExit: 2, where the paths can't be used: before a folder is made there; Hydra hides other errors.
        """
        try:
            paths: Any = OmegaConf.to_container(config.get("paths") or OmegaConf.create(), resolve=True)
            check_paths(paths)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except (OmegaConfBaseException, ValueError):  # of a variable that jobs alone may have; they say so if not
            pass
        _started.append(Path(config.hydra.sweep.dir).absolute())
        _planned[:] = _jobs(config.hydra)
        if _planned:
            Jobs(_started[-1]).forget(len(_planned))

    def on_job_start(self, config: Any, **_: Any) -> None:
        """Remember where the job is to run."""
        _device.clear()
        _device.update({key: OmegaConf.select(config, f"device.{key}") for key in ("name", "processes")})


def _jobs(hydra: Any) -> list[list[str]]:
    """The overrides of each job, as Hydra's own sweeper makes them; empty for another one, or what it will refuse."""
    if hydra.sweeper._target_.rpartition(".")[2] != "BasicSweeper":
        return []
    words = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
    words += [str(one) for one in OmegaConf.to_container(hydra.overrides.task, resolve=False) or ()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    with contextlib.suppress(HydraException):
        return [one for batch in BasicSweeper.split_arguments(parser.parse_overrides(words), None) for one in batch]
    return []


def job(work: Callable[[str | None], Outcome | None], retry: int) -> None:
    """Do `work` (given a device, or None for the config's own) as a job of a sweep and note what became of it.

    A failure is noted, not raised: Hydra would stop later batches, and submitit counts it as a success anyway. A job
    that another process does is left to that process. Errors other than the user's are tried again `retry` times.

    Raises:
        SystemExit: a signal asked to stop; 128 + signal.
    """
    hydra = HydraConfig.get()
    jobs, number = Jobs(Path(hydra.sweep.dir)), int(hydra.job.num)
    overrides = [str(one) for one in hydra.overrides.task]
    started, about = time.time(), {"host": socket.gethostname(), "pid": os.getpid()}
    if os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
        about["slurm"] = str(hydra.job.id)

    def note(state: str, **details: Any) -> None:
        jobs.note(number, state, overrides, **about, seconds=round(time.time() - started, 1), **details)

    note("running")
    if number == 0:  # with a launcher that begins them here, one after the other; the others note them themselves
        for other in range(1, len(_planned)):
            jobs.note(other, "waiting", _planned[other])
    for left in range(retry, -1, -1):
        try:
            with leave_on_signals(), jobs.beating(number), _gpus() as device:
                outcome = work(device)
            state, folder = outcome or ("done", None)
            note(state, folder=None if folder is None else str(folder))
            return
        except (Interrupted, Stopped) as stop:
            note("preempted", reason=str(stop))
            hand_over(stop)
        except (KeyboardInterrupt, SystemExit):
            note("preempted", reason="stopped")
            raise
        except Busy as error:
            note("elsewhere", reason=str(error))
            print(f"left out: {error}", file=sys.stderr)
            return
        except UserError as error:
            note("failed", reason=str(error))
            print(f"error: {error}", file=sys.stderr)
            return
        except Exception as error:
            traceback.print_exc()
            note("failed", reason=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
            if left:
                print(f"job {number} failed; {left} more {'try' if left == 1 else 'tries'}", file=sys.stderr)


def hand_over(stop: Interrupted | Stopped) -> None:
    """After a stop with everything saved: give the signal to who listens to it (submitit requeues), or leave.

    Raises:
        SystemExit: 128 + signal.
    """
    print(stop, file=sys.stderr)
    if stop.signum != signal.SIGINT and callable(signal.getsignal(stop.signum)):
        signal.raise_signal(stop.signum)
    sys.exit(128 + stop.signum)


def finish(error: BaseException | None = None) -> int | None:
    """At the end of a sweep that this process started: its table; returns the exit code, None where there is none."""
    if not _started:
        return None
    folder = _started[-1]
    found = Jobs(folder).all()
    if not found and error is not None:  # it never got to its jobs
        return None
    for one in found:
        if isinstance(error, KeyboardInterrupt) and "slurm" in one:
            continue  # only the watching has ended
        if isinstance(error, KeyboardInterrupt | SystemExit) and one["state"] == "waiting":
            continue
        if one["state"] in ("waiting", "running"):
            one |= {"state": "lost", "reason": "it ended without a word: killed, or its host went down"}
    print(f"\n{summary(found)}\nnoted in {folder}; the same command runs what is missing", file=sys.stderr)
    return 0 if error is None and found and all(one["state"] in FINE for one in found) else 1


def missing_extra(error: Exception) -> str | None:
    """What to install where `error` is Hydra's about a launcher that is not there; None for any other error."""
    absent = str(getattr(error, "name", "")) if isinstance(error, ModuleNotFoundError) else ""
    said = f"{error} {absent}" if "Unknown plugin class" in str(error) or absent else ""
    for part, extra in EXTRAS.items():
        if re.search(part, said):
            return f"hydra/launcher={extra} is an extra: pip install 'fourier-robust[{extra}]'"
    return None


@contextlib.contextmanager
def _gpus() -> Iterator[str | None]:
    """A GPU that no other job of this host holds, for launchers that give out none; None where the job names its own.

    Several processes get as many: they alone see them, as ``CUDA_VISIBLE_DEVICES``.

    Raises:
        UserError: there are fewer than the job has processes.
    """
    name, wanted = _device.get("name", "auto"), _device.get("processes", 1)
    ours = isinstance(wanted, int) and wanted > 0 and (name == "auto" or (name == "cuda" and wanted > 1))
    if not ours or "joblib" not in str(HydraConfig.get().launcher.get("_target_", "")):
        yield None
        return
    import torch

    from fourier_robust.run.gpu import free_gpus

    count = torch.cuda.device_count()
    if count == 0:
        yield None
        return
    names = [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]
    with free_gpus(names, wanted) as held:
        if wanted == 1:
            yield f"cuda:{held[0]}"
            return
        shown = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one] or range(count)
        with env_override({"CUDA_VISIBLE_DEVICES": ",".join(str(shown[index]) for index in held)}):
            yield None
