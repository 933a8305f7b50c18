"""Signals: a flag where a step can be finished, an end where units are kept, the scheduler's own where it listens."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fourier_robust.engine.interrupt import Stopped, leave_on_signals, scheduler_signal, stop_on_signals


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """A hangup counts here, also below nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What a scheduler's handler of SIGUSR2 hears."""
    signums: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda signum, _: signums.append(signum))
    yield signums
    signal.signal(signal.SIGUSR2, before)


def test_nobody_listens_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    assert scheduler_signal() is None
    with stop_on_signals(), leave_on_signals():
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_the_scheduler_names_its_signal(heard: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert scheduler_signal() == signal.SIGUSR2
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "USR1")
    assert scheduler_signal() is None
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "NONE_SUCH")
    assert scheduler_signal() is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ([signal.SIGTERM], signal.SIGTERM),
        ([signal.SIGINT], signal.SIGINT),
        ([signal.SIGHUP], signal.SIGHUP),
        ([signal.SIGUSR2], signal.SIGUSR2),
        ([signal.SIGTERM, signal.SIGUSR2], signal.SIGUSR2),
        ([signal.SIGUSR2, signal.SIGTERM], signal.SIGUSR2),  # the requeue stays wanted
    ],
)
def test_flag(heard: list[int], sent: list[int], kept: int) -> None:
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
    handlers = {signum: signal.getsignal(signum) for signum in caught}
    with stop_on_signals() as flag:
        for signum in sent:
            os.kill(os.getpid(), signum)
        assert flag.signum == kept
    assert {signum: signal.getsignal(signum) for signum in handlers} == handlers
    assert heard == []


def test_a_second_interrupt_stops_at_once() -> None:
    with stop_on_signals() as flag:
        signal.raise_signal(signal.SIGINT)
        assert flag.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_work_that_keeps_its_units_is_left(heard: list[int], signum: int) -> None:
    def work() -> None:
        with leave_on_signals(), contextlib.suppress(Exception):  # no error handler takes it for an error
            signal.raise_signal(signum)

    with pytest.raises(Stopped) as left:
        work()
    assert left.value.code == 128 + signum
    assert left.value.signum == signum
    assert signal.Signals(signum).name in str(left.value)
    assert heard == []


def test_a_step_is_finished_inside_work_that_is_left(heard: list[int]) -> None:
    with leave_on_signals():
        with stop_on_signals() as flag:
            signal.raise_signal(signal.SIGUSR2)
        assert flag.signum == signal.SIGUSR2
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)


def test_below_nohup_a_hangup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with leave_on_signals(), stop_on_signals() as flag:
        signal.raise_signal(signal.SIGHUP)
    assert flag.signum is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_is_printed_once_the_terminal_is_gone_is_no_error(tmp_path: Path) -> None:
    """As where ssh has ended: saving prints."""
    program = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from fourier_robust.engine.interrupt import stop_on_signals\n"
        "with stop_on_signals() as flag:\n"
        "    print('ready', flush=True)\n"
        "    while flag.signum is None: time.sleep(0.01)\n"
        "    print('one', flush=True); print('two', file=sys.stderr, flush=True)\n"
        f"    Path({str(tmp_path / 'saved')!r}).touch()\n"
        "os._exit(128 + flag.signum)\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", program])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    assert (tmp_path / "saved").exists()


def test_other_threads_install_nothing() -> None:
    handlers = []

    def work() -> None:
        with stop_on_signals(), leave_on_signals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
