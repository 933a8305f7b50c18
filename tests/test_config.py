"""Mistakes in the config: answered in one line, before torch is loaded and before anything is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import compose_config

from fourier_robust.config import _keys_of, validate
from fourier_robust.errors import UserError

APRP = "fourier_robust.aug.apr_p.APRP"


def run(module: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A front door in a process of its own; prints the names of heavy modules it has loaded at the end."""
    code = (
        f"import sys, atexit; sys.argv = ['x', *{list(arguments)!r}]\n"
        "heavy = ('torch', 'torchvision', 'timm', 'pandas', 'matplotlib')\n"
        "atexit.register(lambda: print('LOADED', [name for name in heavy if name in sys.modules]))\n"
        f"from fourier_robust.{module} import main\nmain()"
    )
    env = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=env)


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("train", ["aug=nothing"], "Available options in 'aug':"),
        ("train", ["aug.views.p=0.3"], "aug.views"),
        ("train", ["+aug.crop.paddding=3"], "aug.crop.paddding: CropFlip has no such setting; did you mean padding?"),
        ("train", ["trainer.epochs=many"], "trainer.epochs='many': expected int"),
        ("train", ["trainer.epochs=1.5"], "trainer.epochs=1.5: expected int"),
        ("train", ["trainer.precision=fp8"], "trainer.precision='fp8': expected Literal['auto', 'bf16', 'fp32']"),
        ("train", ["dataset.corruption=rain", "dataset.severity=1"], "dataset.corruption=rain: must be one of"),
        ("train", ["seed=one"], "seed='one': expected int"),
        ("train", ["sede=1"], "sede"),
        ("eval", [], "ckpt is required: give ckpt=..."),
        ("eval", ["ckpt=x", "suite=corruption"], "corruptions"),
        ("eval", ["ckpt=x", "precision=half"], "precision='half'"),
        ("eval", ["ckpt=x", "batch_size=-1"], "batch_size=-1: must be 1 or more\n"),
        ("eval", ["ckpt=x", "batch_size=0"], "batch_size=0: must be 1 or more\n"),
        ("eval", ["ckpt=x", "predictions_gib=nan"], "predictions_gib=nan: must be 0 or more, and finite\n"),
        ("eval", ["ckpt=x", "predictions_gib=inf"], "predictions_gib=inf: must be 0 or more, and finite\n"),
        ("eval", ["ckpt=x", "predictions_gib=-0.5"], "predictions_gib=-0.5: must be 0 or more, and finite\n"),
        ("train", ["retry=-1"], "retry=-1: must be 0 or more\n"),
        ("train", ["retry=x"], "retry='x': expected int\n"),
        ("train", ["paths.output_dir=3"], "paths.output_dir=3: expected str\n"),
        ("train", ["paths.output_dir={a: 1}"], "paths.output_dir={'a': 1} must name a folder"),
        ("train", ["paths.output_dir="], "paths.output_dir is empty: it must name a folder"),
        ("train", ["paths.data_dir=' '"], "paths.data_dir is empty: it must name a folder"),
        ("train", ["-m", "paths.output_dir=", "seed=0,1"], "paths.output_dir is empty: it must name a folder"),
        ("train", ["-m", "paths.output_dir=3", "seed=0,1"], "paths.output_dir=3: expected str\n"),
        ("train", ["+paths.output=x"], "paths.output: paths has no such setting; did you mean output_dir?"),
        ("train", ["+foo=1"], "foo: fr-train has no such setting; it has dataset, arch, aug, reg, optim, "),
        ("train", ["+ckpt=x"], "ckpt: fr-train has no such setting; it has dataset, "),
        ("eval", ["ckpt=x", "+batchsize=7"], "batchsize: fr-eval has no such setting; did you mean batch_size?"),
        ("report", ["runs=x", "+colums=[]"], "colums: fr-report has no such setting; did you mean columns?"),
    ],
)
def test_one_clear_answer_without_loading_torch(tmp_path: Path, module: str, arguments: list[str], said: str) -> None:
    name = {"train": "train", "eval": "evaluate", "report": "reporting"}[module]
    done = run(name, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "LOADED []" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_loads_nothing_heavy_and_lists_the_groups(tmp_path: Path) -> None:
    for name in ("train", "evaluate"):
        done = run(name, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "LOADED []" in done.stdout
    assert "suite: all, attacks, bands, " in done.stdout
    assert "batch_size: null     # images per " in done.stdout  # the yaml's comments are the help


def test_a_wrong_path_is_one_line_and_debug_shows_the_trace(tmp_path: Path) -> None:
    done = run("evaluate", "ckpt=nowhere/last.pt", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: no checkpoint at nowhere/last.pt\n")
    done = run("evaluate", "ckpt=nowhere/last.pt", cwd=tmp_path, FR_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": APRP, "p": "often"}, r"aug\.views\.p='often': expected float"),
        ({"_target_": APRP, "p": True}, r"aug\.views\.p=True: expected float"),
        ({"_target_": APRP, "channels": "both"}, "expected Literal"),
        ({"_target_": APRP, "mean": 0.5}, r"aug\.views\.mean=0\.5"),
        ({"_target_": APRP, "strength": 1}, "APRP has no such setting; it has p, "),
        ({"_target_": "fourier_robust.aug.apr_q.APRQ"}, "there is no module"),
        ({"_target_": "fourier_robust.aug.apr_p.APRQ"}, "has no APRQ"),
    ],
)
def test_settings_are_held_against_the_signature(node: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        validate({"aug": {"_target_": "fourier_robust.aug.chain.Chain", "views": node}})


def test_an_inherited_constructor_is_checked_too() -> None:
    bar = "fourier_robust.suite.corruptions_bar.CorruptionsBar"
    with pytest.raises(UserError, match=r"suite\.sourc: CorruptionsBar has no such setting; did you mean source"):
        validate({"suite": {"_target_": bar, "sourc": "auto"}})


def test_what_fits_passes() -> None:
    validate({"aug": {"_target_": APRP, "p": 1, "mean": [0.5, 0.5, 0.5], "std": None, "channels": "joint"}, "seed": 3})
    validate({"net": {"_target_": "torch.nn.Linear", "anything": "goes"}})


def test_a_refused_value_names_its_place() -> None:
    from fourier_robust.cli import build

    config, _ = compose_config("train", "aug=apr_p", "aug.views.p=1.5")
    with pytest.raises(UserError, match=r"^aug\.views: .*p.*1\.5"):
        build(config, "aug")
    config, _ = compose_config("eval", "ckpt=x", "suite=resolution", "suite.sets=[shift]", "suite.shift.sets=[nowhere]")
    with pytest.raises(UserError, match=r"^suite\.shift\.sets: no set nowhere; there are "):
        build(config, "suite")


@pytest.mark.parametrize("door", ["train", "eval", "report"])
def test_the_keys_of_a_door_are_those_that_hydra_composes(door: str) -> None:
    chosen = {"train": [], "eval": ["ckpt=x", "dataset=shapes", "arch=speednet"], "report": ["runs=x"]}[door]
    config, _ = compose_config(door, *chosen)
    assert set(config) == set(_keys_of(door)) - {"experiment"}
    validate(config, door)


@pytest.mark.parametrize("retry", ["-1", "x", "null", "true"])
def test_a_sweep_says_what_is_wrong_with_its_retries(tmp_path: Path, retry: str) -> None:
    done = run("train", "-m", f"retry={retry}", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "sweep of 2 jobs: 2 failed\n  failed    #0 seed=0: retry=" in done.stderr


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    for part in (f"data_batch_{number}" for number in range(1, 6)):
        (tmp_path / "cifar-10-batches-py").mkdir(exist_ok=True)
        (tmp_path / "cifar-10-batches-py" / part).touch()  # in the working folder, which FR_DATA= would name
    done = run("train", "dataset=cifar10", "device.name=cpu", cwd=tmp_path, FR_DATA="", FR_OUTPUTS="")
    assert done.returncode == 2
    assert done.stderr.startswith("error: CIFAR-10 train files not found: ")
    assert f" in {tmp_path}/data/cifar10 and {tmp_path}/data; " in done.stderr


def test_no_sweep_inside_torchrun(tmp_path: Path) -> None:
    done = run("train", "-m", "seed=0,1", cwd=tmp_path, TORCHELASTIC_RUN_ID="x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no sweep inside torchrun: ")
    assert not list(tmp_path.iterdir())


def test_a_sweep_goes_on_after_a_bad_job_and_fails_in_the_end(tmp_path: Path) -> None:
    tiny = ["dataset.num_train=32", "dataset.num_val=16", "dataset.num_test=16", "arch.widths=[4,4,4]"]
    short = ["trainer.epochs=1", "trainer.batch_size=16", "trainer.precision=fp32", "device.name=cpu"]
    done = run("train", "-m", "optim.lr=-1,0.1,0.2", *tiny, *short, cwd=tmp_path)
    assert done.returncode == 1
    assert "error: optim: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "sweep of 3 jobs: 2 done, 1 failed\n  failed    #0 optim.lr=-1: optim: " in done.stderr
    assert len(list((tmp_path / "outputs").rglob("last.pt"))) == 2
