"""What a fault did: a line of the table, and the checks it is judged by."""

from __future__ import annotations

import csv
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault.launch import Ended, Server

TINY = (
    "dataset.num_train=64",
    "dataset.num_val=32",
    "dataset.num_test=32",
    "arch.widths=[8,8,8]",
    "trainer.batch_size=16",
    "trainer.precision=fp32",
    "device.name=cpu",
    "device.threads=1",
    "device.keep_blocks=false",
)
TRAIN = ("fr-train", *TINY, "aug=apr_sp", "trainer.epochs=3", "trainer.ema_decay=0.9", "paths.output_dir=outputs")
DEVICE = ("device.name=cpu", "device.threads=1", "device.keep_blocks=false", "batch_size=16", "paths.data_dir=data")
TIMES = ("seconds", "images_per_s")  # columns of train.csv that no two runs share


@dataclass
class Line:
    """One fault of the table; good while no check has failed."""

    fault: str
    how: str
    message: str = ""
    code: str = ""
    left: str = ""
    bad: list[str] = field(default_factory=list)

    def check(self, holds: object, what: str) -> None:
        """Note `what` is wrong unless it holds."""
        if not holds and what not in self.bad:
            self.bad.append(what)

    def said(self, ended: Ended, code: int | Sequence[int], *parts: str) -> None:
        """Note how a command ended, which must be with `code` and one line of error that has all `parts`."""
        self.message, self.code = ended.last, str(ended.code)
        codes = [code] if isinstance(code, int) else list(code)
        self.check(ended.code in codes, f"exit code {ended.code}, not {' or '.join(map(str, codes))}")
        trace = ended.text.partition("Traceback")[2].splitlines()
        self.check(not trace, f"a traceback: {' '.join(' '.join(trace[:12]).split())[-200:]}")
        for part in parts:
            self.check(part in ended.last, f"the message does not say {part!r}: {ended.last!r}")


class Bench:
    """Where faults are injected: a scratch folder, a server, random numbers, and a run that was never disturbed.

    Args:
        folder: made, and used for nothing else.
        server: starts the commands.
        kills: how many points of a run are struck where a case strikes at many.
        seed: of the points.
        minutes: for all strikes at one command.
        say: is told how far it is.
    """

    def __init__(
        self,
        folder: Path,
        server: Server,
        kills: int,
        seed: int = 0,
        minutes: float = 15.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder, self.server, self.kills, self.seed = folder, server, kills, seed
        self.minutes, self.say = minutes, say
        self._count = 0

    def random(self, case: str) -> random.Random:
        """The numbers of one case, whichever others run."""
        return random.Random(f"{self.seed}/{case}")

    def new(self, like: Path | None = None) -> Path:
        """A new folder, empty or a copy of `like`."""
        self._count += 1
        path = self.folder / f"{self._count:04d}"
        shutil.copytree(like, path) if like else path.mkdir(parents=True)
        return path

    def trained(self) -> Path:
        """A folder with a finished run in ``outputs``, trained once."""
        path = self.folder / "trained"
        if not path.exists():
            path.mkdir(parents=True)
            ended = self.server.run(TRAIN, path)
            assert ended.code == 0, ended.text
        return path

    def drop(self, path: Path) -> None:
        """Remove a folder that `new` gave."""
        shutil.rmtree(path, ignore_errors=True)


def run_of(folder: Path) -> Path:
    """The one run folder below ``outputs``."""
    (config,) = (folder / "outputs").rglob("config.yaml")
    return config.parent


def history(run: Path) -> list[dict[str, str]]:
    """train.csv without the columns of times."""
    with open(run / "train.csv", newline="") as file:
        return [{key: value for key, value in line.items() if key not in TIMES} for line in csv.DictReader(file)]


def weights(run: Path) -> bytes:
    """The file of the last weights, whole: names, values, description."""
    return sorted(run.glob("step*.safetensors"))[-1].read_bytes()


def state(run: Path) -> dict[str, Any]:
    """What the last checkpoint says, without times."""
    from fourier_robust.run import checkpoint

    found = checkpoint.read(run / "last.pt")
    kept = {key: value for key, value in found.state.items() if key not in ("seconds", "history")}
    return {"weights": found.weights, **kept}


def equal(one: Any, other: Any) -> bool:
    """Whether two nests of tensors, numbers and containers are the same, bit for bit."""
    import torch

    if torch.is_tensor(one):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def rests(folder: Path) -> list[str]:
    """Temporary files and claims below `folder`."""
    return sorted(path.name for path in folder.rglob(".*") if path.is_file())


def python(*words: str) -> list[str]:
    """A command of the project as a user starts it."""
    from fault.launch import MODULES

    return [sys.executable, "-m", MODULES[words[0]], *words[1:]]
