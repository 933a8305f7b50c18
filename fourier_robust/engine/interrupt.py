"""Signals as a wish to stop: at the next step with everything saved, or at once where finished units are kept."""

from __future__ import annotations

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
    """While inside, SIGTERM, the scheduler's signal and the first SIGINT only set the flag; a second SIGINT stops.

    A requeue that was asked for stays asked for: a SIGTERM that follows it changes nothing.
    Outside the main thread nothing is installed (Python allows handlers only there).
    """
    flag, asked = StopFlag(), scheduler_signal()

    def note(signum: int, frame: FrameType | None) -> None:
        if flag.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if flag.signum is None or flag.signum != asked:
            flag.signum = signum

    with _handling(note, {signal.SIGTERM, signal.SIGINT, asked} - {None}):
        yield flag


@contextmanager
def leave_on_signals() -> Iterator[None]:
    """While inside, SIGTERM and the scheduler's signal raise `Stopped`; SIGINT is KeyboardInterrupt anyway.

    Outside the main thread nothing is installed.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    with _handling(leave, {signal.SIGTERM, scheduler_signal()} - {None}):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None], signums: set[int | None]) -> Iterator[None]:
    """With `handler` for `signums` in the main thread; those before come back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in signums if signum is not None}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)
