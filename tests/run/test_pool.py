"""Worker processes: a pool whose worker has died while others were started says so; other errors pass."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import util
from typing import Any

import pytest

from fourier_robust.run.pool import spread


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError("handle is closed"), BrokenProcessPool),  # what pickling a closed pipe for the next worker raises
        (ValueError("I/O operation on closed file"), BrokenProcessPool),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), BlockingIOError),
    ],
)
def test_a_worker_that_died_while_others_were_started(
    raised: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(*_: Any) -> None:
        raise raised

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    with pytest.raises(expected):
        list(spread(print, [1, 2], 2))


def test_a_worker_that_dies_while_the_next_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool then ends those it knows, which the new one is not yet among, and would wait for that one for ever."""
    spawn, pids = util.spawnv_passfds, list[int]()

    def slowly(path: bytes, words: Sequence[str], *rest: Any) -> int:
        pid = spawn(path, words, *rest)
        if any("spawn_main" in os.fsdecode(word) for word in words):
            if pids:
                os.kill(pids[0], signal.SIGKILL)
                time.sleep(1)
            pids.append(pid)
        return pid

    monkeypatch.setattr(util, "spawnv_passfds", slowly)
    seen = []

    def work() -> None:
        try:
            list(spread(print, [1, 2, 3], 2))
        except BrokenProcessPool as error:
            seen.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    alive = thread.is_alive()
    for pid in pids if alive else ():
        os.kill(pid, signal.SIGKILL)  # else pytest could not end
    assert not alive
    assert seen
