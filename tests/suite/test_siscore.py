from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset.shift_layouts import Known
from PIL import Image
from support import TINY, compose_config

from fourier_robust.cli import build
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.imagenet import ImageNet
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.errors import UserError
from fourier_robust.evaluate import evaluate
from fourier_robust.metric.outcome import Outcome
from fourier_robust.run.release import write
from fourier_robust.suite.base import Condition
from fourier_robust.suite.siscore import SIScore

CPU = torch.device("cpu")
FEW = {"areas": [0.2, 0.5], "angles": [0, 90, 101], "turned_areas": [0.2, 0.3], "places": 3, "objects": 10}
SMALL = tuple(f"suite.{key}={value}".replace(" ", "") for key, value in FEW.items())


class Photographs:
    """A data set of two classes, whose images nobody asks for."""

    name, num_classes, class_names, size, val_size = "photographs", 2, ("cat", "dog"), 16, 0
    mean = std = (0.5, 0.5, 0.5)

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        raise AssertionError


def shapes() -> Shapes:
    return Shapes(num_train=2, num_val=0, num_test=2)


def suite(root: Path, **settings: object) -> SIScore:
    return SIScore(root=str(root), **{**FEW, **settings})  # type: ignore[arg-type]


def outcome(labels: torch.Tensor, prediction: torch.Tensor) -> Outcome:
    return Outcome(labels, prediction, torch.ones(len(labels)), torch.zeros(len(labels)))


def release(root: Path, names: tuple[str, str] = ("cat", "dog")) -> None:
    """A size set in the published layout: cat 0 and dog 0 before background 0; dog 0 before 1 lacks its largest."""
    cat, dog = names
    folder = root / "area"
    folder.mkdir(parents=True)
    columns = (
        "image_id,x_coord,y_coord,area,rotation,foreground_class,foreground_instance,background,bg_resolution_width,"
        "bg_resolution_height,pct_inside_image"
    )
    lines, number = [columns], 0
    for area in (0.2, 0.5, 1.0):
        for name, background in ((cat, 0), (dog, 0), (dog, 1)):
            (folder / name).mkdir(exist_ok=True)
            if (area, background) != (1.0, 1):
                Image.new("RGB", (24, 24), (number * 20, 0, 0)).save(folder / name / f"{number}.jpg")
                lines.append(f"{number},0.5,0.5,{area},0,{int(name == dog)},0,{background},512,512,1.0")
            number += 1
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


def test_scores_of_a_release_by_hand(tmp_path: Path) -> None:
    release(tmp_path)
    asked = SIScore(root=str(tmp_path), factors=["size"], draws=100)
    conditions = asked.conditions(Photographs())  # type: ignore[arg-type]
    assert conditions == [Condition("siscore_size", value) for value in ("0.20", "0.50", "1.00")]
    labels = {"0.20": [0, 1, 1], "0.50": [0, 1, 1], "1.00": [0, 1]}
    said = {"0.20": [0, 0, 1], "0.50": [0, 1, 1], "1.00": [1, 1]}
    outcomes = {}
    for condition in conditions:
        source = asked.source(Photographs(), condition, CPU, 2)  # type: ignore[arg-type]
        found = torch.cat([one.labels for one in source.batches])
        assert found.tolist() == labels[str(condition.corruption)]
        assert source.n == len(found)
        outcomes[condition] = outcome(found, torch.tensor(said[str(condition.corruption)]))
    measured = {one.metric: one for one in asked.measure(outcomes)}
    accuracies = (2 / 3, 1, 1 / 2)
    assert measured["mean_accuracy"].estimate.value == pytest.approx(sum(accuracies) / 3)  # not 6 of 8
    assert measured["worst_accuracy"].estimate.value == pytest.approx(1 / 2)
    for value, accuracy, images in zip(("0.20", "0.50", "1.00"), accuracies, (3, 3, 2), strict=True):
        assert measured[f"accuracy({value})"].estimate.value == pytest.approx(accuracy)
        assert measured[f"accuracy({value})"].estimate.n == images
    # against 0.50: of three pairs one has changed; of the two that 1.00 has, one
    assert measured["flip_rate(0.20)"].estimate.value == pytest.approx(1 / 3)
    assert measured["flip_rate(1.00)"].estimate.value == pytest.approx(1 / 2)
    assert measured["flip_rate"].estimate.value == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert "flip_rate(0.50)" not in measured
    assert measured["mean_accuracy"].higher_is_better
    assert not measured["flip_rate"].higher_is_better
    assert "PARTIAL SET: size has 8 of the 92884 images" in asked.remarks()
    files = asked.files(outcomes, "someone")
    assert set(files) == {"siscore.png"}


def test_a_release_needs_no_images_of_the_model(tmp_path: Path) -> None:
    """ImageNet's classes are known without its files."""
    dataset = ImageNet(str(tmp_path / "nowhere"), size=16, resize=16)
    release(tmp_path, ("zebra", "kite"))
    asked = SIScore(root=str(tmp_path), factors=["size"], draws=100)
    batch = next(iter(asked.source(dataset, asked.conditions(dataset)[0], CPU, 9).batches))
    assert batch.labels.tolist() == [340, 21, 21]
    some = Known(("n02391049", "n01608432", "n01440764"), 16)
    (tmp_path / "area" / "wok").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "area" / "wok" / "30.jpg")
    with open(tmp_path / "area" / "metadata.csv", "a") as table:
        table.write("30,0.5,0.5,0.2,0,2,0,0,512,512,1.0\n")
    assert asked.source(some, asked.conditions(some)[0], CPU, 9).n == 3
    assert "size: images of 1 of its 3 classes left out, not the model's" in asked.remarks()


def test_cutouts_need_no_images_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "foregrounds" / "zebra").mkdir(parents=True)
    (tmp_path / "backgrounds").mkdir()
    Image.fromarray(np.full((10, 10, 4), 255, np.uint8)).save(tmp_path / "foregrounds" / "zebra" / "one.png")
    for number in range(2):
        Image.new("RGB", (30, 20)).save(tmp_path / "backgrounds" / f"{number}.jpg")
    dataset = ImageNet(str(tmp_path / "nowhere"), size=16, resize=16)
    asked = suite(tmp_path, factors=["size"])
    batch = next(iter(asked.source(dataset, asked.conditions(dataset)[0], CPU, 9).batches))
    assert batch.labels.tolist() == [340, 340]
    with pytest.raises(UserError, match=r"foregrounds/zebra is none of the model's classes"):
        suite(tmp_path, factors=["size"]).conditions(Known(("n01440764", "n01443537")))  # type: ignore[arg-type]


def test_metadata_of_another_factor(tmp_path: Path) -> None:
    release(tmp_path)
    (tmp_path / "area").rename(tmp_path / "rotation")
    with pytest.raises(
        UserError, match=r"rotation/metadata\.csv moves nothing, it holds rotation 0 alone: metadata of"
    ):
        SIScore(root=str(tmp_path), factors=["rotation"]).conditions(Photographs())  # type: ignore[arg-type]


def test_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    """Dog 0 before 1 cannot be read at 0.20: its flip there is not counted, the others are."""
    release(tmp_path)
    (tmp_path / "area" / "dog" / "2.jpg").write_bytes(b"no image")

    def seen(asked: SIScore) -> dict[Condition, Outcome]:
        found = {}
        for condition in asked.conditions(Photographs()):  # type: ignore[arg-type]
            batches = list(asked.source(Photographs(), condition, CPU, 2).batches)  # type: ignore[arg-type]
            labels = torch.cat([one.labels for one in batches])
            logits = torch.tensor([[1.0, 0.0]]).expand(len(labels), 2)  # cats, all of them
            found[condition] = asked.summarise(logits, labels, condition, found)
        return found

    asked = SIScore(root=str(tmp_path), factors=["size"], draws=100, unreadable=0.5)
    outcomes = seen(asked)
    measured = {one.metric: one.estimate for one in asked.measure(outcomes)}
    assert measured["accuracy(0.20)"][::3] == (1 / 2, 2)
    assert measured["accuracy(0.50)"].value == pytest.approx(1 / 3)
    assert measured["flip_rate(0.20)"][::3] == (0, 2)
    left = f"size 0.20: 1 of 3 images could not be read and are left out: {tmp_path}/area/dog/2.jpg"
    assert left in asked.remarks()
    with pytest.raises(UserError, match=r"1 of 3 images could not be read, more than 0\.01.*dog/2\.jpg"):
        seen(SIScore(root=str(tmp_path), factors=["size"]))
    strict = SIScore(root=str(tmp_path), factors=["size"])
    strict.conditions(Photographs())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"1 of 3 images could not be read, more than 0\.01"):
        strict.measure(outcomes)  # of an earlier launch


def test_intervals_draw_objects_not_images(tmp_path: Path) -> None:
    """Images of an object agree in both runs; with ten times the backgrounds the interval stays as wide."""
    widths = []
    for each in (1, 10):
        asked = suite(tmp_path, factors=["size"], objects=40, backgrounds_each=each)
        outcomes = {}
        for condition in asked.conditions(shapes()):
            objects = asked._images.members("size", str(condition.corruption)).objects
            outcomes[condition] = outcome(torch.zeros_like(objects), (objects % 4 == 0).long())
        found = {one.metric: one.estimate for one in asked.measure(outcomes)}
        assert found["accuracy(0.20)"].value == 0.75
        widths.append(found["accuracy(0.20)"].high - found["accuracy(0.20)"].low)
        assert found["flip_rate"][:3] == (0, 0, 0)
    assert widths[0] == widths[1] == pytest.approx(2 * 1.96 * (0.75 * 0.25 / 40) ** 0.5, rel=0.15)


def test_composed_sets_have_their_names_and_every_value(tmp_path: Path) -> None:
    conditions = suite(tmp_path).conditions(shapes())
    names = [(one.dataset, one.corruption) for one in conditions]
    assert names[:2] == [("shapes_siscore_size_generated", "0.20"), ("shapes_siscore_size_generated", "0.50")]
    assert [value for name, value in names if name == "shapes_siscore_rotation_generated"] == ["0", "90", "101"]
    assert len(names) == 2 + 3 + 9
    assert len({one.key for one in conditions}) == len(conditions)
    compat = suite(tmp_path, compat=True, factors=["size"], min_inside=0.0)
    assert {one.dataset for one in compat.conditions(shapes())} == {"shapes_siscore_size_compat"}
    assert "as the release was made" in compat.remarks()[0]


def test_every_setting_that_changes_images_changes_what_is_reused(tmp_path: Path) -> None:
    def identity(**settings: object) -> str:
        asked = suite(tmp_path, factors=["size"], **settings)
        return asked.source(shapes(), asked.conditions(shapes())[0], CPU, 4).identity

    changes = ({"seed": 1}, {"compat": True}, {"objects": 9}, {"backgrounds_each": 3}, {"size": 24}, {"areas": [0.3]})
    found = [identity(), *(identity(**change) for change in changes)]
    assert len(set(found)) == len(found)
    assert identity(draws=200, angles=[3]) == found[0]


def test_saved_images_are_read_back_as_they_were(tmp_path: Path) -> None:
    saved = suite(tmp_path, save=str(tmp_path / "set"), workers=0)
    direct, dataset = suite(tmp_path), shapes()
    conditions = saved.conditions(dataset)
    job = saved.to_write()
    assert job is not None
    assert "14 of them made" in write(job, 0)
    for one, other in zip(conditions, direct.conditions(dataset), strict=True):
        written, made = (each.source(dataset, at, CPU, 64) for each, at in ((saved, one), (direct, other)))
        left, right = list(written.batches), list(made.batches)
        assert torch.equal(torch.cat([each.labels for each in left]), torch.cat([each.labels for each in right]))
        gap = torch.cat([each.images for each in left]) - torch.cat([each.images for each in right])
        assert float(gap.abs().max()) <= 0.5 / 255 + 1e-6
        assert written.n == made.n == sum(len(each.labels) for each in left)
    folder = tmp_path / "set"
    with open(folder / "rotation" / "metadata.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 2 * 20
    assert len({line["image_id"] for line in lines}) == len(lines)
    assert all((folder / "rotation").glob(f"*/{line['image_id']}.png") for line in lines)
    assert (folder / "foreground_classes.csv").read_text().splitlines()[:2] == ["int,label", "7,bars"]
    assert json.loads((folder / "siscore.json").read_text())["state"] == "done"
    again = SIScore(root=str(folder), source="release", factors=["size"])
    assert [one.dataset for one in again.conditions(dataset)] == ["shapes_siscore_size_generated"] * 2
    assert again.remarks()[0].startswith("size: generated images, read from")


def test_writing_goes_on_where_it_stopped_and_refuses_other_images(tmp_path: Path) -> None:
    def job(**settings: object) -> str:
        asked = suite(tmp_path, factors=["size"], save=str(tmp_path / "set"), **settings)
        asked.conditions(shapes())
        wanted = asked.to_write()
        assert wanted is not None
        return write(wanted, 0)

    job()
    table = (tmp_path / "set/size/metadata.csv").read_bytes()
    image = tmp_path / "set/size/disk/20.png"  # the first at 0.50
    whole = image.read_bytes()
    assert "0 of them made" in job()
    (tmp_path / "set/size/.parts/0.50.csv").unlink()  # as a kill in the midst of 0.50 leaves it
    (tmp_path / "set/size/metadata.csv").unlink()
    image.write_bytes(whole[:9])
    assert "1 of them made" in job()
    assert image.read_bytes() == whole
    assert (tmp_path / "set/size/metadata.csv").read_bytes() == table
    with pytest.raises(UserError, match=r"made with another design: give another suite\.save"):
        job(seed=1)
    with pytest.raises(UserError, match="made with another format"):
        job(format="jpg")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    asked = suite(tmp_path, save=str(other))
    asked.conditions(shapes())
    wanted = asked.to_write()
    assert wanted is not None
    with pytest.raises(UserError, match=r"holds files, but no siscore\.json of ours"):
        write(wanted, 0)


def test_own_images_are_never_taken_for_the_release(tmp_path: Path) -> None:
    asked = suite(tmp_path, factors=["size"], save=str(tmp_path / "set"), compat=True, min_inside=0.0)
    asked.conditions(shapes())
    wanted = asked.to_write()
    assert wanted is not None
    write(wanted, 0)
    again = SIScore(root=str(tmp_path / "set"), source="release", factors=["size"])
    assert {one.dataset for one in again.conditions(shapes())} == {"shapes_siscore_size_compat"}
    (tmp_path / "set" / "siscore.json").write_text("{")
    with pytest.raises(UserError, match=r"siscore\.json is damaged"):
        again.conditions(shapes())


def test_foregrounds_of_files(tmp_path: Path) -> None:
    cutout = np.full((10, 10, 4), 255, np.uint8)
    for name in ("cat", "dog"):
        (tmp_path / "si-score" / "foregrounds" / name).mkdir(parents=True)
        Image.fromarray(cutout).save(tmp_path / "si-score" / "foregrounds" / name / "one.png")
    (tmp_path / "si-score" / "backgrounds").mkdir()
    for number in range(2):
        Image.new("RGB", (30, 20)).save(tmp_path / "si-score" / "backgrounds" / f"{number}.jpg")
    asked = suite(tmp_path, factors=["size"])
    conditions = asked.conditions(Photographs())  # type: ignore[arg-type]
    assert conditions[0].dataset == "photographs_siscore_size_generated"
    batch = next(iter(asked.source(Photographs(), conditions[0], CPU, 9).batches))  # type: ignore[arg-type]
    assert batch.labels.tolist() == [0, 0, 1, 1]
    assert batch.images.shape == (4, 3, 16, 16)
    assert batch.images.mean((1, 2, 3)) == pytest.approx(torch.full((4,), 0.2), abs=1e-5)  # white on black


def test_shapes_before_photographs(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (30, 20), (0, 0, 100 + number)).save(tmp_path / "photos" / f"{number}.png")
    asked = suite(tmp_path, factors=["size"], backgrounds=str(tmp_path / "photos"))
    small, _ = asked.conditions(shapes())
    batch = next(iter(asked.source(shapes(), small, CPU, 20).batches))
    corner = (batch.images[:, :, 0, 0] * 255).round()
    assert corner[:, :2].eq(0).all()
    assert set(corner[:, 2].tolist()) == {100, 101, 102}
    assert "backgrounds: pictures of the folder photos" in asked.remarks()
    plain = suite(tmp_path, factors=["size"])
    first = plain.source(shapes(), plain.conditions(shapes())[0], CPU, 20).identity
    assert asked.source(shapes(), small, CPU, 20).identity != first
    for settings, dataset in (({"source": "release"}, shapes()), ({}, Photographs())):
        with pytest.raises(UserError, match=r"suite\.backgrounds is for embedded shapes"):
            suite(tmp_path, backgrounds=str(tmp_path), **settings).conditions(dataset)  # type: ignore[arg-type]


def test_pairs_that_some_value_lacks(tmp_path: Path) -> None:
    """Dog 0 before 1 lacks its largest image: with left_out=pair it counts nowhere."""
    release(tmp_path)
    said = {"0.20": [0, 0, 1], "0.50": [0, 1, 1], "1.00": [1, 1]}
    labels = {"0.20": [0, 1, 1], "0.50": [0, 1, 1], "1.00": [0, 1]}

    def measured(left_out: str) -> tuple[SIScore, dict[str, float]]:
        asked = SIScore(root=str(tmp_path), factors=["size"], draws=100, left_out=left_out)  # type: ignore[arg-type]
        conditions = asked.conditions(Photographs())  # type: ignore[arg-type]
        outcomes = {
            one: outcome(*(torch.tensor(each[str(one.corruption)]) for each in (labels, said))) for one in conditions
        }
        found = {one.metric: one.estimate.value for one in asked.measure(outcomes)}
        assert found.keys() == {one.metric for one in asked.measure(outcomes)}
        return asked, found

    alone, found = measured("image")
    assert found["accuracy(0.20)"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"] == pytest.approx(((1 + 1 / 2) / 2 + 1 + (0 + 1) / 2) / 3)
    assert not any("pairs left out" in one for one in alone.remarks())
    paired, found = measured("pair")
    assert found["accuracy(0.20)"] == 1 / 2
    assert found["mean_accuracy"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert found["flip_rate(0.20)"] == 1 / 2
    assert [one for one in paired.remarks() if "pairs left out" in one] == [
        "size: 1 of 3 pairs left out, not there at every value"
    ]
    lines = (tmp_path / "area" / "metadata.csv").read_text().splitlines()
    (tmp_path / "area" / "metadata.csv").write_text("\n".join([*lines[:2], lines[-1]]) + "\n")
    asked = SIScore(root=str(tmp_path), factors=["size"], left_out="pair")
    conditions = asked.conditions(Photographs())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"suite\.left_out=pair: no pair of size is there at every value"):
        asked.measure({one: outcome(torch.tensor([0]), torch.tensor([0])) for one in conditions})


def test_refused_before_work(tmp_path: Path) -> None:
    for settings, reason in (
        ({"factors": []}, r"suite\.factors=\[\] must be out of size, rotation, location, at least one"),
        ({"factors": ["colour"]}, r"suite\.factors=\['colour'\]"),
        ({"areas": []}, r"suite\.areas must be numbers, at least one, got \[\]"),
        ({"areas": ["x"]}, r"suite\.areas must be numbers"),
        ({"areas": [0.2, 0.2001]}, r"suite\.areas=\[0\.2, 0\.2001\] holds a value twice"),
        ({"areas": [1.2]}, r"suite\.areas=\[1\.2\] must be shares of the canvas, above 0 and 1 at most"),
        ({"turned_areas": [0.0]}, r"suite\.turned_areas"),
        ({"angles": []}, r"suite\.angles must be numbers"),
        ({"places": 1}, r"suite\.places=1 must be at least 2"),
        ({"objects": 0}, r"suite\.objects=0 must be at least 1"),
        ({"source": "web"}, r"suite\.source='web' must be one of auto, release, generated"),
        ({"format": "gif"}, r"suite\.format='gif' must be one of png, jpg"),
        ({"left_out": "all"}, r"suite\.left_out='all' must be one of image, pair"),
        ({"min_inside": 2.0}, r"suite\.min_inside=2\.0 must lie in 0 to 1"),
        ({"unreadable": 1.0}, r"suite\.unreadable=1\.0 must be at least 0 and below 1"),
        ({"save": "x", "source": "release"}, r"suite\.save writes generated images"),
    ):
        with pytest.raises(ValueError, match=reason):
            suite(tmp_path, **settings)
    with pytest.raises(UserError, match=r"SI-Score not found: looked for size/ .* or use dataset=shapes") as refused:
        suite(tmp_path).conditions(Photographs())  # type: ignore[arg-type]
    assert str(tmp_path) in str(refused.value)
    with pytest.raises(UserError, match=r"SI-Score \(size\) not found: looked for size/ or area/"):
        suite(tmp_path, source="release").conditions(shapes())
    with pytest.raises(UserError, match=r"on 4x4 pixels an area of 0\.02 leaves less than a pixel"):
        suite(tmp_path, size=4, areas=[0.02]).conditions(shapes())


def test_front_door(train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], tmp_path: Path) -> None:
    folder = train_tiny()
    evaluate_tiny(folder, "suite=siscore", *SMALL)
    there = folder / "eval" / "siscore"
    for name in ("siscore.png", "location.png", "examples.png"):
        with Image.open(there / name) as image:
            assert min(image.size) > 300
    with open(there / "results.csv", newline="") as file:
        rows = {(row["dataset"], row["metric"]): row for row in csv.DictReader(file)}
    for factor, values in (("size", 2), ("rotation", 3), ("location", 9)):
        mine = {metric: row for (name, metric), row in rows.items() if name == f"shapes_siscore_{factor}_generated"}
        points = [float(row["value"]) for metric, row in mine.items() if metric.startswith("accuracy(")]
        assert len(points) == values
        assert float(mine["mean_accuracy"]["value"]) == pytest.approx(sum(points) / values, abs=1e-5)
        assert float(mine["mean_accuracy"]["ci_low"]) <= float(mine["mean_accuracy"]["value"])
    # the first place of predictions: what the suite counts is what the model says
    seen = np.load(there / "outcomes" / "shapes_siscore_size_generated-0.20.npz")
    wanted = (seen["prediction"] == seen["label"]).mean()
    assert float(rows["shapes_siscore_size_generated", "accuracy(0.20)"]["value"]) == pytest.approx(wanted, abs=1e-5)
    evaluate_tiny(folder, "suite=siscore", *SMALL, "suite.draws=200")
    assert json.loads((there / "eval.json").read_text())["conditions_reused"] == 14


def test_a_damaged_file_at_the_front_door(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], tmp_path: Path
) -> None:
    """Named in the receipt, also of a second launch, which looks again, and so finds it mended."""
    folder, save = train_tiny(), tmp_path / "set"
    size = ("suite=siscore", *SMALL, "suite.factors=[size]")
    evaluate_tiny(folder, *size, f"suite.save={save}", "suite.workers=0")
    damaged = save / "size" / "disk" / "20.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(bytes(len(whole)))
    read = (*size, "suite.source=release", f"suite.root={save}")
    for _ in range(2):
        evaluate_tiny(folder, *read, "suite.unreadable=0.1")
        receipt = json.loads((folder / "eval/siscore/eval.json").read_text())
        assert receipt["conditions_reused"] == 1
        left = f"size 0.50: 1 of 20 images could not be read and are left out: {save}/size/disk/20.png"
        assert left in receipt["remarks"]
    with pytest.raises(UserError, match=r"1 of 20 images could not be read, more than 0\.01 of them .*disk/20\.png"):
        evaluate_tiny(folder, *read)
    damaged.write_bytes(whole)
    evaluate_tiny(folder, *read)
    assert not any(
        "left out" in remark for remark in json.loads((folder / "eval/siscore/eval.json").read_text())["remarks"]
    )


def test_images_alone(tmp_path: Path) -> None:
    save = tmp_path / "set"
    extra = (f"suite.save={save}", "suite.workers=0", "suite.factors=[size]", "dataset.num_test=2")
    evaluate(*compose_config("eval", "dataset=shapes", "suite=siscore", *SMALL, *extra))
    assert len(list((save / "size").rglob("*.png"))) == 2 * 20


def test_yaml_is_the_class_as_it_stands(tmp_path: Path) -> None:
    config, _ = compose_config("eval", "ckpt=x", "suite=siscore", f"paths.data_dir={tmp_path}")
    asked, (train, _) = build(config, "suite"), compose_config("train", *TINY)
    assert len(asked.conditions(build(train, "dataset"))) == 11 + 18 + 81
