"""A full disk and a read-only one, for training and evaluation; then room again, and the same command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fault.case import DEVICE, TRAIN, Bench, Line, equal, history, rests, run_of, state, weights
from fault.launch import Ended

EVAL = ("suite=calibration", "suite.source=generated", "suite.corruptions=[contrast,fog]", "suite.severities=[1,5]")


@contextmanager
def small(folder: Path, kib: int) -> Iterator[bool]:
    """`folder` as a file system of its own; False where this user may not."""
    made = _quiet("mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder))
    try:
        yield made
    finally:
        if made:
            _quiet("umount", "--lazy", str(folder))


def full(bench: Bench) -> Iterator[Line]:
    """No space on a small file system, for a file above RLIMIT_FSIZE, and from a random file operation on."""
    trained = bench.trained()
    run = run_of(trained).relative_to(trained)
    for what, command, source in (
        ("training", TRAIN, None),
        ("evaluation", ("fr-eval", f"ckpt={run}", *EVAL, *DEVICE), trained),
    ):
        whole = _whole(bench, command, source)
        yield _small(bench, what, command, source, whole)
        yield _limited(bench, what, command, source, whole)
        yield _operations(bench, what, command, source, whole)


def read_only(bench: Bench) -> Iterator[Line]:
    """The folder of results can't be written."""
    trained = bench.trained()
    run = run_of(trained).relative_to(trained)
    for what, command, source in (
        ("training", TRAIN, None),
        ("evaluation", ("fr-eval", f"ckpt={run}", *EVAL, *DEVICE), trained),
    ):
        line = Line(f"read-only folder, {what}", "tmpfs remounted ro; then rw")
        whole, folder = _whole(bench, command, source), bench.new()
        with small(folder, 8192) as mounted:
            if not mounted:
                line.left = "SKIPPED: this user may not mount"
                yield line
                continue
            if source:
                shutil.copytree(source, folder, dirs_exist_ok=True)
            (folder / "outputs").mkdir(exist_ok=True)
            _quiet("mount", "-o", "remount,ro", str(folder))
            line.said(bench.server.run(command, folder), 1, "Read-only file system", "outputs/")
            _quiet("mount", "-o", "remount,rw", str(folder))
            _goes_on(line, bench.server.run(command, folder), folder, whole)
        line.left = "once writable, the same command: equal in all bytes"
        yield line


def _small(bench: Bench, what: str, command: Sequence[str], source: Path | None, whole: Path) -> Line:
    line = Line(f"full disk, {what}", "")
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in source.rglob("*") if path.is_file()) if source else 0
    failed = tried = 0
    for more in (24, 60, 96, 160)[: max(2, min(bench.kills, 4))]:
        folder = bench.new()
        with small(folder, used + more + 40) as mounted:
            if not mounted:
                line.how = line.left = "SKIPPED: this user may not mount"
                return line
            if source:
                shutil.copytree(source, folder, dirs_exist_ok=True)
            tried += 1
            ended = bench.server.run(command, folder)
            if ended.code:
                failed += 1
                line.said(ended, 1, "No space left on device", "outputs/")
            _quiet("mount", "-o", "remount,size=16m", str(folder))
            again = bench.server.run(command, folder)
            _goes_on(line, again, folder, whole)
    line.how = f"tmpfs of {tried} sizes, too small in {failed}; then grown"
    line.check(failed, "it was never full")
    line.left = "with room again, the same command: equal in all bytes"
    return line


def _limited(bench: Bench, what: str, command: Sequence[str], source: Path | None, whole: Path) -> Line:
    line, folder = Line(f"file too large, {what}", "RLIMIT_FSIZE of 12 KiB; then none"), bench.new(source)
    line.said(bench.server.run(command, folder, limit=12 * 1024), 1, "File too large", "outputs/")
    _goes_on(line, bench.server.run(command, folder), folder, whole)
    line.left = "without it, the same command: equal in all bytes"
    return line


def _operations(bench: Bench, what: str, command: Sequence[str], source: Path | None, whole: Path) -> Line:
    draw, count = bench.random(f"full {what}"), bench.folder / "operations"
    folder = bench.new(source)
    bench.server.run(command, folder, operation={"root": str(folder), "at": 0, "count": str(count)})
    operations, hits = int(count.read_text()), 0
    line = Line(f"disk full from an operation on, {what}", "")
    for _ in range(min(bench.kills, 12)):
        folder = bench.new(source)
        strike = {"root": str(folder), "at": draw.randint(1, operations), "count": str(count), "what": "full"}
        ended = bench.server.run(command, folder, operation=strike)
        if ended.code:
            hits += 1
            line.said(ended, 1, "No space left on device")
        _goes_on(line, bench.server.run(command, folder), folder, whole)
        bench.drop(folder)
    line.how = f"no file can be made from one of {operations} file operations on: {hits} times"
    line.left = "then, the same command: equal in all bytes"
    return line


def _whole(bench: Bench, command: Sequence[str], source: Path | None) -> Path:
    """A folder in which `command` was never disturbed."""
    if source is None:
        return bench.trained()
    folder = bench.new(source)
    ended = bench.server.run(command, folder)
    assert ended.code == 0, ended.text
    return folder


def _goes_on(line: Line, ended: Ended, folder: Path, whole: Path) -> None:
    line.check(ended.code == 0, f"afterwards exit code {ended.code}: {ended.last}")
    if ended.code:
        return
    one, other = run_of(folder), run_of(whole)
    line.check(weights(one) == weights(other), "other weights")
    line.check(equal(state(one), state(other)), "another state")
    line.check(history(one) == history(other), "another train.csv")
    for path in other.rglob("results.csv"):
        found = one / path.relative_to(other)
        line.check(found.exists() and found.read_bytes() == path.read_bytes(), "another results.csv")
    line.check(not rests(folder), f"left over: {rests(folder)[:3]}")


def _quiet(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
