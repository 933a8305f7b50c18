"""Shuffled training labels: how many, which, the same at every launch; and nothing else of the data set changes."""

from __future__ import annotations

import copy
import csv
import json
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import compose_config

from fourier_robust.cli import build_dataset
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.dataset.shuffled_labels import ShuffledLabels, shuffled
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.errors import UserError
from fourier_robust.run.checkpoint import read

SHUFFLED = "dataset.label_noise=1"


def small() -> Shapes:
    return Shapes(num_train=30, num_val=12, num_test=12)


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(path / "results.csv", newline="") as file:
        return {(row["dataset"], row["metric"]): row for row in csv.DictReader(file)}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_a_share_exchanges_its_labels(share: float) -> None:
    distinct = torch.arange(1000)
    moved = shuffled(distinct, share, 0) != distinct
    assert 1000 * share - 8 <= int(moved.sum()) <= 1000 * share  # a permutation has one fixed point on average
    assert torch.equal(shuffled(distinct, share, 0).sort().values, distinct)
    classes = distinct % 10
    changed = float((shuffled(classes, share, 0) != classes).double().mean())
    assert changed == pytest.approx(share * 0.9, abs=0.04)
    assert torch.equal(classes, distinct % 10)


def test_the_draw_is_that_of_its_seed_and_spreads_over_all_images() -> None:
    distinct = torch.arange(400)
    assert torch.equal(shuffled(distinct, 0.5, 3), shuffled(distinct, 0.5, 3))
    assert not torch.equal(shuffled(distinct, 0.5, 3), shuffled(distinct, 0.5, 4))
    moved = (shuffled(distinct, 0.5, 3) != distinct).double()
    assert moved[:200].mean() == pytest.approx(0.5, abs=0.12)


def test_train_alone_has_new_labels_and_everything_else_is_the_data_sets() -> None:
    data, plain = ShuffledLabels(small(), 1.0, 5), small()
    split, clean = data.split("train"), plain.split("train")
    assert torch.equal(split.labels, shuffled(clean.labels, 1.0, 5))
    assert not torch.equal(split.labels, clean.labels)
    order = torch.tensor([7, 0, 29, 7])
    for one, other in zip(split.batches(3, order), clean.batches(3, order), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.labels, split.labels[one.indices])
    assert [len(batch.labels) for batch in split.batches(20, drop_last=True)] == [20]
    assert len(split) == 30
    for name in ("val", "test", "test_swapped"):
        assert torch.equal(data.split(name).labels, plain.split(name).labels)
        assert isinstance(data.split(name), ResidentSplit)
        assert data.split(name).identity == plain.split(name).identity
    assert (data.name, data.size, data.val_size, data.test_splits) == ("shapes", 32, 12, ("test", "test_swapped"))
    assert (data.num_classes, data.class_names) == (10, plain.class_names)
    assert not hasattr(data, "test_files")
    for twin in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert torch.equal(twin.split("train").labels, split.labels)


def test_identity_follows_share_and_seed() -> None:
    ways = [(1.0, 0), (0.5, 0), (1.0, 1)]
    made = {ShuffledLabels(small(), *way).split("train").identity for way in ways}
    assert len(made | {small().split("train").identity}) == 4


def test_settings() -> None:
    config, names = compose_config("train", "dataset.num_val=0")
    assert not {"label_noise", "label_seed"} & config["dataset"].keys()  # hence the hash of earlier runs
    assert names["dataset"] == "shapes"
    assert isinstance(build_dataset(config), Shapes)
    half, names = compose_config("train", "dataset.label_noise=0.5", "dataset.label_seed=2")
    assert (names["dataset"], half["dataset"]["label_seed"]) == ("shapes+shuffled-0.5", 2)
    assert compose_config("train", SHUFFLED) == compose_config("train", "dataset.label_noise=1.0")
    both = ("dataset.corruption=brightness", "dataset.severity=3", SHUFFLED)
    config, names = compose_config("train", *both, "dataset.num_train=20", "dataset.num_val=0", "dataset.num_test=10")
    data = build_dataset(config)
    assert names["dataset"] == "shapes+brightness-3+shuffled-1"
    assert data.name == "shapes+brightness-3"
    assert not torch.equal(data.split("train").labels, Shapes(20, 0, 10).split("train").labels)
    for value, said in (("-0.1", "must lie in 0 to 1"), ("1.5", "must lie in 0 to 1"), ("much", "expected float")):
        with pytest.raises(UserError, match=said):
            compose_config("train", f"dataset.label_noise={value}")
    with pytest.raises(ValueError, match=r"label_noise=1\.5: must lie in 0 to 1"):
        ShuffledLabels(small(), 1.5)


def test_train_and_measure_what_was_learnt(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None]) -> None:
    plain, noisy, other = train_tiny(), train_tiny(SHUFFLED), train_tiny(SHUFFLED, "seed=1")
    assert (plain.parts[-4], noisy.parts[-4]) == ("shapes", "shapes-shuffled-1")
    data = [json.loads((path / "run.json").read_text())["launches"][0]["data"] for path in (plain, noisy, other)]
    assert data[1] == data[2]  # the training seed has no part in it
    assert data[0]["train"] != data[1]["train"]
    assert data[0]["val"] == data[1]["val"]
    assert any(not torch.equal(read(plain).weights[name], value) for name, value in read(noisy).weights.items())

    few = ("suite=bands", "suite.radii=[4]", "suite.noise_bands=[]", "suite.split=train")
    evaluate_tiny(noisy, *few)
    found = rows(noisy / "eval/bands")
    assert {name for name, _ in found} == {f"shapes_train+shuffled-1{part}" for part in ("", "_low", "_high")}
    assert found["shapes_train+shuffled-1", "error"]["train_dataset"] == "shapes+shuffled-1"
    evaluate_tiny(noisy, "suite.splits=[train,test]")
    clean = rows(noisy / "eval/clean")
    assert {name for name, _ in clean} == {"shapes_train+shuffled-1", "shapes"}
    error = clean["shapes_train+shuffled-1", "error"]["value"]
    assert error == found["shapes_train+shuffled-1", "error"]["value"]
    sizes = ("dataset=shapes", "dataset.num_train=64", "dataset.num_val=32", "dataset.num_test=32")
    evaluate_tiny(noisy, *few, *sizes)  # the true labels of the same images
    true = rows(noisy / "eval/bands.shapes")
    assert {name for name, _ in true} == {f"shapes_train{part}" for part in ("", "_low", "_high")}


def test_an_interrupted_run_goes_on_with_the_same_labels(
    train_tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fourier_robust.engine.fit as engine

    folder = train_tiny(SHUFFLED)
    whole = {name: value.clone() for name, value in read(folder).weights.items()}
    shutil.rmtree(folder)
    loss, calls = engine.views_loss, []

    def stops(*args: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(*args)

    monkeypatch.setattr(engine, "views_loss", stops)
    with pytest.raises(Interrupted):
        train_tiny(SHUFFLED)
    assert train_tiny(SHUFFLED) == folder
    assert len(calls) == 8  # 2 epochs of 4 steps
    assert all(torch.equal(value, whole[name]) for name, value in read(folder).weights.items())
