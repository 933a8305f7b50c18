"""Trees in the layouts of ImageNet-A, -R, -V2, -Sketch, Stylized and Tiny-ImageNet-C, right and wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from dataset.shift_layouts import Known, picture, tree

from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.imagenet import ImageNet
from fourier_robust.dataset.shift_imagenet import TinyImageNetC, WnidTree
from fourier_robust.dataset.shifted import WHOLE, Cell
from fourier_robust.dataset.wnids import IMAGENET_A, IMAGENET_R, WNIDS
from fourier_robust.errors import UserError

CROP = CentreCrop(32, 32)


def reader(root: Path, **settings: Any) -> WnidTree:
    return WnidTree(str(root), ["release"], num_workers=0, **settings)


def imagenet(root: Path) -> ImageNet:
    """A model's data set that is not on disk."""
    return ImageNet(str(root / "none"))


@pytest.mark.parametrize(("classes", "wnids"), [("imagenet_a", IMAGENET_A), ("imagenet_r", IMAGENET_R)])
def test_a_subset_of_imagenet(tmp_path: Path, classes: Any, wnids: tuple[str, ...]) -> None:
    release = tree(tmp_path / "release", wnids)
    (release / "README.txt").write_text("-")
    read = reader(tmp_path, classes=classes, count=7500)
    assert read.absent() is None
    checked = read.check(imagenet(tmp_path))
    assert checked.expected == 7500
    assert checked.space is not None
    assert not checked.space.whole
    assert checked.space.names == wnids
    assert [k for k, place in enumerate(checked.space.columns.tolist()) if place >= 0] == [*map(WNIDS.index, wnids)]
    split = read.split(imagenet(tmp_path), WHOLE[0], CROP, "cpu")
    assert split.labels.tolist() == list(range(200))


@pytest.mark.parametrize("written", ["{}", "{:04d}"])
def test_numbered_folders_are_numbers_not_text(tmp_path: Path, written: str) -> None:
    """Sorted as text, folder 100 comes third: the error of every ImageFolder over ImageNet-V2."""
    release = tree(tmp_path / "release", [written.format(number) for number in range(1000)])
    (release / written.format(100) / "0.png").unlink()
    picture(release / written.format(100) / "0.png", level=7)
    read = reader(tmp_path, numbers=True)
    checked = read.check(imagenet(tmp_path))
    assert checked.space is not None
    assert checked.space.whole
    assert checked.space.columns.tolist() == list(range(1000))
    (batch,) = read.split(imagenet(tmp_path), WHOLE[0], CROP, "cpu").batches(1000)
    assert [round(255 * float(batch.images[row].mean())) for row in (2, 100)] == [128, 7]
    assert batch.labels.tolist() == list(range(1000))


def test_v2_by_wnid_is_accepted_too(tmp_path: Path) -> None:
    tree(tmp_path / "release", WNIDS)
    assert reader(tmp_path, numbers=True).check(imagenet(tmp_path)).space is not None


def test_any_wnids_meet_the_models_by_name(tmp_path: Path) -> None:
    tree(tmp_path / "release", ["n01440764", "n99999999", "n03000134"])
    model = Known(["n03000134", "n02979186", "n01440764"])
    read = reader(tmp_path, classes="any")
    checked = read.check(model)
    assert checked.space is not None
    assert checked.space.columns.tolist() == [1, -1, 0]
    assert checked.space.places.tolist() == [0, 1, -1]
    assert checked.remarks == (
        f"{tmp_path}/release: images of 1 of its 3 classes left out, not the model's",
        f"{tmp_path}/release: 1 of the model's 3 classes have no image: n02979186",
    )


def test_classes_without_an_image_are_named(tmp_path: Path) -> None:
    """A stylized copy that was cut short."""
    release = tree(tmp_path / "release", WNIDS)
    assert reader(tmp_path, classes="any").check(imagenet(tmp_path)).remarks == ()
    for wnid in WNIDS[-4:]:
        shutil.rmtree(release / wnid)
    (said,) = reader(tmp_path, classes="any").check(imagenet(tmp_path)).remarks
    assert said == f"{release}: 4 of the model's 1000 classes have no image: {', '.join(WNIDS[-4:-1])} ..."


def test_renditions_are_told_by_the_files_names(tmp_path: Path) -> None:
    release = tree(tmp_path / "release", IMAGENET_R, "sketch_0.jpg")
    for number, name in enumerate(("art_3.jpg", "videogame_0.jpg", "art_11.png")):
        picture(release / IMAGENET_R[number] / name)
    checked = reader(tmp_path, classes="imagenet_r", renditions=True).check(imagenet(tmp_path))
    assert checked.remarks == ()
    assert checked.parts is not None
    assert checked.parts.names == ("art", "sketch", "videogame")
    files = [("art", "sketch"), ("sketch", "videogame"), ("art", "sketch"), *[("sketch",)] * 197]
    assert checked.parts.members.tolist() == [checked.parts.names.index(name) for names in files for name in names]
    assert reader(tmp_path, classes="imagenet_r").check(imagenet(tmp_path)).parts is None
    picture(release / IMAGENET_R[9] / "12.jpg")
    checked = reader(tmp_path, classes="imagenet_r", renditions=True).check(imagenet(tmp_path))
    assert checked.parts is None
    assert checked.remarks == (f"{release}: no errors by rendition, for 12 does not say which it is",)


@pytest.mark.parametrize(
    ("folders", "settings", "reason"),
    [
        (WNIDS, {"classes": "imagenet_a"}, "1000 class folders, not the 200 of the release: n01440764 is too much"),
        (IMAGENET_A[1:], {"classes": "imagenet_a"}, f"199 class folders, not the 200.*{IMAGENET_A[0]} is missing"),
        (IMAGENET_R, {"classes": "imagenet_a"}, "200 class folders, not the 200 of the release"),
        ([str(n) for n in range(200)], {"classes": "imagenet_a"}, "numbered folders, which do not say their wnids"),
        ([str(n) for n in range(1000)], {}, "numbered folders, which do not say their wnids"),
        ([str(n) for n in range(1, 1001)], {"numbers": True}, "1000 numbered folders, not exactly 0 to 999"),
        ([*map(str, range(1000)), "007"], {"numbers": True}, "1001 numbered folders, not exactly 0 to 999"),
        ([*IMAGENET_A, "images"], {"classes": "imagenet_a"}, "a folder images, which is no wnid"),
        (["0", "n01440764"], {"numbers": True}, "a folder 0, which is no wnid"),
        (["goldfish", "shark"], {"classes": "any"}, "a folder goldfish, which is no wnid"),
        (["n99999998", "n99999999"], {"classes": "any"}, "2 of the set's 2 classes are none of the model's 1000"),
    ],
)
def test_wrong_folders_are_refused(tmp_path: Path, folders, settings, reason) -> None:
    for folder in folders:
        (tmp_path / "release" / folder).mkdir(parents=True)
    picture(tmp_path / "release" / folders[0] / "0.png")
    picture(tmp_path / "release" / folders[-1] / "0.png")
    with pytest.raises(UserError, match=reason) as refused:
        reader(tmp_path, **settings).check(imagenet(tmp_path))
    assert "\n" not in str(refused.value)


def test_empty_or_absent(tmp_path: Path) -> None:
    assert f"{tmp_path}/release" in str(reader(tmp_path).absent())
    with pytest.raises(UserError, match="no folder"):
        reader(tmp_path).check(imagenet(tmp_path))
    (tmp_path / "release").mkdir()
    with pytest.raises(UserError, match="holds no class folder"):
        reader(tmp_path).check(imagenet(tmp_path))
    (tmp_path / "release" / "n01440764").mkdir()
    with pytest.raises(UserError, match="no image in"):
        reader(tmp_path, classes="any").check(imagenet(tmp_path))


def test_models_of_other_classes_and_bad_settings_are_refused(tmp_path: Path) -> None:
    tree(tmp_path / "release", IMAGENET_A)
    with pytest.raises(UserError, match=r"classes by wnid, the model by other names \(airplane"):
        reader(tmp_path, classes="imagenet_a").check(Known(["airplane", "bird"]))
    with pytest.raises(ValueError, match="classes='imagenet_o'"):
        reader(tmp_path, classes="imagenet_o")
    with pytest.raises(ValueError, match="numbers=true needs classes=imagenet"):
        reader(tmp_path, classes="any", numbers=True)


TINY = Known(["n02124075", "n01443537", "n04067472"], name="tiny_imagenet")  # not sorted, as in wnids.txt


@pytest.fixture
def tiny_c(tmp_path: Path) -> Path:
    """fog flat, frost below weather/; three classes, one image each."""
    for corruption in ("fog", "weather/frost"):
        for severity in range(1, 6):
            tree(tmp_path / "Tiny-ImageNet-C" / corruption / str(severity), sorted(TINY.class_names), "a.JPEG")
    return tmp_path


def test_tiny_imagenet_c(tiny_c: Path) -> None:
    read = TinyImageNetC(str(tiny_c), count=10000, num_workers=0)
    checked = read.check(TINY)
    assert checked.cells == tuple(Cell(name, severity) for name in ("frost", "fog") for severity in range(1, 6))
    assert (checked.headline, checked.clean) == (("common2of15", ("frost", "fog")), "related")
    assert checked.space is not None
    labels = read.split(TINY, Cell("frost", 2), CROP, "cpu").labels
    assert [checked.space.names[place] for place in labels] == sorted(TINY.class_names)
    assert checked.space.columns.tolist() == [1, 0, 2]


def test_the_frost_of_a_thousand_classes_is_refused(tiny_c: Path) -> None:
    tree(tiny_c / "Tiny-ImageNet-C" / "weather" / "frost" / "3", ["n01440764", "n01484850"], "b.JPEG")
    with pytest.raises(
        UserError, match=r"frost/3 holds 5 class folders, not the model's 3: the frost of Zenodo 2536630"
    ):
        TinyImageNetC(str(tiny_c), num_workers=0).check(TINY)
    assert len(TinyImageNetC(str(tiny_c), corruptions=["fog"], num_workers=0).check(TINY).cells) == 5


def test_other_wrong_tiny_releases_are_refused(tiny_c: Path) -> None:
    with pytest.raises(UserError, match="holds no snow"):
        TinyImageNetC(str(tiny_c), corruptions=["snow"], num_workers=0).check(TINY)
    with pytest.raises(UserError, match="classes by wnid"):
        TinyImageNetC(str(tiny_c), num_workers=0).check(Known(["cat", "dog", "eel"]))
    shutil.rmtree(tiny_c / "Tiny-ImageNet-C" / "fog" / "5")
    with pytest.raises(UserError, match="fog/5 holds 0 class folders, not the model's 3"):
        TinyImageNetC(str(tiny_c), num_workers=0).check(TINY)
    assert "Zenodo 8206060" in str(TinyImageNetC(str(tiny_c / "elsewhere"), num_workers=0).absent())


def test_tiny_of_another_size_is_refused(tiny_c: Path) -> None:
    read = TinyImageNetC(str(tiny_c), num_workers=0)
    with pytest.raises(UserError, match="32x32, not 64x64"):
        read.split(Known(TINY.class_names, size=64), Cell("fog", 1), CROP, "cpu")


def test_a_tiny_release_that_lacks_a_file_is_refused_before_any_pass(tiny_c: Path) -> None:
    gone = tiny_c / "Tiny-ImageNet-C" / "fog" / "4" / "n04067472" / "a.JPEG"
    gone.unlink()
    picture(gone.with_name("b.JPEG"))
    picture(gone.with_name("c.JPEG"))
    with pytest.raises(UserError, match=r"fog/4: n04067472/a\.JPEG is missing \(3 such files\): the release is"):
        TinyImageNetC(str(tiny_c), num_workers=0).check(TINY)
    gone.with_name("c.JPEG").unlink()
    with pytest.raises(UserError, match=r"fog/4: n04067472/a\.JPEG is missing \(2 such files\)"):
        TinyImageNetC(str(tiny_c), num_workers=0).check(TINY)
    for path in (tiny_c / "Tiny-ImageNet-C" / "fog" / "4").rglob("*.JPEG"):
        path.rename(path.with_name("own.JPEG"))
    TinyImageNetC(str(tiny_c), num_workers=0).check(TINY)  # a scheme of names of its own
