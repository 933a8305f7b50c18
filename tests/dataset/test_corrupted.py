"""The release readers: values, order, and one clear line for every way a release can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset.base import ResidentSplit, Split
from fourier_robust.dataset.corrupted import (
    COMMON,
    EXTRA,
    NAMES,
    CifarCRelease,
    ImageNetCRelease,
    available,
    available_tree,
)
from fourier_robust.errors import UserError

N = 6


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """fog and contrast of a CIFAR-C with six images per severity."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "labels.npy", np.tile(rng.integers(0, 10, N).astype(np.uint8), 5))
    for name in ("contrast", "fog"):
        np.save(tmp_path / f"{name}.npy", rng.integers(0, 256, (5 * N, 32, 32, 3)).astype(np.uint8))
    return tmp_path


def test_names_and_what_is_there(release: Path) -> None:
    assert (len(COMMON), len(EXTRA), len(set(NAMES))) == (15, 4, 19)
    assert available(str(release)) == ("fog", "contrast")
    assert available(str(release / "nowhere")) == ()
    assert available_tree(str(release)) == ()


@pytest.mark.parametrize("severity", range(1, 6))
def test_a_block_is_the_severity(release: Path, severity: int) -> None:
    split: Split = CifarCRelease(str(release), "fog", severity)
    pixels = np.load(release / "fog.npy")[(severity - 1) * N : severity * N]
    labels = np.load(release / "labels.npy")[(severity - 1) * N : severity * N]
    resident = ResidentSplit(torch.from_numpy(pixels), torch.from_numpy(labels).long())
    assert len(split) == N
    assert split.identity == resident.identity
    assert torch.equal(split.labels, resident.labels)
    order = torch.tensor([4, 0, 5, 2])
    for kwargs in ({}, {"order": order}, {"order": order, "drop_last": True}):
        ours, theirs = list(split.batches(3, **kwargs)), list(resident.batches(3, **kwargs))
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
            assert mine.images.is_contiguous(memory_format=torch.channels_last)


def test_batches_leave_the_file_alone(release: Path) -> None:
    split = CifarCRelease(str(release), "fog", 1)
    for batch in split.batches(3):
        batch.images.zero_()
    assert next(split.batches(3)).images.max() > 0


def spoil(release: Path, what: str) -> None:
    images, labels = np.load(release / "fog.npy"), np.load(release / "labels.npy")
    match what:
        case "no file":
            (release / "fog.npy").unlink()
        case "no labels":
            (release / "labels.npy").unlink()
        case "cut off":
            (release / "fog.npy").write_bytes((release / "fog.npy").read_bytes()[:5000])
        case "no array":
            (release / "fog.npy").write_text("<html>not found</html>")
        case "pickle":
            np.save(release / "fog.npy", np.array([{}], dtype=object), allow_pickle=True)
        case "floats":
            np.save(release / "fog.npy", images.astype(np.float32))
        case "channels first":
            np.save(release / "fog.npy", images.transpose(0, 3, 1, 2))
        case "four severities":
            np.save(release / "fog.npy", images[: 4 * N])
        case "labels of one severity":
            np.save(release / "labels.npy", labels[:N])
        case "text labels":
            np.save(release / "labels.npy", labels.astype(str))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no file", r"fog\.npy not found: unpack CIFAR-10-C"),
        ("no labels", r"labels\.npy not found"),
        ("cut off", r"fog\.npy is damaged"),
        ("no array", r"fog\.npy is damaged"),
        ("pickle", r"fog\.npy is damaged"),
        ("floats", r"fog\.npy holds \(30, 32, 32, 3\) float32, expected \(30, 32, 32, 3\) uint8"),
        ("channels first", r"fog\.npy holds \(30, 3, 32, 32\) uint8, expected \(30, 32, 32, 3\)"),
        ("four severities", r"fog\.npy holds \(24, 32, 32, 3\) uint8, expected \(30, 32, 32, 3\)"),
        ("labels of one severity", r"labels\.npy holds \(6,\) uint8, expected \(5,\)"),
        ("text labels", r"labels\.npy holds \(30,\) <U3, expected \(30,\)"),
    ],
)
def test_one_line_says_what_is_wrong(release: Path, what: str, message: str) -> None:
    spoil(release, what)
    with pytest.raises(UserError, match=message) as caught:
        CifarCRelease(str(release), "fog", 2)
    assert "\n" not in str(caught.value)


def test_number_of_images_is_checked(release: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.npy holds \(30,\) uint8, expected \(50000,\)"):
        CifarCRelease(str(release), "fog", 1, num_images=10_000)
    assert len(CifarCRelease(str(release), "fog", 1, num_images=N)) == N


def test_other_sizes_and_names(release: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (5 * N, 28, 20, 3)).astype(np.uint8)
    np.save(release / "stripes.npy", pixels)
    split = CifarCRelease(str(release), "stripes", 2, size=(28, 20))
    expected = torch.from_numpy(pixels[N : 2 * N]).permute(0, 3, 1, 2).float().div(255)
    assert torch.equal(next(split.batches(N)).images, expected)
    with pytest.raises(UserError, match=r"holds \(30, 28, 20, 3\) uint8, expected \(30, 28, 28, 3\)"):
        CifarCRelease(str(release), "stripes", 2, size=28)


@pytest.mark.parametrize("reader", [CifarCRelease, ImageNetCRelease])
def test_arguments(reader: type, release: Path) -> None:
    with pytest.raises(ValueError, match="corruption='rain': must be one of gaussian_noise, "):
        reader(str(release), "rain", 1)
    with pytest.raises(ValueError, match="severity=6: must be 1, 2, 3, 4 or 5"):
        reader(str(release), "fog", 6)


def write_tree(folder: Path, size: int = 16) -> np.ndarray:
    """Three classes with two images each, stored without loss under the release's suffix; (6,size,size,3) uint8."""
    pixels = np.random.default_rng(1).integers(0, 256, (6, size, size, 3)).astype(np.uint8)
    for i, image in enumerate(pixels):
        wnid = folder / "3" / f"n0000000{i // 2}"
        wnid.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(wnid / f"image_{i}.JPEG", format="PNG")
    return pixels


@pytest.mark.parametrize("family", ["", "weather"])
def test_tree(tmp_path: Path, family: str) -> None:
    pixels = write_tree(tmp_path / family / "fog")
    assert available_tree(str(tmp_path)) == ("fog",)
    split: Split = ImageNetCRelease(str(tmp_path), "fog", 3, size=16, num_workers=0)
    assert split.labels.tolist() == [0, 0, 1, 1, 2, 2]
    order = torch.tensor([5, 1, 2])
    for index in (None, order):
        images = torch.cat([batch.images for batch in split.batches(2, index)])
        expected = torch.from_numpy(pixels if index is None else pixels[order]).permute(0, 3, 1, 2).float().div(255)
        assert torch.equal(images, expected)
    again = ImageNetCRelease(str(tmp_path), "fog", 3, size=16, num_workers=0)
    assert split.identity == again.identity
    (tmp_path / family / "fog" / "3" / "n00000000" / "image_0.JPEG").rename(
        tmp_path / family / "fog" / "3" / "n00000000" / "image_9.JPEG"
    )
    assert ImageNetCRelease(str(tmp_path), "fog", 3, size=16, num_workers=0).identity != split.identity


def test_tree_in_worker_processes(tmp_path: Path) -> None:
    pixels = write_tree(tmp_path / "fog")
    split = ImageNetCRelease(str(tmp_path), "fog", 3, size=16, num_workers=1)
    images = torch.cat([batch.images for batch in split.batches(4)])
    assert torch.equal(images, torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255))


def test_tree_of_another_size_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "fog")
    with pytest.raises(UserError, match=r"it is 16x16, not 224x224, and a second resize would cost 1\.0-1\.4 points"):
        ImageNetCRelease(str(tmp_path), "fog", 3)
    last = tmp_path / "fog" / "3" / "n00000002" / "image_5.JPEG"
    Image.new("RGB", (16, 20)).save(last, format="PNG")
    split = ImageNetCRelease(str(tmp_path), "fog", 3, size=16, num_workers=0)
    with pytest.raises(UserError, match=r"image_5\.JPEG .*it is 16x20, not 16x16"):
        list(split.batches(2))


def test_tree_that_is_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fog/3 not found or empty: unpack ImageNet-C"):
        ImageNetCRelease(str(tmp_path), "fog", 3)
    write_tree(tmp_path / "fog")
    with pytest.raises(UserError, match=r"fog/4 not found or empty"):
        ImageNetCRelease(str(tmp_path), "fog", 4)
    names = tuple(f"n0000000{i}" for i in range(4))
    with pytest.raises(UserError, match=r"holds 3 class folders, not the data set's 4"):
        ImageNetCRelease(str(tmp_path), "fog", 3, size=16, class_names=names)
    assert len(ImageNetCRelease(str(tmp_path), "fog", 3, size=16, class_names=names[:3])) == 6
