"""An object laid before a background at a size, an angle and a place: antialiased, or as the release was made."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

JPEG_QUALITY = 75  # Pillow's usual, with which the release was written


class Setting(NamedTuple):
    """One value of all factors.

    Attributes:
        x: of the object's centre, share of the canvas' width from the left.
        y: likewise, of its height from the top.
        area: of the upright object's box, share of the canvas.
        rotation: degrees, counter-clockwise.
    """

    x: float = 0.5
    y: float = 0.5
    area: float = 0.2
    rotation: float = 0.0


class Drawn(NamedTuple):
    """Images (B,3,S,S) float32 in [0,1]; the share (B,) float64 of the canvas that the object covers in each."""

    images: torch.Tensor
    mask_area: torch.Tensor


def compose(layers: torch.Tensor, boxes: torch.Tensor, backgrounds: torch.Tensor, setting: Setting) -> Drawn:
    """Antialiased and without rounding to whole pixels: turned first, at the size of `layers`, then scaled and placed.

    A pixel of the canvas takes from each pixel of the object the share that the two have in common (area resampling),
    so scaling down averages and the covered area is exact. Turning is bilinear; by multiples of 90 degrees, exact.

    Args:
        layers: (B,4,M,M) float32, see `Objects.layers`.
        boxes: (B,2), see `Objects`.
        backgrounds: (B,3,S,S) float32 in [0,1].
        setting: size, angle and place.
    """
    size, boxes = backgrounds.shape[-1], boxes.double()
    factor = (setting.area * size * size / boxes.prod(1)).sqrt()  # (B,) canvas pixels per pixel of the object
    turned = turn(layers, setting.rotation)
    reach = float(factor.max()) * turned.shape[-1] / 2
    spans, shares = [], []
    for centre in (setting.y * size, setting.x * size):
        first, last = max(0, math.floor(centre - reach)), min(size, math.ceil(centre + reach))
        spans.append(slice(first, last))
        shares.append(_shares(turned.shape[-1], first, last, factor, centre).to(layers))
    down, across = shares
    scaled = down[:, None] @ turned @ across[:, None].transpose(-1, -2)
    images = backgrounds.clone()
    window = images[:, :, spans[0], spans[1]]  # the rest of the canvas has no part of the object
    window.mul_(1 - scaled[:, 3:]).add_(scaled[:, :3]).clamp_(0, 1)
    return Drawn(images, scaled[:, 3].double().sum((1, 2)).cpu() / size**2)


def turn(layers: torch.Tensor, degrees: float) -> torch.Tensor:
    """(B,C,M,M) turned counter-clockwise about its middle, on a canvas that holds every corner; transparent outside."""
    degrees = degrees % 360
    if degrees % 90 == 0:
        return torch.rot90(layers, int(degrees // 90), (2, 3))
    side = layers.shape[-1]
    wide = side + 2 * math.ceil(side * (math.sqrt(2) - 1) / 2)
    cos, sin, scale = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), wide / side
    # For the pixel at (x,y) of the result, y down: the place in `layers` that turns into it.
    matrix = layers.new_tensor([[cos * scale, -sin * scale, 0], [sin * scale, cos * scale, 0]])
    grid = F.affine_grid(matrix.expand(len(layers), 2, 3), [len(layers), 1, wide, wide], align_corners=False)
    return F.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _shares(side: int, first: int, last: int, factor: torch.Tensor, centre: float) -> torch.Tensor:
    """(B,last-first,side) float64: what pixel i of the canvas and pixel j of the scaled object have in common, pixels.

    Args:
        side: pixels of the object's square.
        first: pixel of the canvas, and
        last: the one after the last.
        factor: (B,) canvas pixels per pixel of the object.
        centre: where the middle of the square lies, canvas pixels.
    """
    edges = torch.arange(side + 1, dtype=torch.float64, device=factor.device) - side / 2
    edges = centre + factor[:, None] * edges
    canvas = torch.arange(first, last, dtype=torch.float64, device=factor.device)[:, None]
    below = torch.minimum(canvas + 1, edges[:, None, 1:])
    return (below - torch.maximum(canvas, edges[:, None, :-1])).clamp_min_(0)


class Published(NamedTuple):
    """One image as the release's generator makes it, before JPEG.

    Attributes:
        image: the scene.
        mask_area: share of the canvas that the object covers.
    """

    image: Image.Image
    mask_area: float


class Place(NamedTuple):
    """Where the release's generator puts an object, in whole pixels.

    Attributes:
        scaled: (width, height) after scaling.
        corner: (left, top) of the turned box; may lie outside the canvas.
        inside: share of the turned box on the canvas, to 4 decimals.
        box_area: of the upright box, share of the canvas.
    """

    scaled: tuple[int, int]
    corner: tuple[int, int]
    inside: float
    box_area: float


def published_place(cutout: tuple[int, int], canvas: tuple[int, int], setting: Setting) -> Place:
    """Size and place of an object as `published` draws it; (width, height) in pixels.

    Raises:
        ValueError: less than a pixel is left of the object.
    """
    (width, height), (wide, high) = cutout, canvas
    factor = math.sqrt(setting.area / (width * height / (wide * high)))
    scaled = int(width * factor), int(height * factor)
    if min(scaled) < 1:
        raise ValueError(f"area {setting.area:g} leaves no pixel of an object of {width}x{height} on {wide}x{high}")
    across, down = _expanded(scaled, setting.rotation)
    left, top = int(int(setting.x * wide) - 0.5 * across), int(int(setting.y * high) - 0.5 * down)
    shown_across = max(0, min(wide, left + across) - max(0, left))
    shown_down = max(0, min(high, top + down) - max(0, top))
    inside = round(shown_across * shown_down / (across * down), 4)
    return Place(scaled, (left, top), inside, scaled[0] * scaled[1] / (wide * high))


@lru_cache(maxsize=100_000)
def _expanded(size: tuple[int, int], degrees: float) -> tuple[int, int]:
    """(width, height) of the canvas on which Pillow turns an image."""
    return size if degrees == 0 else Image.new("1", size).rotate(degrees, expand=True).size


def inside_share(boxes: torch.Tensor, size: int, setting: Setting) -> torch.Tensor:
    """(B,) float64: share on the canvas of the upright rectangle round each turned box, as `compose` draws it.

    Args:
        boxes: (B,2), see `Objects`.
        size: pixels of the canvas.
        setting: size, angle and place.
    """
    boxes = boxes.double() * (setting.area * size * size / boxes.double().prod(1)).sqrt()[:, None]
    angle = math.radians(setting.rotation)
    cos, sin = (round(abs(part), 12) for part in (math.cos(angle), math.sin(angle)))
    width, height = boxes[:, 0] * cos + boxes[:, 1] * sin, boxes[:, 0] * sin + boxes[:, 1] * cos
    shown = [
        (centre * size + length / 2).clamp(0, size) - (centre * size - length / 2).clamp(0, size)
        for centre, length in ((setting.x, width), (setting.y, height))
    ]
    return (shown[0] * shown[1] / (width * height)).round(decimals=12)  # a whole box is 1, not nearly


def published(cutout: Image.Image, background: Image.Image, setting: Setting) -> Published:
    """Scaled to whole pixels (cut off, bilinear), then turned (bicubic, expanded), then pasted at whole pixels.

    Args:
        cutout: RGBA, tight to its mask.
        background: RGB, of the canvas' size.
        setting: size, angle and place; the centre is cut to a whole pixel, the corner towards zero.

    Raises:
        ValueError: less than a pixel is left of the object.

    Source: google-research/si-score at abd52d6, the order and roundings of its generator.
    """
    place = published_place(cutout.size, background.size, setting)
    turned = cutout.resize(place.scaled, Image.Resampling.BILINEAR)
    turned = turned.rotate(setting.rotation, Image.Resampling.BICUBIC, expand=True)
    left, top = place.corner
    scene, mask = background.copy(), Image.new("L", background.size)
    scene.paste(turned, (left, top), turned)
    mask.paste(turned.getchannel("A"), (left, top))
    covered = float(np.asarray(mask, dtype=np.float64).mean() / 255)
    return Published(scene, covered)


def jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """The file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
