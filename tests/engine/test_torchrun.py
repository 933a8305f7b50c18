"""Processes that a job starts: the scheduler's signal is for the job alone."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from fourier_robust.engine.torchrun import _leave_it_to_the_parent


@pytest.mark.parametrize("listens", [True, False])
def test_the_schedulers_signal_is_ignored_below_a_job_that_listens(listens: bool) -> None:
    """SLURM sends it to every process of a job; torchrun and its workers would end by it, unsaved."""
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
