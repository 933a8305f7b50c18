"""Waiting for a scheduler's jobs: those that leave a result, those that vanish, and answers that don't come."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from fourier_robust.run import queue


class Clock:
    """Time that passes only by sleeping; `events` happen at their second."""

    def __init__(self) -> None:
        self.now, self.events = 0.0, dict[float, list[Path]]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 1000, "it waits for ever"
        for path in self.events.pop(self.now, ()):
            path.touch()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(queue, "time", clock)
    return clock


def test_results_end_the_wait(clock: Clock, tmp_path: Path) -> None:
    results = {f"7_{n}": tmp_path / str(n) for n in range(3)}
    clock.events = {5.0: [results["7_2"]], 9.5: [results["7_0"], results["7_1"]]}
    queue.wait(results, lambda number: {"7_0", "7_1", "7_2"})
    assert clock.now == 9.5


def test_a_job_that_vanished_is_not_waited_for(clock: Clock, tmp_path: Path) -> None:
    answers = [{"7_0", "7_1"}, {"7_0"}, {"7_0", "7_1"}, None, {"7_0"}, None, {"7_0"}]
    asked = []

    def ask(number: str) -> set[str] | None:
        asked.append(clock.now)
        assert number == "7"
        if len(asked) == len(answers):
            clock.events[clock.now + 0.5] = [tmp_path / "0"]
        return answers[len(asked) - 1]

    queue.wait({"7_0": tmp_path / "0", "7_1": tmp_path / "1"}, ask)
    assert asked == [2.0 * k for k in range(1, 8)]  # one miss between two sightings is a requeue; silence is nothing
    assert clock.now == asked[-1] + 0.5


def test_the_controller_is_asked_less_and_less(clock: Clock, tmp_path: Path) -> None:
    asked = []

    def ask(number: str) -> set[str]:
        asked.append(clock.now)
        return {"7"}

    clock.events[900.0] = [tmp_path / "0"]
    queue.wait({"7": tmp_path / "0"}, ask)
    assert asked[:3] == [2.0, 4.0, 6.0]
    assert 55 < asked[-1] - asked[-2] <= 60.5
    assert len(asked) < 60


@pytest.mark.parametrize(
    ("code", "out", "error", "found"),
    [
        (0, "12_0\n12_3\n", "", {"12_0", "12_3"}),
        (0, "", "", set()),
        (1, "", "slurm_load_jobs error: Invalid job id specified\n", set()),
        (1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", None),
    ],
)
def test_answers(code: int, out: str, error: str, found: set[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(returncode=code, stdout=out, stderr=error)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: answer)
    assert queue.queued("12") == found


def test_no_squeue_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue.queued("12") is None


def test_refusal() -> None:
    said = "Command failed\nsbatch: error: invalid partition specified: gpu\nsbatch: error: Batch job submission failed"
    assert queue.refusal(RuntimeError(said)) == "sbatch: error: Batch job submission failed"
    assert queue.refusal(RuntimeError("no such thing\n")) == "no such thing"
    assert queue.refusal(RuntimeError()) == "RuntimeError"
