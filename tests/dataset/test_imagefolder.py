"""Folder trees as data sets: what is train, val and test, and what is refused."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset import imagenet
from fourier_robust.dataset.imagefolder import ImageFolder
from fourier_robust.dataset.imagenet import ImageNet
from fourier_robust.errors import UserError


def write_tree(root: Path, folder: str, classes: tuple[str, ...], images: int) -> None:
    """Images whose red is 100 + class and whose green is the number, 12 x 10 pixels."""
    for label, name in enumerate(classes):
        (root / folder / name).mkdir(parents=True)
        for i in range(images):
            Image.new("RGB", (12, 10), (100 + label, i, 0)).save(root / folder / name / f"{i}.png")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "birds"
    write_tree(root, "train", ("crow", "owl", "tit"), 6)
    write_tree(root, "val", ("crow", "owl", "tit"), 2)
    return root


def folder(root: Path, **kwargs: object) -> ImageFolder:
    return ImageFolder(str(root), **{"size": 8, "resize": 10, "num_workers": 0, **kwargs})


def test_splits_and_labels(tree):
    data = folder(tree, val_size=3)
    assert (data.name, data.num_classes, data.class_names, data.size) == ("birds", 3, ("crow", "owl", "tit"), 8)
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (15, 3, 6)
    assert val.labels.bincount().tolist() == [1, 1, 1]
    seen = []
    for part in (train, val):
        batch = next(part.batches(18))
        pixels = (batch.images * 255).round()
        assert torch.equal(pixels[:, 0, 4, 4].long(), 100 + batch.labels)
        seen += [
            (label, green) for label, green in zip(batch.labels.tolist(), pixels[:, 1, 4, 4].tolist(), strict=True)
        ]
    assert sorted(seen) == [(label, i) for label in range(3) for i in range(6)]


def test_train_is_cropped_at_random_and_val_is_not(tree):
    image = np.zeros((10, 12, 3), np.uint8)
    image[:, :, 0] = np.arange(12) * 20
    for path in (tree / "train").rglob("*.png"):
        Image.fromarray(image).save(path)

    def distinct(name: str, **kwargs: object) -> int:
        images = next(folder(tree, val_size=6, **kwargs).split(name).batches(18)).images
        return len({bytes(one.contiguous().numpy()) for one in images})

    assert distinct("train") > 6
    assert distinct("val") == distinct("train", train_crop="none") == 1


def test_evaluation_needs_no_train_folder(tmp_path):
    write_tree(tmp_path, "test", ("a", "b"), 1)
    data = folder(tmp_path, val_size=2)
    assert len(data.split("test")) == 2
    for name in ("train", "val"):
        with pytest.raises(UserError, match="looked for train/ in"):
            data.split(name)


def test_val_folder_goes_before_test_folder(tree):
    write_tree(tree, "test", ("other",), 1)
    assert len(folder(tree).split("test")) == 6


def test_training_needs_no_val_folder(tmp_path):
    write_tree(tmp_path, "train", ("a", "b"), 2)
    data = folder(tmp_path)
    assert data.num_classes == 2
    assert len(data.split("train")) == 4
    with pytest.raises(UserError, match="looked for val/ or test/ in"):
        data.split("test")


def test_nothing_there_is_one_line(tmp_path):
    data = folder(tmp_path)
    with pytest.raises(UserError, match="looked for val/ or test/ or train/") as caught:
        _ = data.num_classes
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_that_disagree(tree):
    (tree / "train" / "wren").mkdir()
    with pytest.raises(UserError, match=r"different classes, e\.g\. wren"):
        folder(tree).split("test")


def test_number_of_classes(tree):
    assert folder(tree, num_classes=3).split("test").labels.max() == 2
    with pytest.raises(UserError, match=r"holds 3 class folders, dataset\.num_classes says 10"):
        folder(tree, num_classes=10).split("test")


def test_a_class_without_images(tree):
    for path in (tree / "val" / "owl").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"no image in .*owl"):
        folder(tree).split("test")


def test_images_without_class_folders(tmp_path):
    (tmp_path / "val").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "val" / "a.png")
    with pytest.raises(UserError, match="no class folder in"):
        folder(tmp_path).split("test")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"size": 11}, "size=11 must lie in 1 to resize=10"),
        ({"train_crop": "random"}, "train_crop='random' must be"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"num_classes": 0}, "num_classes=0 must be at least 1"),
        ({"val_size": -1}, "val_size=-1"),
    ],
)
def test_bad_arguments(tmp_path, bad, said):
    with pytest.raises(ValueError, match=said):
        folder(tmp_path, **bad)


def test_bad_splits(tree):
    with pytest.raises(ValueError, match="val_size=0"):
        folder(tree).split("val")
    with pytest.raises(ValueError, match="split='dev'"):
        folder(tree).split("dev")
    with pytest.raises(ValueError, match="val_size=18 must lie in 0 to 17"):
        folder(tree, val_size=18).split("train")


class TestImageNet:
    def test_a_subset_is_refused(self, tmp_path):
        write_tree(tmp_path, "imagenet/val", ("n01440764", "n01443537"), 1)
        with pytest.raises(UserError, match=r"holds 2 class folders, not the 1000 wnids.*dataset=imagefolder"):
            ImageNet(str(tmp_path), num_workers=0).split("test")

    def test_a_thousand_other_classes_are_refused(self, tmp_path):
        for i in range(1000):
            (tmp_path / "val" / f"n{i:08}").mkdir(parents=True)
        with pytest.raises(UserError, match="not the 1000 wnids"):
            _ = ImageNet(str(tmp_path)).class_names

    def test_the_wnids_are_checked_by_their_hash(self, tmp_path, monkeypatch):
        write_tree(tmp_path, "ILSVRC2012/val", ("n2", "n10"), 1)
        monkeypatch.setattr(imagenet, "_WNIDS_SHA256", hashlib.sha256(b"n10\nn2").hexdigest())
        data = ImageNet(str(tmp_path), size=8, resize=8, num_workers=0)
        assert data.class_names == ("n10", "n2")
        assert (data.name, data.num_classes) == ("imagenet", 1000)

    def test_number_of_classes_is_fixed(self):
        with pytest.raises(ValueError, match="num_classes=100 must be 1000"):
            ImageNet("anywhere", num_classes=100)

    @pytest.mark.realdata
    def test_the_sample_has_the_standard_labels(self, realdata, tmp_path):
        """One image per class, so label n is image n; 0 is the tench, 207 the golden retriever, 999 toilet paper."""
        with tarfile.open(realdata / "imagenet_sample1000_s256.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        data = ImageNet(str(tmp_path / "imagenet-sample"), num_workers=0)
        split = data.split("test")
        assert split.labels.tolist() == list(range(1000))
        assert [data.class_names[i] for i in (0, 207, 999)] == ["n01440764", "n02099601", "n15075141"]
        batch = next(split.batches(8, torch.arange(0, 1000, 125)))
        assert batch.images.shape == (8, 3, 224, 224)
        assert 0.2 < batch.images.mean() < 0.7
        with pytest.raises(UserError, match="looked for train/"):
            data.split("train")
