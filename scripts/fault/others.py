"""Data that vanish, a loss that is not finite, workers that die, clocks that jump, and many processes at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fault.case import DEVICE, TRAIN, Bench, Line, history, python, rests, run_of, weights
from fault.kills import SUITES, TOGETHER
from fault.launch import LONGEST, Running

FOLDER = (
    "fr-train",
    "dataset=imagefolder",
    "dataset.root=photos",
    "dataset.size=32",
    "dataset.resize=32",
    "arch.widths=[8,8,8]",
    "trainer.epochs=12",
    "trainer.batch_size=8",
    "trainer.precision=fp32",
    "device.name=cpu",
    "device.threads=1",
    "device.keep_blocks=false",
    "paths.output_dir=outputs",
)


def data_vanishes(bench: Bench) -> Iterator[Line]:
    """The folder of images goes away while they are used, and comes back."""
    line, source = (
        Line("data folder vanishes in training", "moved away after the first epoch; then back"),
        _photos(bench),
    )
    command = (*FOLDER, "dataset.num_workers=0")
    whole, folder = bench.new(source), bench.new(source)
    bench.server.run(command, whole)
    running = bench.server.start(command, folder)
    _until(lambda: any(folder.rglob("train.csv")), running)
    (folder / "photos").rename(folder / "away")
    line.said(running.end(), 2, "photos/train/", "is gone")
    line.check(_status(folder)["state"] == "failed", f"status {_status(folder)['state']}")
    line.check("photos/train" in _status(folder).get("reason", ""), "the reason is not in status.json")
    (folder / "away").rename(folder / "photos")
    _same_after(line, bench.server.run(command, folder).code, folder, whole)
    line.left = "status failed; with the data back, the same command: equal in all bytes"
    yield line


def loss_diverges(bench: Bench) -> Iterator[Line]:
    """A learning rate beyond reason: from the start, in the last step of all, after a good checkpoint."""
    for what, words, says in (
        ("at once", ("optim.lr=1e30",), "no checkpoint was written before it"),
        (
            "after the last step",
            ("optim.lr=1e30", "trainer.epochs=1", "trainer.batch_size=64", "trainer.ema_decay=null"),
            "no checkpoint was written before it",
        ),
        (
            "after a checkpoint",
            ("optim.lr=1", "optim.weight_decay=300"),
            "the last good checkpoint is last.pt",
        ),
    ):
        line, folder = Line(f"loss not finite, {what}", " ".join(words)), bench.new()
        line.said(
            bench.server.run((*TRAIN, *words), folder),
            2,
            "not finite",
            "at step" if "last" not in what else "after step 1",
            says,
        )
        line.check(_status(folder)["state"] == "failed", f"status {_status(folder)['state']}")
        line.check("not finite" in _status(folder).get("reason", ""), "the reason is not in status.json")
        line.left = f"status failed, {'last.pt readable' if 'good' in says else 'no checkpoint'}"
        if "good" in says:
            from fourier_robust.run import checkpoint

            found = checkpoint.read(run_of(folder))
            finite = all(bool(tensor.isfinite().all()) for tensor in found.weights.values())
            line.check(finite, "the checkpoint holds numbers that are not finite")
        yield line


def worker_dies(bench: Bench) -> Iterator[Line]:
    """SIGKILL of a process that decodes images, and of one that makes corrupted ones."""
    line, source = Line("a decoding worker dies in training", "SIGKILL of a child; then again"), _photos(bench)
    command = (*FOLDER, "dataset.num_workers=2")
    whole, folder = bench.new(source), bench.new(source)
    bench.server.run(command, whole)
    running = bench.server.start(command, folder)
    _until(lambda: any(folder.rglob("train.csv")), running)
    _kill_child(running, lambda words: True)
    line.said(running.end(), 2, "a worker that decodes", "dataset.num_workers=0")
    line.check(_status(folder)["state"] == "failed", f"status {_status(folder)['state']}")
    _same_after(line, bench.server.run(command, folder).code, folder, whole)
    line.left = "status failed; the same command: equal in all bytes"
    yield line

    for when in ("at work", "while it starts"):
        yield _maker_dies(bench, when)


def _maker_dies(bench: Bench, when: str) -> Line:
    line, source = (
        Line(f"a worker that makes corruptions dies {when}", "SIGKILL of a child; then again"),
        bench.trained(),
    )
    run = run_of(source).relative_to(source)
    words = ("suite=corruptions", "suite.corruptions=[glass_blur,fog]", "suite.save=made", "suite.workers=2")
    command = ("fr-eval", f"ckpt={run}", *words, *DEVICE)
    whole = bench.new(source)
    bench.server.run(command, whole)
    for _ in range(5):  # a worker that had done its last images already is missed by nobody
        folder = bench.new(source)
        running = bench.server.start(command, folder)
        if when == "at work":
            _until(lambda at=folder: any((at / "made").glob(".*.npy.tmp")), running)
        _kill_child(running, lambda words: "spawn_main" in words)
        ended = running.wait(60)
        if ended is None or ended.code:
            break
    if ended is None:
        running.kill()
        line.check(False, "it hangs for ever")
    else:
        line.said(ended, 2, "a process that makes images", "died")
    again = bench.server.run(command, folder)
    line.check(again.code == 0, f"afterwards exit code {again.code}: {again.last}")
    for path in [*whole.rglob("made/*.npy"), *whole.rglob("results.csv")]:
        found = folder / path.relative_to(whole)
        line.check(found.exists() and found.read_bytes() == path.read_bytes(), f"another {path.name}")
    line.check(not rests(folder), f"left over: {rests(folder)[:3]}")
    line.left = "the same command: images and results.csv equal in all bytes"
    return line


def clock_jumps(bench: Bench) -> Iterator[Line]:
    """The time of day jumps by a day, there and back, and a claim looks years old or new."""
    line, folder = Line("the clock jumps in training", "time.time +- 1 day, every five calls"), bench.new()
    ended = bench.server.run(TRAIN, folder, clock=86400.0)
    line.said(ended, 0)
    _same_after(line, ended.code, folder, bench.trained())
    line.left = "weights and train.csv equal in all bytes"
    yield line
    line = Line("the clock jumps, two launches", "the claim's time of a living run set to 1970, to 2100")
    for then in (1.0, 4102444800.0):
        folder = bench.new()
        running = bench.server.start((*TRAIN, "trainer.epochs=2000"), folder)
        _until(lambda at=folder: any(at.rglob("last.pt")), running)
        os.utime(run_of(folder) / ".claim", (then, then))
        line.said(bench.server.run((*TRAIN, "trainer.epochs=2000"), folder), 2, "another process is running")
        running.kill()
        running.end()
        line.check(_status(folder)["attempt"] == 1, f"attempt {_status(folder)['attempt']}")
    line.left = "the living process kept its folder"
    yield line


def many_at_once(bench: Bench) -> Iterator[Line]:
    """8 evaluations of one checkpoint at once: of one suite, and of different ones that share predictions."""
    source = bench.trained()
    run = run_of(source).relative_to(source)

    def command(name: str) -> tuple[str, ...]:
        return ("fr-eval", f"ckpt={run}", f"suite={name}", *SUITES[name], *DEVICE)

    for what, names in (("of one suite", ["calibration"] * 8), ("of several suites", [*TOGETHER, "calibration"])):
        line, folder, alone = (
            Line(f"8 evaluations at once, {what}", "forked together"),
            bench.new(source),
            bench.new(source),
        )
        for name in dict.fromkeys(names):
            bench.server.run((*command(name), "predictions_gib=0"), alone)
        several = [bench.server.start(command(name), folder) for name in names]
        ended = [one.end() for one in several]
        for one in ended:
            busy = one.code == 2 and "another process" in one.last
            line.check(one.code == 0 or busy, f"exit code {one.code}: {one.last}")
            line.check("Traceback" not in one.text, "a traceback")
        refused = [one for one in ended if one.code]
        line.message, line.code = (refused or ended)[0].last, " ".join(str(one.code) for one in ended)
        if len(set(names)) == 1:
            line.check(0 < len(refused) < len(names), f"{len(refused)} of {len(names)} were refused")
        else:  # one suite twice
            line.check(len(refused) <= 1, f"{len(refused)} of {len(names)} were refused")
        for path in alone.rglob("results.csv"):
            found = folder / path.relative_to(alone)
            line.check(found.exists() and found.read_bytes() == path.read_bytes(), f"another {path.parent.name}")
        for path in folder.rglob("eval.json"):
            line.check(json.loads(path.read_text()), "a damaged eval.json")
        line.check(not rests(folder), f"left over: {rests(folder)[:3]}")
        line.left = f"{len(set(names))} results.csv, each equal in all bytes to one made alone"
        yield line


def two_trainings(bench: Bench) -> Iterator[Line]:
    """One training launched twice at once: one trains, the other says so and leaves."""
    line = Line("one training launched twice at once", "")
    refused = rounds = 0
    for _ in range(max(2, min(bench.kills, 10))):
        folder = bench.new()
        ended = [one.end() for one in [bench.server.start(TRAIN, folder) for _ in range(2)]]
        rounds += 1
        status = _status(folder)
        line.check(
            status["attempt"] == 1 and status["state"] == "done", f"{status['state']}, {status['attempt']} attempts"
        )
        line.check(any(one.code == 0 for one in ended), "none trained")
        for one in ended:
            if one.code:
                refused += 1
                line.said(one, 2, "another process is running this experiment")
            else:
                line.check("\ndone: " in one.text or "already done" in one.text, f"it said {one.last!r}")
        _same_after(line, 0, folder, bench.trained())
        bench.drop(folder)
    line.check(refused, "never at the same time")
    line.how = f"{rounds} times two forks; {refused} times while the other trained"
    line.left = "one attempt, status done, weights equal in all bytes"
    yield line


def cold_start(bench: Bench) -> Iterator[Line]:
    """SIGKILL of the command as a user starts it, imports and all."""
    line, draw = Line("SIGKILL of python -m fourier_robust.train", ""), bench.random("cold")
    folder, hits, tries, longest = bench.new(), 0, 0, 12.0
    environment, wanted = os.environ | {"OMP_NUM_THREADS": "1"}, max(1, min(bench.kills // 10, 5))
    while hits < wanted and tries < 3 * wanted:
        tries += 1
        process = subprocess.Popen(
            python(*TRAIN), cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        began = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.2, longest))
            longest = max(4.0, time.monotonic() - began)  # it was done before; one that was done already takes no time
        process.kill()
        struck = process.wait() < 0
        hits += struck
        if not struck:  # from the start again
            bench.drop(folder)
            folder = bench.new()
    line.check(hits == wanted, f"struck {hits} times, not {wanted}")
    ended = subprocess.run(python(*TRAIN), cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST)
    line.how = f"{hits} times at random moments of the first {longest:.0f} s"
    line.message, line.code = (
        ended.stdout.strip().splitlines()[-1] if ended.stdout else ended.stderr,
        str(ended.returncode),
    )
    _same_after(line, ended.returncode, folder, bench.trained())
    line.left = "weights and train.csv equal in all bytes"
    yield line


def _photos(bench: Bench) -> Path:
    """A folder with ``photos/train/<class>/`` and ``photos/val/<class>/`` of a few drawn images."""
    path = bench.folder / "photos"
    if not path.exists():
        import numpy as np
        from PIL import Image

        draw = np.random.default_rng(0)
        for split, count in (("train", 24), ("val", 8)):
            for name in ("one", "two"):
                folder = path / "photos" / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = draw.integers(0, 256, (64, 64, 3), np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return path


def _until(holds: Callable[[], object], running: Running, seconds: float = 200.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        ended = running.wait(0.005)
        assert ended is None, f"it ended too soon: {ended.last if ended else ''}"
        assert time.monotonic() < until, "it never came so far"


def _kill_child(running: Running, which: Callable[[str], bool]) -> None:
    """SIGKILL a child of a command, as soon as there is one that `which` takes by its command line."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text()
                if which(words):
                    os.kill(int(pid), signal.SIGKILL)
                    return
            except (FileNotFoundError, ProcessLookupError):
                continue
        assert running.wait(0.002) is None, "it ended without a child"
    raise TimeoutError("no such child")


def _status(folder: Path) -> dict[str, str]:
    (path,) = folder.rglob("status.json")
    found: dict[str, str] = json.loads(path.read_text())
    return found


def _same_after(line: Line, code: int, folder: Path, whole: Path) -> None:
    line.check(code == 0, f"afterwards exit code {code}")
    if code == 0:
        line.check(weights(run_of(folder)) == weights(run_of(whole)), "other weights")
        line.check(history(run_of(folder)) == history(run_of(whole)), "another train.csv")
        line.check(not rests(folder), f"left over: {rests(folder)[:3]}")
