"""``hydra/launcher=local``: the joblib launcher, but one that outlives its jobs.

Found by Hydra, which takes launchers from the package ``hydra_plugins`` alone. Without the extra ``local`` it is empty.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals

from fourier_robust.engine.interrupt import Stopped, leave_on_signals

if TYPE_CHECKING:  # Hydra reads all plugins first: torch is not loaded for that
    from fourier_robust.run.sweep import Jobs

GRACE = 60.0  # seconds for jobs to save after a signal
_LOOK = 0.5  # seconds between two looks at what has begun since
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

with contextlib.suppress(ImportError):
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

    class PatientJoblibLauncher(JoblibLauncher):
        """Runs the jobs of a sweep on this machine, `n_jobs` at once; what becomes of one costs no other.

        What became of a job is what it has noted itself (`Jobs`).

        Args:
            n_jobs: processes, each for one job after the other; -1: one per core.

        Deviates: the launcher that it extends keeps all jobs in one pool of processes: where one is killed (by a lack
            of memory, say), the pool kills the others too, and none is begun any more. Here each process is a pool of
            its own, replaced when it has died.
        """

        def __init__(self, n_jobs: int) -> None:
            from fourier_robust.run.pool import usable_cores

            super().__init__(n_jobs=n_jobs)
            self.n_jobs = usable_cores() if n_jobs == -1 else n_jobs

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            """Run them all, and note as lost what ended without a word.

            Raises:
                Stopped: SIGTERM came; the jobs were told, and had `GRACE` seconds to save.
            """
            from hydra_plugins.hydra_joblib_launcher._core import execute_job

            from fourier_robust.run.sweep import Jobs

            setup_globals()
            assert self.config is not None
            configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
            jobs = Jobs(Path(str(self.config.hydra.sweep.dir)))
            numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
            tasks = [[one for one in some if not one.startswith(("hydra.", "hydra/"))] for some in job_overrides]
            for number, task in zip(numbers, tasks, strict=True):
                jobs.note(number, "waiting", task)

            def ended(number: int, error: BaseException | None) -> None:
                noted = {one["job"]: one["state"] for one in jobs.all()}
                if error is not None and noted.get(number, "waiting") in ("waiting", "running"):
                    jobs.note(number, "lost", tasks[number - initial_job_idx], reason=_reason(error))

            common = (self.hydra_context, self.config, self.task_function, Singleton.get_state())
            calls = [(number, list(some), *common) for number, some in zip(numbers, job_overrides, strict=True)]
            with leave_on_signals():
                _each(execute_job, calls, max(1, min(self.n_jobs, len(calls))), jobs, ended)
            return [JobReturn(overrides=task, status=JobStatus.COMPLETED) for task in tasks]


def _each(
    work: Any,
    calls: Sequence[tuple[Any, ...]],
    count: int,
    jobs: Jobs,
    ended: Callable[[int, BaseException | None], None],
) -> None:
    """Do each of `calls`, `count` at once; ``ended(number, error)`` as each ends, the number its first argument."""
    pools = [_pool(count) for _ in range(count)]
    waiting, free = list(reversed(calls)), list(range(count))
    running: dict[Future[Any], tuple[int, int]] = {}
    try:
        while waiting or running:
            while waiting and free:
                place, call = free.pop(), waiting.pop()
                try:
                    future = pools[place].submit(work, *call)
                except Exception:  # its process has died since
                    pools[place] = _pool(count)
                    future = pools[place].submit(work, *call)
                running[future] = place, call[0]
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                place, number = running.pop(future)
                free.append(place)
                ended(number, future.exception())
    except BaseException as error:
        _let_save(error, running, jobs)
        raise
    finally:
        for pool in pools:
            pool.shutdown(kill_workers=True)


def _let_save(error: BaseException, running: Collection[Future[Any]], jobs: Jobs) -> None:
    """Wait `GRACE` seconds for the jobs that run, and for those that are still starting up.

    They get a signal that came to this process alone once they run; a Ctrl-C came to them too.
    """
    told: set[int] = set()
    until = time.monotonic() + GRACE
    while running and time.monotonic() < until:
        for one in jobs.all():
            pid = int(one.get("pid", 0))
            if isinstance(error, Stopped) and one["state"] == "running" and pid not in {0, *told}:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, error.signum)
        running = wait(running, timeout=_LOOK).not_done


def _pool(count: int) -> Any:
    """One process, in its share of the cores where nothing else is said."""
    from joblib.externals.loky import ProcessPoolExecutor

    from fourier_robust.run.pool import usable_cores

    share = str(max(1, usable_cores() // count))
    return ProcessPoolExecutor(1, env={name: os.environ.get(name, share) for name in THREADS})


def _reason(error: BaseException) -> str:
    """One line for how a job's process ended."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    if isinstance(error, TerminatedWorkerError):
        code = re.search(r"exit codes of the workers are \{(.*)\}", str(error))
        return f"its process was killed ({code[1] if code else 'unknown how'}): out of memory?"
    return f"{type(error).__name__}: {error}"
