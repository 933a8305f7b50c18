"""Train, then evaluate, as the front doors do: files, rows, resume, refusals."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import TINY, compose_config

from fourier_robust.dataset.base import Batch
from fourier_robust.errors import UserError
from fourier_robust.run.results import COLUMNS
from fourier_robust.run.sweep import Outcome
from fourier_robust.suite.base import Condition, Source
from fourier_robust.train import train

Train = Callable[..., Path]
Evaluate = Callable[..., Any]


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_train_then_every_suite(train_tiny: Train, evaluate_tiny: Evaluate, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train_tiny("aug=apr_sp")
    assert folder.name.startswith("s0-")
    assert folder.parts[-4:-1] == ("shapes", "speednet", "apr_sp-none")
    assert {"config.yaml", "run.json", "status.json", "train.csv", "last.pt"} <= {
        path.name for path in folder.iterdir()
    }
    history = table(folder / "train.csv")
    assert [line["epoch"] for line in history] == ["1", "2"]
    run = json.loads((folder / "run.json").read_text())
    assert run["names"]["aug"] == "apr_sp"
    assert len(run["launches"][0]["data"]["train"]) == 64

    evaluate_tiny(folder / "last.pt", "suite=clean", "suite.splits=[val,test,test_swapped]")
    rows = table(folder / "eval/clean/results.csv")
    assert tuple(rows[0]) == COLUMNS
    by_key = {(row["dataset"], row["metric"]): row for row in rows}
    assert by_key["shapes_val", "error"]["value"] == history[-1]["val_error"]
    assert by_key["shapes_val", "nll"]["value"] == history[-1]["val_loss"]
    assert {row["dataset"] for row in rows} == {"shapes", "shapes_val", "shapes_swapped"}
    assert by_key["shapes", "error"]["n"] == "32"
    assert {(row["run"], row["aug"], row["reg"], row["seed"]) for row in rows} == {(folder.name, "apr_sp", "none", "0")}

    settings = ("suite=corruptions", "suite.corruptions=[contrast,gaussian_noise]", "suite.severities=[1,5]")
    evaluate_tiny(folder, *settings)
    results = folder / "eval/corruptions"
    rows = table(results / "results.csv")
    errors = {(row["corruption"], row["severity"]): row for row in rows if row["metric"] == "error"}
    assert set(errors) == {("", ""), *((name, level) for name in ("gaussian_noise", "contrast") for level in "15")}
    assert errors["gaussian_noise", "5"]["dataset"] == "shapes_c_generated"
    means = {row["corruption"]: float(row["value"]) for row in rows if row["metric"] == "mean_error"}
    for name in ("gaussian_noise", "contrast"):
        expected = np.mean([float(errors[name, level]["value"]) for level in "15"])
        assert means[name] == pytest.approx(expected, abs=1e-6)
    assert means["common2of15-severity15"] == pytest.approx((means["gaussian_noise"] + means["contrast"]) / 2, abs=1e-6)
    receipt = json.loads((results / "eval.json").read_text())
    assert any("PARTIAL SET: 2 of the 15" in remark for remark in receipt["remarks"])
    assert 0.05 < receipt["peak_memory"]["host_gib"] < 1000
    assert 0.05 < run["launches"][0]["peak_memory"]["host_gib"] <= receipt["peak_memory"]["host_gib"]
    assert (receipt["conditions_wanted"], receipt["conditions_measured"], receipt["rows"]) == (5, 5, len(rows))
    assert {
        "checkpoint",
        "config",
        "definitions",
        "git",
        "packages",
        "device",
        "data",
        "wall_seconds",
    } <= receipt.keys()
    assert "PARTIAL SET" in capsys.readouterr().out
    assert (results / "table.png").read_bytes().startswith(b"\x89PNG")
    assert [line[""] for line in table(results / "table.csv")][:3] == ["clean", "gaussian_noise", "contrast"]


def test_the_second_launch_runs_nothing(train_tiny: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train_tiny()
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert train_tiny() == folder
    assert f"already done: {folder}" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files


def test_an_interrupted_evaluation_resumes_to_the_same_bytes(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fourier_robust.engine.predict as engine

    folder = train_tiny()
    settings = ("suite=corruptions", "suite.corruptions=[shot_noise]", "batch_size=48")
    evaluate_tiny(folder, *settings)
    results = folder / "eval/corruptions/results.csv"
    whole = results.read_bytes()
    shutil.rmtree(folder / "eval")

    forward, sizes = engine._predict, []

    def dies(model: Any, batch: Batch, precision: Any) -> engine.Prediction:
        if sizes == [48, 48]:
            sizes.clear()
            raise KeyboardInterrupt
        sizes.append(len(batch.labels))
        return forward(model, batch, precision)

    monkeypatch.setattr(engine, "_predict", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate_tiny(folder, *settings)
    assert not results.exists()
    evaluate_tiny(folder, *settings)
    assert sizes == [48, 48]  # six conditions of 32 images, three of them kept
    assert results.read_bytes() == whole
    assert json.loads((results.parent / "eval.json").read_text())["conditions_reused"] == 3


def test_conditions_share_batches_and_keep_their_own_images(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    folder = train_tiny()
    settings = ("suite=heatmap", "suite.images=12", "suite.cells=rings", "suite.per_ring=1")
    found = []
    for batch_size in (4, 5, 100):  # conditions of 12 images: each alone, across their borders, many in a batch
        evaluate_tiny(folder, *settings, f"batch_size={batch_size}")
        found.append([(row["metric"], row["value"], row["n"]) for row in table(folder / "eval/heatmap/results.csv")])
        shutil.rmtree(folder / "eval")
    assert found[0] == found[1] == found[2]


def test_too_few_images_name_the_condition(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fourier_robust.suite.heatmap import Heatmap

    source = Heatmap.source

    def short(suite: Heatmap, dataset: Any, condition: Condition, *rest: Any) -> Source:
        whole = source(suite, dataset, condition, *rest)
        return whole if condition.corruption != "fourier_0_0" else whole._replace(n=whole.n + 1)

    monkeypatch.setattr(Heatmap, "source", short)
    with pytest.raises(UserError, match=r"^shapes-fourier_0_0: 13 images wanted, 12 read$"):
        evaluate_tiny(train_tiny(), "suite=heatmap", "suite.images=12", "suite.cells=rings", "suite.per_ring=1")


def test_features_of_layers(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    folder = train_tiny()
    with pytest.raises(UserError, match=r"^the model has no module net\.heat; nearest: net\.head"):
        evaluate_tiny(folder, "suite=heatmap_layers", "suite.layers=[net.head,net.heat]")
    assert not (folder / "eval").exists()
    settings = ("suite=heatmap_layers", "suite.images=4", "suite.cells=rings", "suite.per_ring=1")
    evaluate_tiny(folder, *settings, "suite.layers=[net.groups.0,net]")
    rows = table(folder / "eval/heatmap_layers/results.csv")
    assert [row["corruption"] for row in rows if row["metric"] == "mean_feature_distance"] == ["net.groups.0", "net"]
    whole = (folder / "eval/heatmap_layers/results.csv").read_bytes()
    evaluate_tiny(folder, *settings, "suite.layers=[net.groups.0,net]")
    assert (folder / "eval/heatmap_layers/results.csv").read_bytes() == whole
    receipt = json.loads((folder / "eval/heatmap_layers/eval.json").read_text())
    assert receipt["conditions_reused"] == receipt["conditions_wanted"] == 2


def test_outcomes_of_other_weights_are_not_reused(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    first, other = train_tiny(), train_tiny("seed=1")
    for folder in (first, other):
        evaluate_tiny(folder)
    expected = (other / "eval/clean/results.csv").read_text()
    shutil.rmtree(other / "eval")
    shutil.copytree(first / "eval", other / "eval")
    evaluate_tiny(other)
    assert (other / "eval/clean/results.csv").read_text() == expected


def test_suites_share_predictions(train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train_tiny()
    two = ("suite=corruptions", "suite.corruptions=[contrast]", "suite.severities=[1,5]")
    evaluate_tiny(folder, *two)
    rows = {name: (folder / f"eval/{name}/results.csv") for name in ("corruptions", "clean")}
    whole = rows["corruptions"].read_bytes()
    shutil.rmtree(folder / "eval/corruptions")
    passes: list[int] = []

    import fourier_robust.engine.predict as engine

    original = engine._predict
    monkeypatch.setattr(engine, "_predict", lambda *words: passes.append(1) or original(*words))
    evaluate_tiny(folder, *two)
    assert not passes
    assert rows["corruptions"].read_bytes() == whole
    evaluate_tiny(folder, "suite=clean", "suite.splits=[test]")
    assert not passes
    evaluate_tiny(folder, "suite=clean", "suite.splits=[test]", "resume=false")
    assert len(passes) == 1
    shutil.rmtree(folder / "eval/clean")
    evaluate_tiny(folder, "suite=clean", "suite.splits=[test]", "predictions_gib=0")
    assert len(passes) == 2


def test_calibration_reads_the_logits_of_corruptions(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_tiny()
    set_of = ("suite.corruptions=[contrast]", "suite.severities=[1,5]")
    evaluate_tiny(folder, "suite=calibration", *set_of)
    whole = (folder / "eval/calibration/results.csv").read_bytes()
    shutil.rmtree(folder / "eval")
    evaluate_tiny(folder, "suite=corruptions", *set_of)
    images: list[int] = []

    import fourier_robust.engine.predict as engine

    original = engine._predict
    monkeypatch.setattr(engine, "_predict", lambda *words: images.append(len(words[1].labels)) or original(*words))
    evaluate_tiny(folder, "suite=calibration", *set_of)
    assert sum(images) == 32  # val; all the others were there
    assert (folder / "eval/calibration/results.csv").read_bytes() == whole
    assert json.loads((folder / "eval/calibration/eval.json").read_text())["conditions_reused"] == 3


def test_ood_shares_logits_and_features(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_tiny()
    sets = ("suite=ood", "suite.sets=[blobs]", "suite.replicates=2")
    evaluate_tiny(folder, *sets, "suite.scores=[msp,knn]")
    whole = (folder / "eval/ood/results.csv").read_bytes()
    shutil.rmtree(folder / "eval/ood")

    import fourier_robust.engine.last_layer as last_layer
    import fourier_robust.engine.predict as engine

    def never(*_: object) -> None:
        raise AssertionError("a pass over images")

    monkeypatch.setattr(engine, "_predict", never)
    monkeypatch.setattr(last_layer, "_differentiated", never)
    evaluate_tiny(folder, *sets, "suite.scores=[msp,knn]")
    assert (folder / "eval/ood/results.csv").read_bytes() == whole
    evaluate_tiny(folder, *sets, "suite.scores=[energy]")  # the logits alone, of the same images
    evaluate_tiny(folder, "suite=clean", "suite.splits=[test]")
    with pytest.raises(AssertionError, match="a pass over images"):
        evaluate_tiny(folder, *sets, "suite.scores=[msp,knn]", "resume=false")


def test_a_checkpoint_moved_elsewhere_is_enough(train_tiny: Train, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    folder = train_tiny("arch.widths=[4,8,8]")
    lone = tmp_path / "else" / "model.safetensors"
    lone.parent.mkdir()
    shutil.copy(next(folder.glob("*.safetensors")), lone)
    evaluate_tiny(lone)
    assert table(lone.parent / "eval/clean.model/results.csv")[0]["arch"] == "speednet"


def test_refusals_write_nothing(train_tiny: Train, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    folder = train_tiny()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="no checkpoint at"):
        evaluate_tiny(tmp_path / "none.pt")
    with pytest.raises(UserError, match="holds speednet, not arch=resnet20"):
        evaluate_tiny(folder, "arch=resnet20", "arch.num_classes=10")
    with pytest.raises(UserError, match=r"suite\.splits: shapes has no split tset; test splits: test, test_swapped"):
        evaluate_tiny(folder, "suite.splits=[tset]")
    with pytest.raises(UserError, match=r"^suite\.corruptions: no corruption fogg"):
        evaluate_tiny(folder, "suite=corruptions", "suite.corruptions=[fogg]")
    with pytest.raises(UserError, match="must be out of 1 to 5"):
        evaluate_tiny(folder, "suite=corruptions", "suite.severities=[6]")
    with pytest.raises(UserError, match=r"no release at .*shapes-C: labels\.npy and <corruption>\.npy belong there"):
        evaluate_tiny(folder, "suite=corruptions", "suite.source=release")
    two = _two_classes(tmp_path / "data" / "val")
    with pytest.raises(UserError, match=r"knows 10 classes, but .* has 2"):
        evaluate_tiny(folder, "dataset=imagefolder", f"dataset.root={two}", "dataset.size=32")
    shutil.rmtree(tmp_path / "data")
    assert sorted(tmp_path.rglob("*")) == before


def _photos(folder: Path, classes: tuple[str, str], grey: int) -> Path:
    from PIL import Image

    for name in classes:
        (folder / "train" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40, 40), (grey + 9 * number,) * 3).save(folder / "train" / name / f"{number}.png")
    return folder


def test_a_run_belongs_to_its_images(tmp_path: Path) -> None:
    """Where images lie is no part of a run's name; a folder of the same name with others is refused all the same."""
    of = [
        "dataset=imagefolder",
        "dataset.size=32",
        "dataset.resize=32",
        "dataset.num_workers=0",
        "trainer.batch_size=4",
    ]
    of += ["trainer.batch_size=4", *(one for one in TINY if not one.startswith(("dataset.", "trainer.batch")))]

    def trained(root: Path) -> Outcome:
        config, names = compose_config("train", *of, f"paths.output_dir={tmp_path}/outputs", f"dataset.root={root}")
        return train(config, names)

    pets = _photos(tmp_path / "pets", ("cat", "dog"), 40)
    state, done = trained(pets)
    assert (state, done.parents[2].name) == ("done", "pets")
    assert trained(_photos(tmp_path / "cars", ("bus", "car"), 90)).folder.parents[2].name == "cars"
    moved = tmp_path / "elsewhere" / "pets"
    shutil.copytree(pets, moved)
    assert trained(moved) == ("skipped", done)  # the same images
    others = _photos(tmp_path / "others" / "pets", ("cow", "pig"), 140)
    for state in ("done", "preempted"):  # already trained, and to be gone on with
        status = json.loads((done / "status.json").read_text())
        (done / "status.json").write_text(json.dumps(status | {"state": state}))
        with pytest.raises(
            UserError, match=r"was trained on other images \(train: .*\): give another paths\.output_dir"
        ):
            trained(others)
    assert len(json.loads((done / "run.json").read_text())["launches"]) == 1


def test_receipts_say_how_much_was_done(train_tiny: Train, evaluate_tiny: Evaluate) -> None:
    folder = train_tiny()
    (launch,) = json.loads((folder / "run.json").read_text())["launches"]
    assert (launch["images"], launch["steps"], launch["to_step"]) == ({"train": 64, "val": 32}, 8, 8)
    evaluate_tiny(folder)
    first = json.loads((folder / "eval/clean/eval.json").read_text())
    assert first["earlier"] == []
    evaluate_tiny(folder)
    evaluate_tiny(folder)
    again = json.loads((folder / "eval/clean/eval.json").read_text())
    assert again["conditions_reused"] == again["conditions_wanted"] == 2
    (measured,) = again["earlier"]  # the launch that measured, not the one that found all there
    assert measured["time"] == first["time"]
    assert measured["git"] == first["git"]
    evaluate_tiny(folder, "suite=all", "suite.only=[clean,swap]")
    whole = json.loads((folder / "eval/all/eval.json").read_text())
    parts = [json.loads((folder / "eval" / name / "eval.json").read_text()) for name in ("clean", "swap")]
    for key in ("conditions_wanted", "conditions_measured", "conditions_reused", "images"):
        assert whole[key] == sum(part[key] for part in parts)
    assert whole["data"] == {"clean": parts[0]["data"], "swap": parts[1]["data"]}
    assert whole["git"] == parts[0]["git"] == parts[1]["git"]
    assert whole["time"] == parts[0]["time"] == parts[1]["time"]  # of the command, not of each part


def test_jobs_of_a_sweep_have_a_folder_each(
    train_tiny: Train, evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second job may not take the rows of the first away; with names there is room for both."""
    folder, suite = train_tiny(), ("suite=corruptions", "suite.corruptions=[contrast]", "suite.source=generated")

    def job(number: int, *overrides: str) -> Any:
        monkeypatch.setenv("FR_SWEEP_JOB", f"/sweep#{number}")
        return evaluate_tiny(folder, *suite, f"suite.severities=[{number + 1}]", *overrides)

    job(0)
    before = (folder / "eval/corruptions/results.csv").read_bytes()
    with pytest.raises(UserError, match=r"eval/corruptions is job #0's of this sweep, .*name="):
        job(1)
    assert (folder / "eval/corruptions/results.csv").read_bytes() == before
    assert job(0).state == "skipped"
    monkeypatch.setenv("FR_SWEEP_JOB", "/sweep#7")  # the same settings again, as of suite=corruptions,all
    assert evaluate_tiny(folder, *suite, "suite.severities=[1]").state == "skipped"
    for number in (0, 1):
        assert job(number, f"name=s{number}").state == "done"
    found = [table(folder / f"eval/corruptions.s{number}/results.csv") for number in (0, 1)]
    assert [{row["severity"] for row in rows if row["severity"]} for rows in found] == [{"1"}, {"2"}]


def _two_classes(folder: Path) -> Path:
    from PIL import Image

    for name in ("ants", "bees"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(folder / name / "0.png")
    return folder.parent


def test_class_counts_of_model_and_data_must_agree(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"arch\.num_classes=7, but shapes has 10 classes"):
        train_tiny("arch.num_classes=7")
    assert not (tmp_path / "outputs").exists()


def test_somebody_elses_state_dict(train_tiny: Train, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    from fourier_robust.arch.resnet import resnet20

    torch.manual_seed(0)
    path = tmp_path / "theirs.th"
    torch.save({"state_dict": {f"module.{name}": value for name, value in resnet20(10).state_dict().items()}}, path)
    with pytest.raises(UserError, match=r"give arch=\.\.\. and dataset="):
        evaluate_tiny(path)
    with pytest.raises(UserError, match="does not fit the architecture"):
        evaluate_tiny(path, "arch=speednet", "dataset=shapes", "dataset.num_test=32")
    evaluate_tiny(path, "arch=resnet20", "dataset=shapes", "dataset.num_test=32")
    row = table(tmp_path / "eval/theirs/clean.shapes/results.csv")[0]
    assert (row["run"], row["arch"], row["train_dataset"], row["seed"]) == ("theirs", "resnet20", "unknown", "")


def test_a_log_has_its_lines_in_order(tmp_path: Path) -> None:
    """Where both streams go to one file, the error comes last, though Python writes to files in blocks."""
    command = [sys.executable, "-m", "fourier_robust.train", *TINY, f"paths.output_dir={tmp_path}", "optim.lr=1e30"]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open(tmp_path / "log", "w") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=plain, timeout=300)
    lines = (tmp_path / "log").read_text().splitlines()
    assert (done.returncode, lines[0].split()[0]) == (2, "run")
    assert lines[-1].startswith("error: the loss is not finite at step")
