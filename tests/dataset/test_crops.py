"""The two crops against torchvision: the same pixels for the same box, the same law of boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from fourier_robust.dataset.crops import CentreCrop, RandomResizedCrop


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize(
    ("width", "height"), [(300, 200), (200, 300), (256, 256), (257, 401), (64, 64), (33, 500), (255, 256)]
)
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (32, 32), (31, 40)])
def test_centre_crop_equals_torchvision(width, height, size, resize, generator):
    image = photo(width, height)
    state = generator.get_state()
    ours = CentreCrop(size, resize)(image, generator)
    theirs = v2.Compose([v2.Resize(resize), v2.CenterCrop(size)])(image)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert torch.equal(generator.get_state(), state)


def test_centre_crop_of_the_right_size_is_the_identity(generator):
    image = photo(64, 64)
    np.testing.assert_array_equal(np.asarray(CentreCrop(64, 64)(image, generator)), np.asarray(image))


def test_random_crop_pixels_equal_torchvision(generator):
    image = photo(180, 120)
    crop = RandomResizedCrop(48)
    left, top, right, bottom = crop.sample(180, 120, torch.Generator().manual_seed(0))
    ours = crop(image, generator)
    theirs = functional.resized_crop(image, top, left, bottom - top, right - left, [48, 48])
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("crop", [CentreCrop(31, 40), CentreCrop(31, 40, "bicubic"), RandomResizedCrop(31)])
def test_tensors_in_a_decoders_order_keep_it_and_their_bits(crop):
    """(H,W,3) in memory: torch resizes that order sooner, and rows of the result are copied at once."""
    decoded = torch.from_numpy(np.asarray(photo(180, 120)).copy()).permute(2, 0, 1)
    found = crop.of_levels(decoded, torch.Generator().manual_seed(0))
    assert found.stride()[::2] == (1, 3)
    assert torch.equal(found, crop.of_levels(decoded.contiguous(), torch.Generator().manual_seed(0)))


def test_random_crop_keeps_the_axes_apart(generator):
    """An image whose left part is red and lower part is blue keeps red left and blue low, whatever the box."""
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[:, :, 0] = np.linspace(255, 0, 300)[None]
    pixels[:, :, 2] = np.linspace(0, 255, 200)[:, None]
    out = np.asarray(RandomResizedCrop(32)(Image.fromarray(pixels), generator)).astype(float)
    assert (np.diff(out[..., 0].mean(0)) <= 0).all()
    assert (np.diff(out[..., 2].mean(1)) >= 0).all()


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (64, 64)])
def test_boxes_follow_torchvisions_law(width, height, generator):
    """Means and spreads of area share, log ratio and the free place, over 4000 draws of each; all inside the image."""
    crop = RandomResizedCrop(224)
    ours = np.array([crop.sample(width, height, generator) for _ in range(4000)], float)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2] <= width).all()
    assert (ours[:, 3] <= height).all()
    image = torch.empty(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = [v2.RandomResizedCrop(224).make_params([image]) for _ in range(4000)]
    theirs = np.array([[d["left"], d["top"], d["left"] + d["width"], d["top"] + d["height"]] for d in draws], float)

    def statistics(boxes: np.ndarray) -> np.ndarray:
        w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        place = [boxes[:, 0] / np.maximum(width - w, 1), boxes[:, 1] / np.maximum(height - h, 1)]
        columns = np.stack([w * h / (width * height), np.log(w / h), *place])
        return np.stack([columns.mean(1), columns.std(1)])

    np.testing.assert_allclose(statistics(ours), statistics(theirs), atol=0.02)


@pytest.mark.parametrize(("width", "height"), [(1000, 10), (10, 1000)])
def test_an_image_too_narrow_for_any_box(width, height, generator):
    """The largest central box of allowed ratio: 10 pixels by 13 (10 x 4/3), 493 of the other 987 before it."""
    left, top, right, bottom = RandomResizedCrop(8, scale=(0.9, 1.0)).sample(width, height, generator)
    assert (left, right) == ((493, 506) if width > height else (0, 10))
    assert (top, bottom) == ((493, 506) if height > width else (0, 10))


def test_full_scale_and_ratio_is_the_whole_image(generator):
    assert RandomResizedCrop(8, scale=(1.0, 1.0), ratio=(1.0, 1.0)).sample(40, 40, generator) == (0, 0, 40, 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CentreCrop(32, 31), "size=32 must lie in 1 to resize=31"),
        (lambda: CentreCrop(0, 31), "size=0"),
        (lambda: RandomResizedCrop(0), "size=0 must be at least 1"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 1.5)), "scale="),
        (lambda: RandomResizedCrop(8, ratio=(0.0, 1.0)), "ratio="),
    ],
)
def test_bad_arguments(make, said):
    with pytest.raises(ValueError, match=said):
        make()
