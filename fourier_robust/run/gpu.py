"""Which GPUs of this host are free: each for one job, also between sweeps of one user."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fourier_robust.errors import Busy, UserError
from fourier_robust.run.claim import Claim

_LOOK = 1.0  # seconds between two looks, and up to a second more, so that two that wait don't meet each time


@contextlib.contextmanager
def free_gpus(names: Sequence[str], wanted: int = 1) -> Iterator[list[int]]:
    """Hold the first `wanted` GPUs that no living process holds, once there are so many; their places in `names`.

    All or none is held, so that two that wait never have what the other waits for.

    Args:
        names: of the GPUs that this process sees, what each is called on the whole host.
        wanted: at least 1.

    Raises:
        UserError: more are wanted than there are.
    """
    if wanted > len(names):
        raise UserError(f"device.processes={wanted}: there are {len(names)} GPUs here, and each needs its own")
    base, said = Path(tempfile.gettempdir()) / f"fourier_robust-{os.getuid()}", False
    while True:
        with contextlib.ExitStack() as stack:
            held: list[int] = []
            for index, name in enumerate(names):
                (base / name).mkdir(parents=True, exist_ok=True, mode=0o700)
                with contextlib.suppress(Busy):
                    stack.enter_context(Claim(base / name))
                    held.append(index)
                if len(held) == wanted:
                    yield held
                    return
        if not said:
            print("waiting for GPUs: other jobs hold all, or too many", file=sys.stderr)
            said = True
        time.sleep(_LOOK + os.getpid() % 100 / 100)
