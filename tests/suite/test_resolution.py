"""suite=resolution: the same images at each size, decoded once; re-fitting leaves the model alone; gaps by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import compose_config
from torch import nn

from fourier_robust.cli import build
from fourier_robust.dataset.base import Batch, ResidentSplit
from fourier_robust.dataset.imagefolder import ImageFolder
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.engine.adjust import Adjusted
from fourier_robust.engine.predict import predict
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import error_rate, mean_of_images
from fourier_robust.suite.base import Condition
from fourier_robust.suite.resolution import Resolution
from fourier_robust.suite.resolution_observed import Observed

CPU = torch.device("cpu")


class Net(nn.Module):
    """A small net for any size from 8 on: BatchNorm, dropout and a linear head."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.conv(images)).relu().mean((2, 3))))


def net(classes: int = 10) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(classes).eval()


def suite(*overrides: str, root: Path = Path("none")) -> Resolution:
    config, _ = compose_config("eval", "ckpt=x", "suite=resolution", f"paths.data_dir={root}", *overrides)
    found: Resolution = build(config, "suite")
    return found


def shapes() -> Shapes:
    return Shapes(num_train=48, num_val=0, num_test=12)


@pytest.fixture
def photos(tmp_path: Path) -> ImageFolder:
    """Two classes of 3 noise images of 50x40 in val/ and in train/, to be cut to 16 of 20 pixels; lossless."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(3):
                pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{index}.png")
    return ImageFolder(str(tmp_path), size=16, resize=20, num_workers=0)


def run(asked: Resolution, data: Any, model: nn.Module, batch_size: int = 4) -> dict[Condition, Observed]:
    found = {}
    for condition in asked.conditions(data):
        source = asked.source(data, condition, CPU, batch_size)
        found[condition] = asked.observe(model, source, condition, "fp32")
        assert len(found[condition].label) == source.n
    return found


def whole(batches: Any) -> torch.Tensor:
    return torch.cat([batch.images for batch in batches])


def at_sizes(batches: Any, count: int) -> list[torch.Tensor]:
    """The images of each size out of one pass."""
    every = list(batches)
    return [whole(every[place::count]) for place in range(count)]


def test_each_size_is_the_data_sets_own_crop_of_that_size(photos: ImageFolder) -> None:
    """0.8 of the short side at every size; 16 gives the pixels of the data set itself."""
    asked = suite("suite.sizes=[8,24]")
    (condition,) = asked.conditions(photos)
    seen = at_sizes(asked.source(photos, condition, CPU, 4).batches, 3)
    for size, images in zip((8, 16, 24), seen, strict=True):
        other = ImageFolder(photos.root, size=size, resize=size * 20 // 16, num_workers=0)
        assert torch.equal(images, whole(other.split("test").batches(6)))


def test_a_file_is_read_once_for_all_sizes(photos: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = Image.open

    def counted(path: Path) -> Image.Image:
        opened.append(str(path))
        return real(path)

    monkeypatch.setattr(Image, "open", counted)
    asked = suite("suite.sizes=[8,16,24,32]")
    found = run(asked, photos, net(2), batch_size=2)
    assert len(opened) == len(set(opened)) == 6
    assert next(iter(found.values())).prediction.shape == (6, 1, 4)


def test_images_without_files_are_resized_as_pillow_does() -> None:
    data, asked = shapes(), suite("suite.sizes=[24,48]", "suite.crop_ratio=0.8")
    (condition,) = asked.conditions(data)
    small, own, large = at_sizes(asked.source(data, condition, CPU, 5).batches, 3)
    assert [tuple(images.shape) for images in (small, own, large)] == [(12, 3, side, side) for side in (24, 32, 48)]
    levels = data.split("test")._images
    for index in range(12):
        for images, (resize, size) in ((small, (30, 24)), (large, (60, 48))):
            image = Image.fromarray(levels[index].numpy()).resize((resize, resize), Image.Resampling.BILINEAR)
            edge = (resize - size) // 2
            wanted = np.asarray(image.crop((edge, edge, edge + size, edge + size))).astype(float)
            ours = images[index].permute(1, 2, 0).double().numpy() * 255
            assert np.abs(ours - wanted).max() < 1.001
            assert np.abs(ours - ours.round()).max() < 1e-4
    plain = suite("suite.sizes=[32]")
    (first,) = plain.conditions(data)
    assert torch.equal(whole(plain.source(data, first, CPU, 5).batches), whole(data.split("test").batches(12)))


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_predictions_are_those_of_each_size_alone(photos: ImageFolder, batch_size: int) -> None:
    asked, model = suite("suite.sizes=[12,16,32]"), net(2)
    (seen,) = run(asked, photos, model, batch_size).values()
    for place, size in enumerate((12, 16, 32)):
        other = ImageFolder(photos.root, size=size, resize=size * 20 // 16, num_workers=0)
        alone = predict(model, other.split("test").batches(6))
        assert torch.equal(seen.prediction[:, 0, place], alone.logits.argmax(1))
        assert torch.equal(seen.label, alone.labels)


def test_corrupted_at_the_own_size_then_resized() -> None:
    data = shapes()
    asked = suite(
        *("suite.sizes=[24]", "suite.sets=[clean,corruptions]"),
        *("suite.corruptions.corruptions=[contrast]", "suite.corruptions.severities=[3]"),
    )
    clean, corrupted = asked.conditions(data)
    assert (clean.key, corrupted.key) == ("shapes", "shapes_c_generated-contrast-3")
    alone = suite("suite.corruptions.corruptions=[contrast]", "suite.corruptions.severities=[3]").corruptions
    wanted = whole(alone.source(data, alone.conditions(data)[1], CPU, 12).batches)
    small, own = at_sizes(asked.source(data, corrupted, CPU, 5).batches, 2)
    assert torch.equal(own, wanted)
    resized = nn.functional.interpolate(wanted, (24, 24), mode="bilinear", antialias=True)
    assert (small - resized).abs().max() <= 0.5001 / 255
    assert "corrupted at 32 pixels, then resized (short side to size x 1)" in asked.remarks()


def test_corrupted_files_show_what_clean_ones_show(photos: ImageFolder) -> None:
    """Cut to 16 of 20 pixels before they are corrupted, and not cut again; a wider view is refused."""
    few = ("suite.corruptions.corruptions=[contrast]", "suite.corruptions.severities=[1]")
    asked = suite("suite.sizes=[24]", "suite.sets=[corruptions]", *few)
    (condition,) = asked.conditions(photos)
    own, large = at_sizes(asked.source(photos, condition, CPU, 4).batches, 2)
    assert (own.shape[2], large.shape[2]) == (16, 24)
    again = nn.functional.interpolate(own, (24, 24), mode="bilinear", antialias=True)
    assert (large - again).abs().max() <= 0.5001 / 255
    with pytest.raises(UserError, match=r"crop_ratio=1 shows more of an image than the corrupted ones hold \(0\.8"):
        suite("suite.crop_ratio=1", "suite.sets=[corruptions]", *few).conditions(photos)


def test_numbers_by_hand() -> None:
    data, asked = shapes(), suite("suite.sizes=[24,48]", "suite.adjust=[none,batch_norm]")
    (condition,) = asked.conditions(data)
    labels = torch.zeros(12, dtype=torch.int64)
    wrong = torch.zeros(12, 2, 3, dtype=torch.int64)
    wrong[:6, 0, 0] = 1  # none: 6, 3, 5 wrong at 24, 32, 48
    wrong[:3, 0, 1] = 1
    wrong[7:, 0, 2] = 1
    wrong[:2, 1, 0] = wrong[:4, 1, 2] = 1  # batch_norm: 2, 0, 4
    found = {
        (one.condition.dataset, one.metric): one.estimate for one in asked.measure({condition: Observed(labels, wrong)})
    }
    per_image = wrong.double()
    for which, suffix in ((0, ""), (1, "+batch_norm")):
        for place, size in enumerate((24, 32, 48)):
            values = per_image[:, which, place]
            assert found[f"shapes@{size}{suffix}", "error"] == error_rate(values)
            assert found[f"shapes@{size}{suffix}", "gap"] == mean_of_images(values - per_image[:, 0, 1])
    assert found["shapes@48", "gap"].value == pytest.approx(2 / 12)
    assert found["shapes@32+batch_norm", "gap"].value == pytest.approx(-3 / 12)
    assert found["shapes", "best_size"].value == 32
    assert found["shapes", "best_error"].value == 3 / 12
    assert found["shapes+batch_norm", "best_size"] == (32, 24, 32, 12)  # (10/12)^12 of the draws tie
    assert len(found) == 16


def test_the_best_size_is_chosen_on_other_images_than_it_is_measured_on() -> None:
    """Two sizes, each right on one half alone: the better one there is always wrong on the other half."""
    asked = suite("suite.sizes=[24]")
    (condition,) = asked.conditions(shapes())
    wrong = torch.zeros(12, 1, 2, dtype=torch.int64)
    wrong[::2, 0, 0] = 1
    wrong[1::2, 0, 1] = 1
    found = asked.measure({condition: Observed(torch.zeros(12, dtype=torch.int64), wrong)})
    (best,) = (one.estimate.value for one in found if one.metric == "best_error")
    (size,) = (one.estimate for one in found if one.metric == "best_size")
    assert best == 1
    assert (size.value, size.low, size.high) == (24, 24, 32)


def values_of(asked: Resolution, kind: Any) -> list[dict[str, torch.Tensor]]:
    """What was re-fitted, for each size."""
    found = asked._models[kind]
    assert all(isinstance(one, Adjusted) for one in found)
    return [one.values for one in found if isinstance(one, Adjusted)]


def test_refitting_changes_only_what_it_says_and_never_the_model(photos: ImageFolder) -> None:
    model = net(2).train()  # its modes too are as before
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked = suite("suite.sizes=[24]", "suite.adjust=[none,batch_norm,classifier,classifier_batch_norm]", "suite.lr=0.5")
    (seen,) = run(asked, photos, model).values()
    assert seen.prediction.shape == (6, 4, 2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert model.norm.training
    assert model.norm.momentum == 0.1
    statistics = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    changed = {
        kind: {name for name, value in values_of(asked, kind)[1].items() if not torch.equal(value, before[name])}
        for kind in asked.adjust[1:]
    }
    head = {"head.weight", "head.bias"}
    assert changed["batch_norm"] == statistics
    assert changed["classifier"] == head
    assert changed["classifier_batch_norm"] == statistics | head | {"norm.weight", "norm.bias"}
    again = suite("suite.sizes=[24]", "suite.adjust=[classifier_batch_norm]", "suite.lr=0.5")
    run(again, photos, net(2))
    for one, other in zip(*(values_of(which, "classifier_batch_norm") for which in (asked, again)), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_statistics_are_those_of_the_training_images_at_the_size(photos: ImageFolder) -> None:
    """All 6 training images in one batch: running mean and variance are that batch's, at each size."""
    model = net(2)
    asked = suite("suite.sizes=[24]", "suite.adjust=[batch_norm]")
    run(asked, photos, model)
    for size, fitted in zip((16, 24), values_of(asked, "batch_norm"), strict=True):
        other = ImageFolder(photos.root, size=size, resize=size * 20 // 16, num_workers=0, train_crop="none")
        with torch.no_grad():
            planes = model.conv(whole(other.split("train").batches(6))).transpose(0, 1).flatten(1)
        torch.testing.assert_close(fitted["norm.running_mean"], planes.mean(1))
        torch.testing.assert_close(fitted["norm.running_var"], planes.var(1))


class Colours:
    """Red and blue images of 8 pixels with noise; 64 to train on, 20 to test."""

    name, num_classes, class_names, size, val_size = "colours", 2, ("red", "blue"), 8, 0
    mean = std = (0.5, 0.5, 0.5)

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        count = {"train": 64, "test": 20}[name]
        pixels = torch.randint(0, 100, (count, 8, 8, 3), generator=torch.Generator().manual_seed(count))
        labels = torch.arange(count) % 2
        pixels[labels == 0, :, :, 0] += 100
        pixels[labels == 1, :, :, 2] += 100
        return ResidentSplit(pixels.to(torch.uint8), labels, device)


@pytest.mark.parametrize("kind", ["classifier", "classifier_batch_norm"])
def test_a_broken_classifier_is_learnt_back(kind: str) -> None:
    """The head says red to all: half are wrong, and none once it is fitted to the training images of each size."""
    model = net(2)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([1.0, 0.0]))
    learning = ("suite.epochs=10", "suite.lr=0.5", "suite.batch_size=16")
    asked = suite("suite.sizes=[12]", f"suite.adjust=[none,{kind}]", *learning)
    (seen,) = run(asked, Colours(), model, 64).values()
    wrong = (seen.prediction != seen.label[:, None, None]).double().mean(0)
    assert wrong.tolist() == [[0.5, 0.5], [0, 0]]


class Tall(nn.Module):
    """Takes images of 16 pixels, or 24, alone."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] not in (16, 24):
            raise ValueError("Input height doesn't match model")
        return images.mean((2, 3))[:, :2]


def test_refused_in_one_line(photos: ImageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = suite("suite.sizes=[8,24,32]")
    (condition,) = asked.conditions(photos)

    def nothing() -> Iterator[Batch]:
        raise AssertionError("images were asked for")
        yield

    source = asked.source(photos, condition, CPU, 4)._replace(batches=nothing())
    wanted = r"not take images of 8x8, 32x32 pixels; it takes 16, 24: suite\.sizes=\[16,24\] \(8: Input height"
    with pytest.raises(UserError, match=wanted):
        asked.observe(Tall(), source, condition, "fp32")
    for kind, said in (("batch_norm", "no BatchNorm"), ("classifier", "no last linear layer")):
        with pytest.raises(UserError, match=said):
            run(suite("suite.sizes=[24]", f"suite.adjust=[{kind}]"), photos, Tall())
    with pytest.raises(UserError, match="has no split train to measure on"):
        suite("suite.split=train").conditions(photos)
    for setting, said in (
        ("suite.sizes=[]", "at least one"),
        ("suite.sizes=[24,24]", "different numbers"),
        ("suite.sizes=[0]", "different numbers"),
        ("suite.sets=[dirty]", "clean, corruptions"),
        ("suite.adjust=[]", "none, batch_norm"),
        ("suite.crop_ratio=1.2", "crop_ratio=1.2"),
        ("suite.interpolation=nearest", "interpolation='nearest'"),
        ("suite.lr=0", "lr=0"),
        ("suite.epochs=0", "epochs=0 must be at least 1"),
    ):
        with pytest.raises((ValueError, UserError), match=said):
            suite(setting)


def test_missing_training_images_are_known_before_any_pass(photos: ImageFolder) -> None:
    import shutil

    shutil.rmtree(Path(photos.root) / "train")
    asked = suite("suite.adjust=[none,batch_norm]")
    (condition,) = asked.conditions(photos)
    with pytest.raises(UserError, match="looked for train/"):
        asked.source(photos, condition, CPU, 4)


def rows(path: Path) -> dict[tuple[str, str, str], str]:
    with open(path / "results.csv", newline="") as file:
        return {(row["dataset"], row["corruption"], row["metric"]): row["value"] for row in csv.DictReader(file)}


def test_front_door(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None]) -> None:
    """The own size gives the rows of suite=clean and suite=corruptions."""
    folder = train_tiny()
    few = ("corruptions=[brightness]", "severities=[2]")
    evaluate_tiny(folder, "suite=corruptions", *(f"suite.{one}" for one in few))
    evaluate_tiny(
        *(folder, "suite=resolution", "suite.sizes=[24,48]", "suite.sets=[clean,corruptions]"),
        *("suite.adjust=[none,classifier_batch_norm]", "suite.batch_size=16"),
        *(f"suite.corruptions.{one}" for one in few),
    )
    plain, found = rows(folder / "eval/corruptions"), rows(folder / "eval/resolution")
    assert found["shapes@32", "", "error"] == plain["shapes", "", "error"]
    corrupted = plain["shapes_c_generated", "brightness", "error"]
    assert found["shapes_c_generated@32", "brightness-2", "error"] == corrupted
    assert len(found) == 2 * 2 * (3 * 2 + 2)
    assert (folder / "eval/resolution/resolution.png").read_bytes().startswith(b"\x89PNG")
