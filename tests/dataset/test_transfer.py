"""Transfer sets from small copies of each layout, right and wrong."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.dataset.transfer import Cropped, OfDataset, Transfer
from fourier_robust.dataset.transfer_files import GTSRB, STL10, Flowers102, MNISTDigits, SVHNDigits, mat_arrays
from fourier_robust.dataset.transfer_folders import FolderSet, ListedSet, TinyImageNetFiles
from fourier_robust.errors import UserError

CROP = CentreCrop(8, 8)


def picture(path: Path, level: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


def levels(found: Transfer) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Class name -> grey levels of its images, of train and of test."""
    both = []
    for split in (found.train, found.test):
        seen: dict[str, list[int]] = {}
        for images, labels, _ in split.batches(3):
            assert images.shape[1:] == (3, 8, 8)
            for image, label in zip(images, labels.tolist(), strict=True):
                seen.setdefault(found.classes[label], []).append(round(float(image.mean() * 255)))
        both.append(seen)
    return both[0], both[1]


def test_the_embedded_set_needs_no_data() -> None:
    shapes = OfDataset(Shapes(num_train=20, num_val=0, num_test=10))
    assert shapes.absent() is None
    found = shapes.read(CentreCrop(32, 32))
    (batch,) = found.test.batches(10)
    (own,) = Shapes(num_train=20, num_val=0, num_test=10).split("test").batches(10)
    assert torch.equal(batch.images, own.images)
    assert found.classes == Shapes.class_names
    (larger,) = shapes.read(CentreCrop(8, 16)).test.batches(10)
    assert larger.images.shape == (10, 3, 8, 8)


def test_a_crop_is_that_of_the_file_reader() -> None:
    """One rule for arrays and files; an image of the crop's size is still resized where the margin says so."""
    pixels = torch.randint(0, 256, (2, 12, 12, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    crop = CentreCrop(12, 16)
    (batch,) = Cropped(ResidentSplit(pixels, torch.tensor([0, 1])), crop).batches(2)
    for image, cut in zip(pixels.numpy(), batch.images, strict=True):
        wanted = np.asarray(crop(Image.fromarray(image), torch.Generator()))
        assert np.array_equal(cut.mul(255).round().permute(1, 2, 0).numpy(), wanted)


def test_integer_folders_keep_their_labels(tmp_path: Path) -> None:
    """12 folders 0..11; as texts 10 comes before 2, and train/ and val/ are made in another order."""
    for label in range(12):
        picture(tmp_path / "train" / str(label) / "a.png", label)
        picture(tmp_path / "val" / str(11 - label) / "b.png", 100 + 11 - label)
    found = FolderSet(str(tmp_path), num_workers=0).read(CROP)
    assert found.classes == tuple(map(str, range(12)))
    train, test = levels(found)
    assert train == {str(label): [label] for label in range(12)}
    assert test == {str(label): [100 + label] for label in range(12)}
    picture(tmp_path / "train" / "01" / "a.png", 1)
    picture(tmp_path / "val" / "01" / "a.png", 1)
    with pytest.raises(UserError, match=r"classes 0?1 and 0?1 are one number"):
        FolderSet(str(tmp_path), num_workers=0).read(CROP)


def test_val_goes_before_test(tmp_path: Path) -> None:
    for level, part in enumerate(("train", "test", "val")):
        for name in ("ant", "bee"):
            picture(tmp_path / part / name / "a.png", level)
    found = FolderSet(str(tmp_path), num_workers=0).read(CROP)
    assert levels(found) == ({"ant": [0], "bee": [0]}, {"ant": [2], "bee": [2]})
    assert found.remark == "tested on val/, not on the test/ beside it"
    (tmp_path / "val").rename(tmp_path / "away")
    found = FolderSet(str(tmp_path), num_workers=0).read(CROP)
    assert (levels(found)[1], found.remark) == ({"ant": [1], "bee": [1]}, "")


def test_one_tree_is_cut(tmp_path: Path) -> None:
    for name, count in (("ant", 10), ("bee", 5)):
        for number in range(count):
            picture(tmp_path / name / f"{number}.png", number)
    (tmp_path / "clutter").mkdir()
    found = FolderSet(str(tmp_path), leave_out=["clutter"], num_workers=0).read(CROP)
    train, test = levels(found)
    assert {name: len(seen) for name, seen in test.items()} == {"ant": 2, "bee": 1}
    assert sorted(train["ant"] + test["ant"]) == list(range(10))
    assert found.remark == "no published split: 3 of 15 images are test, cut by seed 0"
    other = FolderSet(str(tmp_path), leave_out=["clutter"], split_seed=1, num_workers=0).read(CROP)
    assert levels(other)[1] != test
    with pytest.raises(UserError, match=r"no image in .*clutter"):
        FolderSet(str(tmp_path), num_workers=0).read(CROP)
    with pytest.raises(UserError, match="has 2 classes, 3 are expected"):
        FolderSet(str(tmp_path), classes=3, leave_out=["clutter"]).read(CROP)


def test_missing_classes(tmp_path: Path) -> None:
    for part, names in (("train", ("ant", "bee")), ("val", ("ant", "cat"))):
        for name in names:
            picture(tmp_path / part / name / "a.png", 0)
    with pytest.raises(UserError, match=r"hold different classes, e\.g\. bee cat"):
        FolderSet(str(tmp_path)).read(CROP)
    with pytest.raises(UserError, match="holds 1 class folders, a probe needs two"):
        FolderSet(str(tmp_path / "train"), leave_out=["bee"]).read(CROP)
    (tmp_path / "val").rename(tmp_path / "validation")
    with pytest.raises(UserError, match="has train/, but neither val/ nor test/"):
        FolderSet(str(tmp_path)).read(CROP)
    reason = FolderSet(str(tmp_path), ["none"]).absent()
    assert reason is not None
    assert f"no folder {tmp_path / 'none'}; put" in reason


def listed(root: Path, label: str, train: Sequence[str], test: Sequence[str], **more: Any) -> ListedSet:
    root.mkdir(exist_ok=True)
    (root / "train.txt").write_text("\n".join(train))
    (root / "test.txt").write_text("# a comment\n" + "\n".join(test))
    return ListedSet(str(root.parent), [root.name], "images", ["train.txt"], ["test.txt"], label, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "lines", "suffix", "names"),
    [
        ("folder", ("x/one", "y/two"), ".png", ("x", "y")),
        ("second", ("one 2 1 1", "two 10 1 1"), ".png", ("2", "10")),
        ("rest", ("one 707-320", "two Boeing 717"), ".png", ("707-320", "Boeing 717")),
    ],
)
def test_lists(tmp_path: Path, label: str, lines: tuple[str, str], suffix: str, names: tuple[str, str]) -> None:
    for level, line in enumerate(lines):
        picture(tmp_path / "set" / "images" / f"{line.split()[0]}{suffix}", level)
    found = listed(tmp_path / "set", label, lines, lines[::-1], suffix=suffix, num_workers=0).read(CROP)
    assert found.classes == names
    assert levels(found) == ({names[0]: [0], names[1]: [1]},) * 2


def test_lists_that_do_not_fit(tmp_path: Path) -> None:
    for level, name in enumerate(("one", "two")):
        picture(tmp_path / "set" / "images" / f"{name}.png", level)
    root = tmp_path / "set"
    with pytest.raises(UserError, match="no test image of class b"):
        listed(root, "rest", ["one.png a", "two.png b"], ["one.png a"]).read(CROP)
    with pytest.raises(UserError, match=r"three\.png is listed, but not there"):
        listed(root, "rest", ["one.png a", "three.png b"], ["one.png a"]).read(CROP)
    picture(root / "other.png", 3)
    for outside in ("../other.png", str(root / "other.png")):
        with pytest.raises(UserError, match=r"other\.png is listed, which lies outside"):
            listed(root, "rest", ["one.png a", f"{outside} b"], ["one.png a"]).read(CROP)
    with pytest.raises(UserError, match=r"no class in its line 'one\.png'"):
        listed(root, "rest", ["one.png"], ["one.png a"]).read(CROP)
    (root / "train.txt").write_text("one.png a\ntwo.png b\n")
    (root / "test.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"set/test\.txt is damaged: it cannot be read as text") as refused:
        ListedSet(str(tmp_path), ["set"], "images", ["train.txt"], ["test.txt"], "rest").read(CROP)
    assert "\n" not in str(refused.value)
    (root / "test.txt").unlink()
    found = ListedSet(str(tmp_path), ["set"], "images", ["train.txt"], ["test.txt"], "rest")
    assert "with images, train.txt, test.txt in it" in str(found.absent())
    with pytest.raises(UserError, match="no folder"):
        found.read(CROP)


def test_tiny_imagenet(tmp_path: Path) -> None:
    wnids = [f"n{number:08d}" for number in range(200)]
    lines = []
    for number, wnid in enumerate(wnids):
        picture(tmp_path / "tiny-imagenet-200" / "train" / wnid / "images" / "a.png", number)
        picture(tmp_path / "tiny-imagenet-200" / "val" / "images" / f"{number}.png", number)
        lines.append(f"{number}.png\t{wnid}\t0\t0\t1\t1")
    (tmp_path / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text("\n".join(lines))
    (tmp_path / "tiny-imagenet-200" / "wnids.txt").write_text("\n".join(reversed(wnids)))
    reader = TinyImageNetFiles(str(tmp_path), ["tiny-imagenet-200"], num_workers=0)
    assert levels(reader.read(CROP)) == ({wnid: [number] for number, wnid in enumerate(wnids)},) * 2
    (tmp_path / "tiny-imagenet-200" / "train").rename(tmp_path / "away")
    assert "with train, val in it" in str(reader.absent())


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def mat(arrays: Mapping[str, tuple[int, np.ndarray]], compress: bool = True) -> bytes:
    """A MAT-file of version 5; arrays with the type their numbers are stored in."""
    found = b" " * 124 + b"\0\1IM"
    for name, (kind, array) in arrays.items():
        dims = np.array(array.shape, "<i4").tobytes()
        whole = element(6, b"\6" + b"\0" * 7) + element(5, dims) + element(1, name.encode())
        whole = element(14, whole + element(kind, array.tobytes(order="F")))
        packed = zlib.compress(whole)
        found += struct.pack("<II", 15, len(packed)) + packed if compress else whole
    return found


def test_mat_files() -> None:
    numbers = np.arange(6, dtype=np.uint16).reshape(2, 3)
    for compress in (True, False):
        found = mat_arrays(mat({"a": (4, numbers), "b": (9, numbers * 0.5)}, compress))
        assert np.array_equal(found["a"], numbers)
        assert np.array_equal(found["b"], numbers * 0.5)
    with pytest.raises(ValueError, match="not a MAT-file of version 5"):
        mat_arrays(b"\0" * 200)


def test_svhn(tmp_path: Path) -> None:
    reader = SVHNDigits(str(tmp_path))
    assert "looked for train_32x32.mat or test_32x32.mat" in str(reader.absent())
    labels = np.array([[1], [10], *([digit] for digit in range(2, 10))], np.uint8)  # 10 is the digit 0
    pixels = np.zeros((8, 8, 3, 10), np.uint8) + (labels.ravel() % 10).astype(np.uint8)
    for name in SVHNDigits.files:
        (tmp_path / name).write_bytes(mat({"X": (2, pixels), "y": (2, labels)}))
    train, test = levels(reader.read(CROP))
    assert train == test == {str(digit): [digit] for digit in range(10)}
    (tmp_path / "test_32x32.mat").write_bytes(b"\0" * 200)
    with pytest.raises(UserError, match="damaged files of SVHN"):
        reader.read(CROP)


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_mnist(tmp_path: Path) -> None:
    labels = np.arange(10, dtype=np.uint8)
    images = np.zeros((10, 8, 8), np.uint8) + 20 * labels[:, None, None]
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    reader = MNISTDigits(str(tmp_path))
    assert levels(reader.read(CROP)) == ({str(digit): [20 * digit] for digit in range(10)},) * 2
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[:9]))
    with pytest.raises(UserError, match="10 images, 9 labels"):
        reader.read(CROP)
    (folder / "train-images-idx3-ubyte.gz").unlink()
    assert "looked for train-images-idx3-ubyte in" in str(reader.absent())


def test_stl10(tmp_path: Path) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    images = np.zeros((10, 3, 96, 96), np.uint8)
    images[:, 0, 48:] = 255  # in the file columns come first: the right half of the picture is red
    for part in ("train", "test"):
        (folder / f"{part}_X.bin").write_bytes(images.tobytes())
        (folder / f"{part}_y.bin").write_bytes(np.arange(1, 11, dtype=np.uint8).tobytes())
    found = STL10(str(tmp_path)).read(CROP)
    (batch,) = found.train.batches(10)
    assert batch.labels.tolist() == list(range(10))
    assert float(batch.images[0, 0, :, 5:].min()) == 1
    assert float(batch.images[0, 0, :, :3].max()) == float(batch.images[0, 1].max()) == 0


def test_flowers(tmp_path: Path) -> None:
    root = tmp_path / "flowers-102"
    for number in range(1, 7):
        picture(root / "jpg" / f"image_{number:05d}.jpg", 30 * number)
    (root / "imagelabels.mat").write_bytes(mat({"labels": (2, np.array([[1, 2, 3, 1, 2, 3]], np.uint8))}))
    sets = {"trnid": np.array([[1, 2, 3]], np.uint16), "tstid": np.array([[4, 5, 6]], np.uint16)}
    (root / "setid.mat").write_bytes(mat({name: (4, array) for name, array in sets.items()}))
    found = Flowers102(str(tmp_path), ["flowers-102"], classes=3, num_workers=0).read(CROP)
    assert levels(found) == ({"1": [30], "2": [60], "3": [90]}, {"1": [120], "2": [150], "3": [180]})
    (root / "setid.mat").write_bytes(b"")
    with pytest.raises(UserError, match=r"damaged files imagelabels\.mat or setid\.mat"):
        Flowers102(str(tmp_path), ["flowers-102"]).read(CROP)


def test_gtsrb(tmp_path: Path) -> None:
    root = tmp_path / "gtsrb"
    for label in range(2):
        picture(root / "GTSRB" / "Training" / f"{label:05d}" / "a.ppm", label)
        picture(root / "GTSRB" / "Final_Test" / "Images" / f"{label}.ppm", 10 + label)
    table: Callable[[str], int] = (root / "GT-final_test.csv").write_text
    table("Filename;Width;ClassId\n0.ppm;8;1\n1.ppm;8;0\n")
    reader = GTSRB(str(tmp_path), ["gtsrb"], num_workers=0)
    assert levels(reader.read(CROP)) == ({"00000": [0], "00001": [1]}, {"00001": [10], "00000": [11]})
    table("Filename;Width;ClassId\n0.ppm;8;1\n1.ppm;8;7\n")
    with pytest.raises(UserError, match="names class 00007, which"):
        reader.read(CROP)
