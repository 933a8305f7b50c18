"""The streaming split: replayable crops, order, errors of one line, and no touch of the global generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset.crops import CentreCrop, RandomResizedCrop
from fourier_robust.dataset.locate import ImageFiles, image_files
from fourier_robust.dataset.streaming import StreamingSplit, worker_count
from fourier_robust.errors import UserError


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
    with pytest.raises(UserError, match="is not a readable image") as caught:
        list(StreamingSplit(files, CentreCrop(8, 30), num_workers=workers).batches(4))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_truncated_jpeg_is_named(files):
    path = files.folder / "a" / "0.png"
    Image.open(path).save(files.folder / "whole.jpg", quality=95)
    path.write_bytes((files.folder / "whole.jpg").read_bytes()[:-300])
    with pytest.raises(UserError, match="truncated"):
        list(StreamingSplit(files, CentreCrop(8, 30), num_workers=0).batches(4))


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


def test_a_dead_worker_is_one_line(files):
    class Deadly:
        size = 8

        def __call__(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
            import os

            os._exit(9)

    with pytest.raises(UserError, match=r"a worker .* died .*dataset\.num_workers=0"):
        list(StreamingSplit(files, Deadly(), num_workers=1).batches(4))


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
