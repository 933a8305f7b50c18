"""SIGKILL and SIGTERM at random points of a training and of each suite; the same command goes on."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fault.case import DEVICE, TRAIN, Bench, Line, equal, history, rests, run_of, state, weights
from fault.launch import Ended

SUITES = {
    "clean": (),
    "corruptions": (
        "suite.source=generated",
        "suite.corruptions=[gaussian_noise,glass_blur,contrast]",
        "suite.severities=[1,5]",
    ),
    "heatmap": ("suite.images=16", "suite.cells=rings", "suite.per_ring=1"),
    "attacks": (
        "suite.attacks=[fgsm,pgd]",
        "suite.kinds.pgd.steps=3",
        "suite.eps_255=[4,8]",
        "suite.images=16",
        "suite.stretch=4",
        "suite.checks=4",
    ),
    "ood": (
        "suite.scores=[max_logit,odin,mahalanobis]",
        "suite.sets=[uniform_noise,phase_scrambled]",
        "suite.readers.uniform_noise.images=32",
        "suite.images=16",
        "suite.fit_images=32",
        "suite.replicates=20",
    ),
    "calibration": ("suite.source=generated", "suite.corruptions=[contrast,fog]", "suite.severities=[1,5]"),
    "sensitivity": ("suite.images=32",),
    "corruptions_bar": ("suite.source=generated", "suite.corruptions=[lines,sparkles]", "suite.severities=[1,5]"),
    "swap": (),
    "bands": (),
    "shift": (),
    "spectra": (),
    "kernel_smoothing": (),
    "resolution": ("suite.sizes=[24,32,40]",),
    "siscore": ("suite.objects=4",),
    "heatmap_layers": ("suite.layers=[net.groups.0]", "suite.images=16"),
    "fewshot": (
        "suite.sets=[shapes]",
        "suite.shots=[1,2]",
        "suite.readers.shapes.dataset.num_train=100",
        "suite.readers.shapes.dataset.num_test=32",
    ),
}
TOGETHER = tuple(SUITES)[:7]  # of `others.many_at_once`


def train_kill(bench: Bench) -> Iterator[Line]:
    """SIGKILL at random moments and at random file operations of a training."""
    yield _training(bench, "SIGKILL in training", signal.SIGKILL)


def train_term(bench: Bench) -> Iterator[Line]:
    """SIGTERM at random moments of a training: it saves and ends by itself."""
    yield _training(bench, "SIGTERM in training", signal.SIGTERM)


def suite_kill(bench: Bench, name: str) -> Iterator[Line]:
    """SIGKILL at random moments and file operations of one of `SUITES`."""
    yield _suite(bench, name)


def _training(bench: Bench, fault: str, signum: signal.Signals) -> Line:
    reference = run_of(bench.trained())
    line = Line(fault, "")
    attempts = [0]

    def begin() -> Path:
        attempts[0] = 0
        return bench.new()

    def struck(folder: Path, ended: Ended) -> None:
        found = [json.loads(path.read_text()) for path in (folder / "outputs").rglob("status.json")]
        attempt, state_now = (found[0]["attempt"], found[0]["state"]) if found else (0, None)
        line.check(attempt - attempts[0] in (0, 1), f"attempt {attempt} after {attempts[0]}")
        attempts[0] = attempt
        if signum == signal.SIGTERM and ended.code == 143:
            line.check(state_now == "preempted", f"status {state_now} after SIGTERM")
            line.check("the same command goes on from here" in ended.last, f"SIGTERM: {ended.last!r}")
        elif ended.code not in (0, -signum):
            line.check(False, f"exit code {ended.code} after {signum.name}: {ended.last}")

    def finished(folder: Path, ended: Ended) -> None:
        run = run_of(folder)
        status = json.loads((run / "status.json").read_text())
        line.check(weights(run) == weights(reference), "other weights")
        line.check(equal(state(run), state(reference)), "another state")
        line.check(history(run) == history(reference), "another train.csv")
        line.check(status["state"] == "done", f"status {status['state']}")
        counted = status["attempt"] - attempts[0]
        line.check(counted == (0 if "already done" in ended.text else 1), f"attempt {status['attempt']}")
        skipped = "already done" in ended.text  # then nobody has looked at a dead process's claim, which holds nothing
        left = [name for name in rests(folder) if not (skipped and name == ".claim")]
        line.check(not left, f"left over: {left[:3]}")

    points = _strike(bench, fault, TRAIN, signum, begin, struck, finished)
    line.how, line.message, line.code = points.how, points.last.last, str(points.last.code)
    line.check(points.hits == bench.kills, f"struck {points.hits} times in the time, not {bench.kills}")
    line.left = f"{points.runs} runs whole: weights, state, train.csv equal in all bytes"
    return line


def _suite(bench: Bench, name: str) -> Line:
    source = bench.trained()
    run = run_of(source).relative_to(source)
    command = ("fr-eval", f"ckpt={run}", f"suite={name}", *SUITES[name], *DEVICE)
    line = Line(f"SIGKILL in suite={name}", "")
    whole = bench.new(source)
    ended = bench.server.run(command, whole)
    if ended.code:
        line.said(ended, 0)
        return line
    wanted = {name: path.read_bytes() for name in ("results.csv", "table.csv") for path in whole.rglob(name)}

    def struck(folder: Path, ended: Ended) -> None:
        line.check(ended.code in (0, -signal.SIGKILL), f"exit code {ended.code}: {ended.last}")

    def finished(folder: Path, ended: Ended) -> None:
        found = {name: path.read_bytes() for name in wanted for path in folder.rglob(name)}
        for file, content in wanted.items():
            line.check(found.get(file) == content, f"another {file}")
        line.check(not rests(folder), f"left over: {rests(folder)[:3]}")

    points = _strike(bench, line.fault, command, signal.SIGKILL, lambda: bench.new(source), struck, finished)
    rows = wanted["results.csv"].count(b"\n") - 1
    line.how, line.message, line.code = points.how, points.last.last, str(points.last.code)
    line.check(points.hits == bench.kills, f"struck {points.hits} times in the time, not {bench.kills}")
    line.left = f"{points.runs} runs whole: {rows} rows each, results.csv and table.csv equal in all bytes"
    return line


class _Points:
    """How often a command was struck, and how it ended at last."""

    def __init__(self, how: str, hits: int, runs: int, last: Ended) -> None:
        self.how, self.hits, self.runs, self.last = how, hits, runs, last


def _strike(
    bench: Bench,
    case: str,
    command: Sequence[str],
    signum: signal.Signals,
    begin: Callable[[], Path],
    struck: Callable[[Path, Ended], None],
    finished: Callable[[Path, Ended], None],
) -> _Points:
    """Strike `command` at `bench.kills` points, starting it again in the same folder until it is done, and then anew.

    Points alternate between a moment, drawn evenly over the wall time of an undisturbed run, and a file operation out
    of those that such a run does (SIGKILL only). A command that ends before its moment comes does not count.
    """
    draw, folder = bench.random(case), begin()
    count = bench.folder / "operations"
    started = time.monotonic()
    last = bench.server.run(command, folder, operation={"root": str(folder), "at": 0, "count": str(count)})
    whole, operations = time.monotonic() - started, int(count.read_text())
    finished(folder, last)
    bench.drop(folder)
    folder, hits, at_files, runs, fruitless = begin(), 0, 0, 1, 0
    until = time.monotonic() + 60 * bench.minutes
    while hits < bench.kills and fruitless < 5 * bench.kills + 10 and time.monotonic() < until:
        if (hits + fruitless) % 10 == 0:
            bench.say(f"  {case}: struck {hits} of {bench.kills} times, {runs} runs")
        if signum == signal.SIGKILL and (hits + fruitless) % 2:
            at = draw.randint(1, operations)
            last = bench.server.run(command, folder, operation={"root": str(folder), "at": at, "count": str(count)})
            at_files += last.code != 0
        else:
            last = _after(bench, command, folder, signum, whole, draw)
        hits, fruitless = hits + (last.code != 0), fruitless + (last.code == 0)
        if last.code == 0:
            finished(folder, last)
            runs += 1
            bench.drop(folder)
            folder = begin()
        else:
            struck(folder, last)
    last = bench.server.run(command, folder)
    finished(folder, last)
    bench.drop(folder)
    where = f"{hits - at_files} at random moments" + (f", {at_files} at random file operations" if at_files else "")
    return _Points(f"{hits} times: {where}", hits, runs + 1, last)


def _after(
    bench: Bench, command: Sequence[str], folder: Path, signum: signal.Signals, whole: float, draw: random.Random
) -> Ended:
    """Start `command`, and send `signum` after a part of the time `whole`."""
    running = bench.server.start(command, folder)
    delay = draw.uniform(0, whole)
    ended = running.wait(delay)
    if ended is None:
        running.kill(signum)
        ended = running.end()
    return ended
