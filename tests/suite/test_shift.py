"""suite=shift: both label rules, gaps and flip rates by hand, what is named when it is missing, and one run of each."""

from __future__ import annotations

import csv
import json
import math
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset.shift_layouts import Known, picture, tree
from PIL import Image
from torch import nn

from fourier_robust.arch.normalize import Normalized
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.clip_frames import FrameTree
from fourier_robust.dataset.clips import FrameArray
from fourier_robust.dataset.imagefolder import ImageFolder
from fourier_robust.dataset.imagenet import ImageNet
from fourier_robust.dataset.label_space import by_name
from fourier_robust.dataset.shift_imagenet import TinyImageNetC, WnidTree
from fourier_robust.dataset.shift_own import OwnSplit
from fourier_robust.dataset.shifted import WHOLE, Cell, Checked, Parts
from fourier_robust.dataset.wnids import IMAGENET_A, WNIDS
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import GAP, SHARE, error_rate, mean_of_images
from fourier_robust.suite.base import Condition, Measurement
from fourier_robust.suite.shift import Shift

CPU = torch.device("cpu")
CLASSES = ("ant", "bee", "cat", "dog")
ANT, BEE, CAT, DOG = range(4)


class Reads(nn.Module):
    """Its logits stand in the image: pixel k of the first row, in 255ths, is the logit of class k."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :4] * 255


def split(logits: Sequence[Sequence[int]], labels: Sequence[int]) -> ResidentSplit:
    pixels = torch.zeros(len(logits), 4, 4, 3, dtype=torch.uint8)
    pixels[:, 0, :, 0] = torch.tensor(logits, dtype=torch.uint8)
    return ResidentSplit(pixels, torch.tensor(labels))


class Four(Known):
    """Clean images, one of each class, the last two wrong."""

    def __init__(self, name: str = "four") -> None:
        super().__init__(CLASSES, 4, name)

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        return split([[9, 0, 0, 0], [0, 9, 0, 0], [9, 0, 6, 5], [0, 9, 8, 7]], [ANT, BEE, CAT, DOG])


class Given:
    """A reader of images made here: of cats (place 1) and dogs (place 0)."""

    def __init__(self, checked: Checked, parts: Mapping[Cell, Any], absent: str | None = None) -> None:
        self.checked, self.parts, self.reason = checked, parts, absent

    def absent(self) -> str | None:
        return self.reason

    def check(self, inside: Any) -> Checked:
        return self.checked

    def split(self, inside: Any, cell: Cell, crop: Any, device: Any) -> Any:
        return self.parts[cell]


PETS = by_name(CLASSES, ("dog", "cat"))
# argmax over all and among the pets: cat cat, ant dog, dog dog, bee cat; labels dog, dog, dog, cat
SEEN = split([[0, 0, 9, 1], [9, 0, 1, 2], [0, 0, 3, 4], [0, 9, 5, 4]], [0, 0, 0, 1])


def run(suite: Shift, dataset: Any = None, model: nn.Module | None = None, batch_size: int = 3) -> list[Measurement]:
    dataset, outcomes = dataset or Four(), {}
    for condition in suite.conditions(dataset):
        source = suite.source(dataset, condition, CPU, batch_size)
        outcomes[condition] = suite.observe(model or Reads(), source, condition, "fp32")
        assert len(outcomes[condition].label) == source.n
    return suite.measure(outcomes)


class Kept:
    """What suites share, in memory."""

    def __init__(self) -> None:
        self.arrays: dict[str, Mapping[str, np.ndarray]] = {}

    def load(self, identity: str, names: Sequence[str] = ()) -> Mapping[str, np.ndarray] | None:
        return self.arrays.get(identity)

    def save(self, identity: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays[identity] = arrays


def values(found: Sequence[Measurement]) -> dict[tuple[Condition, str], float]:
    assert all(item.metric in Shift.definitions and not item.higher_is_better for item in found)
    return {(item.condition, item.metric): item.estimate.value for item in found}


def test_a_subset_by_both_rules_and_its_gap() -> None:
    found = run(Shift({"pets": Given(Checked(PETS, expected=5), {WHOLE[0]: SEEN})}, {"four": ["pets"]}))
    pets, same = Condition("pets"), Condition("four_of_pets")
    assert values(found) == {
        (Condition("four"), "error"): 2 / 4,
        (pets, "error"): 3 / 4,  # right: the third
        (pets, "error_masked"): 1 / 4,  # wrong: the first
        (same, "error"): 1.0,  # the cat is called ant, the dog bee
        (same, "error_masked"): 1 / 2,  # both are called cat
        (pets, "gap"): -1 / 4,
        (pets, "gap_masked"): -1 / 4,
    }
    estimates = {(item.condition, item.metric): item.estimate for item in found}
    assert estimates[pets, "error"] == error_rate(torch.tensor([1.0, 1, 0, 1], dtype=torch.float64))
    assert estimates[same, "error"].n == 2
    gap, one, other = estimates[pets, "gap"], estimates[pets, "error"], estimates[same, "error"]
    assert gap.low == pytest.approx(-1 / 4 - math.hypot(one.value - one.low, other.high - other.value))
    assert gap.high == pytest.approx(-1 / 4 + math.hypot(one.high - one.value, other.value - other.low))


def test_clean_images_pass_once_for_all_suites() -> None:
    """The second suite, of another model even, sees the clean logits of the first, and its own set's."""
    given, kept = Given(Checked(PETS, (WHOLE,)), {WHOLE: SEEN}), Kept()
    tables = []
    for model in (Reads(), nn.Sequential(Reads(), nn.Softmin(1))):
        suite = Shift({"pets": given}, {"four": ["pets"]})
        suite.share(kept)
        tables.append(values(run(suite, model=model)))
        assert list(kept.arrays) == [Four().split("test").identity]
    alone = values(run(Shift({"pets": given}, {"four": ["pets"]})))
    assert tables[0] == alone
    assert tables[1][Condition("four"), "error"] == alone[Condition("four"), "error"]
    assert tables[1][Condition("pets"), "error"] != alone[Condition("pets"), "error"]


def test_two_subsets_have_a_mask_each() -> None:
    insects = split([[0, 1, 9, 0], [0, 9, 0, 0]], [0, 1])  # over all: cat, bee; masked: bee, bee; labels ant, bee
    both = {
        "insects": Given(Checked(by_name(CLASSES, ("ant", "bee"))), {WHOLE[0]: insects}),
        "pets": Given(Checked(PETS), {WHOLE[0]: SEEN}),
    }
    for sets in (["insects", "pets"], ["pets", "insects"]):
        measured = values(run(Shift(both, {}, sets)))
        alone = values(run(Shift(both, {}, ["pets"])))
        assert {key: value for key, value in measured.items() if "pets" in key[0].dataset} == {
            key: value for key, value in alone.items() if "pets" in key[0].dataset
        }
        for name, wrong in (("insects", 1 / 2), ("four_of_insects", 0.0)):
            assert measured[Condition(name), "error"] == measured[Condition(name), "error_masked"] == wrong


def test_remarks_name_the_rule_and_other_counts() -> None:
    suite = Shift({"pets": Given(Checked(PETS, remarks=("odd",), expected=5), {WHOLE[0]: SEEN})}, {"four": ["pets"]})
    run(suite)
    assert suite.remarks() == [
        "error: over all of the model's classes; error_masked: among the set's classes",
        "odd",
        "pets: 4 images, the release has 5",
    ]


def test_all_classes_have_one_rule_and_paired_images_a_paired_gap() -> None:
    whole = by_name(CLASSES, CLASSES[::-1])
    seen = split([[9, 0, 0, 0], [9, 0, 0, 0], [0, 0, 9, 0], [9, 0, 0, 0]], [3, 2, 1, 0])  # ant bee cat dog, reversed
    for clean, gap in (
        ("paired", mean_of_images(torch.tensor([0.0, 1, -1, 0], dtype=torch.float64)).within(GAP)),
        ("related", None),
    ):
        found = run(Shift({"all": Given(Checked(whole, clean=clean), {WHOLE[0]: seen})}, {"four": ["all"]}))
        estimates = {(item.condition.dataset, item.metric): item.estimate for item in found}
        assert estimates.keys() == {("four", "error"), ("all", "error")} | ({("all", "gap")} if gap else set())
        assert estimates["all", "error"].value == 2 / 4
        assert gap is None or estimates["all", "gap"] == gap


def test_images_of_classes_the_model_lacks_are_left_out() -> None:
    space = by_name(CLASSES, ("dog", "cow", "cat"), partial=True)
    seen = split([[0, 0, 0, 9], [0, 0, 0, 9], [0, 0, 9, 0]], [0, 1, 2])
    found = run(Shift({"farm": Given(Checked(space), {WHOLE[0]: seen})}, {"four": ["farm"]}))
    (error,) = (item.estimate for item in found if item.condition == Condition("farm") and item.metric == "error")
    assert (error.value, error.n) == (0.0, 2)


def test_cells_have_means_over_images() -> None:
    cells = {Cell(name, severity): SEEN for name in ("fog", "mine") for severity in (1, 2)}
    cells[Cell("fog", 2)] = split([[0, 0, 0, 9]] * 4, [0, 0, 0, 1])
    checked = Checked(by_name(CLASSES, CLASSES), tuple(cells), (), "related", ("common1of15", ("fog",)))
    found = run(Shift({"c": Given(checked, cells)}, {"four": ["c"]}))
    # labels are now ant ant ant bee: `SEEN` is wrong in the first and third, all dogs are wrong
    measured = values(found)
    assert measured[Condition("c", "fog", 1), "error"] == 2 / 4
    assert measured[Condition("c", "fog", 2), "error"] == 1.0
    assert (
        measured[Condition("c", "fog"), "mean_error"] == measured[Condition("c", "common1of15"), "mean_error"] == 3 / 4
    )
    assert measured[Condition("c", "mine"), "mean_error"] == 2 / 4
    (mean,) = (item.estimate for item in found if item.condition == Condition("c", "fog") and item.metric != "error")
    assert mean == mean_of_images(torch.tensor([1, 0.5, 1, 0.5], dtype=torch.float64)).within(SHARE)
    cells[Cell("fog", 2)] = split([[0, 0, 0, 9]] * 3, [0, 0, 0])
    with pytest.raises(UserError, match="c: parts of 3 and of 4 images have no common mean"):
        run(Shift({"c": Given(checked, cells)}, {"four": ["c"]}))


def clips(predictions: Sequence[Sequence[int]]) -> FrameArray:
    array = np.zeros((len(predictions), len(predictions[0]), 4, 4, 3), np.uint8)
    for clip, row in enumerate(predictions):
        for frame, predicted in enumerate(row):
            array[clip, frame, 0, predicted, 0] = 200
    return FrameArray(array)


def test_flip_rates_and_their_mean() -> None:
    cells = {
        Cell("shot_noise"): clips([[0, 1, 1, 0], [2, 2, 2, 2]]),  # against the first: 2/3, 0
        Cell("tilt"): clips([[0, 1, 0, 1, 0], [3, 3, 3, 3, 2]]),  # against the one before: 1, 1/4
        Cell("shear"): clips([[0, 1], [0, 1]]),  # 1, 1; not in the mean
    }
    checked = Checked(None, tuple(cells), headline=("common2of10", ("shot_noise", "tilt")))
    found = run(Shift({"p": Given(checked, cells)}, {"four": ["p"]}))
    measured = {item.condition.corruption: item.estimate for item in found if item.metric == "flip_rate"}
    assert measured.keys() == {"shot_noise", "tilt", "shear", "common2of10"}
    assert measured["shot_noise"].value == pytest.approx((2 / 3 + 0) / 2)
    assert measured["tilt"].value == pytest.approx((1 + 1 / 4) / 2)
    assert measured["shear"].value == 1
    mean = mean_of_images(torch.tensor([5 / 6, 1 / 8], dtype=torch.float64)).within(SHARE)  # of each clip's two rates
    assert tuple(measured["common2of10"]) == pytest.approx(tuple(mean))


def test_mean_flip_rate_against_alexnet() -> None:
    cells = {Cell("shot_noise"): clips([[0, 1, 1, 0], [2, 2, 2, 2]]), Cell("tilt"): clips([[0, 1, 0], [3, 3, 2]])}
    checked = Checked(None, tuple(cells), headline=("both", ("shot_noise", "tilt")))
    rates = {"shot_noise": 0.4, "tilt": 0.1}
    found = run(Shift({"p": Given(checked._replace(alexnet=rates), cells)}, {"four": ["p"]}))
    (mean,) = (item.estimate for item in found if item.metric == "mfr")
    by_clip = torch.tensor([(2 / 3) / 0.4 + 1 / 0.1, 0 + 0.5 / 0.1], dtype=torch.float64) / 2
    assert tuple(mean) == pytest.approx(tuple(mean_of_images(by_clip)))
    assert [item.condition for item in found if item.metric == "mfr"] == [Condition("p", "both")]
    assert "mfr" not in {item.metric for item in run(Shift({"p": Given(checked, cells)}, {"four": ["p"]}))}


def test_errors_by_part() -> None:
    """Images of classes that the model lacks are out, and parts follow the images that remain."""
    space = by_name(CLASSES, ("dog", "cow", "cat"), partial=True)
    seen = split([[0, 0, 0, 9], [0, 0, 0, 9], [0, 0, 9, 0], [9, 0, 0, 1]], [0, 1, 2, 0])  # dog, (cow), cat; dog: ant
    parts = Parts(("art", "none", "toy", "tattoo"), torch.tensor([2, 0, 3, 2]))
    found = values(run(Shift({"r": Given(Checked(space, parts=parts), {WHOLE[0]: seen})}, {"four": ["r"]})))
    mine = {(key.corruption, metric): value for (key, metric), value in found.items() if key.dataset == "r"}
    assert {key: value for key, value in mine.items() if not key[1].startswith("gap")} == {
        (None, "error"): 1 / 3,
        (None, "error_masked"): 0.0,
        ("toy", "error"): 1 / 2,
        ("toy", "error_masked"): 0.0,
        ("tattoo", "error"): 0.0,
        ("tattoo", "error_masked"): 0.0,
    }


def test_a_few_damaged_files_are_left_out(tmp_path: Path) -> None:
    """Of five images two are damaged: the others are measured, by part too, and a second launch says the same."""
    wnids = WNIDS[:3]
    for number, (wnid, kind) in enumerate(zip((*wnids, *wnids[:2]), ("art", "art", "toy", "toy", "art"), strict=True)):
        picture(tmp_path / "r" / wnid / f"{kind}_{number}.png", level=number, size=(8, 8))
    for name in (f"{wnids[0]}/art_0.png", f"{wnids[2]}/toy_2.png"):
        (tmp_path / "r" / name).write_bytes(b"-")
    reader = WnidTree(str(tmp_path), ["r"], "any", renditions=True, num_workers=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    dataset = Known(WNIDS[:4], 8, "mine")
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([0.0, 9, 0, 0]))  # the second class, always

    def measured(most: float) -> tuple[Shift, list[Measurement]]:
        suite = Shift({"r": reader}, {"wnids": ["r"]}, unreadable=most)
        return suite, run(suite, dataset, model, 2)

    suite, found = measured(0.4)
    shown = {(item.condition.corruption, item.metric): item.estimate for item in found if item.condition.dataset == "r"}
    assert (shown[None, "error"].value, shown[None, "error"].n) == (pytest.approx(1 / 3), 3)
    assert (shown["art", "error"].value, shown["art", "error"].n) == (0.0, 2)
    assert (shown["toy", "error"].value, shown["toy", "error"].n) == (1.0, 1)
    lost = f"{tmp_path}/r/{wnids[0]}/art_0.png, {tmp_path}/r/{wnids[2]}/toy_2.png"
    assert suite.remarks()[-1] == f"r: 2 of 5 images could not be read and are left out: {lost}"
    with pytest.raises(UserError, match=r"2 of 5 images could not be read, more than 0\.2 of them"):
        measured(0.2)
    said = suite.remarks()
    kept = {
        one: suite.observe(model, suite.source(dataset, one, CPU, 2), one, "fp32") for one in suite.conditions(dataset)
    }
    again = Shift({"r": reader}, {"wnids": ["r"]}, unreadable=0.4)
    for condition in again.conditions(dataset):
        again.source(dataset, condition, CPU, 2)  # outcomes are reused, so no image is read
    assert [item.estimate for item in again.measure(kept)] == [item.estimate for item in found]
    assert again.remarks() == said
    for name in (f"{wnids[1]}/art_1.png", f"{wnids[1]}/art_4.png", f"{wnids[0]}/toy_3.png"):
        (tmp_path / "r" / name).write_bytes(b"-")
    with pytest.raises(UserError, match="5 of 5 images could not be read"):
        measured(0.99)


class Twos(nn.Module):
    """Class 1 for images of an odd grey level, else class 0."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        odd = (images[:, 0, 0, 0] * 255).round() % 2
        return torch.stack([1 - odd, odd, 0 * odd], 1)


def test_damaged_files_of_one_corruption_are_left_out_of_its_means(tmp_path: Path) -> None:
    """Two classes with two images each, level n in cell after cell; a mean takes what can be read in all its cells."""
    wnids = WNIDS[:2]
    root = tmp_path / "Tiny-ImageNet-C"
    for corruption in ("fog", "snow"):
        for severity in range(1, 6):
            for place, wnid in enumerate(wnids):
                picture(root / corruption / str(severity) / wnid / "a.png", level=place, size=(8, 8))  # right
                picture(root / corruption / str(severity) / wnid / "b.png", level=1, size=(8, 8))  # the first wrong
    (root / "fog" / "1" / wnids[0] / "b.png").write_bytes(b"-")
    (root / "snow" / "3" / wnids[1] / "a.png").write_bytes(b"-")
    reader = TinyImageNetC(str(tmp_path), num_workers=0)
    suite = Shift({"c": reader}, {"wnids": ["c"]}, unreadable=0.25)
    found = run(suite, Known(wnids, 8, "mine"), Twos())
    shown = {item.condition.key: (item.estimate.value, item.estimate.n) for item in found if item.metric != "gap"}
    assert shown["c-fog-1"] == (0, 3)
    assert shown["c-fog-2"] == (1 / 4, 4)
    assert shown["c-snow-3"] == (pytest.approx(1 / 3), 3)
    assert shown["c-fog"] == (0, 3)
    assert shown["c-snow"] == (pytest.approx(1 / 3), 3)
    assert shown["c-common2of15"] == (0, 2)
    lost = "1 of 4 images could not be read and are left out"
    assert suite.remarks()[-2:] == [
        f"c-snow-3: {lost}: {root}/snow/3/{wnids[1]}/a.png",
        f"c-fog-1: {lost}: {root}/fog/1/{wnids[0]}/b.png",
    ]
    with pytest.raises(UserError, match=r"1 of 4 images could not be read, more than 0\.2 of them.*snow/3/.*/a\.png"):
        run(Shift({"c": reader}, {"wnids": ["c"]}, unreadable=0.2), Known(wnids, 8, "mine"), Twos())
    for corruption, name in (("fog", f"{wnids[0]}/a.png"), ("snow", f"{wnids[1]}/b.png")):
        (root / corruption / "4" / name).write_bytes(b"-")
    with pytest.raises(UserError, match=r"^c: no image or clip could be read in each of its parts$"):
        run(suite, Known(wnids, 8, "mine"), Twos())


def test_a_damaged_frame_takes_its_clip_with_it(tmp_path: Path) -> None:
    """Flip rates of three clips: none, all, half; a frame of the second is damaged in one of two perturbations."""
    wnids, root = WNIDS[:3], tmp_path / "ImageNet-P"
    for name in ("tilt", "scale"):
        for wnid, levels in zip(wnids, ((2, 2, 2, 2, 2), (1, 2, 1, 2, 1), (1, 1, 2, 2, 1)), strict=True):
            for number, level in enumerate(levels):
                picture(root / name / wnid / "clip" / f"{number}.png", level=level, size=(8, 8))
    (root / "tilt" / wnids[1] / "clip" / "3.png").write_bytes(b"-")
    suite = Shift({"p": FrameTree(str(tmp_path), num_workers=0)}, {"wnids": ["p"]}, unreadable=0.1)
    found = run(suite, Known(wnids, 8, "mine"), Twos(), 4)
    rates = {item.condition.corruption: item.estimate for item in found if item.metric == "flip_rate"}
    assert (rates["tilt"].value, rates["tilt"].n) == (0.25, 2)
    assert (rates["scale"].value, rates["scale"].n) == (0.5, 3)
    assert (rates["common2of10"].value, rates["common2of10"].n) == (0.25, 2)
    lost = f"1 of 15 images could not be read and their clips are left out: {root}/tilt/{wnids[1]}/clip/3.png"
    assert suite.remarks()[-1] == f"p-tilt: {lost}"
    with pytest.raises(UserError, match=r"1 of 15 images could not be read, more than 0\.05 of them"):
        run(
            Shift({"p": FrameTree(str(tmp_path), num_workers=0)}, {"wnids": ["p"]}, unreadable=0.05),
            Known(wnids, 8),
            Twos(),
        )


GONE = Given(Checked(PETS), {}, "no folder /data/gone; unpack it there")
HERE = Given(Checked(PETS), {WHOLE[0]: SEEN})


def test_missing_sets_are_named() -> None:
    default = Shift({"gone": GONE, "here": HERE}, {"four": ["gone", "here"]})
    assert default.conditions(Four()) == [Condition("four"), Condition("here")]
    assert "not on disk: gone (suite.sets=[gone] says where it belongs)" in default.remarks()
    with pytest.raises(UserError, match="gone: no folder /data/gone"):
        Shift({"gone": GONE, "here": HERE}, {}, sets=["here", "gone"]).conditions(Four())
    with pytest.raises(UserError, match=r"no shifted set of four is there: gone: no folder /data/gone; .*; nor away$"):
        Shift({"gone": GONE, "away": GONE}, {"four": ["gone", "away"]}).conditions(Four())
    with pytest.raises(UserError, match="no shifted set of four is known"):
        Shift({"here": HERE}, {"five": ["here"]}).conditions(Four())


def test_the_group_of_any_wnids() -> None:
    suite = Shift({"here": HERE}, {"wnids": ["here"]})
    model = Known(WNIDS[:4], 4, "mine")
    assert suite.conditions(model) == [Condition("mine"), Condition("here")]
    with pytest.raises(UserError, match="no shifted set of four"):
        suite.conditions(Four())


def test_refused_settings(tmp_path: Path) -> None:
    for sets in ([], ["here", "here"], "here"):
        with pytest.raises(ValueError, match=r"suite\.sets="):
            Shift({"here": HERE}, {}, sets=sets)
    with pytest.raises(ValueError, match="no set there; there are here"):
        Shift({"here": HERE}, {}, sets=["there"])
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"suite\.unreadable="):
            Shift({"here": HERE}, {}, unreadable=share)
    with pytest.raises(UserError, match="here is the model's own data set"):
        Shift({"here": HERE}, {}, sets=["here"]).conditions(Four("here"))
    corrupted = Four()
    corrupted.corruption = "fog"  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="is corrupted already"):
        Shift({"here": HERE}, {}, sets=["here"]).conditions(corrupted)
    with pytest.raises(UserError, match="own: four has no split test_x"):
        Shift({"own": OwnSplit("test_x")}, {}, sets=["own"]).conditions(Four())


def test_a_wrong_layout_stops_even_where_sets_were_not_named(tmp_path: Path) -> None:
    tree(tmp_path / "a", WNIDS[:3])
    reader = WnidTree(str(tmp_path), ["a"], "imagenet_a", num_workers=0)
    with pytest.raises(UserError, match=r"a: .*3 class folders, not the 200 of the release"):
        Shift({"a": reader}, {"wnids": ["a"]}).conditions(Known(WNIDS[:5]))


def test_without_clean_images_there_is_no_gap(tmp_path: Path) -> None:
    """A folder data set whose images are not there: the set is measured, and the remark says what is missing."""
    tree(tmp_path / "a", ["n01440764", "n01443537"], size=(40, 30))
    tree(tmp_path / "mine" / "train", WNIDS[:3])
    dataset = ImageFolder(str(tmp_path / "mine"), size=8, resize=10, num_workers=0)
    suite = Shift({"a": WnidTree(str(tmp_path), ["a"], "any", num_workers=0)}, {"wnids": ["a"]})
    found = run(suite, dataset, nn.Sequential(nn.Flatten(), nn.Linear(192, 3)))
    assert {(item.condition.dataset, item.metric) for item in found} == {("a", "error"), ("a", "error_masked")}
    assert any(remark.startswith("no gaps: image folder files not found") for remark in suite.remarks())


def test_another_mask_is_another_outcome() -> None:
    """Outcomes of clean images are reused only where the same sets are masked, in the same order."""
    one, other = (
        Shift({"p": Given(Checked(by_name(CLASSES, names)), {WHOLE[0]: SEEN})}, {"four": ["p"]})
        for names in (("dog", "cat"), ("cat", "dog"))
    )
    identities = [
        [suite.source(Four(), condition, CPU, 2).identity for condition in suite.conditions(Four())]
        for suite in (one, other, one)
    ]
    assert identities[0] == identities[2]
    assert not set(identities[0]) & set(identities[1])


def test_the_printed_tables() -> None:
    """Sets down and both rules across; a set with severities as suite=corruptions prints one."""
    from types import SimpleNamespace

    from fourier_robust.evaluate import _rows
    from fourier_robust.report.table import table_of

    names = dict.fromkeys(("dataset", "arch", "aug", "reg"), "-")
    who: Any = SimpleNamespace(names=names, seed=0)

    def text(reader: Given) -> list[list[str]]:
        suite = Shift({"mine": reader}, {"four": ["mine"]})
        return [
            line.split() for line in table_of(_rows(suite, run(suite), "-", who), "who", []).text().splitlines()[2:]
        ]

    assert text(HERE) == [
        ["error", "error_masked", "gap", "gap_masked"],
        ["four", "0.5000"],
        ["mine", "0.7500", "0.2500", "-0.2500", "-0.2500"],
        ["four_of_mine", "1.0000", "0.5000"],
    ]
    cells = {Cell("fog", severity): SEEN for severity in (1, 2)}
    checked = Checked(by_name(CLASSES, CLASSES), tuple(cells), (), "related", ("common1of15", ("fog",)))
    assert text(Given(checked, cells)) == [
        ["1", "2", "mean"],
        ["clean", "50.0"],
        ["fog", "50.0", "50.0", "50.0"],
        ["mean", "of", "common1of15", "50.0"],
    ]


def test_from_the_command_line(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None]) -> None:
    """The embedded set's swapped images: the same error as suite=clean, a gap, and a second launch that reuses all."""
    ckpt = train_tiny() / "last.pt"
    evaluate_tiny(ckpt, "suite=clean")
    evaluate_tiny(ckpt, "suite=shift")
    evaluate_tiny(ckpt, "suite=shift")
    clean, shift = (
        {
            (row["dataset"], row["metric"]): row
            for row in csv.DictReader((ckpt.parent / "eval" / name / "results.csv").open())
        }
        for name in ("clean", "shift")
    )
    for name in ("shapes", "shapes_swapped"):
        for column in ("value", "ci_low", "ci_high", "n"):
            assert shift[name, "error"][column] == clean[name, "error"][column]
    gap = float(shift["shapes_swapped", "error"]["value"]) - float(shift["shapes", "error"]["value"])
    assert float(shift["shapes_swapped", "gap"]["value"]) == pytest.approx(gap, abs=2e-6)
    receipt = json.loads((ckpt.parent / "eval" / "shift" / "eval.json").read_text())
    assert receipt["conditions_reused"] == 2
    with pytest.raises(UserError, match=r"cifar10_1: arrays not found: .*cifar10\.1_v6_data\.npy"):
        evaluate_tiny(ckpt, "suite=shift", "suite.sets=[cifar10_1]")


def test_trees_from_the_command_line(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], tmp_path: Path
) -> None:
    """A model of ten wnids on a tree of five of them: by both rules, against the clean images of those five."""
    ckpt = train_tiny() / "last.pt"
    tree(tmp_path / "mine" / "val", WNIDS[:10])
    tree(tmp_path / "data" / "Stylized-ImageNet" / "val", WNIDS[3:8], size=(50, 40))
    chosen = ("dataset=imagefolder", f"dataset.root={tmp_path}/mine", "dataset.num_workers=0")
    sizes = ("dataset.size=32", "dataset.resize=32", "suite.readers.stylized_imagenet.num_workers=0")
    evaluate_tiny(ckpt, *chosen, *sizes, "suite=shift")
    folder = ckpt.parent / "eval" / "shift.mine"
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert [(row["dataset"], row["metric"], row["n"]) for row in rows] == [
        ("mine", "error", "10"),
        ("stylized_imagenet", "error", "5"),
        ("stylized_imagenet", "error_masked", "5"),
        ("mine_of_stylized_imagenet", "error", "5"),
        ("mine_of_stylized_imagenet", "error_masked", "5"),
        ("stylized_imagenet", "gap", "5"),
        ("stylized_imagenet", "gap_masked", "5"),
    ]
    value = {(row["dataset"], row["metric"]): float(row["value"]) for row in rows}
    # all images are one grey: one class is predicted, one of five masked, which is right once
    assert value["stylized_imagenet", "error_masked"] == value["mine_of_stylized_imagenet", "error_masked"] == 0.8
    assert value["mine", "error"] == 0.9
    remarks = json.loads((folder / "eval.json").read_text())["remarks"]
    absent = "imagenet_v2_matched, imagenet_v2_threshold, imagenet_v2_top, imagenet_sketch, imagenet_a, imagenet_r"
    assert (
        f"not on disk: {absent}, objectnet, imagenet_p (suite.sets=[imagenet_v2_matched] says where it belongs)"
        in remarks
    )


@pytest.mark.realdata
def test_a_published_network_on_real_images(realdata: Path, tmp_path: Path) -> None:
    """SqueezeNet 1.0 on one image of each of ImageNet-A's 200 classes, in its layout; ImageNet itself is not there.

    73 and 41 wrong, as from its logits on torchvision's crops and Hendrycks' ``logits[:, indices]``, done here by hand.
    """
    from torchvision.models import squeezenet1_0
    from torchvision.transforms import v2

    with tarfile.open(realdata / "imagenet_sample1000_s256.tar.xz") as archive:
        members = [one for one in archive.getmembers() if one.isfile() and one.name.split("/")[2] in IMAGENET_A]
        archive.extractall(tmp_path, members, filter="data")
    with tarfile.open(realdata / "models_thirdparty.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (weights,) = tmp_path.rglob("squeezenet1_0*/*.pth")
    net = squeezenet1_0()
    net.load_state_dict(torch.load(weights, weights_only=True))
    model = Normalized(net, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()
    reader = WnidTree(str(tmp_path / "imagenet-sample"), ["val"], "imagenet_a", count=7500, num_workers=0)
    suite = Shift({"imagenet_a": reader}, {"wnids": ["imagenet_a"]})
    found = run(suite, ImageNet(str(tmp_path / "none")), model, 50)
    assert values(found) == {
        (Condition("imagenet_a"), name): n / 200 for name, n in (("error", 73), ("error_masked", 41))
    }
    assert "imagenet_a: 200 images, the release has 7500" in suite.remarks()
    crop = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])
    indices, wrong, masked = [WNIDS.index(wnid) for wnid in IMAGENET_A], 0, 0
    for label, wnid in enumerate(IMAGENET_A[:12]):
        (path,) = (tmp_path / "imagenet-sample" / "val" / wnid).iterdir()
        with torch.inference_mode():
            logits = model(crop(Image.open(path).convert("RGB"))[None] / 255)[0]
        wrong += int(logits.argmax()) != indices[label]
        masked += int(logits[indices].argmax()) != label
    source = suite.source(ImageNet(str(tmp_path / "none")), Condition("imagenet_a"), CPU, 12)
    first = suite.observe(model, source._replace(batches=[next(iter(source.batches))]), Condition("imagenet_a"), "fp32")
    space = reader.check(ImageNet(str(tmp_path / "none"))).space
    assert space is not None
    assert int((space.over_all(first.prediction) != first.label).sum()) == wrong
    assert int((first.masked[:, 0] != first.label).sum()) == masked
