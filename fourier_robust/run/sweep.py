"""What became of each job of a sweep: a file per job, written where the job runs, read where the sweep was started."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fourier_robust.run.atomic import write_text
from fourier_robust.run.claim import BEAT

FINE = ("done", "skipped", "elsewhere")  # states that make no sweep fail
# Of what is read of a note.
_KINDS: dict[str, Any] = {"state": str, "overrides": list, "pid": int, "host": str, "seconds": int | float}


class Outcome(NamedTuple):
    """What a front door did: ``done``, or ``skipped`` where it had been done before; and the folder that holds it."""

    state: str
    folder: Path


@dataclass(frozen=True)
class Jobs:
    """The jobs of one sweep, in ``<folder>/jobs/<number>.json``.

    Args:
        folder: of the sweep.
    """

    folder: Path

    def note(self, number: int, state: str, overrides: Sequence[str], **details: Any) -> None:
        """Note its state.

        ``waiting`` in a queue, ``running``, ``done``, ``skipped`` (had been done), ``elsewhere`` (another process does
        it), ``preempted`` (stopped by a signal), ``failed``, or ``lost`` (ended without a word; it stays known which
        process that was).
        """
        if state == "lost":
            before = _read(self.folder / "jobs" / f"{number}.json")
            details = {key: before[key] for key in ("host", "pid") if key in before} | details
        content = {"job": number, "state": state, "overrides": list(overrides)} | details
        write_text(self.folder / "jobs" / f"{number}.json", json.dumps(content, indent=2) + "\n")

    @contextlib.contextmanager
    def beating(self, number: int) -> Iterator[None]:
        """While inside, a thread gives signs of life: the note's time of change."""
        path, stop = self.folder / "jobs" / f"{number}.json", threading.Event()

        def beat() -> None:
            while not stop.wait(BEAT):
                with contextlib.suppress(OSError):
                    os.utime(path)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def all(self) -> list[dict[str, Any]]:
        """What is noted of each job, by number, and its `age`: seconds since its last sign of life, None: unknown.

        One whose file is damaged is ``lost``; a file that is called otherwise is none of a job.
        """
        return [_read(path) for path in self._paths()]

    def forget(self, count: int) -> None:
        """Remove what an earlier sweep of more than `count` jobs noted of the others."""
        for path in self._paths():
            if int(path.stem) >= count:
                path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        paths = [path for path in (self.folder / "jobs").glob("*.json") if re.fullmatch("[0-9]{1,9}", path.stem)]
        return sorted(paths, key=lambda path: int(path.stem))


def _read(path: Path) -> dict[str, Any]:
    """The note in the file `path`, whatever lies there."""
    found: dict[str, Any] = {"job": int(path.stem), "state": "lost", "overrides": [], "age": None}
    try:
        content = json.loads(path.read_text())
        found["age"] = time.time() - path.stat().st_mtime
    except (OSError, ValueError, RecursionError):
        content = None
    whole = isinstance(content, dict) and all(
        isinstance(content[key], kind) for key, kind in _KINDS.items() if key in content
    )
    if not whole or not all(isinstance(one, str) for one in content.get("overrides", [])):
        return found | {"reason": f"{path} is damaged"}
    return found | content | {"job": found["job"], "age": found["age"]}


def summary(jobs: Sequence[dict[str, Any]]) -> str:
    """Counts by state, then a line per job that is not done, with the reason."""
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job["state"]] = counts.get(job["state"], 0) + 1
    lines = [f"sweep of {len(jobs)} jobs: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))]
    names = swept(jobs)
    for job in jobs:
        if job["state"] not in ("done", "skipped"):
            reason = last_line(job.get("reason"))
            lines.append(f"  {job['state']:<9} #{job['job']} {names[job['job']]}" + (f": {reason}" if reason else ""))
    return "\n".join(lines)


def swept(jobs: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Of each job, by its number, the overrides that not all jobs have."""
    shared = set.intersection(*(set(job["overrides"]) for job in jobs)) if len(jobs) > 1 else set()
    return {job["job"]: " ".join(one for one in job["overrides"] if one not in shared) for job in jobs}


def last_line(text: object) -> str:
    """Of a message, what says most; empty for none."""
    lines = str(text or "").strip().splitlines()
    return lines[-1] if lines else ""
