from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.siscore import (
    NAMES,
    PUBLISHED_IMAGES,
    FactorRelease,
    find_release,
)
from fourier_robust.dataset.siscore_classes import IMAGENET_INDEX, label_map
from fourier_robust.dataset.siscore_composed import Composed
from fourier_robust.dataset.siscore_design import FACTORS, reference_of, steps_of, usual_grid
from fourier_robust.dataset.siscore_entries import RELEASE_COLUMNS, entries
from fourier_robust.dataset.siscore_sources import file_scenes, shape_scenes
from fourier_robust.dataset.wnids import WNIDS
from fourier_robust.errors import UserError

CPU = torch.device("cpu")
LINES = (  # image_id, area, class folder, instance, background: as the release has them, ids with gaps
    (0, "0.01", "zebra", 0, 5),
    (1, "0.01", "kite", 0, 6),
    (4, "0.060000000000000005", "zebra", 0, 5),
    (7, "0.060000000000000005", "zebra", 1, 5),
    (9, "1.0", "kite", 0, 6),
)


def write_release(folder: Path, lines: object = LINES, columns: tuple[str, ...] = RELEASE_COLUMNS) -> Path:
    """A tiny size set; the red of each image says its id."""
    folder.mkdir(parents=True)
    with open(folder / "metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for number, area, name, instance, background in lines:  # type: ignore[attr-defined]
            cells = (
                number,
                0.5,
                0.5,
                area,
                0,
                ("kite", "zebra", "ambulance").index(name),
                instance,
                background,
                512,
                512,
                1.0,
            )
            table.writerow(cells[: len(columns)])
            (folder / name).mkdir(exist_ok=True)
            Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(folder / name / f"{number}.jpg", quality=100)
    return folder


def test_reads_the_release_by_value(tmp_path: Path) -> None:
    write_release(tmp_path / "area")
    folder, table = find_release(str(tmp_path), "size")
    release = FactorRelease(folder, table, "size", label_map(WNIDS))
    assert release.values == ("0.01", "0.06", "1.00")
    assert (release.images, release.objects, release.beyond) == (5, 3, 0)
    batches = list(release.split("0.06", CentreCrop(16, 16), CPU, num_workers=0).batches(10))
    assert torch.cat([one.labels for one in batches]).tolist() == [340, 340]
    reds = torch.cat([one.images for one in batches])[:, 0].mean((1, 2)) * 255 / 20
    assert reds.round().tolist() == [4, 7]
    first, middle, last = (release.members(value) for value in release.values)
    assert first.pairs[0] == middle.pairs[0]  # zebra 0 before background 5
    assert first.pairs[1] == last.pairs[0]  # kite 0 before background 6
    assert len({*first.pairs.tolist(), *middle.pairs.tolist()}) == 3
    assert first.objects.tolist() == [0, 1]
    assert middle.objects.tolist() == [0, 2]
    assert release.identity("0.01", CentreCrop(16, 16)) != release.identity("0.01", CentreCrop(8, 16))


def test_metadata_from_another_place(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "data" / "SI-Score" / "area")
    other = tmp_path / "elsewhere" / "object_size"
    other.mkdir(parents=True)
    (folder / "metadata.csv").rename(other / "metadata.csv")
    with pytest.raises(UserError, match=r"metadata of .*area not found: .*fetch object_size/metadata\.csv") as refused:
        find_release(str(tmp_path / "data"), "size")
    assert "\n" not in str(refused.value)
    assert find_release(str(tmp_path / "data"), "size", str(tmp_path / "elsewhere")) == (folder, other / "metadata.csv")


def test_refuses_what_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"SI-Score \(location\) not found: looked for .*location20_area02_min0pc/"):
        find_release(str(tmp_path), "location")
    labels = label_map(WNIDS)

    def refused(folder: Path, reason: str, known: object = labels) -> None:
        with pytest.raises(UserError, match=reason) as found:
            FactorRelease(folder, folder / "metadata.csv", "size", known)  # type: ignore[arg-type]
        assert "\n" not in str(found.value)

    refused(write_release(tmp_path / "a", columns=RELEASE_COLUMNS[:8]), "has no column bg_resolution_width")
    refused(write_release(tmp_path / "b", ()), "lists no image")
    refused(write_release(tmp_path / "c", [(3, "big", "zebra", 0, 0)]), "image 3 has no number as area")
    refused(write_release(tmp_path / "d"), "is none of the model's 2 classes", {"cat": 0, "zebra": 1})
    gone = write_release(tmp_path / "e")
    (gone / "zebra" / "4.jpg").unlink()
    refused(gone, "lacks 1 of the 5 images")
    double = write_release(tmp_path / "g")
    table = (double / "metadata.csv").read_text()
    (double / "metadata.csv").write_text(table + table.splitlines()[1] + "\n")
    refused(double, r"metadata\.csv lists image \d+ twice")
    (double / "metadata.csv").write_text(table)
    (double / "kite").mkdir(exist_ok=True)
    (double / "kite" / "4.jpg").write_bytes((double / "zebra" / "4.jpg").read_bytes())
    refused(double, r"holds image 4 twice: .*/4\.jpg and .*/4\.jpg")
    empty = write_release(tmp_path / "f", [])
    (empty / "metadata.csv").write_text((tmp_path / "e" / "metadata.csv").read_text())
    refused(empty, "not the layout of SI-Score")


def test_extra_files_are_counted_and_damaged_ones_named(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "area")
    (folder / "zebra" / "900.jpg").write_bytes(b"-")
    (folder / "zebra" / "notes.txt").write_text("-")
    release = FactorRelease(folder, folder / "metadata.csv", "size", label_map(WNIDS))
    assert (release.images, release.beyond) == (5, 1)
    (folder / "zebra" / "4.jpg").write_bytes(b"no image")
    broken = FactorRelease(folder, folder / "metadata.csv", "size", label_map(WNIDS))
    with pytest.raises(UserError, match=r"zebra/4\.jpg is not a readable image"):
        list(broken.split("0.06", CentreCrop(16, 16), CPU, num_workers=0).batches(10))


def test_shapes_before_pictures(tmp_path: Path) -> None:
    """The objects are those before textures; pictures may lie at any depth, and their middle is taken."""
    for number, folder in enumerate(("a", "a", "b/c", ".")):
        place = tmp_path / "photos" / folder
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((20, 40, 3), np.uint8)
        pixels[:, 10:30] = 40 * number + 40
        Image.fromarray(pixels).save(place / f"{number}.png")
    (tmp_path / "photos" / "notes.txt").write_text("-")
    scenes = shape_scenes(32, 20, 3, 0, tmp_path / "photos")
    plain = shape_scenes(32, 20, 3, 0)
    assert torch.equal(scenes.objects.rgba, plain.objects.rgba)
    assert scenes.backgrounds.names == ("3.png", "a/0.png", "a/1.png", "b/c/2.png")
    assert [int(one.unique()) for one in scenes.backgrounds.pixels] == [160, 40, 80, 120]
    assert scenes.pairs.objects.tolist() == plain.pairs.objects.tolist()
    assert all(len(set(row)) == 3 for row in scenes.pairs.backgrounds.reshape(20, 3).tolist())
    corner = shape_scenes(32, 20, 3, 0, tmp_path / "photos", compat=True).backgrounds.pixels
    assert int(corner[0, 0, 0, 0]) == 0
    with pytest.raises(UserError, match=r"suite\.backgrounds_each=5 must lie in 1 to 4, .* in .*photos"):
        shape_scenes(32, 20, 5, 0, tmp_path / "photos")
    with pytest.raises(UserError, match=r"no folder .*nowhere: suite\.backgrounds needs one"):
        shape_scenes(32, 20, 2, 0, tmp_path / "nowhere")
    (tmp_path / "photos" / "a" / "0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a/0\.png is not a readable image"):
        shape_scenes(32, 20, 4, 0, tmp_path / "photos")


def test_class_tables(tmp_path: Path) -> None:
    assert len(IMAGENET_INDEX) == len(set(IMAGENET_INDEX.values())) == 61
    assert [IMAGENET_INDEX[name] for name in ("ambulance", "kite", "zebra", "zucchini")] == [407, 21, 340, 939]
    assert label_map(("a", "b")) == {"a": 0, "b": 1}
    assert "zebra" not in label_map(("a", "b"))
    table = tmp_path / "foreground_classes.csv"
    for text, classes, reason in (
        ("int,label\n0,ambulance\n1,artichoke\n", WNIDS, "ambulance is class 407 of ImageNet, not 0"),
        ("int,label\n5,thing\n", ("a", "b"), "thing is class 5, the model has 0 to 1"),
        ("label,int\nthing,1\n", ("a", "b"), "first line is not int,label"),
        ("int,label\nx,thing\n", ("a", "b"), "or a number fails"),
        ("", ("a", "b"), "first line is not int,label"),
        ("int,label\n1000,thing\n407,ambulance\n", WNIDS, "thing is class 1000, ImageNet has 0 to 999"),
        ("int,label\n1,a\n", ("a", "b"), "a is class 0, not 1: another class table"),
    ):
        table.write_text(text)
        with pytest.raises(UserError, match=reason):
            label_map(classes, table)
    table.write_text("int,label\n1,thing\n")
    assert label_map(("a", "b"), table) == {"thing": 1}
    table.write_bytes(b"int,label\n1,\xff\xfe\n")
    with pytest.raises(UserError, match=r"foreground_classes\.csv is damaged: it cannot be read as text") as refused:
        label_map(("a", "b"), table)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("beside", [False, True])
def test_classes_meet_by_wnid_not_by_number(tmp_path: Path, beside: bool) -> None:
    """A model of 1000 other classes has none of them; one of a part of ImageNet those of its wnids."""
    table = tmp_path / "foreground_classes.csv"
    if beside:  # as published: ImageNet's numbers
        lines = [f"{place},{name}" for name, place in IMAGENET_INDEX.items()]
        table.write_text("\n".join(["int,label", *lines, "6,stingray"]) + "\n")
    whole = label_map(WNIDS, table)
    assert [whole[name] for name in ("ambulance", "zucchini")] == [407, 939]
    part = label_map(("n02391049", "n02701002", "n99999999"), table)  # zebra, ambulance
    assert [part[name] for name in ("zebra", "ambulance", "zucchini")] == [0, 1, -1]
    assert sum(place >= 0 for name, place in part.items() if name in IMAGENET_INDEX) == 2
    others = tuple(f"class{place:04d}" for place in range(1000))
    assert label_map(others, table) == {name: place for place, name in enumerate(others)}
    assert label_map(("zebra", "dog"), table) == {"zebra": 0, "dog": 1}
    if beside:
        assert (whole["stingray"], part["stingray"]) == (6, -1)
    else:  # a set of ours counts the model's classes
        table.write_text("int,label\n1,ambulance\n0,zebra\n2,thing\n")
        again = label_map(("n02391049", "n02701002", "n99999999"), table)
        assert again == {"ambulance": 1, "zebra": 0, "thing": 2}


def test_images_of_classes_that_the_model_lacks_are_left_out(tmp_path: Path) -> None:
    lines = [(number, area, "ambulance", 0, 3) for number, area in ((11, "0.01"), (12, "1.0"))]
    folder = write_release(tmp_path / "area", (*LINES, *lines))
    kite_and_zebra = ("n02391049", "n01608432", "n01440764")
    release = FactorRelease(folder, folder / "metadata.csv", "size", label_map(kite_and_zebra))
    assert (release.lacking, release.images, release.objects) == ({"ambulance"}, 7, 3)
    assert [len(release.members(value).pairs) for value in release.values] == [2, 2, 1]
    whole = FactorRelease(folder, folder / "metadata.csv", "size", label_map(WNIDS))
    assert whole.lacking == set()
    crop = CentreCrop(16, 16)
    assert release.split("0.06", crop, CPU, 0).labels.tolist() == [0, 0]
    assert release.identity("0.06", crop) != whole.identity("0.06", crop)  # the same images, other labels
    with pytest.raises(UserError, match=r"area shares 1 of its 3 classes with the model, not two"):
        FactorRelease(folder, folder / "metadata.csv", "size", label_map(("n02391049", "n01440764")))
    with pytest.raises(UserError, match=r"area/ambulance is none of the model's 1000 classes"):
        FactorRelease(folder, folder / "metadata.csv", "size", label_map([f"class{place}" for place in range(1000)]))


def test_each_image_lies_in_the_folder_of_its_class(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "area", [(20, "1.0", "zebra", 2, 5), *LINES])
    labels = label_map(WNIDS)

    def refused(reason: str) -> None:
        with pytest.raises(UserError, match=reason) as found:
            FactorRelease(folder, folder / "metadata.csv", "size", labels)
        assert "\n" not in str(found.value)

    (folder / "ambulance").mkdir()
    (folder / "zebra" / "7.jpg").rename(folder / "ambulance" / "7.jpg")
    refused(r"area/ambulance/7\.jpg should lie in zebra/, by its foreground_class in .*metadata\.csv")
    (folder / "ambulance" / "7.jpg").rename(folder / "zebra" / "7.jpg")
    for image in list((folder / "kite").iterdir()):
        image.rename(folder / "zebra" / image.name)
    refused(r"area/zebra holds images of two classes \(foreground_class 1 and 0 in .*\), e\.g\. zebra/1\.jpg")
    for number in (1, 9):
        (folder / "zebra" / f"{number}.jpg").rename(folder / "kite" / f"{number}.jpg")
    assert FactorRelease(folder, folder / "metadata.csv", "size", labels).classes == {"kite", "zebra"}
    table = tmp_path / "foreground_classes_metadata_indices.csv"
    table.write_text("int,label\n0,zebra\n1,kite\n")  # whole folders were swapped
    refused(r"area/zebra/20\.jpg should lie in kite/")
    table.write_text("int,label\n0,kite\n1,zebra\n")
    assert FactorRelease(folder, folder / "metadata.csv", "size", labels).images == 6


def test_metadata_that_is_no_text(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "area")
    for content in (b"\xff\xfe", (folder / "metadata.csv").read_bytes() + b'"' + b"9" * 200_000):
        (folder / "metadata.csv").write_bytes(content)
        with pytest.raises(UserError, match=r"area/metadata\.csv is damaged") as refused:
            FactorRelease(folder, folder / "metadata.csv", "size", label_map(WNIDS))
        assert "\n" not in str(refused.value)


def test_published_grids() -> None:
    """Images per factor over the 1228 pairs; the released counts lack those that the release left out."""
    grid = usual_grid(512, published=True)
    counts = {factor: sum(map(len, steps_of(grid, factor, 1228).values())) * 1228 for factor in FACTORS}
    assert counts == {"size": 122_800, "rotation": 88_416, "location": 541_548}
    assert counts["location"] == PUBLISHED_IMAGES["location"]
    assert list(steps_of(grid, "size", 1))[5] == "0.06"
    rotation = steps_of(grid, "rotation", 1228)
    assert list(rotation) == [str(angle) for angle in range(1, 342, 20)]
    assert [step.first for step in rotation["21"]] == [1228 * (18 * area + 1) for area in range(4)]
    assert usual_grid(64, published=False).places == 9
    assert usual_grid(65, published=False) == grid


def test_places_keep_their_decimals_and_references_are_central() -> None:
    places = list(steps_of(usual_grid(32, published=False), "location", 1))
    assert places[:3] == ["0.00_0.00", "0.00_0.125", "0.00_0.25"]
    assert len(set(places)) == 81
    assert reference_of("location", places) == "0.50_0.50"
    assert reference_of("size", ["0.05", "0.40", "0.55", "1.00"]) == "0.55"
    assert reference_of("rotation", ["21", "341", "355"]) == "355"


def files(root: Path) -> Path:
    """Two foregrounds with alpha, one with a mask, three backgrounds."""
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / "foregrounds" / name).mkdir(parents=True)
    (root / "masks" / "dog").mkdir(parents=True)
    (root / "backgrounds").mkdir()
    cutout = np.zeros((30, 20, 4), np.uint8)
    cutout[5:25, 4:14] = (250, 10, 10, 255)
    Image.fromarray(cutout).save(root / "foregrounds" / "cat" / "a.png")
    Image.fromarray(cutout).save(root / "foregrounds" / "cat" / "b.png")
    Image.fromarray(cutout[..., :3]).save(root / "foregrounds" / "dog" / "c.png")
    Image.fromarray(cutout[..., 3]).save(root / "masks" / "dog" / "c.png")
    for number in range(3):
        pixels = draw.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "backgrounds" / f"{number}.png")
    return root


def test_scenes_of_files(tmp_path: Path) -> None:
    root = files(tmp_path)
    scenes = file_scenes(root, {"cat": 7, "dog": 3}, 32, 2, 0, compat=False)
    assert scenes.objects.labels.tolist() == [7, 7, 3]
    assert scenes.objects.instances == ("a", "b", "c")
    assert scenes.objects.rgba.shape == (3, 64, 64, 4)
    assert scenes.objects.boxes.tolist() == [[32, 64]] * 3
    assert torch.equal(scenes.objects.rgba[0], scenes.objects.rgba[2])
    assert scenes.backgrounds.pixels.shape[1:] == (32, 32, 3)
    assert scenes.identity() == file_scenes(root, {"cat": 7, "dog": 3}, 32, 2, 0, compat=False).identity()
    assert scenes.identity() != file_scenes(root, {"cat": 7, "dog": 3}, 32, 2, 1, compat=False).identity()
    exact = file_scenes(root, {"cat": 7, "dog": 3}, 32, 3, 0, compat=True)
    assert exact.objects.boxes.tolist() == [[10, 20]] * 3
    number = int(exact.backgrounds.names[0].removesuffix(".png"))
    with Image.open(root / "backgrounds" / f"{number}.png") as image:
        corner = image.crop((0, 0, 40, 40)).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(exact.backgrounds.pixels[0].numpy(), np.asarray(corner))


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    root = files(tmp_path)
    labels = {"cat": 0, "dog": 1}

    def refused(reason: str, known: dict[str, int] = labels, each: int = 1) -> None:
        with pytest.raises(UserError, match=reason) as found:
            file_scenes(root, known, 32, each, 0, compat=False)
        assert "\n" not in str(found.value)

    refused(r"foregrounds/dog is none of the model's classes", {"cat": 0})
    refused(r"suite\.backgrounds_each=4 must lie in 1 to 3", each=4)
    (root / "masks" / "dog" / "c.png").unlink()
    refused(r"c\.png has no alpha channel, and there is no mask .*masks/dog/c\.png")
    Image.new("RGBA", (4, 4)).save(root / "foregrounds" / "dog" / "c.png")
    refused(r"c\.png has an empty mask")
    (root / "foregrounds" / "dog" / "c.png").write_bytes(b"no image")
    refused(r"c\.png or its mask is not a readable image")
    (root / "backgrounds").rename(root / "elsewhere")
    refused(r"no folder .*backgrounds: pictures belong there")


def composed(compat: bool = False, size: int = 32, **settings: object) -> Composed:
    grid = usual_grid(size, published=False)._replace(areas=(0.2, 0.5, 1.0), angles=(0, 90, 101), places=3)
    return Composed(shape_scenes(size, 20, 2, 0), grid, compat, **settings)  # type: ignore[arg-type]


def pixels(images: Composed, factor: str, value: str, batch_size: int = 7) -> torch.Tensor:
    return torch.cat([one.images for one in images.batches(factor, value, CPU, batch_size)])


@pytest.fixture(scope="module", params=[False, True], ids=["antialiased", "compat"])
def made(request: pytest.FixtureRequest) -> Composed:
    return composed(request.param, min_inside=0.0)


def test_the_same_pairs_at_every_value(made: Composed) -> None:
    """The corners show no object at the middle, so there the images of all places agree; the labels always do."""
    for factor in FACTORS:
        for value in made.values(factor):
            members = made.members(factor, value)
            labels = torch.cat([one.labels for one in made.batches(factor, value, CPU, 16)])
            assert torch.equal(labels, made.scenes.objects.labels[members.objects])
            assert torch.equal(members.pairs, torch.arange(len(members.pairs)))
    if not made.compat:  # JPEG
        left, right = pixels(made, "location", "0.00_0.50"), pixels(made, "location", "1.00_0.50")
        assert torch.equal(left[..., 12:20], right[..., 12:20])
        assert not torch.equal(left, right)


def test_batches_and_devices_decide_nothing(made: Composed) -> None:
    assert torch.allclose(pixels(made, "rotation", "101", 3), pixels(made, "rotation", "101", 64), atol=1e-6)
    assert pixels(made, "size", "0.20").amax() <= 1
    assert pixels(made, "size", "0.20").amin() >= 0


def test_rows_have_the_realised_area(made: Composed) -> None:
    scenes = made.scenes
    side = 2 * scenes.size
    for area in ("0.20", "0.50"):
        for pair, entry in enumerate(entries(made, "size", area, "png")):
            row = entry.row
            assert tuple(row)[:11] == RELEASE_COLUMNS
            assert entry.path.endswith(".jpg" if made.compat else ".png")
            one = int(scenes.pairs.objects[pair])
            filled = float(scenes.objects.rgba[one, ..., 3].sum()) / 255 / float(scenes.objects.boxes[one].prod())
            assert filled < side
            if made.compat:  # whole pixels, cut off
                assert float(area) * 0.85 < row["area_realised"] <= float(area)
                assert row["mask_area"] == pytest.approx(filled * float(area), rel=0.25)
            else:
                assert row["area_realised"] == float(area)
                assert row["mask_area"] == pytest.approx(filled * float(area), rel=1e-4)
            assert row["pct_inside_image"] == 1


def test_images_with_too_little_inside_are_left_out() -> None:
    usual = composed(compat=True)
    assert usual.min_inside("size") == usual.min_inside("rotation") == 0.95
    assert usual.min_inside("location") == 0
    assert usual.left_out("location") == (0, 9 * 40)
    objects = usual.scenes.objects
    kept = set(usual.members("size", "1.00").objects.tolist())
    assert kept <= {one for one, boxes in enumerate(objects.boxes.tolist()) if min(boxes) >= 0.9 * max(boxes)}
    assert {one for one, name in enumerate(objects.classes) if name in ("disk", "ring", "square")} <= kept
    gone, whole = usual.left_out("size")
    assert (gone, whole) == (2 * (20 - len(kept)), 3 * 40)
    assert len(pixels(usual, "size", "1.00")) == 2 * len(kept)
    assert composed(compat=False).left_out("size") == (0, 120)


def test_pairs_keep_their_numbers_where_an_area_is_left_out() -> None:
    """Turned by 45 degrees nothing of area 1 is left, upright something is; pairs of area 0.2 are still the same."""
    grid = usual_grid(32, published=False)._replace(angles=(0, 45), turned=(1.0, 0.2))
    images = Composed(shape_scenes(32, 20, 2, 0), grid, compat=True)
    upright, turned = images.members("rotation", "0"), images.members("rotation", "45")
    assert turned.pairs.tolist() == list(range(40, 80))
    assert set(turned.pairs.tolist()) < set(upright.pairs.tolist())
    small = upright.pairs >= 40
    assert torch.equal(upright.objects[small], turned.objects)
    assert len(pixels(images, "rotation", "45")) == len(list(entries(images, "rotation", "45", "png"))) == 40


def test_compat_images_went_through_jpeg_at_75() -> None:
    images = composed(compat=True)
    files = [entry.content for entry in entries(images, "size", "0.50", "png")]
    levels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in files])
    assert np.array_equal(pixels(images, "size", "0.50").permute(0, 2, 3, 1).mul(255).round().byte().numpy(), levels)
    again = io.BytesIO()
    Image.fromarray(levels[0]).save(again, "JPEG", quality=75)
    assert Image.open(again).quantization == Image.open(io.BytesIO(files[0])).quantization


def test_a_canvas_too_small_for_the_objects() -> None:
    with pytest.raises(UserError, match=r"suite\.size: on 4x4 pixels an area of 0\.05 leaves less than a pixel"):
        Composed(shape_scenes(4, 10, 1, 0), usual_grid(4, published=False))


def test_shapes_fill_their_boxes_and_are_of_their_class() -> None:
    scenes = shape_scenes(48, 20, 3, 0)
    assert scenes.backgrounds.pixels.shape == (60, 48, 48, 3)
    assert scenes.objects.classes[:2] == ("disk", "ring")
    assert scenes.objects.rgba.shape[1:] == (96, 96, 4)
    disk, ring = scenes.objects.rgba[0, ..., 3].float() / 255, scenes.objects.rgba[1, ..., 3].float() / 255
    assert float(disk.mean()) == pytest.approx(np.pi / 4, abs=0.03)
    assert float(disk[48, 48]) == 1
    assert float(ring[48, 48]) == 0
    assert shape_scenes(48, 20, 3, 0).identity() == scenes.identity() != shape_scenes(48, 20, 3, 1).identity()


def test_names_of_folders_begin_with_ours() -> None:
    assert {factor: names[0] for factor, names in NAMES.items()} == {factor: factor for factor in FACTORS}
