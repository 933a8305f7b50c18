"""What became of each job of a sweep: a file per job, written where the job runs, read where the sweep was started."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fourier_robust.run.atomic import write_text

FINE = ("done", "skipped", "elsewhere")  # states that make no sweep fail


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
        it), ``preempted`` (stopped by a signal), ``failed``, or ``lost`` (ended without a word).
        """
        content = {"job": number, "state": state, "overrides": list(overrides)} | details
        write_text(self.folder / "jobs" / f"{number}.json", json.dumps(content, indent=2) + "\n")

    def all(self) -> list[dict[str, Any]]:
        """What is noted of each job, by number; one whose file is damaged is ``lost``."""
        found = []
        for path in sorted((self.folder / "jobs").glob("*.json"), key=lambda path: int(path.stem)):
            try:
                content = json.loads(path.read_text())
                found.append({"state": "lost", "overrides": [], **content})
            except (OSError, ValueError):
                found.append({"job": int(path.stem), "state": "lost", "overrides": [], "reason": f"{path} is damaged"})
        return found


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
