"""Truncated, bit-flipped and empty files of checkpoints, results, caches and releases; then the same command."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fault.case import DEVICE, TRAIN, Bench, Line, equal, history, rests, run_of, state, weights

CORRUPTIONS = ("suite=corruptions", "suite.corruptions=[contrast,fog]")
RELEASE = (*CORRUPTIONS[:1], "suite.corruptions=[contrast]")


def flip(path: Path, draw: random.Random) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    """Leave the beginning."""
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(1, len(content))])


def empty(path: Path, draw: random.Random) -> None:
    """Leave nothing."""
    path.write_bytes(b"")


KINDS: dict[str, Callable[[Path, random.Random], None]] = {"cut": cut, "flipped": flip, "empty": empty}


def checkpoint_resume(bench: Bench) -> Iterator[Line]:
    """A killed training whose files are then damaged: it goes on from the checkpoint before."""
    reference, half = run_of(bench.trained()), _half(bench)
    for name in ("last.pt", "its weights", "status.json", "run.json", "config.yaml", "train.csv"):
        line, draw = Line(f"{name} damaged, training goes on", _how(bench)), bench.random(f"resume {name}")
        for kind in _kinds(bench):
            folder = bench.new(half)
            run = run_of(folder)
            target = _weights(run) if name == "its weights" else run / name
            KINDS[kind](target, draw)
            ended = bench.server.run(TRAIN, folder)
            line.said(ended, 0)
            line.check(weights(run) == weights(reference), f"{kind}: other weights")
            line.check(history(run) == history(reference), f"{kind}: another train.csv")
            line.check(not [rest for rest in rests(folder) if rest != "last.pt.damaged"], f"{kind}: left over")
            if name in ("last.pt", "its weights"):
                told = [one for one in ended.text.splitlines() if "warning:" in one]
                line.check(told and target.name in told[0] and "previous.pt" in told[0], f"{kind}: no warning")
                line.message = told[0].strip() if told else line.message
            bench.drop(folder)
        line.left = "weights and train.csv equal in all bytes"
        yield line
    line = Line("last.pt and previous.pt damaged", "both cut")
    folder, draw = bench.new(half), bench.random("both")
    for name in ("last.pt", "previous.pt"):
        cut(run_of(folder) / name, draw)
    line.said(bench.server.run(TRAIN, folder), 2, "previous.pt", "damaged")
    line.left = "nothing changed; resume=false begins anew"
    again = bench.server.run((*TRAIN, "resume=false"), folder)
    line.check(again.code == 0 and equal(state(run_of(folder)), state(reference)), "resume=false: other weights")
    yield line


def checkpoint_eval(bench: Bench) -> Iterator[Line]:
    """A damaged checkpoint that is to be measured: one line, exit code 2, nothing written."""
    source = bench.trained()
    for name in ("last.pt", "its weights"):
        line, draw = Line(f"{name} damaged, fr-eval", _how(bench)), bench.random(f"eval {name}")
        for kind in _kinds(bench):
            folder = bench.new(source)
            run = run_of(folder)
            target = _weights(run) if name == "its weights" else run / name
            KINDS[kind](target, draw)
            ended = bench.server.run(_eval(folder, "suite=clean"), folder)
            line.said(ended, 2, target.name)
            line.check(not (run / "eval").exists(), f"{kind}: something was written")
            bench.drop(folder)
        line.left = "no eval folder"
        yield line


def results(bench: Bench) -> Iterator[Line]:
    """Results, receipts, outcomes and predictions damaged: the same command mends them; fr-report names them."""
    source = bench.new(bench.trained())
    bench.server.run(_eval(source, *CORRUPTIONS, "suite.source=generated", "suite.severities=[1,5]"), source)
    suite = run_of(source).relative_to(source) / "eval" / "corruptions"
    whole = (source / suite / "results.csv").read_bytes()
    targets = {
        "results.csv": lambda folder: folder / suite / "results.csv",
        "eval.json": lambda folder: folder / suite / "eval.json",
        "an outcomes entry": lambda folder: draw.choice(sorted((folder / suite / "outcomes").iterdir())),
        "a predictions entry": lambda folder: draw.choice(sorted((folder / suite.parent / "predictions").iterdir())),
    }
    for name, find in targets.items():
        line, draw = Line(f"{name} damaged, fr-eval again", _how(bench)), bench.random(name)
        for kind in _kinds(bench):
            folder = bench.new(source)
            KINDS[kind](find(folder), draw)
            if name == "a predictions entry":  # else nobody asks for it
                shutil.rmtree(folder / suite / "outcomes")
            line.said(
                bench.server.run(
                    _eval(folder, *CORRUPTIONS, "suite.source=generated", "suite.severities=[1,5]"), folder
                ),
                0,
            )
            line.check((folder / suite / "results.csv").read_bytes() == whole, f"{kind}: another results.csv")
            line.check(json.loads((folder / suite / "eval.json").read_text()), f"{kind}: eval.json")
            line.check(not rests(folder), f"{kind}: left over")
            bench.drop(folder)
        line.left = "results.csv equal in all bytes"
        yield line
    for name in ("results.csv", "eval.json"):
        line, draw = Line(f"{name} damaged, fr-report", "cut, empty"), bench.random(f"report {name}")
        for kind in ("cut", "empty"):
            folder = bench.new(source)
            KINDS[kind](folder / suite / name, draw)
            line.said(bench.server.run(("fr-report", "runs=outputs"), folder), (0, 2) if name == "eval.json" else 2)
            line.check(line.code == "0" or name in line.message, f"{kind}: the message does not name {name}")
            bench.drop(folder)
        line.left = "results.csv as it was"
        yield line


def release(bench: Bench) -> Iterator[Line]:
    """The array files of a release (as CIFAR-10-C lies on disk) damaged, with and without a receipt of ours."""
    source = bench.new(bench.trained())
    made = _eval(source, *RELEASE, "suite.save=data/shapes-C", "suite.workers=1")
    bench.server.run(made, source)
    suite = run_of(source).relative_to(source) / "eval" / "corruptions"
    shutil.rmtree(source / suite)
    shutil.rmtree(source / suite.parent / "predictions", ignore_errors=True)
    folder = bench.new(source)
    foreign = Path("data/shapes-C/corruptions.json")
    (source / foreign).unlink()
    how = f"{_how(bench)}; written on, and read"
    line, draw = Line("contrast.npy of a release with our receipt", how), bench.random("receipt")
    kept = (folder / "data/shapes-C/contrast.npy").read_bytes()
    for kind in _kinds(bench):
        KINDS[kind](folder / "data/shapes-C/contrast.npy", draw)
        line.said(bench.server.run(made, folder), 2, "contrast.npy", "remove it")
        line.said(bench.server.run(_eval(folder, *RELEASE), folder), 2, "contrast.npy", "remove it")
        line.check(not (folder / suite / "results.csv").exists(), f"{kind}: it was measured")
        (folder / "data/shapes-C/contrast.npy").write_bytes(kept)
    line.left = "nothing measured; once removed it is made again, equal in all bytes"
    (folder / "data/shapes-C/contrast.npy").unlink()
    line.check(bench.server.run(made, folder).code == 0, "not made again")
    line.check((folder / "data/shapes-C/contrast.npy").read_bytes() == kept, "other images")
    yield line
    for name in ("contrast.npy", "labels.npy"):
        line, draw = Line(f"{name} of a published release", "cut, bit of the header, empty, an object array"), draw
        for kind in ("cut", "header", "empty", "object"):
            folder = bench.new(source)
            target = folder / "data/shapes-C" / name
            if kind == "header":
                content = bytearray(target.read_bytes())
                content[2] ^= 0x20
                target.write_bytes(content)
            elif kind == "object":
                _object_array(target)
            else:
                KINDS[kind](target, draw)
            line.said(bench.server.run(_eval(folder, *RELEASE), folder), 2, name)
            line.check(not (folder / suite / "results.csv").exists(), f"{kind}: results were written")
            bench.drop(folder)
        line.left = "no results.csv"
        yield line
    yield _pixels(bench, source, suite)


def _pixels(bench: Bench, source: Path, suite: Path) -> Line:
    """Pixels of somebody else's file have no checksum: what was measured is named by its hash."""
    line, draw = Line("a pixel of a published release", "one bit; outcomes of the intact file are there"), None
    draw = bench.random("pixel")
    folder = bench.new(source)
    bench.server.run(_eval(folder, *RELEASE), folder)
    before = json.loads((folder / suite / "eval.json").read_text())["data"]
    target = folder / "data/shapes-C/contrast.npy"
    content = bytearray(target.read_bytes())
    content[draw.randrange(128, len(content))] ^= 128
    target.write_bytes(content)
    line.said(bench.server.run(_eval(folder, *RELEASE), folder), 0)
    receipt = json.loads((folder / suite / "eval.json").read_text())
    changed = [key for key in before if before[key] != receipt["data"][key]]
    line.check(len(changed) == 1, f"{len(changed)} conditions have another identity, not 1")
    line.check(receipt["conditions_reused"] == len(before) - 1, "an outcome of other images was reused")
    line.left = f"measured anew; its hash in eval.json is another one ({changed[0] if changed else '-'})"
    return line


def _object_array(path: Path) -> None:
    """A .npy file whose reading would run code, were pickles allowed."""
    import numpy as np

    np.save(path, np.array([print, {}], dtype=object), allow_pickle=True)


def _weights(run: Path, state: str = "last.pt") -> Path:
    """The weights file that a state file names."""
    from fourier_robust.run import checkpoint

    name = checkpoint.read(run / state).beside
    assert name is not None
    return run / name


def _half(bench: Bench) -> Path:
    """A folder with a training that was killed once two checkpoints were there."""
    path = bench.folder / "half"
    if not path.exists():
        for at in range(30, 400, 5):
            path.mkdir()
            strike = {"root": str(path), "at": at, "count": str(bench.folder / "operations")}
            ended = bench.server.run(TRAIN, path, operation=strike)
            assert ended.code != 0, "the training was never killed with two checkpoints"
            if list(path.rglob("previous.pt")) and _weights(run_of(path)) != _weights(run_of(path), "previous.pt"):
                break
            shutil.rmtree(path)
    return path


def _kinds(bench: Bench) -> Sequence[str]:
    """Each kind of damage, and flipped bits as many as kills were asked for, within reason."""
    return ["cut", "empty", *["flipped"] * min(bench.kills, 10)]


def _how(bench: Bench) -> str:
    return f"cut, empty, one bit ({min(bench.kills, 10)} times)"


def _eval(folder: Path, *words: str) -> tuple[str, ...]:
    return ("fr-eval", f"ckpt={run_of(folder).relative_to(folder)}", *words, *DEVICE)
