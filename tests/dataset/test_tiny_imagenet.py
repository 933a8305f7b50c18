"""Tiny-ImageNet-200 in both layouts, small and real."""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from fourier_robust.dataset import tiny_imagenet
from fourier_robust.dataset.tiny_imagenet import TinyImageNet
from fourier_robust.errors import UserError

WNIDS = ("n04", "n02", "n03")  # as in wnids.txt: not sorted


@pytest.fixture(autouse=True)
def _small(request, monkeypatch):
    if "realdata" not in request.keywords:
        monkeypatch.setattr(tiny_imagenet, "_CLASSES", 3)


def image(path: Path, wnid: str, number: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (64, 64), int(wnid[1:]) * 10 + number if mode == "L" else (int(wnid[1:]), number, 0)).save(path)


def write(root: Path, official: bool) -> Path:
    """4 train and 2 val images per class; lossless files under the official names."""
    base = root / "tiny-imagenet-200"
    numbers = random.Random(0).sample(range(6), 6)
    lines = []
    for k, wnid in enumerate(WNIDS):
        for i in range(4):
            image(base / "train" / wnid / "images" / f"{wnid}_{i}.png", wnid, i)
        for i in numbers[2 * k : 2 * k + 2]:
            image(base / "val" / ("images" if official else wnid) / f"val_{i}.png", wnid, i)
            lines.append(f"val_{i}.png\t{wnid}\t0\t0\t62\t62\n")
    if official:
        (base / "val" / "val_annotations.txt").write_text("".join(sorted(lines)))
        (base / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return base


def tiny(root: Path, **kwargs: object) -> TinyImageNet:
    return TinyImageNet(str(root), **{"num_workers": 0, "num_classes": 3, "val_size": 3, **kwargs})


@pytest.mark.parametrize("official", [True, False])
def test_splits_and_labels_in_sorted_wnid_order(tmp_path, official):
    base = write(tmp_path, official)
    for root in (tmp_path, base):
        data = tiny(root)
        assert data.class_names == ("n02", "n03", "n04")
        assert [len(data.split(name)) for name in ("train", "val", "test")] == [9, 3, 6]
        assert data.split("val").labels.tolist() == [0, 1, 2]
        for name in ("train", "val", "test"):
            batch = next(data.split(name).batches(9))
            assert torch.equal((batch.images[:, 0, 5, 5] * 255).round().long(), 2 + batch.labels)


def test_both_layouts_have_one_identity(tmp_path):
    write(tmp_path / "a", True)
    write(tmp_path / "b", False)
    for name in ("train", "val", "test"):
        assert tiny(tmp_path / "a").split(name).identity == tiny(tmp_path / "b").split(name).identity


def test_grey_becomes_rgb_and_size_resizes(tmp_path):
    base = write(tmp_path, False)
    image(base / "val" / "n02" / "val_9.png", "n02", 7, "L")
    batch = next(tiny(tmp_path, size=32).split("test").batches(9))
    assert batch.images.shape == (7, 3, 32, 32)
    assert torch.equal(batch.images[2], torch.full((3, 32, 32), 27 / 255))


def test_evaluation_needs_val_only(tmp_path):
    base = write(tmp_path, False)
    (base / "train").rename(tmp_path / "elsewhere")
    assert len(tiny(tmp_path).split("test")) == 6
    with pytest.raises(UserError, match="Tiny-ImageNet-200 not found: looked for train in"):
        tiny(tmp_path).split("train")


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="FR_DATA") as caught:
        tiny(tmp_path).split("test")
    assert str(tmp_path / "tiny-imagenet-200") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_number_of_classes(tmp_path):
    base = write(tmp_path, False)
    (base / "train" / "n05").mkdir()
    with pytest.raises(UserError, match="names 4 classes instead of 3"):
        tiny(tmp_path).split("test")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("val_0.png\tn99\n", "line 'val_0"),
        ("val_77.png\tn02\n", "line 'val_77"),
        ("../images/val_0.png\tn02\n", "line '../images/val_0"),
        (b"val_0.png\t\xff\n", "it cannot be read as text"),
        ("val_0.png", "line"),
        ("", "is empty"),
    ],
)
def test_damaged_annotations(tmp_path, table, said):
    base = write(tmp_path, True)
    (base / "val" / "val_annotations.txt").write_bytes(table.encode() if isinstance(table, str) else table)
    with pytest.raises(UserError, match=said):
        tiny(tmp_path).split("test")


def test_missing_annotations(tmp_path):
    base = write(tmp_path, True)
    (base / "val" / "val_annotations.txt").unlink()
    with pytest.raises(UserError, match=r"looked for val_annotations\.txt in"):
        tiny(tmp_path).split("test")


def test_an_unreadable_image_is_named(tmp_path):
    path = write(tmp_path, False) / "val" / "n03" / "val_9.png"
    path.write_bytes(b"no")
    with pytest.raises(UserError, match="is not a readable image") as caught:
        tiny(tmp_path).split("test")
    assert str(caught.value).startswith(str(path))


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="val_size=0"):
        tiny(tmp_path, val_size=0).split("val")
    with pytest.raises(ValueError, match="split='dev'"):
        tiny(tmp_path).split("dev")
    with pytest.raises(ValueError, match="num_classes=200 must be 3"):
        tiny(tmp_path, num_classes=200)
    with pytest.raises(ValueError, match="size=0"):
        tiny(tmp_path, size=0)


@pytest.mark.realdata
def test_the_real_val_set(realdata, tmp_path):
    """A fifth of it, in seconds: all classes, and re-foldered labels that are those of val_annotations.txt."""
    with tarfile.open(realdata / "tiny_imagenet_val10k.tar.xz") as archive:
        chosen = [file for file in archive if file.isfile() and file.name.endswith(("0.JPEG", "5.JPEG", ".txt"))]
        archive.extractall(tmp_path, chosen, filter="data")
    data = TinyImageNet(str(tmp_path), num_workers=0)
    refoldered = data.split("test")
    assert len(refoldered.labels.unique()) == 200
    base = tmp_path / "tiny-imagenet-200"
    (base / "val" / "images").mkdir()
    for path in list((base / "val").glob("n*/*.JPEG")):
        path.rename(base / "val" / "images" / path.name)
    table = (base / "val_annotations.txt").read_text().splitlines()
    here = [line for line in table if (base / "val" / "images" / line.split("\t")[0]).is_file()]
    (base / "val" / "val_annotations.txt").write_text("\n".join(here))
    assert len(here) == len(refoldered)
    assert data.split("test").identity == refoldered.identity
