"""The streaming split: replayable crops, order, errors of one line, and no touch of the global generator."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset.crops import CentreCrop, RandomResizedCrop
from fourier_robust.dataset.locate import ImageFiles, image_files
from fourier_robust.dataset.streaming import StreamingSplit, worker_count
from fourier_robust.errors import UserError
from fourier_robust.run.identity import identity_of


@pytest.fixture
def files(tmp_path) -> ImageFiles:
    """Two classes of 6 noise images of 40x30, lossless."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / name / f"{i}.png")
    return image_files(tmp_path, ("a", "b"))


def stacked(split: StreamingSplit, batch_size: int = 5, **kwargs: object) -> torch.Tensor:
    """All images of one pass, in the order of their index."""
    batches = list(split.batches(batch_size, **kwargs))
    index = torch.cat([batch.indices for batch in batches])
    return torch.cat([batch.images for batch in batches])[index.argsort()]


def test_batches_are_the_files_pixels(files):
    split = StreamingSplit(files, CentreCrop(20, 30), num_workers=0)
    batches = list(split.batches(5))
    assert [len(batch.labels) for batch in batches] == [5, 5, 2]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0] * 6 + [1] * 6
    for position, path in ((0, "a/0.png"), (7, "b/1.png")):
        expected = np.asarray(Image.open(files.folder / path))[5:25, 10:30] / np.float32(255)
        np.testing.assert_array_equal(stacked(split)[position].permute(1, 2, 0), expected)
    assert batches[0].images.is_contiguous(memory_format=torch.channels_last)
    assert batches[0].images.dtype == torch.float32


def test_crops_replay_whatever_the_workers_order_and_batch_size(files):
    split = StreamingSplit(files, RandomResizedCrop(16), num_workers=0)
    first = stacked(split, seed=3)
    assert torch.equal(first, stacked(split, seed=3))
    assert torch.equal(first, stacked(split, 4, seed=3, order=torch.randperm(12, generator=torch.Generator())))
    for workers in (1, 2):
        assert torch.equal(first, stacked(StreamingSplit(files, RandomResizedCrop(16), num_workers=workers), seed=3))
    other = stacked(split, seed=4)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_one_image_at_two_positions_gets_two_crops(files):
    split = StreamingSplit(files.take(torch.tensor([2, 2])), RandomResizedCrop(16), num_workers=0)
    a, b = next(split.batches(2)).images
    assert not torch.equal(a, b)


def test_order_and_drop_last(files):
    split = StreamingSplit(files, CentreCrop(8, 30), num_workers=2)
    order = torch.tensor([11, 0, 6, 5, 3])
    batches = list(split.batches(2, order, drop_last=True))
    assert [batch.indices.tolist() for batch in batches] == [[11, 0], [6, 5]]
    assert [batch.labels.tolist() for batch in batches] == [[1, 0], [1, 0]]
    assert len(list(split.batches(2, order))[-1].labels) == 1


def test_global_generators_are_left_alone(files):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(StreamingSplit(files, RandomResizedCrop(16), num_workers=1).batches(6))
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])


def test_resident_holds_the_same_images(files):
    split = StreamingSplit(files, CentreCrop(20, 30), num_workers=2)
    resident = split.resident()
    assert torch.equal(next(resident.batches(12)).images, stacked(split))
    assert torch.equal(resident.labels, split.labels)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "gone"])
def test_an_unreadable_image_is_named_in_one_line(files, damage, workers):
    path = files.folder / "b" / "3.png"
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:800], "text": b"not an image", "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    with pytest.raises(UserError, match="is gone$" if damage == "gone" else "is not a readable image") as caught:
        list(StreamingSplit(files, CentreCrop(8, 30), num_workers=workers).batches(4))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_truncated_jpeg_is_named(files):
    path = files.folder / "a" / "0.png"
    Image.open(path).save(files.folder / "whole.jpg", quality=95)
    path.write_bytes((files.folder / "whole.jpg").read_bytes()[:-300])
    with pytest.raises(UserError, match="truncated"):
        list(StreamingSplit(files, CentreCrop(8, 30), num_workers=0).batches(4))


def photographs(files: ImageFiles) -> ImageFiles:
    """The same twelve as JPEGs of smooth images, one of them grey and one CMYK."""
    folder = files.folder.parent / "photographs"
    for position, path in enumerate(files.paths):
        image = Image.open(files.folder / path.decode()).resize((90, 70), Image.Resampling.BICUBIC)
        (folder / path.decode()).parent.mkdir(parents=True, exist_ok=True)
        mode = {3: "L", 5: "CMYK"}.get(position, "RGB")
        image.convert(mode).save((folder / path.decode()).with_suffix(".jpg"), quality=90)
    return image_files(folder, ("a", "b"))


def test_torchvision_decodes_the_same_bytes_and_resizes_to_one_level(files):
    jpegs = photographs(files)
    uncut = CentreCrop(70, 70)
    pillow, torchvision = (
        stacked(StreamingSplit(jpegs, uncut, num_workers=0, decoder=which)) for which in ("pillow", "torchvision")
    )
    assert torch.equal(pillow, torchvision)
    for crop in (CentreCrop(32, 36), CentreCrop(40, 50, "bicubic"), RandomResizedCrop(24)):
        first, second = (
            StreamingSplit(jpegs, crop, num_workers=workers, decoder=which)
            for which, workers in (("pillow", 0), ("torchvision", 1))
        )
        difference = (stacked(first, seed=2) - stacked(second, seed=2)).abs() * 255
        assert difference.max() < (1.001 if getattr(crop, "interpolation", "") != "bicubic" else 2.001)
        assert (difference > 0.5).double().mean() < 0.02
        assert second.identity != first.identity
        assert torch.equal(stacked(second.alone(), seed=2), stacked(second, seed=2))


def test_torchvision_reads_other_files_and_names_damaged_ones(files):
    split = StreamingSplit(files, CentreCrop(30, 30), num_workers=0, decoder="torchvision")  # PNG
    assert torch.equal(stacked(split), stacked(StreamingSplit(files, CentreCrop(30, 30), num_workers=0)))
    jpegs = photographs(files)
    path = jpegs.folder / "b" / "3.jpg"
    whole = path.read_bytes()
    for content, said in ((whole[:-300], "truncated"), (b"", "cannot identify"), (b"not an image", "cannot identify")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{path} is not a readable image: .*{said}"):
            list(StreamingSplit(jpegs, CentreCrop(8, 30), num_workers=0, decoder="torchvision").batches(4))
    path.unlink()
    with pytest.raises(UserError, match="is gone"):
        list(StreamingSplit(jpegs, CentreCrop(8, 30), num_workers=0, decoder="torchvision").batches(4))


@pytest.mark.parametrize("decoder", ["pillow", "torchvision"])
def test_several_crops_of_one_decoding(files, decoder):
    crops = (CentreCrop(8, 30), CentreCrop(20, 24), CentreCrop(40, 40))
    found = list(StreamingSplit(files, CentreCrop(4, 4), num_workers=1, decoder=decoder).each(crops, 5))
    assert [len(batch.labels) for batch in found] == [5, 5, 5, 5, 5, 5, 2, 2, 2]
    for place, crop in enumerate(crops):
        alone = StreamingSplit(files, crop, num_workers=0, decoder=decoder)
        assert torch.equal(torch.cat([batch.images for batch in found[place::3]]), stacked(alone))
        assert torch.equal(torch.cat([batch.indices for batch in found[place::3]]), torch.arange(12))


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1", "LA"])
def test_every_colour_mode_becomes_rgb(files, mode):
    path = files.folder / "a" / "0.png"
    image = Image.open(path).convert(mode)
    image.save(path, format="TIFF" if mode == "CMYK" else "PNG")
    batch = next(StreamingSplit(files, CentreCrop(30, 30), num_workers=0).batches(1))
    expected = np.asarray(image.convert("RGB"))[:, 5:35] / np.float32(255)
    np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0), expected)
    if mode == "L":
        assert torch.equal(batch.images[:, 0], batch.images[:, 2])


def test_batches_do_not_share_the_workers_memory(files):
    """More batches than there are places in it, kept by a slow reader."""
    split = StreamingSplit(files, RandomResizedCrop(16), num_workers=1)
    order = torch.arange(len(files.labels)).repeat(3)
    kept = []
    for batch in split.batches(1, order):
        kept.append(batch.images)
        time.sleep(0.01)
    assert torch.equal(
        torch.cat(kept), stacked(StreamingSplit(files, RandomResizedCrop(16), num_workers=0)).repeat(3, 1, 1, 1)
    )


def test_too_little_shared_memory_is_one_line(files, monkeypatch):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </x>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(UserError, match=r"^no shared memory for 1 workers: .*; try dataset\.num_workers=0$"):
        list(StreamingSplit(files, CentreCrop(8, 30), num_workers=1).batches(4))
    assert len(list(StreamingSplit(files, CentreCrop(8, 30), num_workers=0).batches(4)))


def test_a_dead_worker_is_one_line(files):
    class Deadly:
        size = 8

        def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
            import os

            os._exit(9)

    with pytest.raises(UserError, match=r"a worker .* died .*dataset\.num_workers=0"):
        list(StreamingSplit(files, Deadly(), num_workers=1).batches(4))


def test_identity_is_of_the_bytes_of_up_to_64_files(tmp_path):
    for number in range(200):
        Image.new("L", (2, 2), number).save(tmp_path / f"{number:03}.bmp")
    listed = sorted((path.name.encode(), path.stat().st_size) for path in tmp_path.iterdir())
    assert len({size for _, size in listed}) == 1
    first = identity_of(tmp_path, listed)
    seen = set()
    for number in range(200):
        path = tmp_path / f"{number:03}.bmp"
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b"\xff")
        if identity_of(tmp_path, listed) != first:
            seen.add(number)
        path.write_bytes(whole)
    assert len(seen) == 64
    assert {0, 199} < seen
    assert identity_of(tmp_path, listed) == first
    assert identity_of(tmp_path, []) == identity_of(tmp_path / "gone", [])


def test_identity_is_of_paths_and_sizes(files, tmp_path):
    def identity() -> str:
        return image_files(tmp_path, ("a", "b")).identity()

    first = identity()
    assert first == files.identity() == files.take(torch.randperm(12)).identity()
    path = tmp_path / "a" / "0.png"
    path.rename(tmp_path / "a" / "00.png")
    renamed = identity()
    (tmp_path / "a" / "00.png").write_bytes(path.name.encode())
    assert len({first, renamed, identity(), files.take(torch.arange(11)).identity()}) == 4


def test_files_are_found_at_any_depth_and_sorted(tmp_path):
    for name in ("b/z.JPEG", "b/deep/a.png", "b/note.txt", "a/é.jpg"):
        path: Path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12")
    files = image_files(tmp_path, ("a", "b"))
    assert [path.decode() for path in files.paths] == ["a/é.jpg", "b/deep/a.png", "b/z.JPEG"]
    assert files.labels.tolist() == [0, 1, 1]
    assert files.sizes.tolist() == [2, 2, 2]


def test_worker_count():
    assert worker_count(0) == 0
    assert worker_count(5) == 5
    assert 1 <= worker_count(None) <= 8
    with pytest.raises(ValueError, match="num_workers=-1 must be at least 0"):
        worker_count(-1)


@pytest.mark.gpu
def test_on_cuda_the_same_pixels(files):
    on_cpu = stacked(StreamingSplit(files, RandomResizedCrop(16), num_workers=2))
    batches = list(StreamingSplit(files, RandomResizedCrop(16), "cuda", num_workers=2).batches(5))
    assert all(batch.images.is_cuda and batch.labels.is_cuda and not batch.indices.is_cuda for batch in batches)
    torch.testing.assert_close(torch.cat([batch.images for batch in batches]).cpu(), on_cpu)
