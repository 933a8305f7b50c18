"""Signals as a wish to stop: at the next step with everything saved, or at once where finished units are kept."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """The run was asked to stop and has saved its state.

    Args:
        signum: the signal; the process exits with 128 + signum.
        message: what was saved and how to go on.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Stopped(SystemExit):
    """A signal ended work that keeps what is finished; no handler of errors takes it for one.

    Args:
        signum: the signal; the process exits with 128 + signum.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}; what is finished is kept; the same command goes on"


class StopFlag:
    """Holds the signal that asked for a stop, or None."""

    def __init__(self) -> None:
        self.signum: int | None = None


def scheduler_signal() -> int | None:
    """The signal with which a scheduler asks for a requeue, where somebody in this process listens to it, else None.

    submitit has SLURM send SIGUSR2 (or what ``SUBMITIT_PREEMPT_SIGNAL`` names) before the time is up, and requeues in
    its handler. Where there is no handler, the signal keeps its meaning: the end of the process.
    """
    signum = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"), None)
    return signum if signum is not None and callable(signal.getsignal(signum)) else None


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """While inside, all that ask for a stop, and the first SIGINT, only set the flag; a second SIGINT stops.

    They are SIGTERM, SIGHUP (the terminal is gone) unless it is ignored, as below nohup, and the scheduler's signal.

    A requeue that was asked for stays asked for: a SIGTERM that follows it changes nothing.
    Outside the main thread nothing is installed (Python allows handlers only there).
    """
    flag, asked = StopFlag(), scheduler_signal()

    def note(signum: int, frame: FrameType | None) -> None:
        if flag.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if flag.signum is None or flag.signum != asked:
            flag.signum = signum

    with _handling(note, _asking() | {signal.SIGINT}):
        yield flag


@contextmanager
def leave_on_signals() -> Iterator[None]:
    """While inside, what asks `stop_on_signals` for a stop raises `Stopped`; SIGINT is KeyboardInterrupt anyway.

    Outside the main thread nothing is installed.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    with _handling(leave, _asking()):
        yield


def _asking() -> set[int]:
    """The signals that ask for a stop in this process, but for SIGINT."""
    hangup = set() if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else {signal.SIGHUP}
    asked = scheduler_signal()
    return {signal.SIGTERM} | hangup | (set() if asked is None else {asked})


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None], signums: set[int]) -> Iterator[None]:
    """With `handler` for `signums` in the main thread; those before come back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(signum: int, frame: FrameType | None) -> None:
        _leave_lost_terminal()
        handler(signum, frame)

    before = {signum: signal.signal(signum, heard) for signum in signums}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)


def _leave_lost_terminal() -> None:
    """What is printed to a terminal that is gone goes nowhere: it would be an error, in the midst of saving."""
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
