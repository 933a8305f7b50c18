"""``fr-status``: what became of the runs and sweeps below a folder; reads small files only."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from fourier_robust.run.claim import NAME, STALE, alive
from fourier_robust.run.sweep import Jobs, last_line, swept

USAGE = """fr-status [FOLDER ...] [--all]

  fr-status                                runs and sweeps below outputs that are not done, and how many are
  fr-status outputs/sweeps/2026-11-21_...  the jobs of one sweep
  fr-status --all outputs/cifar10          also those that are done

States: waiting (not begun), running, done, failed, preempted (stopped by a signal, saved), lost (running, but its
process is gone, or silent for three minutes: the same command goes on from its last checkpoint). The time is that since
the last sign of life. Exits with 1 where a run failed or is lost.
"""
UNFINISHED = ("waiting", "running", "preempted", "failed", "lost")
SKIPPED = {"eval", "outcomes", "predictions", "jobs"}  # folders without runs


class Line(NamedTuple):
    """One run or job: its state, the seconds since its last sign of life (None: unknown), its name, its last error."""

    state: str
    age: float | None
    name: str
    error: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``fr-status``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(words):
        print(USAGE, end="")
        return
    folders = [Path(word) for word in words if not word.startswith("-")] or [
        Path(os.environ.get("FR_OUTPUTS", "outputs"))
    ]
    unknown = [word for word in words if word.startswith("-") and word != "--all"]
    absent = [folder for folder in folders if not folder.is_dir()]
    if unknown or absent:
        said = f"no such option: {unknown[0]}" if unknown else f"there is no folder {absent[0]}"
        print(f"error: {said}", file=sys.stderr)
        sys.exit(2)
    lines = [line for folder in folders for line in found(folder)]
    print(table(lines, "--all" in words))
    if any(line.state in ("failed", "lost") for line in lines):
        sys.exit(1)


def found(folder: Path) -> Iterator[Line]:
    """The jobs of a sweep's folder, or all runs below `folder`, in order."""
    if (folder / "jobs").is_dir():
        jobs = Jobs(folder).all()
        names = swept(jobs)
        for job in jobs:
            state = "lost" if job["state"] == "running" and _gone(job) else job["state"]
            yield Line(state, job["age"], f"#{job['job']} {names[job['job']]}", last_line(job.get("reason")))
        return
    for base, below, files in os.walk(folder):
        below[:] = sorted(set(below) - SKIPPED)
        if "status.json" in files:
            yield _run(Path(base), folder)


def table(lines: Sequence[Line], every: bool) -> str:
    """Counts by state, then a line per run; of those that are done only the count, unless `every`."""
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.state] = counts.get(line.state, 0) + 1
    text = [", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no runs"]
    for line in lines:
        if every or line.state in UNFINISHED:
            error = f"  {line.error}" if line.error else ""
            text.append(f"{line.state:<10}{_age(line.age):>7}  {line.name}{error}")
    return "\n".join(text)


def _run(folder: Path, base: Path) -> Line:
    name = folder.relative_to(base).as_posix()
    try:
        status = json.loads((folder / "status.json").read_text())
        state = str(status["state"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Line("failed", None, name, f"status.json is damaged ({type(error).__name__})")
    if state == "running":
        claim = folder / NAME
        try:
            state = "running" if alive(claim, claim.read_text(errors="replace")) else "lost"
        except FileNotFoundError:
            state = "lost"
    again = f" (attempt {status['attempt']})" if status.get("attempt", 1) != 1 else ""
    return Line(state, _since(status.get("heartbeat")), name + again, last_line(status.get("reason")))


def _gone(job: dict[str, Any]) -> bool:
    """Whether a job's process is gone: on this host, and not there, or without a sign of life for `STALE` seconds."""
    import socket

    here = job.get("host") == socket.gethostname()
    return (here and not Path(f"/proc/{job.get('pid')}").exists()) or job["age"] > STALE


def _since(text: object) -> float | None:
    try:
        then = datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None
    return (datetime.now(then.tzinfo) - then).total_seconds()


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
