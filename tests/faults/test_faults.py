"""The faults of ``make faults``, each injected into real processes; two or three kills here, fifty there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
QUICK = ("train_kill", "checkpoint_eval", "read_only", "loss_diverges", "two_trainings")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("faults", SCRIPTS / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


faults = load()
CASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in faults.CASES]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    if not sys.platform.startswith("linux"):
        pytest.skip("processes are looked up in /proc")
    folder = tmp_path_factory.mktemp("faults")
    with faults.Server(folder / "logs") as server:
        yield faults.Bench(folder, server, kills=2)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_lost_by(name: str, bench: object) -> None:
    lines = list(faults.lines_of(name, bench))
    assert lines
    assert {line.fault: line.bad for line in lines if line.bad} == {}


def test_a_bad_outcome_is_seen() -> None:
    line, trace = faults.Line("fault", "how"), "(most recent call last): OSError: disk"
    ended = faults.Ended(1, "Traceback (most recent call last):\nOSError: disk")
    line.said(ended, 2, "full")
    assert line.bad == [
        "exit code 1, not 2",
        f"a traceback: {trace}",
        "the message does not say 'full': 'OSError: disk'",
    ]
    assert f"BAD: exit code 1, not 2; a traceback: {trace}" in faults.cells(line, Path("/scratch"))[-1]
