"""Which GPU of this host is free: one job each, also between sweeps of one user."""

from __future__ import annotations

import contextlib
import getpass
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fourier_robust.errors import Busy
from fourier_robust.run.claim import Claim


@contextlib.contextmanager
def free_gpu(count: int) -> Iterator[int | None]:
    """Hold the first of GPUs 0 to `count` - 1 that no living process holds; None where there is none."""
    for index in range(count):
        folder = Path(tempfile.gettempdir()) / f"fourier_robust-{getpass.getuser()}" / f"gpu{index}"
        folder.mkdir(parents=True, exist_ok=True)
        claim = Claim(folder)
        try:
            claim.__enter__()
        except Busy:
            continue
        try:
            yield index
        finally:
            claim.__exit__()
        return
    yield None
