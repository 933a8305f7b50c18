"""Processes that a job starts: signals that they get, what becomes of the others when one fails, what is said of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fourier_robust.engine import team
from fourier_robust.engine.distributed import LOST
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.engine.team import _below, _leave_it_to_the_parent, start
from fourier_robust.errors import BUSY, Busy, UserError

Started = Callable[[str], None]
HANGS = "time.sleep(600)"


@pytest.mark.parametrize("listens", [True, False])
def test_the_schedulers_signal_is_ignored_below_a_job_that_listens(listens: bool) -> None:
    """SLURM sends it to every process of a job; those below it would end by it, unsaved."""
    before = signal.signal(signal.SIGUSR2, (lambda *_: None) if listens else signal.SIG_DFL)
    program = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('goes on')"
    below = f"import subprocess, sys; sys.exit(abs(subprocess.run([sys.executable, '-c', {program!r}]).returncode))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", below], preexec_fn=_leave_it_to_the_parent, capture_output=True, text=True
        )
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (done.returncode, done.stdout) == ((0, "goes on\n") if listens else (signal.SIGUSR2, ""))


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Has `start` begin two processes of a program, which knows its `rank`, and the folder `here`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(team, "_OWN_END", 0.2)

    def run(program: str) -> None:
        head = "import os, signal, sys, time\nfrom pathlib import Path\nrank = int(os.environ['RANK'])\n"
        (tmp_path / "program.py").write_text(f"{head}here = Path({str(tmp_path)!r})\n{program}\n")
        start("program", ["a=1"], 2)

    return run


def test_each_is_told_who_it_is_and_that_they_meet_in_a_folder_of_their_user(started: Started, tmp_path: Path) -> None:
    started(
        "meeting = Path(os.environ['FR_MEETING'])\n"
        "names = ('LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'GLOO_SOCKET_IFNAME')\n"
        "about = [os.environ[name] for name in names]\n"
        "(here / f'{rank}').write_text(f'{about} {sys.argv[1:]} {meeting.parent.stat().st_mode & 0o777:o} {meeting}')"
    )
    first, second = ((tmp_path / name).read_text() for name in "01")
    said, _, meeting = first.rpartition(" ")
    assert said == "['0', '2', '2', 'lo'] ['a=1'] 700"
    assert second == f"['1', '2', '2', 'lo'] ['a=1'] 700 {meeting}"
    assert not Path(meeting).parent.exists()


@pytest.mark.parametrize(
    ("second", "first", "kind", "said"),
    [
        ("print('error: lr must be > 0', file=sys.stderr); sys.exit(2)", HANGS, UserError, "lr must be > 0"),
        ("print(1 / 0)", HANGS, ChildProcessError, "process 1 of 2: ZeroDivisionError: division by zero"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            f"time.sleep(0.1); print('error: {LOST}', file=sys.stderr); sys.exit(2)",
            ChildProcessError,
            "process 1 of 2 was killed by SIGKILL: out of memory?",
        ),
        ("sys.exit(2)", f"print('error: {LOST}', file=sys.stderr); sys.exit(2)", UserError, LOST),
        (
            "print('error: an image is damaged', file=sys.stderr); sys.exit(2)",
            f"print('error: {LOST}', file=sys.stderr); sys.exit(2)",
            UserError,
            "an image is damaged",
        ),
        ("sys.exit(3)", HANGS, ChildProcessError, "process 1 of 2: exit code 3"),
        (
            f"sys.exit({BUSY})",
            f"print('error: held', file=sys.stderr); sys.exit({BUSY})",
            Busy,
            "another process does this",
        ),
        ("sys.exit(143)", "sys.exit(143)", Interrupted, "it came to one of 2 processes"),
        ("sys.exit(129)", "sys.exit(129)", Interrupted, "it came to one of 2 processes"),
    ],
)
def test_what_one_meets_ends_all_and_is_said(
    second: str, first: str, kind: type[Exception], said: str, started: Started
) -> None:
    """A user's mistake is one here too, which is never tried again; all else is none."""
    begun = time.monotonic()
    with pytest.raises(kind) as met:
        started(f"if rank: {second}\nelse: {first}")
    assert type(met.value) is kind
    assert said in str(met.value)
    assert "\n" not in str(met.value)
    assert time.monotonic() - begun < 60


def test_each_error_is_said_once(started: Started, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError) as met:
        started("print(f'a warning\\nerror: wrong {rank}', file=sys.stderr); time.sleep(0.5); sys.exit(2)")
    said = [*capfd.readouterr().err.splitlines(), str(met.value).rpartition(": ")[2]]
    assert sorted(line.removeprefix("error: ") for line in said) == ["a warning", "a warning", "wrong 0", "wrong 1"]


def test_one_that_does_not_hear_is_killed(started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "_SAVING", 0.2)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); (here / 'pid').write_text(str(os.getpid())); time.sleep(600)"
    with pytest.raises(ChildProcessError, match="exit code 3"):
        started(f"if rank: {deaf}\nwhile not (here / 'pid').exists(): time.sleep(0.05)\nsys.exit(3)")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


SAVES = (
    "def save(*_):\n    time.sleep(0.5)\n    (here / f'saved-{rank}').touch()\n    sys.exit(143)\n"
    "signal.signal(signal.SIGTERM, save)\n(here / f'ready-{rank}').touch()\ntime.sleep(600)"
)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_all_may_save(signum: int, started: Started, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else it is ignored below nohup

    def stop() -> None:
        while len(list(tmp_path.glob("ready-*"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signum)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Interrupted, match="passed on to 2 processes") as stopped:
        started(SAVES)
    signal.signal(signal.SIGHUP, before)
    assert stopped.value.signum == signum
    assert len(list(tmp_path.glob("saved-*"))) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a kernel that tells children of their parent's end")
def test_where_the_parent_is_killed_all_may_save(tmp_path: Path) -> None:
    head = "import os, signal, sys, time\nfrom pathlib import Path\nrank = int(os.environ['RANK'])\n"
    (tmp_path / "program.py").write_text(f"{head}here = Path({str(tmp_path)!r})\n{SAVES}\n")
    begin = "from fourier_robust.engine.team import start; start('program', [], 2)"
    parent = subprocess.Popen([sys.executable, "-c", begin], env=os.environ | {"PYTHONPATH": str(tmp_path)})
    _wait_for(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    parent.kill()
    parent.wait()
    _wait_for(lambda: len(list(tmp_path.glob("saved-*"))) == 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a kernel that tells children of their parent's end")
def test_a_child_whose_parent_has_gone_before_it_could_ask_ends() -> None:
    """Also where the parent has a handler of its own, which the child has until its program begins."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        child = subprocess.Popen(["sleep", "60"], preexec_fn=partial(_below, os.getpid() + 1))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert child.wait(20) == -signal.SIGTERM


def _wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)
