"""CIFAR-10.1, CIFAR-10.2 and CINIC-10 in tiny: what is read, and a reason for every way they can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset.shift_layouts import Known, picture, tree

from fourier_robust.dataset.cifar import CIFAR10, CIFAR100
from fourier_robust.dataset.ood import ExactSize
from fourier_robust.dataset.shift_cifar import CINIC10, CifarArrays
from fourier_robust.dataset.shifted import WHOLE
from fourier_robust.errors import UserError

CIFAR = Known(CIFAR10.class_names)
CROP = ExactSize(32)
LABELS = np.repeat(np.arange(10), 2)[::-1].astype(np.int32)
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)


def write(folder: Path, images: np.ndarray = PIXELS, labels: np.ndarray = LABELS) -> Path:
    """CIFAR-10.1 v6 with two images per class."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "cifar10.1_v6_data.npy", images)
    np.save(folder / "cifar10.1_v6_labels.npy", labels)
    return folder


def ten_one(root: Path, **changed: Any) -> CifarArrays:
    names = {"images": "cifar10.1_v6_data.npy", "labels": "cifar10.1_v6_labels.npy"}
    settings: dict[str, Any] = {"folders": ["CIFAR-10.1"], "count": 20, "per_class": [2] * 10, **names}
    return CifarArrays(str(root), **(settings | changed))


@pytest.mark.parametrize("place", ["CIFAR-10.1", "."])
def test_arrays_are_read(tmp_path: Path, place: str) -> None:
    write(tmp_path / place)
    reader = ten_one(tmp_path)
    assert reader.absent() is None
    checked = reader.check(CIFAR)
    assert (checked.cells, checked.clean, checked.remarks) == (WHOLE, "independent", ())
    assert checked.space is not None
    assert checked.space.whole
    split = reader.split(CIFAR, WHOLE[0], CROP, "cpu")
    assert split.labels.tolist() == LABELS.tolist()
    (batch,) = split.batches(20)
    assert torch.equal(batch.images, torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255)


def test_npz_is_read_without_its_pickled_arrays(tmp_path: Path) -> None:
    names = np.array([["a", 1]], dtype=object)
    np.savez(tmp_path / "cifar102_test.npz", images=PIXELS, labels=LABELS, label_names=names)
    reader = ten_one(tmp_path, images="cifar102_test.npz", labels="cifar102_test.npz", per_class=None)
    assert reader.check(CIFAR).space is not None
    assert reader.split(CIFAR, WHOLE[0], CROP, "cpu").labels.tolist() == LABELS.tolist()
    np.savez(tmp_path / "cifar102_test.npz", images=PIXELS, targets=LABELS)
    with pytest.raises(UserError, match=r"has no array labels; it has images, targets"):
        ten_one(tmp_path, images="cifar102_test.npz", labels="cifar102_test.npz").check(CIFAR)


def test_absent_names_folder_and_files(tmp_path: Path) -> None:
    (tmp_path / "CIFAR-10.1").mkdir()
    np.save(tmp_path / "CIFAR-10.1" / "cifar10.1_v6_data.npy", PIXELS)  # labels are missing
    reason = ten_one(tmp_path).absent()
    assert reason is not None
    assert f"{tmp_path}/CIFAR-10.1" in reason
    assert "cifar10.1_v6_data.npy and cifar10.1_v6_labels.npy" in reason
    with pytest.raises(UserError, match="not found"):
        ten_one(tmp_path).check(CIFAR)


@pytest.mark.parametrize(
    ("images", "labels", "settings", "reason"),
    [
        (PIXELS.astype(np.float32), LABELS, {}, r"holds \(20, 32, 32, 3\) float32, expected \(N, 32, 32, 3\) uint8"),
        (PIXELS.transpose(0, 3, 1, 2), LABELS, {}, r"holds \(20, 3, 32, 32\) uint8"),
        (PIXELS, LABELS[:19], {}, r"holds \(19,\) int32, expected 20 labels"),
        (PIXELS, LABELS.astype(np.float32), {}, "float32, expected 20 labels"),
        (PIXELS, LABELS + 1, {}, "labels outside 0 to 9"),
        (PIXELS, LABELS - 1, {}, "labels outside 0 to 9"),
        (PIXELS[:0], LABELS[:0], {}, "labels outside 0 to 9"),
        (PIXELS, LABELS, {"count": 2000}, "holds 20 images, the release has 2000: another version"),
        (PIXELS, LABELS, {"per_class": [1, 3] + [2] * 8}, r"\[2, 2, .*the release \[1, 3, .*another version"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, images, labels, settings, reason) -> None:
    write(tmp_path / "CIFAR-10.1", images, labels)
    with pytest.raises(UserError, match=reason) as refused:
        ten_one(tmp_path, **settings).check(CIFAR)
    assert "\n" not in str(refused.value)


def test_a_damaged_or_pickled_file_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "CIFAR-10.1", labels=np.array([[1], [2]], dtype=object))
    with pytest.raises(UserError, match=r"labels\.npy is not a readable array"):
        ten_one(tmp_path).check(CIFAR)
    (folder / "cifar10.1_v6_data.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"data\.npy is not a readable array"):
        ten_one(tmp_path).check(CIFAR)


def test_a_model_of_other_classes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "CIFAR-10.1")
    with pytest.raises(UserError, match="none of the model's 100"):
        ten_one(tmp_path).check(Known(CIFAR100.class_names))
    with pytest.raises(UserError, match=r"expected \(N, 64, 64, 3\)"):
        ten_one(tmp_path).check(Known(CIFAR10.class_names, size=64))


@pytest.fixture
def cinic(tmp_path: Path) -> Path:
    """One image of ImageNet and one of CIFAR-10 per class, of other levels."""
    tree(tmp_path / "CINIC-10" / "test", CIFAR10.class_names, "n02690373_12.png")
    tree(tmp_path / "CINIC-10" / "test", CIFAR10.class_names, "cifar10-test-7.png")
    (tmp_path / "CINIC-10" / "README.md").write_text("-")
    return tmp_path


@pytest.mark.parametrize(("part", "stem", "clean"), [("imagenet", "n0", "independent"), ("cifar", "cifar", "related")])
def test_cinic_parts_are_told_apart(cinic: Path, part: Any, stem: str, clean: str) -> None:
    reader = CINIC10(str(cinic), part, count=70000, num_workers=0)
    assert reader.absent() is None
    checked = reader.check(CIFAR)
    assert (checked.clean, checked.expected) == (clean, 70000)
    split = reader.split(CIFAR, WHOLE[0], CROP, "cpu")
    assert split.labels.tolist() == list(range(10))
    assert all(bytes(path).decode().split("/")[1].startswith(stem) for path in reader._files.paths)


def test_cinic_absent(tmp_path: Path) -> None:
    assert f"{tmp_path}/CINIC-10/test" in str(CINIC10(str(tmp_path), num_workers=0).absent())
    with pytest.raises(ValueError, match="part="):
        CINIC10(str(tmp_path), "both")  # type: ignore[arg-type]


def test_wrong_cinics_are_refused(cinic: Path) -> None:
    test = cinic / "CINIC-10" / "test"
    extra = picture(test / "zebra" / "n02690373_1.png")
    with pytest.raises(UserError, match="11 class folders, not CIFAR-10's ten: zebra"):
        CINIC10(str(cinic), num_workers=0).check(CIFAR)
    extra.unlink()
    extra.parent.rmdir()
    renamed = (test / "frog" / "n02690373_12.png").rename(test / "frog" / "00012.png")
    with pytest.raises(UserError, match=r"e\.g\. 00012\.png: the part that CINIC-10 took from CIFAR-10"):
        CINIC10(str(cinic), num_workers=0).check(CIFAR)
    renamed.unlink()
    with pytest.raises(UserError, match="no image of the imagenet part in class frog"):
        CINIC10(str(cinic), num_workers=0).check(CIFAR)


def test_cinic_of_another_size_is_refused(cinic: Path) -> None:
    reader = CINIC10(str(cinic), num_workers=0)
    large = Known(CIFAR10.class_names, size=40)
    reader.check(large)
    with pytest.raises(UserError, match="32x32 pixels, the model takes 40x40"):
        list(reader.split(large, WHOLE[0], CROP, "cpu").batches(4))
