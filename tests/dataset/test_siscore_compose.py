from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from fourier_robust.dataset.siscore_compose import (
    Drawn,
    Setting,
    compose,
    inside_share,
    jpeg,
    published,
    published_place,
    turn,
)
from fourier_robust.dataset.siscore_scenes import Objects, draw_pairs, pack

COLOUR = torch.tensor([200, 100, 50], dtype=torch.uint8)


def things(cutout: torch.Tensor, side: int | None = None) -> Objects:
    rgba, boxes = pack([cutout], side)
    return Objects(rgba, boxes, torch.zeros(1, dtype=torch.int64), ("thing",), ("0",))


def square(side: int, alpha: int = 255) -> torch.Tensor:
    """(side,side,4): one colour."""
    return torch.cat((COLOUR.expand(side, side, 3), torch.full((side, side, 1), alpha, dtype=torch.uint8)), 2)


def drawn(cutout: torch.Tensor, setting: Setting, level: float, size: int = 8) -> Drawn:
    objects = things(cutout, max(cutout.shape[:2]))
    behind = torch.full((1, 3, size, size), level)
    return compose(objects.layers(torch.tensor([0])), objects.boxes, behind, setting)


@pytest.mark.parametrize("alpha", [255, 102])
def test_a_square_on_whole_pixels(alpha: int) -> None:
    found = drawn(square(4, alpha), Setting(area=16 / 64), 0.6).images[0]
    wanted = torch.full((3, 8, 8), 0.6)
    share = alpha / 255
    wanted[:, 2:6, 2:6] = (share * COLOUR.float() / 255 + (1 - share) * 0.6)[:, None, None]
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_square_between_pixels_shares_them() -> None:
    """Moved by a quarter of a pixel to the right: the columns at its sides have 3/4 and 1/4 of it."""
    found = drawn(square(4), Setting(x=0.5 + 0.25 / 8, area=16 / 64), 0.0).images[0]
    colour = COLOUR.float() / 255
    for column, share in ((1, 0), (2, 0.75), (3, 1), (5, 1), (6, 0.25), (7, 0)):
        assert torch.allclose(found[:, 4, column], share * colour, atol=1e-6), column


def test_scaled_down_edges_have_no_halo() -> None:
    """Opaque white beside transparent black, averaged: over white all stays white, over black half is left."""
    stripes = torch.zeros(4, 4, 4, dtype=torch.uint8)
    stripes[:, ::2] = 255
    stripes[0, 3, 3] = stripes[3, 3, 3] = 1  # the box is 4 wide
    setting = Setting(area=4 / 64)
    assert torch.allclose(drawn(stripes, setting, 1.0).images[:, :, :, 3], torch.ones(1), atol=1e-6)
    assert torch.allclose(drawn(stripes, setting, 0.0).images[0, :, 3, 3], torch.tensor(0.5), atol=1e-6)


@pytest.mark.parametrize("area", [0.01, 0.05, 0.2, 0.33, 1.0])
@pytest.mark.parametrize("size", [32, 33])
def test_realised_area_is_the_wanted_one(area: float, size: int) -> None:
    found = drawn(square(64), Setting(area=area), 0.0, size)
    assert float(found.mask_area) == pytest.approx(area, rel=1e-5)
    wide = drawn(torch.cat((square(20), square(20)), 1), Setting(area=0.2), 0.0, size)
    assert float(wide.mask_area) == pytest.approx(0.2, rel=1e-5)


@pytest.mark.parametrize("place", [0.25, 0.5, 0.7])
def test_the_centre_is_where_it_was_asked_for(place: float) -> None:
    found = drawn(square(8), Setting(x=place, y=1 - place, area=0.04), 0.0, 32).images[0, 0]
    steps, weight = torch.arange(32) + 0.5, found / found.sum()
    assert float((weight.sum(0) * steps).sum()) == pytest.approx(32 * place, abs=0.01)
    assert float((weight.sum(1) * steps).sum()) == pytest.approx(32 * (1 - place), abs=0.01)


def test_turned_by_right_angles_is_exact_and_counter_clockwise() -> None:
    layers = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(turn(layers, 0), layers)
    assert torch.equal(turn(layers, 360), layers)
    assert torch.equal(turn(layers, 90)[..., 0, 0], layers[..., 0, 5])  # upper right comes to the upper left
    assert torch.equal(turn(layers, -90), turn(layers, 270))
    nearly = turn(layers, 90 - 1e-4)
    edge = (nearly.shape[-1] - 6) // 2
    assert torch.allclose(nearly[..., edge:-edge, edge:-edge], turn(layers, 90), atol=1e-3)


def test_turned_the_way_pillow_turns() -> None:
    cutout = torch.zeros(40, 40, 4, dtype=torch.uint8)
    cutout[:, :, :3], cutout[4:36, 16:24, 3], cutout[4:12, 16:36, 3] = 255, 255, 255
    ours = turn(cutout.permute(2, 0, 1)[None].float() / 255, 30)[0, 3]
    alpha = Image.fromarray(cutout[..., 3].numpy()).rotate(30, Image.Resampling.BILINEAR, expand=True)
    theirs = torch.from_numpy(np.array(alpha)).float() / 255
    middle = [part[(len(part) - 40) // 2 :][:40, (len(part) - 40) // 2 :][:, :40] for part in (ours, theirs)]
    assert float((middle[0] - middle[1]).abs().mean()) < 0.02
    assert float((middle[0].flip(1) - middle[1]).abs().mean()) > 0.1
    assert float(ours.sum()) == pytest.approx(float(cutout[..., 3].sum()) / 255, rel=0.01)


def test_inside_share() -> None:
    boxes = torch.tensor([[10, 10], [20, 10]])
    assert inside_share(boxes, 32, Setting(area=0.2)).tolist() == [1, 1]
    assert inside_share(boxes, 32, Setting(x=0.0, area=0.2)) == pytest.approx(torch.tensor([0.5, 0.5]).double())
    assert inside_share(boxes, 32, Setting(x=1.0, y=1.0, area=0.2))[0] == pytest.approx(0.25)
    assert float(inside_share(boxes, 32, Setting(area=1.0))[1]) == pytest.approx(1 / math.sqrt(2))
    assert float(inside_share(boxes, 32, Setting(area=1.0, rotation=45))[0]) == pytest.approx(0.5)


def test_pack_cuts_tight_keeps_what_fits_and_premultiplies() -> None:
    padded = torch.zeros(9, 7, 4, dtype=torch.uint8)
    padded[..., 0], padded[2:6, 3:5] = 255, square(4)[:, :2]  # red where nothing is seen
    rgba, boxes = pack([padded], 4)
    assert boxes.tolist() == [[2, 4]]
    assert torch.equal(rgba[0, :, 1:3], square(4)[:, :2])
    assert int(rgba[0, :, [0, 3]].sum()) == 0
    bigger, boxes = pack([padded], 16)
    assert boxes.tolist() == [[8, 16]]
    assert bool((bigger[0][bigger[0, ..., 3] > 0][:, :3] == COLOUR).all())
    exact, boxes = pack([padded, square(5)], None)
    assert boxes.tolist() == [[2, 4], [5, 5]]
    assert torch.equal(exact[1], square(5))
    with pytest.raises(ValueError, match="empty mask"):
        pack([torch.zeros(3, 3, 4, dtype=torch.uint8)], 4)
    with pytest.raises(ValueError, match="must be even"):
        pack([square(4)], 5)


def test_pairs_are_distinct_and_replayed() -> None:
    pairs = draw_pairs(50, 4, 3, torch.Generator().manual_seed(1))
    assert pairs.objects.tolist() == [one for one in range(50) for _ in range(3)]
    assert all(len(set(part.tolist())) == 3 for part in pairs.backgrounds.split(3))
    assert torch.equal(draw_pairs(50, 4, 3, torch.Generator().manual_seed(1)).backgrounds, pairs.backgrounds)
    with pytest.raises(ValueError, match="backgrounds_each=5 must lie in 1 to 4"):
        draw_pairs(1, 4, 5, torch.Generator())


def test_published_place() -> None:
    """The unit facts of the released generator's own tests, and its cut towards zero on both sides of it."""
    area = 717 * 683 / 1000**2
    place = published_place((717, 683), (1000, 1000), Setting(area=area))
    assert (place.scaled, place.corner, place.inside) == ((717, 683), (141, 158), 1.0)
    above = published_place((717, 683), (1000, 1000), Setting(y=0.0, area=area))
    assert above.corner[1] == -341  # int(-341.5)
    assert above.inside == pytest.approx(0.5, abs=1e-3)
    assert above.inside == round(above.inside, 4)
    half = published_place((717, 683), (1000, 1000), Setting(area=0.5))
    assert half.box_area == pytest.approx(0.5, abs=0.05)
    assert half.scaled == (int(717 * math.sqrt(0.5 / area)), int(683 * math.sqrt(0.5 / area)))
    small = published_place((10, 10), (32, 32), Setting(area=0.2))
    assert small.box_area == 14**2 / 32**2  # of 14.31 pixels
    with pytest.raises(ValueError, match="leaves no pixel of an object of 10x1 on 8x8"):
        published_place((10, 1), (8, 8), Setting(area=0.05))


@pytest.mark.parametrize("rotation", [0, 1, 45, 90, 101])
def test_published_images_show_what_their_place_says(rotation: float) -> None:
    cutout, behind = Image.fromarray(square(20).numpy(), "RGBA"), Image.new("RGB", (128, 128), (7, 7, 7))
    setting = Setting(area=0.1, rotation=rotation)
    made, place = published(cutout, behind, setting), published_place((20, 20), (128, 128), setting)
    changed = (np.asarray(made.image) != 7).any(2)
    turned = cutout.resize(place.scaled).rotate(rotation, Image.Resampling.BICUBIC, expand=True)
    left, top = place.corner
    outside = np.ones((128, 128), bool)
    outside[top : top + turned.height, left : left + turned.width] = False
    assert changed.any()
    assert not (changed & outside).any()
    assert made.mask_area == pytest.approx(place.box_area, rel=0.03)
    assert place.inside == 1


def test_published_scaling_leaks_nothing_from_under_the_mask() -> None:
    cutout = np.zeros((20, 20, 4), np.uint8)
    cutout[..., 0], cutout[4:16, 4:16] = 255, (0, 255, 0, 255)  # red context, green object
    made = published(Image.fromarray(cutout, "RGBA"), Image.new("RGB", (32, 32)), Setting(area=0.3, rotation=30))
    assert np.asarray(made.image)[..., 0].max() <= 1
    assert np.asarray(made.image)[..., 1].max() == 255


def test_jpeg_is_pillows() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    usual = io.BytesIO()
    image.save(usual, "JPEG")
    assert jpeg(image) == usual.getvalue()
