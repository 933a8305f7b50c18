"""A job that starts its own processes, so that a sweep's process joins no group itself.

Not by torchrun, which listens on every interface and unpickles what it is sent there: these find each other in a file
that their user alone can read, and talk over the loopback interface.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial

from fourier_robust.engine.distributed import LOST, MEETING
from fourier_robust.engine.interrupt import Interrupted, StopFlag, scheduler_signal, stop_on_signals
from fourier_robust.errors import BUSY, Busy, UserError

_POLL = 0.1  # seconds
_OWN_END, _SAVING = 2.0, 30.0  # seconds after one has failed: until the others are told, and then until they are killed
_LINUX = sys.platform.startswith("linux")
_LOOPBACK = "lo" if _LINUX else "lo0"
_LIBC = ctypes.CDLL(None) if _LINUX else None  # loaded before any fork
_PR_SET_PDEATHSIG = 1
_ERROR = re.compile(r"(?:\[rank\d+\]: ?)?(?:error: (.+)|((?:\w+\.)*\w*(?:Error|Exception)(?:: .*)?))\s*")


def start(module: str, overrides: Sequence[str], processes: int) -> None:
    """``python -m <module> <overrides>`` in so many processes of one team on this machine, to their end.

    Should this process be killed, they get SIGTERM from the kernel (Linux).

    Args:
        module: a front door.
        overrides: its command line.
        processes: at least 2.

    Raises:
        UserError: what one of them said was the user's mistake.
        Busy: another process does this very work.
        ChildProcessError: one of them failed otherwise: what it said last, or the signal that killed it.
        Interrupted: a signal asked for a stop; it was passed on as SIGTERM, and all have ended.
    """
    team: list[_Process] = []
    with (
        stop_on_signals() as flag,
        tempfile.TemporaryDirectory(prefix="fourier_robust-", ignore_cleanup_errors=True) as private,
    ):
        try:
            for rank in range(processes):
                team.append(_Process([sys.executable, "-m", module, *overrides], rank, processes, private))
            ended, sent = _attend(team, flag)
        finally:
            for one in team:
                one.close()
    try:
        if sent is not None:
            raise Interrupted(sent, f"passed on to {processes} processes; the same command goes on from here")
        _judge(ended)
    except Exception as error:
        for line in dict.fromkeys(line for one in ended for line in one.held):
            if line != LOST and line not in str(error):
                print(f"error: {line}", file=sys.stderr)
        raise


class _Process:
    """One of the team; what it writes to stderr goes to this process's too, but for the line that is its error.

    Attributes:
        said: the last error among it; empty for none.
        held: those lines, which `start` says, once.
        told: whether it was asked to end because another one has failed.
    """

    def __init__(self, command: Sequence[str], rank: int, size: int, private: str) -> None:
        self.name, self.said, self.told = f"process {rank} of {size}", "", False
        self.held: list[str] = []
        self.child = subprocess.Popen(
            command,
            env={"OMP_NUM_THREADS": "1"} | dict(os.environ) | _about(rank, size, private),
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C comes once: from here
            preexec_fn=partial(_below, os.getpid()),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def code(self) -> int:
        """With which it ended; minus the signal that killed it."""
        return int(self.child.returncode or 0)

    @property
    def why(self) -> str:
        """Of its end, in one line."""
        if self.code < 0:
            killed = f"{self.name} was killed by {signal.Signals(-self.code).name}"
            return f"{killed}: out of memory?" if self.code == -signal.SIGKILL else killed
        if self.code == 2 and self.said:
            return self.said
        return f"{self.name}: {self.said or f'exit code {self.code}'}"

    def close(self) -> None:
        """Kill it where it still runs, and hear what it has said."""
        self.child.kill()
        self.child.wait()
        self._reader.join(timeout=_OWN_END)  # a process that it has left behind may hold the pipe

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in io.TextIOWrapper(self.child.stderr, errors="replace", newline=""):
            found = _ERROR.fullmatch(line)
            self.said = (found[1] or found[2]).strip() if found else self.said
            if found and found[1]:
                self.held.append(self.said)
                continue
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                sys.stderr.write(line)
                sys.stderr.flush()


def _about(rank: int, size: int, private: str) -> dict[str, str]:
    """The variables that tell a process who it is, where the others are, and where nobody else is."""
    of_one = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    meeting = {MEETING: os.path.join(private, "meeting"), "TORCHELASTIC_RUN_ID": "none"}  # as below torchrun
    talk = {"GLOO_SOCKET_IFNAME": _LOOPBACK, "NCCL_SOCKET_IFNAME": f"={_LOOPBACK}"}
    return {name: str(value) for name, value in of_one.items()} | meeting | talk


def _attend(team: Sequence[_Process], flag: StopFlag) -> tuple[list[_Process], int | None]:
    """Wait for all; returns them in the order of their ends, and the signal that was passed on."""
    ended: list[_Process] = []
    sent, failed = None, None
    while len(ended) < len(team):
        ended += [one for one in team if one not in ended and one.child.poll() is not None]
        now = time.monotonic()
        left = [one for one in team if one not in ended]
        if failed is None and any(one.code for one in ended):
            failed = now
        if flag.signum is not None and sent is None:
            sent = flag.signum
            for one in left:
                one.child.terminate()
        if failed is not None and now - failed > _OWN_END:
            for one in left:
                if now - failed > _OWN_END + _SAVING:
                    one.child.kill()
                elif sent is None and not one.told:
                    one.child.terminate()
                    one.told = True
        if left:
            time.sleep(_POLL)
    return ended, sent


def _judge(ended: Sequence[_Process]) -> None:
    """Raise for what the first that failed by itself has met."""
    own = [one for one in ended if one.code and not one.told]
    if not own:
        return
    many = f"device.processes={len(ended)}"
    if any(one.code == BUSY for one in own):
        raise Busy(f"{many}: another process does this very work, see above")
    faults = [one for one in own if one.code != 2]
    stops = {one.code - 128 for one in faults} & {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if faults and all(one.code - 128 in stops for one in faults):  # the signal came to them alone
        raise Interrupted(min(stops), f"it came to one of {len(ended)} processes; the same command goes on from here")
    if faults:
        raise ChildProcessError(f"{many}: {faults[0].why}")
    own.sort(key=lambda one: one.said in ("", LOST))  # who has a reason of its own
    raise UserError(f"{many}: {own[0].why}")


def _below(parent: int) -> None:
    """In a child of the process `parent`, before its program begins: what it hears, and that it ends with its parent.

    The kernel's word comes when the thread that forked ends: `start`'s, which waits for its children.
    """
    _leave_it_to_the_parent()
    if _LIBC is not None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler would note it here, to no end
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it had gone before
            os.kill(os.getpid(), signal.SIGTERM)


def _leave_it_to_the_parent() -> None:
    """Have the child ignore the scheduler's signal: SLURM sends it to every process of a job, and it would end them."""
    signum = scheduler_signal()
    if signum is not None:
        signal.signal(signum, signal.SIG_IGN)
