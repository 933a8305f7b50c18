"""How the embedded set is drawn: a shape (the class) cut out of one texture and laid on another of the same family.

Everything is a batch: the only loops run over the ten classes and the ten texture families. Lengths of a shape are
in units of its radius, of a texture in pixels; frequencies are in cycles per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from fourier_robust.dataset.shapes_texture import SIZE, TEXTURES, pixel_centres, textured, uniform

_CHUNK = 500  # images drawn at a time: bounds the memory, and is faster than all at once (temporaries stay in cache)

_RADIUS = (7.5, 11.5)  # pixels
_SHIFT = 3.0  # pixels: the centre lies at most this far from the image's, on either axis
_TURN = math.radians(30)  # either way; no two classes look alike at any angle or mirrored
_MIDDLE = (0.35, 0.65)  # mean grey of the two layers
_STEP = (0.15, 0.5)  # difference of grey between the two layers
_CHROMA = 0.10  # standard deviation of each channel's departure from a layer's grey


class Drawing(NamedTuple):
    """images (N,H,W,C) uint8; labels (N,) and textures (N,) int64: indices into `SHAPES` and `TEXTURES`."""

    images: torch.Tensor
    labels: torch.Tensor
    textures: torch.Tensor


def draw(labels: torch.Tensor, agreement: float, noise: float, generator: torch.Generator) -> Drawing:
    """One image per label.

    Args:
        labels: (N,) int64 in [0, 10).
        agreement: probability in [0,1] that the texture family is the class's own (family k of class k); otherwise it
            is drawn uniformly from all ten.
        noise: standard deviation of the Gaussian noise on every value, in [0,1] pixels.
        generator: on the CPU.
    """
    own = torch.rand(len(labels), generator=generator) < agreement
    textures = torch.where(own, labels, torch.randint(len(TEXTURES), labels.shape, generator=generator))
    chunks = zip(labels.split(_CHUNK), textures.split(_CHUNK), strict=True)
    return Drawing(torch.cat([_paint(*chunk, noise, generator) for chunk in chunks]), labels, textures)


def _paint(labels: torch.Tensor, textures: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
    """(N,) shapes and texture families -> (N,H,W,C) uint8."""
    below, above = (
        colour[:, :, None, None] + textured(textures, generator) for colour in layer_colours(len(labels), generator)
    )
    images = below.lerp_(above, coverage(labels, draw_pose(len(labels), generator))[:, None])
    images.add_(torch.randn(images.shape, generator=generator), alpha=noise)
    return images.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def layer_colours(count: int, generator: torch.Generator) -> torch.Tensor:
    """(2,N,3) mean colours of background and shape: a step of grey, up or down, and an independent hue each."""
    step = uniform(_STEP, count, generator) / 2
    step = torch.where(torch.rand(count, generator=generator) < 0.5, step, -step)
    grey = uniform(_MIDDLE, count, generator) + torch.stack((-step, step))
    chroma = _CHROMA * torch.randn(2, count, 3, generator=generator)
    return grey[..., None] + chroma - chroma.mean(-1, keepdim=True)


_Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _box(x: torch.Tensor, y: torch.Tensor, half_width: float, half_height: float) -> torch.Tensor:
    return torch.maximum(x.abs() - half_width, y.abs() - half_height)


def _disk(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.hypot(x, y) - 0.8


def _ring(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (torch.hypot(x, y) - 0.7).abs() - 0.22


def _square(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _box(x, y, 0.7, 0.7)


def _frame(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _box(x, y, 0.6, 0.6).abs() - 0.18


def _triangle(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.maximum(0.866 * x.abs() - 0.5 * y, y) - 0.48


def _cross(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.minimum(_box(x, y, 0.27, 0.9), _box(x, y, 0.9, 0.27))


def _star(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Five points: the plane folded to the sector between a tip (radius 1) and its notch (radius 0.42)."""
    half = math.pi / 5
    turn = torch.atan2(x, -y)
    angle = (torch.remainder(turn + half, 2 * half) - half).abs()
    radius = torch.hypot(x, y)
    across, along = 0.42 * math.sin(half), 1 - 0.42 * math.cos(half)
    x, y = radius * torch.cos(angle), radius * torch.sin(angle)
    return ((x - 1) * across + y * along) / math.hypot(across, along)


def _bars(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _box(x.abs() - 0.55, y, 0.24, 0.85)


def _elbow(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.minimum(_box(x + 0.45, y, 0.27, 0.85), _box(x, y - 0.58, 0.72, 0.27))


def _crescent(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.maximum(torch.hypot(x, y) - 0.9, 0.72 - torch.hypot(x - 0.5, y))


SHAPES: dict[str, _Distance] = {
    "disk": _disk,
    "ring": _ring,
    "square": _square,
    "frame": _frame,
    "triangle": _triangle,
    "cross": _cross,
    "star": _star,
    "bars": _bars,
    "elbow": _elbow,
    "crescent": _crescent,
}


class Pose(NamedTuple):
    """How each shape lies: radius (N,) in pixels, centre (2,N) in pixels right and down, turn (N,) in radians, ccw."""

    radius: torch.Tensor
    centre: torch.Tensor
    turn: torch.Tensor


def draw_pose(count: int, generator: torch.Generator) -> Pose:
    """Size, place and angle of `count` shapes, each uniform in its range."""
    centre = uniform((-_SHIFT, _SHIFT), 2 * count, generator).view(2, count)
    return Pose(uniform(_RADIUS, count, generator), centre, uniform((-_TURN, _TURN), count, generator))


def coverage(labels: torch.Tensor, pose: Pose) -> torch.Tensor:
    """(N,) labels -> (N,H,W) float32 in [0,1]: the share of each pixel that lies in the shape.

    The share is taken from the signed distance to the outline, half a pixel to either side of it.
    """
    radius, turn = pose.radius[:, None, None], pose.turn[:, None, None]
    y, x = pixel_centres()
    x, y = (x - pose.centre[0][:, None, None]) / radius, (y - pose.centre[1][:, None, None]) / radius
    x, y = x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()
    distance = torch.empty(len(labels), SIZE, SIZE)
    for label, shape in enumerate(SHAPES.values()):
        rows = (labels == label).nonzero()[:, 0]
        distance[rows] = shape(x[rows], y[rows])
    return distance.mul_(-radius).add_(0.5).clamp_(0, 1)
