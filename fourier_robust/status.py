"""``fr-status``: what became of the runs and sweeps below a folder; reads small files only."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from fourier_robust.run.claim import NAME, STALE, alive
from fourier_robust.run.sweep import Jobs, last_line, swept

USAGE = """fr-status [FOLDER ...] [--all]

  fr-status                                runs, evaluations and jobs of sweeps below outputs that are not done, and
                                           how many runs are
  fr-status outputs/sweeps/2026-11-21_...  the jobs of one sweep
  fr-status --all outputs/cifar10          also runs that are done

States: waiting (not begun), running, done, failed, preempted (stopped by a signal, saved), lost (running, but its
process is gone, or silent for three minutes: the same command goes on from its last checkpoint). The time is that since
the last sign of life. Of evaluations, those that run or were killed are seen. A job counts as it ended in the last
sweep that had it, and is not shown beside its run; one that failed and is wanted no more goes with the folder of its
sweep. Exits with 1 where a run, an evaluation or a job failed or is lost.
"""
UNFINISHED = ("waiting", "running", "preempted", "failed", "lost")
SKIPPED = {"outcomes", "predictions", "jobs", "superseded", ".submitit"}  # folders without runs


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
        Path(os.environ.get("FR_OUTPUTS") or "outputs")
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


class Work(NamedTuple):
    """What is known of a run or an evaluation besides its line, to tell whose job it is.

    Attributes:
        line: of it.
        folder: that it has to itself.
        noted: status.json, or the claim where there is none; empty where it is damaged.
    """

    line: Line
    folder: Path
    noted: Mapping[str, Any]


def found(folder: Path) -> Iterator[Line]:
    """The jobs of a sweep's folder; else below `folder` all runs, evaluations that run or are lost, unfinished jobs."""
    if (folder / "jobs").is_dir():
        yield from (line for _, line in _jobs(folder))
        return
    works: list[Work] = []
    sweeps: list[Path] = []
    for base, below, files in os.walk(folder):
        here = Path(base)
        if "jobs" in below:
            sweeps.append(here)
        below[:] = sorted(set(below) - SKIPPED)
        if "status.json" in files:
            works.append(_run(here, folder))
        elif NAME in files:
            works.extend(_claimed(here, folder, "results.csv" in files))
    yield from (work.line for work in works)
    yield from _unfinished(sweeps, folder, works)


def table(lines: Sequence[Line], every: bool) -> str:
    """Counts by state, then a line per run; of those that are done only the count, unless `every`."""
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.state] = counts.get(line.state, 0) + 1
    text = [", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no runs, no unfinished jobs"]
    for line in lines:
        if every or line.state in UNFINISHED:
            error = f"  {line.error}" if line.error else ""
            text.append(f"{line.state:<10}{_age(line.age):>7}  {line.name}{error}")
    return "\n".join(text)


def _jobs(sweep: Path) -> Iterator[tuple[dict[str, Any], Line]]:
    """What each job of a sweep noted, with its line."""
    jobs = Jobs(sweep).all()
    names = swept(jobs)
    for job in jobs:
        state = "lost" if job["state"] == "running" and _gone(job) else job["state"]
        yield job, Line(state, job["age"], f"#{job['job']} {names[job['job']]}", last_line(job.get("reason")))


def _unfinished(sweeps: Sequence[Path], base: Path, works: Sequence[Work]) -> Iterator[Line]:
    """The jobs of the sweeps that are neither done nor one of `works`; of equal overrides the newest note counts."""
    newest: dict[object, tuple[Path, dict[str, Any], Line]] = {}
    for sweep in sweeps:
        for job, line in _jobs(sweep):
            key = tuple(job["overrides"]) or (sweep, job["job"])  # a damaged note has none
            if key not in newest or _seconds(line.age) <= _seconds(newest[key][2].age):
                newest[key] = sweep, job, line
    words = functools.cache(_words)  # a file each
    for sweep, job, line in newest.values():
        if line.state in UNFINISHED and not any(_same(sweep, job, line, work, words) for work in works):
            yield line._replace(name=f"{sweep.relative_to(base).as_posix()} {line.name}")


def _same(sweep: Path, job: Mapping[str, Any], line: Line, work: Work, words: Callable[[Path], Sequence[str]]) -> bool:
    """Whether `work` is that of the job: so says the claim of an evaluation; or it was alive after the job had begun,
    and either its process and its end are the job's, or it was begun with the very words of the job: that is how a job
    of several processes begins it, and who does the job again by itself.
    """
    place, _, number = str(work.noted.get("job", "")).partition("@")[0].rpartition("#")
    if number == str(job["job"]) and Path(place).resolve() == sweep.resolve():
        return True
    if _seconds(work.line.age) > _seconds(line.age) + job.get("seconds", 0) + STALE:
        return False
    ends = ["lost" if state == "running" else state for state in (line.state, work.line.state)]
    process = all(job.get(name) is not None and job[name] == work.noted.get(name) for name in ("host", "pid"))
    if process and ends[0] == ends[1]:
        return line.state != "failed" or work.line.error.endswith(line.error)
    return bool(job["overrides"]) and words(work.folder) == sorted(job["overrides"])


def _words(folder: Path) -> list[str]:
    """With which words the last launch of a run was begun, sorted."""
    try:
        return sorted(
            str(word) for word in json.loads((folder / "run.json").read_text())["launches"][-1]["command"][1:]
        )
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _claimed(folder: Path, base: Path, results: bool) -> Iterator[Work]:
    """What runs in a folder, an evaluation mostly; or was killed there, if no earlier one left `results`."""
    claim = folder / NAME
    try:
        text, age = claim.read_text(errors="replace"), time.time() - claim.stat().st_mtime
    except FileNotFoundError:  # it has just ended
        return
    state = "running" if alive(claim, text) else "lost"
    if state == "running" or not results:
        yield Work(Line(state, age, folder.relative_to(base).as_posix(), ""), folder, _mapping(text))


def _mapping(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _run(folder: Path, base: Path) -> Work:
    name = folder.relative_to(base).as_posix()
    try:
        status = json.loads((folder / "status.json").read_text())
        state = str(status["state"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Work(Line("failed", None, name, f"status.json is damaged ({type(error).__name__})"), folder, {})
    if state == "running":
        claim = folder / NAME
        try:
            state = "running" if alive(claim, claim.read_text(errors="replace")) else "lost"
        except FileNotFoundError:
            state = "lost"
    again = f" (attempt {status['attempt']})" if status.get("attempt", 1) != 1 else ""
    line = Line(state, _since(status.get("heartbeat")), name + again, last_line(status.get("reason")))
    return Work(line, folder, status)


def _gone(job: dict[str, Any]) -> bool:
    """Whether a job's process is gone: on this host, and not there, or without a sign of life for `STALE` seconds."""
    import socket

    here = job.get("host") == socket.gethostname()
    return (here and not Path(f"/proc/{job.get('pid')}").exists()) or job["age"] > STALE


def _seconds(age: float | None) -> float:
    return math.inf if age is None else age


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
