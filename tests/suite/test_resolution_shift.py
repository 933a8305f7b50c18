"""suite=resolution on shifted sets: at the own size the numbers of suite=shift, at the others both rules by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset.shift_layouts import Known
from PIL import Image
from support import compose_config
from torch import nn

from fourier_robust.cli import build
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.crops import Crop
from fourier_robust.dataset.imagefolder import ImageFolder
from fourier_robust.dataset.label_space import by_name
from fourier_robust.dataset.ood import ExactSize
from fourier_robust.dataset.readable import UNREADABLE, FileSplit
from fourier_robust.dataset.shift_imagenet import WnidTree
from fourier_robust.dataset.shifted import Cell, Checked, ShiftedSet
from fourier_robust.dataset.wnids import WNIDS
from fourier_robust.errors import UserError
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.resolution import Resolution
from fourier_robust.suite.resolution_observed import Observed
from fourier_robust.suite.shift import Shift

CPU = torch.device("cpu")
MINE = (*WNIDS[:4], WNIDS[7])  # the model's classes
RULES = ("error", "error_masked")
THEIRS = (WNIDS[2], WNIDS[5], WNIDS[0], WNIDS[3])  # the set's: 5 is none of the model's, 1 and 7 are none of its own


def noise(path: Path, seed: int, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 60, 3) + draw.integers(0, 196, (size[1], size[0], 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> ImageFolder:
    """Two images of each class of the model's, to be cut to 16 of 20 pixels."""
    for part in ("train", "val"):
        for number, wnid in enumerate(MINE * 2):
            noise(tmp_path / "mine" / part / wnid / f"{number}.png", number, (30, 24))
    return ImageFolder(str(tmp_path / "mine"), size=16, resize=20, num_workers=0)


@pytest.fixture
def other(tmp_path: Path) -> WnidTree:
    """Three images of each of four classes, each of a size of its own."""
    for number, wnid in enumerate(THEIRS * 3):
        noise(tmp_path / "other" / wnid / f"{number}.png", 100 + number, (25 + number, 40 - number))
    return WnidTree(str(tmp_path), ["other"], "any", num_workers=0)


class Net(nn.Module):
    """A small net for any size, which sees the colour and the coarsest grain."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(8)
            self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Linear(8, 5)
            images = 0.25 * torch.rand(64, 3, 1, 1) + 0.75 * torch.rand(64, 3, 16, 16)
        self.head.bias.data -= self.eval()(images).mean(0).detach()  # so that all classes are predicted

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        planes: torch.Tensor = self.norm(self.conv(images))
        logits: torch.Tensor = self.head(planes.amax((2, 3)))
        return logits


def suite(shift: Mapping[str, ShiftedSet] | Shift, *overrides: str) -> Resolution:
    """With `shift` in the place of the configured one; sets that are readers alone are of the group ``wnids``."""
    settings = ("ckpt=x", "suite=resolution", "suite.sets=[shift]", "suite.sizes=[12,24]", *overrides)
    config, _ = compose_config("eval", *settings, "paths.data_dir=none")
    found: Resolution = build(config, "suite")
    found.shift = shift if isinstance(shift, Shift) else Shift(shift, {"wnids": list(shift), "mine": list(shift)})
    return found


def run(asked: Any, data: Any, model: nn.Module, batch_size: int = 4) -> dict[Condition, Any]:
    found = {}
    for condition in asked.conditions(data):
        source: Source = asked.source(data, condition, CPU, batch_size)
        found[condition] = asked.observe(model.eval(), source, condition, "fp32")
        assert len(found[condition].label) == source.n
    return found


def measured(asked: Any, outcomes: Mapping[Condition, Any]) -> dict[tuple[str, str], Measurement]:
    found = asked.measure(outcomes)
    assert all(one.metric in asked.definitions and not one.higher_is_better for one in found)
    return {(one.condition.dataset, one.metric): one for one in found}


def by_hand(folder: Path, model: nn.Module, size: int, masked: bool) -> list[int]:
    """1 for each image of a class of the model's whose prediction is wrong, by Pillow and class names alone."""
    wrong = []
    known = [name for name in THEIRS if name in MINE]
    for wnid in sorted(known):
        for path in sorted((folder / wnid).iterdir()):
            image = Image.open(path).convert("RGB")
            short, resize = min(image.size), size * 20 // 16
            image = image.resize([int(resize * side / short) for side in image.size], Image.Resampling.BILINEAR)
            left, top = (round((side - size) / 2) for side in image.size)
            cut = np.asarray(image.crop((left, top, left + size, top + size)))
            with torch.no_grad():
                logits = model(torch.from_numpy(cut.copy()).permute(2, 0, 1)[None] / 255)[0]
            among = known if masked else MINE
            wrong.append(int(max(among, key=lambda name: float(logits[MINE.index(name)])) != wnid))
    return wrong


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_both_rules_at_each_size(photos: ImageFolder, other: WnidTree, tmp_path: Path, batch_size: int) -> None:
    model = Net()
    asked, alone = suite({"other": other}), Shift({"other": other}, {"wnids": ["other"]})
    outcomes = run(asked, photos, model, batch_size)
    (seen,), found = outcomes.values(), measured(asked, outcomes)
    errors = {}
    for place, size in enumerate((12, 16, 24)):
        for rule, kept in (("", seen.prediction), ("_masked", seen.masked)):
            wanted = by_hand(tmp_path / "other", model, size, bool(rule))
            assert (kept[:, 0, place] != seen.label).int().tolist() == wanted
            errors[size, rule] = sum(wanted) / 9
            assert found[f"other@{size}", f"error{rule}"].estimate.value == pytest.approx(errors[size, rule])
    for (size, rule), error in errors.items():
        assert found[f"other@{size}", f"gap{rule}"].estimate.value == pytest.approx(error - errors[16, rule])
    assert len(set(errors.values())) > 3  # else the sizes or the rules would not be told apart here
    for rule in ("", "_masked"):
        best = min((12, 16, 24), key=lambda size: errors[size, rule])
        assert found["other", f"best_size{rule}"].estimate.value == best
    assert len(found) == 2 * (3 * 2 + 2)
    shift = measured(alone, run(alone, photos, model, batch_size))
    for rule in RULES:
        assert found["other@16", rule].estimate == shift["other", rule].estimate
    assert set(shift["other", "error"].estimate) != set(shift["other", "error_masked"].estimate)


def test_a_file_is_read_once_for_all_sizes(
    photos: ImageFolder, other: WnidTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = Image.open

    def counted(path: Path) -> Image.Image:
        opened.append(str(path))
        return real(path)

    monkeypatch.setattr(Image, "open", counted)
    run(suite({"other": other}, "suite.sizes=[8,12,24,32]"), photos, Net(), 2)
    assert len(opened) == len(set(opened)) == 9
    assert not any(WNIDS[5] in path for path in opened)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_unreadable_files_are_left_out_at_every_size(
    photos: ImageFolder, other: WnidTree, tmp_path: Path, batch_size: int
) -> None:
    model, folder = Net(), tmp_path / "other"
    whole = suite({"other": other}, "suite.adjust=[none,batch_norm]")
    (before,) = run(whole, photos, model, batch_size).values()
    damaged = [sorted((folder / WNIDS[number]).iterdir())[1] for number in (0, 3)]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:60])
    reader = WnidTree(str(tmp_path), ["other"], "any", num_workers=0)

    def limited(most: float) -> Resolution:
        shift = Shift({"other": reader}, {"wnids": ["other"]}, unreadable=most)
        return suite(shift, "suite.adjust=[none,batch_norm]")

    asked = limited(0.3)
    outcomes = run(asked, photos, model, batch_size)
    (after,) = outcomes.values()
    lost = after.label == UNREADABLE
    assert lost.nonzero()[:, 0].tolist() == [1, 7]
    assert torch.equal(after.prediction[~lost], before.prediction[~lost])
    assert torch.equal(after.masked[~lost], before.masked[~lost])
    assert torch.equal(after.label[~lost], before.label[~lost])
    found = measured(asked, outcomes)
    kinds = [(f"other@{size}{kind}", rule) for size in (12, 16, 24) for kind in ("", "+batch_norm") for rule in RULES]
    assert [found[name, rule].estimate.n for name, rule in kinds] == [7] * len(kinds)
    said = f"other: 2 of 9 images could not be read and are left out: {damaged[0]}, {damaged[1]}"
    assert asked.remarks().count(said) == 1
    with pytest.raises(UserError, match=r"2 of 9 images could not be read, more than 0\.2 of them \(suite\.shift\.unr"):
        run(limited(0.2), photos, model, batch_size)
    strict = limited(0.2)
    for condition in strict.conditions(photos):
        strict.source(photos, condition, CPU, batch_size)  # outcomes of the first launch are reused
    with pytest.raises(UserError, match=r"2 of 9 images could not be read, more than 0\.2.*suite\.shift\.unreadable"):
        strict.measure(outcomes)


class Given:
    """A reader of what it is given."""

    def __init__(self, checked: Checked, split: Callable[[Crop], Any], absent: str | None = None) -> None:
        self.checked, self.made, self.reason = checked, split, absent

    def absent(self) -> str | None:
        return self.reason

    def check(self, inside: Any) -> Checked:
        return self.checked

    def split(self, inside: Any, cell: Cell, crop: Crop, device: Any) -> Any:
        return self.made(crop)


def resident(count: int, size: int, labels: Iterable[int]) -> ResidentSplit:
    draw = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (count, size, size, 3), generator=draw).to(torch.uint8)
    return ResidentSplit(pixels, torch.tensor(list(labels)))


def at_sizes(asked: Resolution, data: Any, count: int) -> list[torch.Tensor]:
    """The images of each size of the first set."""
    condition, *_ = asked.conditions(data)
    batches = list(asked.source(data, condition, CPU, 4).batches)
    return [torch.cat([batch.images for batch in batches[place::count]]) for place in range(count)]


def test_images_at_the_models_size_are_resized_from_there(photos: ImageFolder) -> None:
    """All classes in another order; the crop of the data set's files cuts nothing off arrays."""
    split = resident(6, 16, [0, 1, 2, 3, 4, 0])
    checked = Checked(by_name(MINE, MINE[::-1]), clean="related")
    asked = suite({"arrays": Given(checked, lambda crop: split)})
    small, own, large = at_sizes(asked, photos, 3)
    assert torch.equal(own, next(iter(split.batches(6))).images)
    for images, size in ((small, 12), (large, 24)):
        wanted = nn.functional.interpolate(own, (size, size), mode="bilinear", antialias=True)
        assert (images - wanted).abs().max() <= 0.5001 / 255
    model = Net()
    outcomes = run(asked, photos, model)
    (seen,) = outcomes.values()
    with torch.no_grad():
        names = [MINE[number] for number in model(own).argmax(1)]
    right = [name == MINE[::-1][label] for name, label in zip(names, split.labels.tolist(), strict=True)]
    assert (seen.prediction[:, 0, 1] == seen.label).tolist() == right
    assert seen.masked.numel() == 0
    assert "arrays: taken at 16 pixels, then resized (short side to size x 1)" in asked.remarks()
    assert not any("masked" in metric for _, metric in measured(asked, outcomes))
    wider = suite({"arrays": Given(checked, lambda crop: split)}, "suite.crop_ratio=1")
    with pytest.raises(UserError, match=r"crop_ratio=1 shows more of an image than those of arrays hold \(0\.8"):
        wider.conditions(photos)
    narrow = suite({"arrays": Given(checked, lambda crop: split)}, "suite.crop_ratio=0.64")
    wanted = nn.functional.interpolate(own, (20, 20), mode="bilinear", antialias=True)[:, :, 2:18, 2:18]
    assert (at_sizes(narrow, photos, 3)[1] - wanted).abs().max() <= 0.5001 / 255  # 0.64 of 0.8: its inner 0.8


def test_files_of_one_size_stay_files_of_one_size(photos: ImageFolder, tmp_path: Path) -> None:
    """As those of CINIC-10: one of another size is refused, not resized; all else is resized from the own size."""
    for number, wnid in enumerate(MINE):
        noise(tmp_path / "c" / wnid / f"{number}.png", number, (16, 16))

    def exact(crop: Crop) -> FileSplit:
        listed = WnidTree(str(tmp_path), ["c"], "any", num_workers=0)
        return FileSplit(listed._listed[0], ExactSize(16), CPU, 0)

    shift = Shift({"c": Given(Checked(by_name(MINE, MINE)), exact)}, {"wnids": ["c"]}, unreadable=0.2)
    asked = suite(shift)
    small, own, large = at_sizes(asked, photos, 3)
    assert (small.shape[-1], own.shape[-1], large.shape[-1]) == (12, 16, 24)
    first = np.asarray(Image.open(tmp_path / "c" / MINE[0] / "0.png"))
    assert torch.equal(own[0], torch.from_numpy(first.copy()).permute(2, 0, 1) / 255)
    wanted = nn.functional.interpolate(own[:1], (24, 24), mode="bilinear", antialias=True)
    assert (large[:1] - wanted).abs().max() <= 0.5001 / 255
    noise(tmp_path / "c" / MINE[1] / "9.png", 9, (20, 20))
    with pytest.raises(UserError, match=r"9\.png is not a readable image: 20x20 pixels, the model takes 16x16"):
        run(asked, photos, Net())


class Framed:
    """Cuts 3 pixels off each side, as the reader of ObjectNet does with its frame."""

    def __init__(self, crop: Crop) -> None:
        self.size, self.crop = crop.size, crop

    def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        return self.crop(image.crop((3, 3, image.width - 3, image.height - 3)), generator)


def test_what_a_reader_cuts_off_is_cut_off_at_every_size(photos: ImageFolder, tmp_path: Path) -> None:
    for wnid in MINE:
        (tmp_path / "f" / wnid).mkdir(parents=True)
        pixels = np.full((36, 46, 3), 255, np.uint8)
        pixels[3:-3, 3:-3] = 90
        Image.fromarray(pixels).save(tmp_path / "f" / wnid / "0.png")
    files = WnidTree(str(tmp_path), ["f"], "any", num_workers=0)._listed[0]
    reader = Given(Checked(by_name(MINE, MINE)), lambda crop: FileSplit(files, Framed(crop), CPU, 0))
    asked = suite({"f": reader}, "suite.crop_ratio=1")
    for images, size in zip(at_sizes(asked, photos, 3), (12, 16, 24), strict=True):
        assert images.shape == (5, 3, size, size)
        assert (images == torch.tensor(90.0) / 255).all()


CLIPS = Given(Checked(None, (Cell("tilt"),), ("few clips",)), lambda crop: None)
HERE = Given(Checked(by_name(MINE, MINE[:2])), lambda crop: resident(2, 32, [0, 1]))
GONE = Given(Checked(by_name(MINE, MINE[:2])), lambda crop: None, "no folder /data/gone; unpack it there")


def test_clips_are_left_out_or_refused() -> None:
    data = Known(MINE, 32, "mine")
    asked = suite({"here": HERE, "clips": CLIPS})
    assert [one.key for one in asked.conditions(data)] == ["here"]
    assert "clips left out: clips have no labels" in asked.remarks()
    assert "few clips" not in asked.remarks()
    with pytest.raises(UserError, match=r"^clips: clips, which have no labels but flip rates alone \(suite=shift\)$"):
        suite(Shift({"here": HERE, "clips": CLIPS}, {}, sets=["here", "clips"])).conditions(data)
    with pytest.raises(UserError, match="no shifted set of mine with labels is there: clips left out"):
        suite({"clips": CLIPS}).conditions(data)
    both = Shift({"here": HERE, "clips": CLIPS}, {"mine": ["here", "clips"]})
    assert [one.key for one in both.conditions(data)] == ["mine", "here", "clips-tilt"]


def test_each_severity_is_a_row_of_its_own() -> None:
    cells = (Cell("fog", 1), Cell("fog", 2))
    checked = Checked(by_name(MINE, MINE), cells, headline=("common1of15", ("fog",)))
    asked = suite({"c": Given(checked, lambda crop: resident(5, 32, range(5)))}, "suite.sizes=[24]")
    model = Net()
    outcomes = run(asked, Known(MINE, 32, "mine"), model)
    first, second = outcomes.values()
    assert torch.equal(first.prediction, second.prediction)
    names = {(one.condition.dataset, one.condition.corruption) for one in asked.measure(outcomes)}
    assert names == {(name, f"fog-{severity}") for name in ("c@24", "c@32", "c") for severity in (1, 2)}
    assert asked.files(outcomes, "who").keys() == {"resolution.png"}


def test_what_is_missing_is_said_in_the_words_of_this_suite() -> None:
    data = Known(MINE, 32, "mine")
    with pytest.raises(UserError, match=r"^no shifted set of mine is there: gone: no folder /data/gone; unpack it th"):
        suite({"gone": GONE}).conditions(data)
    with pytest.raises(UserError, match=r"no shifted set of mine is known: name some with suite\.shift\.sets=\["):
        suite(Shift({"gone": GONE}, {})).conditions(data)
    asked = suite({"here": HERE, "gone": GONE})
    asked.conditions(data)
    assert "not on disk: gone (suite.shift.sets=[gone] says where it belongs)" in asked.remarks()
    data.val_size = 1
    both = suite({"mine_val": HERE}, "suite.sets=[clean,shift]", "suite.split=val")
    with pytest.raises(UserError, match=r"suite\.sets: mine_val is a set of both shift and suite\.split=val: leave on"):
        both.conditions(data)


def test_identities_tell_apart_what_is_shown_and_which_classes(photos: ImageFolder, other: WnidTree) -> None:
    def identity(reader: ShiftedSet, *overrides: str) -> str:
        asked = suite({"one": reader}, *overrides)
        (condition,) = asked.conditions(photos)
        return asked.source(photos, condition, CPU, 4).identity

    arrays = resident(2, 16, [0, 1])
    pets, others = (Given(Checked(by_name(MINE, names)), lambda crop: arrays) for names in (MINE[:2], MINE[1:3]))
    every = [
        *(identity(other), identity(other, "suite.sizes=[12]"), identity(other, "suite.crop_ratio=0.9")),
        *(identity(other, "suite.interpolation=bicubic"), identity(other, "suite.adjust=[none,batch_norm]")),
        *(identity(pets), identity(others), identity(pets, "suite.sizes=[12]")),
    ]
    assert len(set(every)) == len(every)
    assert identity(other) == every[0]


def test_refitted_models_are_measured_on_shifted_sets(photos: ImageFolder, other: WnidTree) -> None:
    model = Net()
    asked = suite({"other": other}, "suite.adjust=[none,batch_norm]")
    (seen,) = run(asked, photos, model).values()
    images = at_sizes(asked, photos, 3)
    found = asked._fitted(model, "fp32")
    space = other.check(photos).space
    assert space is not None
    for which, kind in enumerate(("none", "batch_norm")):
        for place in range(3):
            with torch.no_grad():
                logits = found[kind][place](images[place])  # type: ignore[index]
            assert torch.equal(seen.prediction[:, which, place], space.columns[logits.argmax(1)])
            assert torch.equal(seen.masked[:, which, place], space.masked(logits))
    assert not torch.equal(seen.prediction[:, 0], seen.prediction[:, 1])


def test_outcomes_of_before_there_was_a_mask_are_read() -> None:
    label, prediction = torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1, 3, dtype=torch.int64)
    assert Observed(**{"label": label, "prediction": prediction}).masked.numel() == 0


def rows(path: Path) -> dict[tuple[str, str], str]:
    with open(path / "results.csv", newline="") as file:
        return {(row["dataset"], row["metric"]): row["value"] for row in csv.DictReader(file)}


def test_front_door(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None]) -> None:
    """The embedded set's swapped images at their own size: the row of suite=shift; a second launch reuses all."""
    folder = train_tiny()
    evaluate_tiny(folder, "suite=shift")
    chosen = ("suite=resolution", "suite.sizes=[24]", "suite.sets=[clean,shift]")
    for reused in (0, 2):
        evaluate_tiny(folder, *chosen)
        receipt = json.loads((folder / "eval/resolution/eval.json").read_text())
        assert receipt["conditions_reused"] == reused
    plain, found = rows(folder / "eval/shift"), rows(folder / "eval/resolution")
    for name in ("shapes", "shapes_swapped"):
        assert found[f"{name}@32", "error"] == plain[name, "error"]
    assert len(found) == 2 * (2 * 2 + 2)
    assert (folder / "eval/resolution/resolution.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"cifar10_1: arrays not found: .*cifar10\.1_v6_data\.npy"):
        evaluate_tiny(folder, *chosen, "suite.shift.sets=[cifar10_1]")


def test_trees_from_the_command_line(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], photos: ImageFolder, tmp_path: Path
) -> None:
    """Two lines of the picture and two rules of the table for a subset; another number of images in each line."""
    ckpt = train_tiny() / "last.pt"
    for number, wnid in enumerate(WNIDS[:10]):
        noise(tmp_path / "ten" / "val" / wnid / "0.png", number, (40, 36))
        if number % 2:
            noise(tmp_path / "data" / "Stylized-ImageNet" / "val" / wnid / "0.png", number, (44, 50))
    chosen = ("dataset=imagefolder", f"dataset.root={tmp_path}/ten", "dataset.num_workers=0", "dataset.size=32")
    few = ("suite.sizes=[24]", "suite.sets=[clean,shift]", "suite.shift.readers.stylized_imagenet.num_workers=0")
    evaluate_tiny(ckpt, *chosen, "dataset.resize=36", "suite=resolution", *few)
    evaluate_tiny(ckpt, *chosen, "dataset.resize=36", "suite=shift", "suite.readers.stylized_imagenet.num_workers=0")
    one, other = (ckpt.parent / "eval" / f"{name}.ten" for name in ("resolution", "shift"))
    found, plain = rows(one), rows(other)
    for rule in RULES:
        assert found["stylized_imagenet@32", rule] == plain["stylized_imagenet", rule]
    assert found["ten@32", "error"] == plain["ten", "error"]
    assert ("ten@32", "error_masked") not in found
    remarks = json.loads((one / "eval.json").read_text())["remarks"]
    assert any("suite.shift.sets=[imagenet_v2_matched] says where it belongs" in remark for remark in remarks)
    assert "error: over all of the model's classes; error_masked: among the set's classes" in remarks
