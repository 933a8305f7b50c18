"""Where the model of an evaluation comes from: files of all kinds, timm's names, a module from Python."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from support import compose_config
from torch import nn

from fourier_robust.api import evaluate_module
from fourier_robust.arch.program import Program
from fourier_robust.arch.resnet import resnet20
from fourier_robust.errors import UserError
from fourier_robust.run.checkpoint import read, save, weights_sha256
from fourier_robust.subject import subject_of

Evaluate = Callable[..., None]
SHAPES = ("dataset=shapes", "dataset.num_test=32")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return resnet20(10).eval()


def rows(path: Path) -> dict[str, dict[str, str]]:
    with open(path / "results.csv", newline="") as file:
        return {row["metric"]: row for row in csv.DictReader(file)}


def test_one_network_measures_the_same_in_every_form(net: nn.Module, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    example = torch.zeros(4, 3, 32, 32)
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    torch.save({"model": {f"module._orig_mod.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "wrapped.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), str(tmp_path / "scripted.pt"))
    torch.export.save(torch.export.export(net, (example,)), tmp_path / "exported.pt2")
    for name in ("weights.pth", "wrapped.pth"):
        evaluate_tiny(tmp_path / name, "arch=resnet20", *SHAPES)
    for name in ("scripted.pt", "exported.pt2"):
        evaluate_tiny(tmp_path / name, *SHAPES, "batch_size=10")  # no multiple of the four it was exported with
    quiet = ("device.name=cpu", "device.threads=1", "device.keep_blocks=false")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):  # as from within somebody's Hydra program
        frame = evaluate_module(net, [*SHAPES, *quiet], name="handed", folder=tmp_path)
        found = GlobalHydra.instance().config_loader().get_search_path().get_path()
        assert str(tmp_path) in {str(entry.path).removeprefix("file://") for entry in found}  # still the caller's
    found = {path.parent.name: rows(path) for path in sorted((tmp_path / "eval").glob("*/clean.shapes"))}
    assert set(found) == {"weights", "wrapped", "scripted", "exported", "handed"}
    for name, row in found.items():
        assert float(row["nll"]["value"]) == pytest.approx(float(found["weights"]["nll"]["value"]), abs=1e-5), name
        assert (row["nll"]["run"], row["nll"]["train_dataset"], row["nll"]["n"]) == (name, "unknown", "32")
    swapped = frame[(frame.metric == "nll") & (frame.dataset == "shapes_swapped")]
    assert f"{swapped.value.item():.6f}" == found["handed"]["nll"]["value"]
    receipt = json.loads((tmp_path / "eval/handed/clean.shapes/eval.json").read_text())
    assert receipt["checkpoint"]["sha256"] == weights_sha256(net.state_dict())
    assert receipt["preprocessing"]["from"] == "the data set"


def test_preprocessing_of_somebody_elses_model(net: nn.Module, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(net.state_dict(), path)
    found = []
    for mean in ("[0.5,0.5,0.5]", "[0.2,0.3,0.4]"):
        evaluate_tiny(path, "arch=resnet20", *SHAPES, f"preprocess.mean={mean}", "preprocess.std=[0.5,0.25,0.1]")
        found.append(rows(tmp_path / "eval/weights/clean.shapes")["nll"]["value"])
        receipt = json.loads((tmp_path / "eval/weights/clean.shapes/eval.json").read_text())
        assert receipt["preprocessing"]["mean"] == json.loads(mean)
        assert receipt["preprocessing"]["from"] == "preprocess="
        assert any("std 0.5/0.25/0.1" in remark for remark in receipt["remarks"])
    assert found[0] != found[1]
    with pytest.raises(UserError, match=r"preprocess\.resize: images of shapes are taken as they are"):
        evaluate_tiny(path, "arch=resnet20", *SHAPES, "preprocess.resize=64")
    with pytest.raises(UserError, match=r"preprocess\.mean=0\.5: expected list or null"):
        evaluate_tiny(path, "arch=resnet20", *SHAPES, "preprocess.mean=0.5")


def test_our_own_checkpoints_carry_theirs(train_tiny: Callable[..., Path], evaluate_tiny: Evaluate) -> None:
    with pytest.raises(UserError, match="carries the preprocessing it was trained with"):
        evaluate_tiny(train_tiny(), "preprocess.mean=[0.5,0.5,0.5]")


def test_what_does_not_fit_is_named(net: nn.Module, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    path, weights = tmp_path / "weights.pth", dict(net.state_dict())
    weights["extra.bias"] = weights.pop("bn1.bias")
    weights["linear.weight"] = weights["linear.weight"][:, :60]
    torch.save(weights, path)
    with pytest.raises(UserError) as refused:
        evaluate_tiny(path, "arch=resnet20", *SHAPES)
    text = str(refused.value)
    assert "missing in the file: bn1.bias" in text
    assert "unknown to the architecture: extra.bias" in text
    assert "of another shape: linear.weight (10, 60) for (10, 64)" in text
    old = {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(old, path)  # as torch wrote them before 0.4.1
    evaluate_tiny(path, "arch=resnet20", *SHAPES)


def test_refusals_come_before_any_work(net: nn.Module, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    scripted = tmp_path / "scripted.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, torch.zeros(2, 3, 32, 32)), str(scripted))
        pair = nn.Sequential(nn.Flatten(2))
        torch.jit.save(torch.jit.trace(pair, torch.zeros(2, 3, 32, 32)), str(tmp_path / "pair.pt"))
    before = sorted(tmp_path.rglob("*"))
    for ckpt, settings, said in (
        (scripted, ("arch=resnet20", *SHAPES), r"is a whole network \(torchscript\): leave arch= out"),
        (scripted, (), r"does not say what it is measured on: give dataset="),
        (tmp_path / "pair.pt", SHAPES, r"does not give logits \(B,K\), but \(2, 3, 1024\)"),
        ("timm:resnet10t", (), r"does not say what it is measured on: give dataset="),
        ("timm:resnet10t", ("arch=resnet20", *SHAPES), "leave arch= out"),
        ("timm:resnet5O", SHAPES, r"timm has no model 'resnet5O'; close matches: resnet50"),
    ):
        with pytest.raises(UserError, match=said):
            evaluate_tiny(ckpt, *settings)
    content = scripted.read_bytes()
    scripted.write_bytes(content[:-100])
    with pytest.raises(UserError, match="truncated or damaged"):
        evaluate_tiny(scripted, "arch=resnet20", *SHAPES)
    assert sorted(tmp_path.rglob("*")) == before


def test_pickles_in_an_exported_archive_are_never_run(net: nn.Module, evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    evil = io.BytesIO()
    torch.save(Evil(), evil)
    good, bad = tmp_path / "good.pt2", tmp_path / "bad.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(4, 3, 32, 32),)), good)
    changed = []
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            inputs = "sample_inputs" in name and name.endswith(".pt")
            target.writestr(name, evil.getvalue() if inputs else source.read(name))
            changed += [name] if inputs else []
    assert changed
    with pytest.raises(UserError, match="does not load as export file"):
        evaluate_tiny(bad, *SHAPES)
    assert not (tmp_path / "ran").exists()
    evaluate_tiny(good, *SHAPES)
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_images_of_a_size_the_model_does_not_take(evaluate_tiny: Evaluate, tmp_path: Path) -> None:
    wants_64 = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(wants_64), str(tmp_path / "big.pt"))
    with pytest.raises(UserError, match="does not take images of 32x32 pixels: "):
        evaluate_tiny(tmp_path / "big.pt", *SHAPES)


def test_timms_weights_with_timms_preprocessing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a network: the weights are random here, everything else is timm's."""
    import timm

    from fourier_robust.arch import timm_model

    built = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: built(name))
    monkeypatch.setattr(timm_model, "_cached", lambda config: True)
    config, names = compose_config(
        "eval", "ckpt=timm:resnet50.a1_in1k", "dataset=imagenet", "preprocess.size=192", f"paths.data_dir={tmp_path}"
    )
    subject = subject_of(config, names)
    assert (subject.names["arch"], subject.classes) == ("timm_resnet50.a1_in1k", 1000)
    assert subject.preprocessing == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "size": 192,
        "resize": 192,  # timm tests these weights at 288 pixels, the whole short side
        "interpolation": "bicubic",
        "from": "preprocess=",
    }
    assert subject.dataset["interpolation"] == "bicubic"
    monkeypatch.setattr(timm_model, "_cached", lambda config: False)
    monkeypatch.setattr(timm_model, "_hub_answers", lambda: False)
    with pytest.raises(UserError, match="not in the local cache, and the hub does not answer"):
        subject_of(config, names)


def test_program_fills_up_the_batch_it_was_exported_with() -> None:
    seen: list[int] = []

    def run(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return images.flatten(1).sum(1, keepdim=True)

    images: Any = torch.arange(7.0)[:, None, None, None].expand(7, 1, 2, 2)
    assert Program(run, batch=3)(images)[:, 0].tolist() == [4.0 * value for value in range(7)]
    assert seen == [3, 3, 3]
    seen.clear()
    Program(run)(images)
    assert seen == [7]


def test_held_out_images_stay_those_of_the_training_run(
    train_tiny: Callable[..., Path], evaluate_tiny: Evaluate
) -> None:
    folder = train_tiny("dataset.num_val=16")
    with pytest.raises(UserError, match=r"dataset\.num_val: .* was trained with 16"):
        evaluate_tiny(folder, "+dataset.num_val=32")
    evaluate_tiny(folder, "dataset=shapes", "dataset.num_val=32", "dataset.num_test=32", "suite.splits=[val]")
    assert rows(folder / "eval/clean")["error"]["n"] == "16"


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "settings", "wrong"),
    [
        ("akamaster_resnet_cifar10/resnet32-d509ac18.th", ("arch=resnet32", "dataset=cifar10"), 737),
        (
            "squeezenet1_0_imagenet/squeezenet1_0_deepcompressed_torchvision.pth",
            ("arch=torchvision", "arch.name=squeezenet1_0", "dataset=imagenet", "dataset.num_workers=0"),
            389,
        ),
    ],
)
def test_published_models_have_their_error(
    member: str, settings: tuple[str, ...], wrong: int, realdata: Path, evaluate_tiny: Evaluate, tmp_path: Path
) -> None:
    """7.37 % of CIFAR-10's test images, published; 38.9 % of the thousand images at hand, measured with torchvision."""
    with tarfile.open(realdata / "models_thirdparty.tar.xz") as archive:
        archive.extract(member, tmp_path, filter="data")
    data = tmp_path / "data"
    if "dataset=cifar10" in settings:
        unpack = [sys.executable, str(realdata / "unpack_cifar10.py"), str(data), "--fmt", "bin"]
        subprocess.run(unpack, check=True, capture_output=True)
    else:
        with tarfile.open(realdata / "imagenet_sample1000_s256.tar.xz") as archive:
            archive.extractall(data, filter="data")
        (data / "imagenet-sample").rename(data / "imagenet")
    usual = ("preprocess.mean=[0.485,0.456,0.406]", "preprocess.std=[0.229,0.224,0.225]")
    evaluate_tiny(tmp_path / member, *settings, *usual)
    (found,) = (tmp_path / member).parent.glob("eval/*/clean.*")
    row = rows(found)["error"]
    assert round(float(row["value"]) * int(row["n"])) == pytest.approx(wrong, abs=1)


def test_no_part_of_a_stored_architecture_fetches_weights() -> None:
    from fourier_robust.subject import _without_weights

    net = {"_target_": "timm_model", "name": "resnet18", "pretrained": True}
    found = _without_weights({"_target_": "transfer", "pretrained": "/any/file", "net": net, "more": [net, 3]})
    quiet = net | {"pretrained": False}
    assert found == {"_target_": "transfer", "pretrained": False, "net": quiet, "more": [quiet, 3]}


def test_a_description_without_classes_is_read_and_one_without_a_whole_seed_refused(
    train_tiny: Callable[..., Path], evaluate_tiny: Evaluate, tmp_path: Path
) -> None:
    found = read(train_tiny("trainer.epochs=1"))
    save(tmp_path / "null", 1, found.weights, {}, found.meta | {"class_names": None})
    evaluate_tiny(tmp_path / "null")
    assert rows(tmp_path / "null/eval/clean")["error"]["seed"] == "0"
    for seed in ("=cmd|x", 1.5, True):
        meta = found.meta | {"config": found.meta["config"] | {"seed": seed}}
        save(tmp_path / "odd", 1, found.weights, {}, meta)
        with pytest.raises(UserError, match=r"odd/last\.pt is not a checkpoint of this project: its seed is no whole"):
            evaluate_tiny(tmp_path / "odd")
    assert not (tmp_path / "odd/eval").exists()
