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

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback

from fourier_robust.engine.interrupt import Interrupted, Stopped, leave_on_signals
from fourier_robust.errors import Busy, UserError
from fourier_robust.run.sweep import FINE, Jobs, Outcome, summary

EXTRAS = {"slurm|submitit": "slurm", "joblib": "local", r"\bray\b|hydra_ray": "ray"}  # by what Hydra misses
_started: list[Path] = []  # the folder of the sweep that this process started


class NoteFolder(Callback):
    """Hydra calls it where a sweep is started, in no job."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Remember the sweep's folder."""
        _started.append(Path(config.hydra.sweep.dir).absolute())


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
    for left in range(retry, -1, -1):
        try:
            with leave_on_signals(), _gpu() as device:
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
def _gpu() -> Iterator[str | None]:
    """A GPU that no other job of this host holds, for launchers that give out none; None where there is none."""
    if "joblib" not in str(HydraConfig.get().launcher.get("_target_", "")):
        yield None
        return
    import torch

    from fourier_robust.run.gpu import free_gpu

    with free_gpu(torch.cuda.device_count()) as index:
        yield None if index is None else f"cuda:{index}"
