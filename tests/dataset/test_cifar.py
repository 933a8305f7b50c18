"""CIFAR in both layouts: small files of the same make, then the real ones where they are at hand."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch

from fourier_robust.dataset.cifar import CIFAR10, CIFAR100
from fourier_robust.dataset.cifar_files import BatchFile, Release
from fourier_robust.dataset.unpickle import load_arrays
from fourier_robust.errors import UserError

ROWS = 20


class Small:
    """A CIFAR of 20-row files with known content, its checksums, and writers of both layouts."""

    def __init__(self, cls: type[CIFAR10] | type[CIFAR100]) -> None:
        rng = np.random.default_rng(0)
        real = cls.release
        self.records, splits = {}, {}
        for split, batches in real.splits.items():
            splits[split] = ()
            for batch in batches:
                labels = (np.arange(ROWS) % 10)[:, None].repeat(len(real.label_keys), 1)
                labels[:, :-1] += 50  # coarse labels unlike the fine ones
                record = np.concatenate([labels, rng.integers(0, 256, (ROWS, 3072))], 1).astype(np.uint8)
                self.records[batch.stem] = record
                splits[split] += (BatchFile(batch.stem, ROWS, hashlib.sha256(record.tobytes()).hexdigest()),)
        self.release: Release = real._replace(splits=splits)

    def write(self, root: Path, layout: str) -> Path:
        """Write all files; the folder they are in."""
        folder = root / (self.release.binary_folder if layout == "bin" else self.release.python_folder)
        folder.mkdir(parents=True)
        for stem, record in self.records.items():
            if layout == "bin":
                (folder / f"{stem}.bin").write_bytes(record.tobytes())
            else:
                self.write_pickle(folder / stem, record)
        return folder

    def write_pickle(self, path: Path, record: np.ndarray) -> None:
        keys = self.release.label_keys
        content = {key: record[:, column].tolist() for column, key in enumerate(keys)}
        path.write_bytes(pickle.dumps({"data": record[:, len(keys) :].copy(), **content}, 4))


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
def small(request, monkeypatch):
    small = Small(request.param)
    monkeypatch.setattr(request.param, "release", small.release)
    small.cls = request.param
    return small


@pytest.mark.parametrize("place", ["", "own"])
@pytest.mark.parametrize("layout", ["bin", "py"])
def test_pixels_and_labels(small, tmp_path, layout, place):
    """Element by element from the record's definition: label bytes, then planes R, G, B, row by row."""
    small.write(tmp_path / (small.cls.name if place else ""), layout)
    split = small.cls(str(tmp_path), val_size=0).split("train")
    stems = [batch.stem for batch in small.release.splits["train"]]
    assert len(split) == ROWS * len(stems)
    assert split.labels.tolist() == [i % 10 for i in range(ROWS)] * len(stems)
    batch = next(split.batches(len(split)))
    first, rng = len(small.release.label_keys), np.random.default_rng(1)
    for n, c, y, x in rng.integers(0, [len(split), 3, 32, 32], (200, 4)):
        byte = small.records[stems[n // ROWS]][n % ROWS, first + c * 1024 + y * 32 + x]
        assert batch.images[n, c, y, x] == torch.tensor(int(byte)).float() / 255


def test_both_layouts_have_one_identity(small, tmp_path):
    small.write(tmp_path / "a", "bin")
    small.write(tmp_path / "b", "py")
    for name in ("train", "val", "test"):
        a, b = (small.cls(str(tmp_path / side), val_size=10).split(name) for side in "ab")
        assert a.identity == b.identity


def test_splits_are_disjoint_and_stratified(small, tmp_path):
    small.write(tmp_path, "bin")
    total = ROWS * len(small.release.splits["train"])
    data = small.cls(str(tmp_path), val_size=10)
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (total - 10, 10, ROWS)
    assert val.labels.bincount().tolist() == [1] * 10
    pixels = [next(part.batches(total)).images.flatten(1).mul(255).byte() for part in (train, val)]
    rows = {bytes(row.numpy()) for part in pixels for row in part}
    everything = {bytes(row) for batch in small.release.splits["train"] for row in small.records[batch.stem][:, -3072:]}
    assert rows == everything


def test_a_part_of_train_is_stratified_nested_and_outside_val(small, tmp_path):
    small.write(tmp_path, "bin")
    val_size = 10 if len(small.release.splits["train"]) > 1 else 0

    def rows(num_train: int | None, name: str = "train") -> list[bytes]:
        split = small.cls(str(tmp_path), val_size=val_size, num_train=num_train).split(name)
        if name == "train" and num_train:
            assert split.labels.bincount().tolist() == [num_train // 10] * 10
        return [bytes(row.numpy()) for row in next(split.batches(len(split))).images.flatten(1).mul(255).byte()]

    every, part = set(rows(None)), set(rows(10))
    assert len(part) == 10
    assert part < every
    assert rows(len(every)) == rows(None)
    if val_size:
        assert part < set(rows(30)) < every
        assert not every & set(rows(10, "val"))
        assert len(rows(10, "val")) == val_size
    with pytest.raises(ValueError, match=f"num_train={len(every) + 1} must be at most {len(every)}"):
        rows(len(every) + 1)
    with pytest.raises(ValueError, match="num_train=0 must be at least 1"):
        rows(0)


def test_val_needs_a_size(small, tmp_path):
    with pytest.raises(ValueError, match="val_size=0"):
        small.cls(str(tmp_path), val_size=0).split("val")
    with pytest.raises(ValueError, match="split='dev' must be"):
        small.cls(str(tmp_path)).split("dev")


def test_missing_is_one_line(small, tmp_path):
    with pytest.raises(UserError) as caught:
        small.cls(str(tmp_path)).split("test")
    line = str(caught.value)
    for part in (small.release.title, small.release.binary_folder, small.release.python_folder, str(tmp_path)):
        assert part in line
    assert "dataset.download=true" in line
    assert "FR_DATA" in line
    assert "\n" not in line


def test_one_missing_file_is_missing(small, tmp_path):
    folder = small.write(tmp_path, "bin")
    last = small.release.splits["train"][-1].stem
    (folder / f"{last}.bin").unlink()
    data = small.cls(str(tmp_path))
    with pytest.raises(UserError, match="train files not found"):
        data.split("train")
    assert len(data.split("test")) == ROWS  # the files of another split do not matter


@pytest.mark.parametrize("layout", ["bin", "py"])
@pytest.mark.parametrize("column", [0, 1, -1])
def test_a_flipped_bit_is_named(small, tmp_path, layout, column):
    """In the label, the first and the last pixel."""
    folder = small.write(tmp_path, layout)
    stem = small.release.splits["train"][-1].stem
    record = small.records[stem].copy()
    record[7, column] ^= 1
    path = folder / (f"{stem}.bin" if layout == "bin" else stem)
    path.write_bytes(record.tobytes()) if layout == "bin" else small.write_pickle(path, record)
    with pytest.raises(UserError, match="is damaged") as caught:
        small.cls(str(tmp_path), val_size=0).split("train")
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("layout", ["bin", "py"])
def test_a_truncated_file_is_named(small, tmp_path, layout):
    folder = small.write(tmp_path, layout)
    stem = small.release.splits["test"][0].stem
    path = folder / (f"{stem}.bin" if layout == "bin" else stem)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError) as caught:
        small.cls(str(tmp_path)).split("test")
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "'data' must be"),
        ({"data": np.zeros((ROWS, 3071), np.uint8)}, r"found \(20, 3071\) uint8"),
        ({"data": np.zeros((ROWS, 3072), np.float32)}, "holds an array of 'f4', not of uint8"),
        ({"data": np.zeros((ROWS, 3072), np.uint8)}, "'labels' must be a list of 20"),
        ({"data": np.zeros((ROWS, 3072), np.uint8), "labels": [0] * 19}, "'labels' must be a list of 20"),
        ({"data": np.zeros((ROWS, 3072), np.uint8), "labels": [300] * ROWS}, "'labels' must be a list of 20"),
    ],
)
def test_other_pickles_are_named(tmp_path, monkeypatch, content, said):
    small = Small(CIFAR10)
    monkeypatch.setattr(CIFAR10, "release", small.release)
    path = small.write(tmp_path, "py") / "test_batch"
    path.write_bytes(pickle.dumps(content, 4))
    with pytest.raises(UserError, match=said):
        CIFAR10(str(tmp_path)).split("test")


def test_cifar100_python_file_proven_by_its_own_checksum(tmp_path, monkeypatch):
    small = Small(CIFAR100)
    path = small.write(tmp_path, "py") / "test"
    for good in (True, False):
        md5 = hashlib.md5(path.read_bytes() if good else b"").hexdigest()
        splits = {"test": (BatchFile("test", ROWS, "0" * 32, md5),)}
        monkeypatch.setattr(CIFAR100, "release", small.release._replace(splits=splits))
        if good:
            assert len(CIFAR100(str(tmp_path)).split("test")) == ROWS
        else:
            with pytest.raises(UserError, match="differ from the published CIFAR-100"):
                CIFAR100(str(tmp_path)).split("test")


def test_cifar100_checksums_are_torchvisions():
    from torchvision.datasets import CIFAR100 as Published

    for split, listed in (("train", Published.train_list), ("test", Published.test_list)):
        assert [[batch.stem, batch.pickle_md5] for batch in CIFAR100.release.splits[split]] == listed


def test_download(small, tmp_path, monkeypatch):
    """Asked for only where nothing is found; then what arrives is read."""
    asked = []

    def fetch(url: str, root: str, **_: object) -> None:
        asked.append(url)
        small.write(Path(root), "py")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fetch)
    data = small.cls(str(tmp_path), val_size=0, download=True)
    assert len(data.split("test")) == ROWS
    data.split("train")
    assert len(asked) == 1
    assert small.release.python_folder in asked[0].replace("cifar-10-python", "cifar-10-batches-py")


@pytest.mark.parametrize("error", [urllib.error.URLError("no route"), RuntimeError("File not found\nor corrupted.")])
def test_failing_network_is_one_line(small, tmp_path, monkeypatch, error):
    def fetch(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fetch)
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        small.cls(str(tmp_path), download=True).split("test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"val_size": -1}, "val_size=-1 must be at least 0"),
        ({"num_classes": 7}, "num_classes=7 must be"),
        ({"size": 33}, "size=33 must be 32"),
        ({"mean": (0.5, 0.5)}, "mean must hold 3 numbers"),
        ({"std": (0.2, 0.0, 0.2)}, "std=.* must be above 0"),
    ],
)
def test_bad_arguments(bad, said):
    with pytest.raises(ValueError, match=said):
        CIFAR10("anywhere", **bad)


def test_attributes():
    data = CIFAR10("anywhere", mean=[0.1, 0.2, 0.3])
    assert (data.name, data.num_classes, data.size, data.mean) == ("cifar10", 10, 32, (0.1, 0.2, 0.3))
    for cls in (CIFAR10, CIFAR100):
        assert len(set(cls.class_names)) == cls("anywhere").num_classes
        assert list(cls.class_names) == sorted(cls.class_names)


@pytest.fixture(scope="session")
def real_cifar10(realdata, tmp_path_factory):
    """Both layouts of the real CIFAR-10, in folders of their own."""
    root = tmp_path_factory.mktemp("cifar10")
    script = realdata / "unpack_cifar10.py"
    subprocess.run([sys.executable, str(script), str(root)], check=True, capture_output=True)
    for layout in ("bin", "py"):
        (root / layout).mkdir()
        (root / f"cifar-10-batches-{layout}").rename(root / layout / f"cifar-10-batches-{layout}")
    return root


@pytest.mark.realdata
class TestReal:
    def test_both_layouts_pass_and_agree(self, real_cifar10):
        """And hold known facts: test image 0 is a cat, the channel means over train are 0.4914, 0.4822, 0.4465."""
        both = [CIFAR10(str(real_cifar10 / layout), val_size=0) for layout in ("bin", "py")]
        (train, again), (test, too) = ([data.split(name) for data in both] for name in ("train", "test"))
        assert (train.identity, test.identity) == (again.identity, too.identity)
        assert train.labels.bincount().tolist() == [5000] * 10
        assert test.labels.bincount().tolist() == [1000] * 10
        assert CIFAR10.class_names[test.labels[0]] == "cat"
        means = [batch.images.mean((0, 2, 3)) for batch in train.batches(5000)]
        np.testing.assert_allclose(torch.stack(means).mean(0), (0.4914, 0.4822, 0.4465), atol=6e-5)

    def test_class_names_are_the_official_ones(self, real_cifar10):
        names = load_arrays(real_cifar10 / "py" / "cifar-10-batches-py" / "batches.meta")["label_names"]
        assert tuple(name if isinstance(name, str) else name.decode() for name in names) == CIFAR10.class_names

    @pytest.mark.parametrize("layout", ["bin", "py"])
    def test_one_flipped_bit_is_named(self, real_cifar10, tmp_path, layout):
        source = real_cifar10 / layout / f"cifar-10-batches-{layout}"
        folder = tmp_path / source.name
        folder.mkdir()
        stem = "test_batch.bin" if layout == "bin" else "test_batch"
        damaged = bytearray((source / stem).read_bytes())
        damaged[20_000_000] ^= 1
        (folder / stem).write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged") as caught:
            CIFAR10(str(tmp_path)).split("test")
        assert str(caught.value).startswith(str(folder / stem))

    def test_cifar100_layout_against_the_partial_set(self, realdata):
        """The class order of the real labels: every fine class has 500 training and 100 test images."""
        partial = np.load(realdata / "cifar100_partial_exact.npz")
        for split, per_class in (("train", 500), ("test", 100)):
            assert (np.bincount(partial[f"{split}_fine"]) == per_class).all()
            assert len(np.bincount(partial[f"{split}_fine"])) == len(CIFAR100.class_names)
