"""Which jobs of this user a SLURM cluster still has, with or without its accounting."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_TICK = 0.5  # seconds between two looks at the files
_FIRST, _LAST = 2.0, 60.0  # seconds between two questions to the controller: at first, and after ten minutes


def queued(number: str) -> set[str] | None:
    """The jobs of array (or job) `number` that wait, run or end now, as ``12_0`` (or ``12``); None: no answer."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={number}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if found.returncode == 0:
        return set(found.stdout.split())
    return set() if "Invalid job id" in found.stderr else None


def wait(results: dict[str, Path], ask: Callable[[str], set[str] | None] = queued) -> None:
    """Return when each job has left its result, or is in the queue no longer.

    A job counts as gone when two answers in a row don't name it: between the end of a job and its requeue there may be
    none. An unanswered question counts for nothing, so an outage of the controller is waited out.

    Args:
        results: of each job's identity (``12_0``) the file that it leaves when it ends by itself.
        ask: of the number of an array, which of its jobs the queue has.
    """
    missed = dict.fromkeys(results, 0)
    started = asked = time.monotonic()
    while missed:
        missed = {job: count for job, count in missed.items() if not results[job].exists()}
        now = time.monotonic()
        if now - asked >= min(_LAST, max(_FIRST, (now - started) / 10)):
            asked = now
            for number in sorted({job.split("_")[0] for job in missed}):
                there = ask(number)
                if there is not None:
                    missed = _count(missed, number, there)
            missed = {job: count for job, count in missed.items() if count < 2}
        if missed:
            time.sleep(_TICK)


def _count(missed: dict[str, int], number: str, there: set[str]) -> dict[str, int]:
    """`missed` after one more answer about array `number`."""
    of_it = {job: 0 if job in there else count + 1 for job, count in missed.items() if job.split("_")[0] == number}
    return missed | of_it


def refusal(error: BaseException) -> str:
    """What sbatch said, of the many lines that submitit reports."""
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("sbatch: error:")]
    return (said or list(lines) or [type(error).__name__])[-1]
