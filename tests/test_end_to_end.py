"""Train, then evaluate, as the front doors do: files, rows, resume, refusals."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fourier_robust.dataset.base import Batch
from fourier_robust.errors import UserError
from fourier_robust.run.results import COLUMNS
from fourier_robust.suite.base import Condition, Source

Train = Callable[..., Path]
Evaluate = Callable[..., None]


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
    with pytest.raises(UserError, match=r"suite\.layers: the model has no module net\.heat; nearest: net\.head"):
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
    assert table(lone.parent / "eval/clean/results.csv")[0]["arch"] == "speednet"


def test_refusals_write_nothing(train_tiny: Train, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    folder = train_tiny()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="no checkpoint at"):
        evaluate_tiny(tmp_path / "none.pt")
    with pytest.raises(UserError, match="holds speednet, not arch=resnet20"):
        evaluate_tiny(folder, "arch=resnet20", "arch.num_classes=10")
    with pytest.raises(UserError, match=r"suite\.splits: shapes has no split tset; test splits: test, test_swapped"):
        evaluate_tiny(folder, "suite.splits=[tset]")
    with pytest.raises(UserError, match=r"suite: suite\.corruptions: no corruption fogg"):
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
