"""One process per folder: living claims are kept, those of dead processes and silent hosts are taken over once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fourier_robust.errors import Busy
from fourier_robust.run import atomic, claim
from fourier_robust.run.claim import NAME, STALE, Claim

CONTEXT = multiprocessing.get_context("spawn")


def _hold(folder: str, ready: Any) -> None:
    with Claim(Path(folder)):
        ready.set()
        time.sleep(60)


def _try(folder: str, barrier: Any, results: Any) -> None:
    barrier.wait()
    try:
        with Claim(Path(folder)):
            results.put("held")
            barrier.wait()  # until all have tried
    except Busy:
        results.put("refused")
        barrier.wait()


def elsewhere(folder: Path, seconds_ago: float) -> Path:
    """The claim of a process on another host."""
    path = folder / NAME
    path.write_text(json.dumps({"host": "other", "boot": "x", "processes": "y", "pid": 1, "start": "5", "token": "z"}))
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


def test_refused_while_held_and_free_afterwards(tmp_path: Path) -> None:
    with Claim(tmp_path) as held:
        assert held.held()
        with pytest.raises(
            Busy, match=rf"another process is running this experiment: {tmp_path} \(process {os.getpid()} "
        ):
            Claim(tmp_path).__enter__()
    assert not list(tmp_path.iterdir())


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    ready = CONTEXT.Event()
    other = CONTEXT.Process(target=_hold, args=(str(tmp_path), ready))
    other.start()
    assert ready.wait(300)
    with pytest.raises(Busy):
        Claim(tmp_path).__enter__()
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert (tmp_path / NAME).exists()
    with Claim(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_another_process_of_the_same_number_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps({**claim._self(), "start": "1", "token": "z"}))
    with Claim(tmp_path):
        pass


def test_a_silent_host_loses_its_claim_a_living_one_does_not(tmp_path: Path) -> None:
    path = elsewhere(tmp_path, STALE - 60)
    with pytest.raises(Busy, match=r"\(process 1 on other\)"):
        Claim(tmp_path).__enter__()
    assert path.exists()
    elsewhere(tmp_path, STALE + 60)
    with Claim(tmp_path) as held:
        assert held.held()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": 3}', b'{"host": "\xff"}', b"\x00\xc3"])
def test_a_damaged_claim_is_judged_by_its_age(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(Busy):
        Claim(tmp_path).__enter__()
    then = time.time() - STALE - 60
    os.utime(tmp_path / NAME, (then, then))
    with Claim(tmp_path):
        pass


def test_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT", 0.01)
    beaten = threading.Event()

    def beat() -> None:
        beaten.set()
        raise OSError("the disk is full")  # is no reason to stop

    with Claim(tmp_path, beat) as held:
        os.utime(held.path, (1, 1))
        assert beaten.wait(20)
        deadline = time.monotonic() + 20
        while held.path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.path.stat().st_mtime > 2


def test_who_lost_its_claim_knows_and_leaves_the_other_alone(tmp_path: Path) -> None:
    with Claim(tmp_path) as lost:
        os.replace(elsewhere(tmp_path, 0), tmp_path / NAME)
        assert not lost.held()
    assert json.loads((tmp_path / NAME).read_text())["host"] == "other"


def test_of_many_at_once_one_gets_a_void_claim(tmp_path: Path) -> None:
    elsewhere(tmp_path, STALE + 60)
    barrier, results = CONTEXT.Barrier(4), CONTEXT.Queue()
    several = [CONTEXT.Process(target=_try, args=(str(tmp_path), barrier, results)) for _ in range(4)]
    for one in several:
        one.start()
    found = sorted(results.get(timeout=300) for _ in several)
    for one in several:
        one.join()
    assert found == ["held", "refused", "refused", "refused"]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_claim_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*\.claim'"):
        Claim(tmp_path).__enter__()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_of_a_claim_goes_with_the_next_file(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.{atomic.here()}-{2**22 + 1}-00000000.tmp").touch()
    with Claim(tmp_path):
        atomic.write_text(tmp_path / "a.csv", "text")
        assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "a.csv"]
    assert re.fullmatch(rf"\{NAME}\.[0-9a-f]{{8}}-\d+-[0-9a-f]{{8}}\.tmp", claim._temporary(tmp_path).name)


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="names of processes are elsewhere here")
def test_a_process_may_have_a_name_of_any_bytes() -> None:
    name = Path("/proc/self/comm")
    before, started = name.read_bytes(), claim._start(os.getpid())
    try:
        name.write_bytes(b"caf\xc3")  # cut in the middle of a letter
        assert claim._start(os.getpid()) == started
    finally:
        name.write_bytes(before.rstrip(b"\n"))
