"""The folder of an evaluation is one process's at a time: the second says who has it, and does no work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import TINY

from fourier_robust import evaluate, sweeping
from fourier_robust.arch.resnet import resnet20
from fourier_robust.engine.distributed import Team
from fourier_robust.engine.interrupt import Stopped
from fourier_robust.errors import Busy, UserError
from fourier_robust.evaluate import Setting
from fourier_robust.run.claim import NAME, Claim
from fourier_robust.run.eval_record import EvalRecord
from fourier_robust.run.seal import weights_of
from fourier_robust.run.sweep import Jobs
from fourier_robust.suite.swap import Swap

Train = Callable[..., Path]
Evaluate = Callable[..., None]
PROCESSES = ("device.name=cpu", "device.threads=1", "device.keep_blocks=false")


def held(folder: Path) -> Claim:
    folder.mkdir(parents=True, exist_ok=True)
    return Claim(folder)


def none_left(folder: Path) -> bool:
    return not list(folder.rglob(".*"))


def test_a_held_suite_is_left_to_its_process(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    folder = train_tiny()
    suite = folder / "eval/clean"
    who = rf"another process is measuring this: {suite} \(process {os.getpid()} on \S+ since \d{{4}}-\d\d-\d\d "
    with held(suite):
        with pytest.raises(Busy, match=who):
            evaluate_tiny(folder)
        assert [path.name for path in suite.iterdir()] == [NAME]  # nothing was measured
        evaluate_tiny(folder, "suite=sensitivity", "suite.images=16")
        assert (folder / "eval/sensitivity/results.csv").exists()
    evaluate_tiny(folder)
    assert (suite / "results.csv").exists()
    assert none_left(folder)


def test_a_dead_process_holds_no_suite(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    folder = train_tiny()
    suite = folder / "eval/clean"
    suite.mkdir(parents=True)
    program = f"from pathlib import Path; from fourier_robust.run.claim import Claim; import os\n\
with Claim(Path({str(suite)!r})): print(flush=True); os.kill(os.getpid(), {int(signal.SIGKILL)})"
    subprocess.run([sys.executable, "-c", program], check=False)
    assert (suite / NAME).exists()
    evaluate_tiny(folder)
    assert (suite / "results.csv").exists()
    assert none_left(folder)


def test_an_evaluation_that_fails_leaves_no_empty_folder(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fourier_robust.engine.predict as engine

    def stops(*_: Any) -> None:
        raise UserError("out of memory with a single image")

    folder = train_tiny()
    monkeypatch.setattr(engine, "_predict", stops)
    with pytest.raises(UserError, match="single image"):
        evaluate_tiny(folder)
    assert not (folder / "eval").exists()


def test_a_folder_that_another_process_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = SimpleNamespace(path=tmp_path / "last.pt", meta={"names": {}}, sha256="0")
    record = EvalRecord(checkpoint, "clean", torch.device("cpu"))  # type: ignore[arg-type]
    created, times = Claim._created, []

    def too_late(claim: Claim) -> bool:
        times.append(1)
        if len(times) == 1:
            record.folder.rmdir()
        return created(claim)

    monkeypatch.setattr(Claim, "_created", too_late)
    with record.claimed() as claim:
        assert claim.held()
    assert len(times) == 2
    assert not (tmp_path / "eval").exists()


def test_all_measures_what_is_free_and_names_what_is_not(
    train_tiny: Train, evaluate_tiny: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train_tiny()
    settings = ("suite=all", "suite.only=[clean,sensitivity]", "suite.parts.sensitivity.images=16")
    with held(folder / "eval/clean"):
        with pytest.raises(Busy, match="another process measures 1 of 2 suites: clean; see above"):
            evaluate_tiny(folder, *settings)
        said = capsys.readouterr().out
        assert "not measured:\nclean: another process is measuring this: " in said
        receipt = json.loads((folder / "eval/all/eval.json").read_text())
        assert receipt["measured"] == ["sensitivity"]
        assert receipt["not_measured"]["clean"].startswith("another process is measuring this: ")
    shutil.rmtree(folder / "eval/all")
    with held(folder / "eval/all"), pytest.raises(Busy, match=r"is measuring this: .*/eval/all "):
        evaluate_tiny(folder, *settings)
    evaluate_tiny(folder, *settings)
    assert json.loads((folder / "eval/all/eval.json").read_text())["not_measured"] == {}
    assert none_left(folder)
    whole = (folder / "eval/all/results.csv").read_bytes()
    with held(folder / "eval/clean"), pytest.raises(Busy, match="another process measures 1 of 2 suites: clean"):
        evaluate_tiny(folder, *settings)
    assert (folder / "eval/all/results.csv").read_bytes() == whole
    assert f"left as it was, for it may have more rows: {folder}/eval/all" in capsys.readouterr().out


def test_all_of_them_held_writes_nothing(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    folder = train_tiny()
    with held(folder / "eval/clean"):
        with pytest.raises(Busy, match="another process measures 1 of 1 suites: clean"):
            evaluate_tiny(folder, "suite=all", "suite.only=[clean]")
        assert not (folder / "eval/all").exists()


def test_nothing_is_written_where_a_new_training_set_the_folder_aside(tmp_path: Path) -> None:
    """The new model's eval/ would else begin with the old one's rows."""
    checkpoint = SimpleNamespace(path=tmp_path / "last.pt", meta={"names": {}}, sha256="0")
    record = EvalRecord(checkpoint, "clean", torch.device("cpu"))  # type: ignore[arg-type]
    with record.claimed():
        (tmp_path / "eval").rename(tmp_path / "aside")
        with pytest.raises(UserError, match="was taken over, or set aside by a new training"):
            record.finish([], [], {}, {})
    assert not (tmp_path / "eval").exists()


def test_the_weights_that_last_pt_names_are_the_run(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    folder = train_tiny()
    evaluate_tiny(folder)
    written = (folder / "eval/clean/eval.json").read_bytes()
    weights, _ = weights_of(folder / "last.pt") or ("", "")
    evaluate_tiny(folder / weights)
    assert {path.name for path in (folder / "eval").iterdir()} == {"clean", "predictions"}
    assert (folder / "eval/clean/eval.json").read_bytes() != written


def test_of_another_checkpoint_of_the_run_the_results_lie_beside(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_tiny()
    for number, name in enumerate(("last.pt", "previous.pt")):
        monkeypatch.setenv("FR_SWEEP_JOB", f"/sweep#{number}")
        evaluate_tiny(folder / name)
    evaluations = folder / "eval"
    assert {path.name for path in evaluations.iterdir()} == {"clean", "clean.previous", "predictions"}
    last, previous = (
        json.loads((evaluations / name / "eval.json").read_text()) for name in ("clean", "clean.previous")
    )
    assert [last["checkpoint"]["path"], previous["checkpoint"]["path"]] == ["last.pt", "previous.pt"]
    assert last["checkpoint"]["sha256"] != previous["checkpoint"]["sha256"]
    monkeypatch.delenv("FR_SWEEP_JOB")
    evaluate_tiny(folder, "suite=all", "suite.only=[clean]")
    evaluate_tiny(folder / "previous.pt", "suite=all", "suite.only=[clean]", "name=mine")
    names = {"all", "all.mine.previous", "clean.mine.previous"}
    assert names < {path.name for path in evaluations.iterdir()}


def test_no_job_of_a_sweep_overwrites_anothers_whatever_the_weights(
    evaluate_tiny: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of somebody else's models the folder has the file's name alone, without its ending."""
    settings = ("arch=resnet20", "dataset=shapes", "dataset.num_test=32")
    for seed, name in enumerate(("net.pt", "net.pth")):
        torch.manual_seed(seed)
        torch.save(resnet20(10).state_dict(), tmp_path / name)
    monkeypatch.setenv("FR_SWEEP_JOB", "/sweep#0")
    evaluate_tiny(tmp_path / "net.pt", *settings)
    whole = (tmp_path / "eval/net/clean.shapes/results.csv").read_bytes()
    monkeypatch.setenv("FR_SWEEP_JOB", "/sweep#1")
    with pytest.raises(UserError, match=r"clean\.shapes is job #0's of this sweep, with other settings: give each a"):
        evaluate_tiny(tmp_path / "net.pth", *settings)
    assert (tmp_path / "eval/net/clean.shapes/results.csv").read_bytes() == whole
    monkeypatch.setenv("FR_SWEEP_JOB", "/another#0")
    evaluate_tiny(tmp_path / "net.pth", *settings)
    assert (tmp_path / "eval/net/clean.shapes/results.csv").read_bytes() != whole


def test_a_fault_in_one_part_costs_only_that(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = train_tiny()
    (folder / "eval").mkdir()
    (folder / "eval/clean").touch()  # in the place of its folder

    def breaks(*_: Any) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(Swap, "conditions", breaks)
    settings = ("suite=all", "suite.only=[clean,swap,sensitivity]", "suite.parts.sensitivity.images=16")
    with pytest.raises(OSError, match=r"^2 of 3 suites stopped: clean, swap; see above$"):
        evaluate_tiny(folder, *settings)
    receipt = json.loads((folder / "eval/all/eval.json").read_text())
    assert receipt["measured"] == ["sensitivity"]
    assert "File exists" in receipt["not_measured"]["clean"]
    assert receipt["not_measured"]["swap"] == "RuntimeError: two lines"
    said = capfd.readouterr()
    assert "not measured: RuntimeError: two lines" in said.out
    assert said.err.count("Traceback") == 1  # the system's word needs none

    def stopped(*_: Any) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(Swap, "conditions", stopped)
    with pytest.raises(Stopped):
        evaluate_tiny(folder, *settings)


def test_among_several_processes_a_fault_ends_all() -> None:
    """The others would wait for it in another place."""

    def breaks(*_: Any) -> None:
        raise RuntimeError("broken")

    part = SimpleNamespace(conditions=breaks)
    suite = SimpleNamespace(name="all", parts={"one": part, "two": part})
    config: dict[str, Any] = {"suite": {"parts": {"one": {}, "two": {}}}}
    at = Setting(None, SimpleNamespace(), None, config, None, Team(0, 2), {})  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="broken"):
        evaluate._ask_all(at, suite)


def test_in_a_sweep_it_is_elsewhere(
    train_tiny: Train, evaluate_tiny: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_tiny()
    config = SimpleNamespace(
        sweep=SimpleNamespace(dir=str(tmp_path / "sweep")),
        job=SimpleNamespace(num=0),
        overrides=SimpleNamespace(task=["suite=clean"]),
        launcher={"_target_": ""},
    )
    monkeypatch.setattr(sweeping, "HydraConfig", SimpleNamespace(get=lambda: config))
    monkeypatch.setattr(sweeping, "_started", [tmp_path / "sweep"])
    with held(folder / "eval/clean"):
        sweeping.job(lambda _: evaluate_tiny(folder), 0)
    (noted,) = Jobs(tmp_path / "sweep").all()
    assert noted["state"] == "elsewhere"
    assert f"(process {os.getpid()} on " in noted["reason"]
    assert sweeping.finish() == 0


def test_a_claim_is_no_part_of_what_is_kept(train_tiny: Train, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    folder = train_tiny()
    evaluate_tiny(folder)
    receipt = folder / "eval/clean/eval.json"
    receipt.write_text(json.dumps(json.loads(receipt.read_text()) | {"git": {"dirty": False}}))
    script = Path(__file__).parents[2] / "scripts/keep_reference.py"
    with Claim(receipt.parent):
        (receipt.parent / f"{NAME}.00000000-1-00000000.tmp").touch()
        subprocess.run([sys.executable, str(script), str(folder / "eval"), str(tmp_path / "kept")], check=True)
    names = {path.name for path in (tmp_path / "kept/clean").iterdir()}
    assert names == {"results.csv", "table.csv", "table.png", "eval.json"}


@pytest.mark.slow
def test_the_commands_exit_with_2_and_a_sweep_of_them_with_0(train_tiny: Train) -> None:
    """As users start them, also with processes of their own, of which the first one alone asks for the folder."""
    folder = train_tiny()
    command = [sys.executable, "-m", "fourier_robust.evaluate"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(*words: str) -> tuple[int, str]:
        words = (*words, f"ckpt={folder}", *PROCESSES)
        done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stderr

    with held(folder / "eval/clean"):
        code, said = run()
        assert code == 2
        assert said.startswith(f"error: another process is measuring this: {folder}/eval/clean (process {os.getpid()} ")
        assert said.count("\n") == 1
        code, said = run("device.processes=2")
        assert code == 2
        assert said.count("is measuring this") == 1
        assert said.splitlines()[-1].endswith("device.processes=2: another process does this very work, see above")
        code, said = run("-m", "device.processes=1,2", f"paths.output_dir={folder.parent}")
        assert code == 0, said
        assert "sweep of 2 jobs: 2 elsewhere" in said
    code, said = run("device.processes=2")
    assert code == 0, said
    assert none_left(folder)


@pytest.mark.slow
def test_a_training_with_processes_of_its_own_that_another_does_is_elsewhere(tmp_path: Path, train_tiny: Train) -> None:
    command = [sys.executable, "-m", "fourier_robust.train"]
    settings = (*TINY, "trainer.epochs=3", f"paths.output_dir={tmp_path}/outputs")
    folder = train_tiny("trainer.epochs=3")
    (folder / "status.json").unlink()  # else it is done
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with Claim(folder):
        for words, code in ((("device.processes=2",), 2), (("-m", "device.processes=2"), 0)):
            done = subprocess.run(
                [*command, *words, *settings], env=environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == code, done.stderr
            assert done.stderr.count("another process is running this experiment") == 1
    assert "1 elsewhere" in done.stderr
