"""A corruption as a data set: the same images as the suite's, in training and evaluation, under a name that says it."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import TINY, compose_config

from fourier_robust.cli import build_dataset
from fourier_robust.corruption.dataset import Corrupted, CorruptedSplit, Stretches
from fourier_robust.corruption.noise import GaussianNoise
from fourier_robust.corruption.seeded import condition_seed, corrupt, image_seeds
from fourier_robust.corruption.weather import Brightness
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.imagefolder import ImageFolder
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.errors import UserError
from fourier_robust.suite.base import Condition
from fourier_robust.suite.corruptions import Corruptions

KINDS = {"gaussian_noise": GaussianNoise, "brightness": Brightness}
NOISY = ("dataset.corruption=gaussian_noise", "dataset.severity=3")
CPU = torch.device("cpu")


def small(**settings: int) -> Shapes:
    return Shapes(num_train=30, num_val=12, num_test=12, **settings)


def pixels(split: object, order: torch.Tensor | None = None, batch_size: int = 5) -> torch.Tensor:
    return torch.cat([batch.images for batch in split.batches(batch_size, order)])


@pytest.mark.parametrize("name", ["train", "val", "test", "test_swapped"])
def test_every_split_is_corrupted_by_index(name: str) -> None:
    data, clean = Corrupted(small(), KINDS, "gaussian_noise", 3, seed=7), small().split(name)
    split = data.split(name)
    seeds = image_seeds(condition_seed(7, "gaussian_noise", 3), torch.arange(len(clean)))
    expected = corrupt(GaussianNoise(3), pixels(clean), seeds)
    assert torch.equal(pixels(split), expected)
    assert torch.equal(split.labels, clean.labels)
    order = torch.tensor([9, 0, 4, 4])
    assert torch.equal(pixels(split, order, 3), expected[order])
    assert (data.name, data.test_splits, data.val_size) == ("shapes+gaussian_noise-3", ("test", "test_swapped"), 12)
    assert (data.size, data.num_classes, data.class_names) == (32, 10, small().class_names)


def test_the_test_split_is_what_the_suite_measures() -> None:
    suite = Corruptions("nowhere", KINDS, seed=2)
    condition = Condition("shapes_c_generated", "brightness", 5)
    assert condition in suite.conditions(small())
    measured = torch.cat([batch.images for batch in suite.source(small(), condition, CPU, 4).batches])
    assert torch.equal(pixels(Corrupted(small(), KINDS, "brightness", 5, seed=2).split("test")), measured)


def test_streamed_images_are_corrupted_as_they_are_read_and_coded_as_jpeg(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in range(2):
        (tmp_path / "val" / f"{label}").mkdir(parents=True)
        for i in range(3):
            image = Image.fromarray(rng.integers(0, 256, (20, 24, 3)).astype(np.uint8))
            image.save(tmp_path / "val" / f"{label}" / f"{i}.png")
    data = ImageFolder(str(tmp_path), size=16, resize=18, num_workers=0)
    split = Corrupted(data, KINDS, "gaussian_noise", 1).split("test")
    assert isinstance(split, CorruptedSplit)
    seeds = image_seeds(condition_seed(0, "gaussian_noise", 1), torch.arange(6))
    noisy = corrupt(GaussianNoise(1, 16), pixels(data.split("test")), seeds).mul(255).round().to(torch.uint8)
    expected = []
    for index, image in enumerate(noisy.permute(0, 2, 3, 1).numpy()):
        path = tmp_path / f"{index}.jpg"
        Image.fromarray(image).save(path, quality=85, optimize=True)
        with Image.open(path) as file:
            expected.append(np.asarray(file.convert("RGB")))
    found = pixels(split).mul(255).round().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(found, np.stack(expected))
    order = torch.tensor([5, 2])
    assert torch.equal(pixels(split, order), pixels(split)[order])


def test_identity_follows_data_corruption_severity_and_seed() -> None:
    ways = [("gaussian_noise", 3, 0), ("gaussian_noise", 4, 0), ("gaussian_noise", 3, 1), ("brightness", 3, 0)]
    made = [Corrupted(data, KINDS, *way).split("test") for data in (small(), small(seed=1)) for way in ways]
    clean = [data.split("test") for data in (small(), small(seed=1))]
    assert len({split.identity for split in (*made, *clean)}) == 10
    assert made[0].identity == Corrupted(small(), KINDS, *ways[0]).split("test").identity
    lazy = [CorruptedSplit(clean[0], GaussianNoise(3), "gaussian_noise", 3, 0, quality) for quality in (None, 85)]
    assert len({split.identity for split in (*lazy, clean[0])}) == 3


def test_stretches_are_the_split_wherever_they_are_made() -> None:
    split = small().split("test")
    make = pickle.loads(pickle.dumps(Stretches(split, KINDS, 32, seed=4)))
    whole = CorruptedSplit(split, GaussianNoise(2), "gaussian_noise", 2, 4).levels(torch.arange(12)).numpy()
    assert np.array_equal(np.concatenate([make("gaussian_noise", 2, 0, 5), make("gaussian_noise", 2, 5, 12)]), whole)
    assert not np.array_equal(make("gaussian_noise", 3, 0, 12), whole)
    assert isinstance(split, ResidentSplit)


def test_arguments() -> None:
    with pytest.raises(ValueError, match="corruption='rain': must be one of gaussian_noise, brightness"):
        Corrupted(small(), KINDS, "rain", 3)
    for severity in (0, 6):
        with pytest.raises(ValueError, match=f"severity={severity}: must be 1, 2, 3, 4 or 5"):
            Corrupted(small(), KINDS, "brightness", severity)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["dataset.corruption=rain", "dataset.severity=3"], r"dataset\.corruption=rain: must be one of gaussian"),
        (["dataset.corruption=brightness", "dataset.severity=6"], r"dataset\.severity=6: must be 1, 2, 3, 4 or 5"),
        (["dataset.corruption=brightness", "dataset.severity=0"], r"dataset\.severity=0: must be"),
        (["dataset.corruption=brightness"], r"dataset\.severity=null: must be 1, 2, 3, 4 or 5"),
        (["dataset.severity=2"], r"dataset\.severity=2 needs dataset\.corruption="),
        (["dataset.corruption=brightness", "dataset.severity=high"], r"dataset\.severity='high': expected int or null"),
    ],
)
@pytest.mark.parametrize("command", [("train",), ("eval", "ckpt=x"), ("eval", "ckpt=x", "suite=corruptions")])
def test_mistakes_are_answered_before_any_work(command: tuple[str, ...], overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        compose_config(*command, *overrides)
    assert "\n" not in str(refused.value)


def test_without_a_corruption_the_config_is_as_it_was() -> None:
    """Hence the run's hash, and the folder that an earlier version left."""
    config, names = compose_config("train", "dataset.num_val=0")
    assert not {"corruption", "severity", "corruption_seed"} & config["dataset"].keys()
    assert names["dataset"] == "shapes"
    assert "dataset" not in compose_config("eval", "ckpt=x")[0]
    assert isinstance(build_dataset(config), Shapes)


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(path / "results.csv", newline="") as file:
        return {(row["dataset"], row["metric"]): row for row in csv.DictReader(file)}


def test_train_on_a_corruption_then_measure(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None]
) -> None:
    plain, noisy = train_tiny(), train_tiny(*NOISY)
    assert noisy.parts[-4] == "shapes-gaussian_noise-3"
    assert plain.parts[-4] == "shapes"
    seeded = compose_config("train", *TINY, *NOISY, "dataset.corruption_seed=1")[0]["dataset"]
    assert seeded["corruption_seed"] == 1
    data = [json.loads((folder / "run.json").read_text())["launches"][0]["data"] for folder in (plain, noisy)]
    assert data[0]["train"] != data[1]["train"]
    assert data[0]["val"] != data[1]["val"]
    with open(noisy / "train.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]

    evaluate_tiny(noisy, "suite.splits=[val,test]")  # its own data: corrupted, as in training
    own = rows(noisy / "eval/clean")
    assert own["shapes+gaussian_noise-3_val", "error"]["value"] == last["val_error"]
    assert own["shapes+gaussian_noise-3_val", "nll"]["value"] == last["val_loss"]
    assert own["shapes+gaussian_noise-3", "error"]["train_dataset"] == "shapes+gaussian_noise-3"
    evaluate_tiny(noisy, "dataset.corruption=none")
    assert {name for name, _ in rows(noisy / "eval/clean.shapes")} == {"shapes", "shapes_swapped"}
    with pytest.raises(UserError, match=r"shapes\+gaussian_noise-3 is corrupted already: give dataset\.corr.*=none"):
        evaluate_tiny(noisy, "suite=corruptions")

    evaluate_tiny(plain, *NOISY)  # the training run's data, with this on top
    evaluate_tiny(plain, "suite=corruptions", "suite.corruptions=[gaussian_noise]", "suite.severities=[3]")
    one = rows(plain / "eval/clean.shapes-gaussian_noise-3")["shapes+gaussian_noise-3", "error"]
    with open(plain / "eval/corruptions/results.csv", newline="") as file:
        other = next(row for row in csv.DictReader(file) if row["severity"] == "3")
    assert one["value"] == other["value"]
    assert one["train_dataset"] == "shapes"
    chosen = ("dataset=shapes", "dataset.num_test=40", "dataset.corruption=brightness", "dataset.severity=5")
    evaluate_tiny(plain, *chosen)
    assert rows(plain / "eval/clean.shapes-brightness-5")["shapes+brightness-5", "error"]["n"] == "40"
