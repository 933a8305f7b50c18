"""Worker processes: a pool whose worker has died while others were started says so; other errors pass."""

from __future__ import annotations

import errno
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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
