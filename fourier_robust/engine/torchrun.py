"""A job that starts its own processes: torchrun inside, so that a sweep's process joins no group itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from fourier_robust.engine.interrupt import Interrupted, scheduler_signal, stop_on_signals
from fourier_robust.errors import BUSY, Busy, UserError

_POLL = 0.1  # seconds


def start(module: str, overrides: Sequence[str], processes: int) -> None:
    """``torchrun --nproc-per-node=<processes> -m <module> <overrides>`` on this machine, to its end.

    Args:
        module: a front door.
        overrides: its command line.
        processes: at least 2.

    Raises:
        UserError: one of them failed; it has said why.
        Busy: another process does this very work; they have said who.
        Interrupted: a signal asked for a stop; it was passed on as SIGTERM, and all have ended.
    """
    command = [sys.executable, "-m", __name__, "--standalone", f"--nproc-per-node={processes}", "-m", module]
    sent = None
    with (
        stop_on_signals() as flag,
        subprocess.Popen(
            [*command, *overrides],
            start_new_session=True,  # a Ctrl-C comes once: from here
            preexec_fn=_leave_it_to_the_parent,
        ) as child,
    ):
        while child.poll() is None:
            if flag.signum is not None and sent is None:
                sent = flag.signum
                child.terminate()  # SIGTERM, which torchrun passes on; another signal might end it alone
            time.sleep(_POLL)
    if sent is not None:
        raise Interrupted(sent, f"passed on to {processes} processes; the same command goes on from here")
    if child.returncode == BUSY:
        raise Busy(f"device.processes={processes}: another process does this very work, see above")
    if child.returncode:
        raise UserError(f"device.processes={processes}: a process failed, see above (exit code {child.returncode})")


def _leave_it_to_the_parent() -> None:
    """Have the child ignore the scheduler's signal: SLURM sends it to every process of a job, and it would end them."""
    signum = scheduler_signal()
    if signum is not None:
        signal.signal(signum, signal.SIG_IGN)


def main() -> None:
    """torchrun, but without a page of its own traces after the failing process's message; exits with its code."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.run(run.parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        if any(failure.exitcode == BUSY for failure in error.failures.values()):
            code = BUSY
        sys.exit(code if code > 0 else 128 - code)
    except SignalException as stop:
        sys.exit(128 + stop.sigval)


if __name__ == "__main__":
    main()
