"""Commands of the project as processes that can be killed, forked from one that has imported everything.

A fork is at work at once, so that nearly all random delays fall into its work and not into the import of torch. It runs
the front door's `main` with a command line, ends as an interpreter ends, and is killed like any process.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MODULES = {
    "fr-train": "fourier_robust.train",
    "fr-eval": "fourier_robust.evaluate",
    "fr-report": "fourier_robust.reporting",
}
LONGEST = float(
    os.environ.get("FAULT_LONGEST", 300)
)  # seconds for one command; a busy machine may take many times what an idle one does


class Ended(NamedTuple):
    """How a process ended: its exit code (minus the signal that killed it) and what it printed."""

    code: int
    text: str

    @property
    def last(self) -> str:
        """The last line printed."""
        lines = self.text.replace("\r", "\n").strip().splitlines()
        return lines[-1].strip() if lines else ""


@dataclass
class Running:
    """A process at work."""

    server: Server
    pid: int
    log: Path

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal, unless it has ended."""
        self.server.ask({"kill": self.pid, "signal": int(signum)})

    def wait(self, seconds: float = LONGEST) -> Ended | None:
        """How it ended, or None if it is still at work after so many seconds."""
        code = self.server.code(self.pid, seconds)
        if code is None:
            return None
        said = self.log.read_text(errors="replace") if self.log.exists() else ""  # struck before it said a word
        return Ended(code, said)

    def end(self) -> Ended:
        """How it ended; killed, and an error, if it takes longer than `LONGEST`."""
        found = self.wait()
        if found is None:
            self.kill(signal.SIGUSR1)  # see `_child`
            self.wait(1)
            self.kill()
            raise TimeoutError(f"a command ran longer than {LONGEST:g} s: {self.log.read_text()[-3000:]}")
        return found


class Server:
    """The process that forks the others; ends with the ``with``."""

    def __init__(self, logs: Path) -> None:
        self.logs, self.count = logs, 0
        logs.mkdir(parents=True, exist_ok=True)
        self._codes: dict[int, int] = {}
        self._rest = b""

    def __enter__(self) -> Server:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FR_")}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._line(None)  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def ask(self, request: Mapping[str, Any]) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def start(self, command: Sequence[str], folder: Path, **fault: Any) -> Running:
        """Begin ``fr-train ...`` or ``fr-eval ...`` in `folder`.

        Args:
            command: its words.
            folder: where it runs.
            fault: see `_child`; environment, clock, limit, operation.
        """
        self.count += 1
        log = self.logs / f"{self.count:05d}.log"
        self.ask({"command": list(command), "folder": str(folder), "log": str(log), **fault})
        while True:
            answer = self._line(None)
            assert answer is not None
            if "pid" in answer:
                return Running(self, answer["pid"], log)

    def run(self, command: Sequence[str], folder: Path, **fault: Any) -> Ended:
        """From its start to its end."""
        return self.start(command, folder, **fault).end()

    def code(self, pid: int, seconds: float) -> int | None:
        """Exit code of a process once it has ended; None where it has not within so many seconds."""
        until = time.monotonic() + seconds
        while pid not in self._codes:
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._line(left)
        return self._codes[pid]

    def _line(self, seconds: float | None) -> dict[str, Any] | None:
        """The next line of the server, or None where none came in time."""
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                return None
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                raise RuntimeError("the process that forks the others has died")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if "ended" in found:
            self._codes[found["ended"]] = found["code"]
        return found


def _serve() -> None:
    """The server's side; returns in a child only after its command."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _import()
    print(json.dumps({"ready": os.getpid()}), file=answers)
    alive, rest = set[int](), b""
    while True:
        if select.select([0], [], [], 0.02)[0]:
            more = os.read(0, 65536)
            if not more:
                break
            rest += more
        while b"\n" in rest:
            line, _, rest = rest.partition(b"\n")
            request = json.loads(line)
            if "kill" in request:
                if request["kill"] in alive:
                    os.kill(request["kill"], request["signal"])
                continue
            pid = os.fork()
            if pid == 0:
                answers.close()
                _child(**request)
                return
            alive.add(pid)
            print(json.dumps({"pid": pid}), file=answers)
        for pid in list(alive):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                alive.remove(pid)
                print(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}), file=answers)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


def _import() -> None:
    import importlib

    import torch

    torch.set_num_threads(1)
    others = ("torch._dynamo", "matplotlib.backends.backend_agg", "hydra.core.override_parser.overrides_parser")
    ours = ("cli", "engine.fit", "engine.survey", "run.train_record", "run.eval_record", "report.figure", "suite.all")
    for name in (*MODULES.values(), *others, *(f"fourier_robust.{name}" for name in ours)):
        importlib.import_module(name)


def _child(
    command: Sequence[str],
    folder: str,
    log: str,
    environment: Mapping[str, str] | None = None,
    clock: float = 0.0,
    limit: int | None = None,
    operation: Mapping[str, Any] | None = None,
) -> None:
    """Run a command in this process.

    Args:
        command: its words.
        folder: where.
        log: takes what it prints.
        environment: more variables.
        clock: ``time.time`` jumps by so many seconds (there and back) at every fifth call.
        limit: bytes a file may have (RLIMIT_FSIZE).
        operation: see `_strike`.
    """
    import faulthandler
    import importlib
    import resource

    os.setsid()
    os.chdir(folder)
    os.environ.update(environment or {})
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.register(signal.SIGUSR1)  # tells where it hangs
    sys.argv = list(command)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if clock:
        _jumping_clock(clock)
    if operation is not None:
        _strike(**operation)
    importlib.import_module(MODULES[command[0]]).main()


def _jumping_clock(seconds: float) -> None:
    calls, real = [0], time.time

    def jumps() -> float:
        calls[0] += 1
        return real() + (seconds if calls[0] % 10 >= 5 else -seconds)

    time.time = jumps


def _strike(root: str, at: int, count: str, what: str = "kill") -> None:
    """At file operation number `at` below `root`: die, or find the disk full from there on.

    Args:
        root: operations below this folder are counted: open to write, rename, link, remove, mkdir.
        at: 1 for the first; 0 for none.
        count: file that is told how many there were.
        what: ``kill`` or ``full``.
    """
    seen = [0]
    changing = {"os.rename", "os.link", "os.remove", "os.mkdir"}

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[0], str | os.PathLike) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in changing:
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if not path.startswith(root):
            return
        seen[0] += 1
        if what == "kill" and seen[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "full" and at and seen[0] >= at and event in ("open", "os.mkdir", "os.link"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def tell() -> None:
        with contextlib.suppress(OSError):
            Path(count).write_text(str(seen[0]))

    atexit.register(tell)
    sys.addaudithook(watch)


if __name__ == "__main__":
    _serve()
