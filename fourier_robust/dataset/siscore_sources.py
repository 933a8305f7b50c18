"""Where objects and backgrounds come from: folders of cutouts and pictures, or the embedded shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from fourier_robust.dataset.locate import IMAGE_SUFFIXES, subfolders
from fourier_robust.dataset.shapes_draw import SHAPES, layer_colours
from fourier_robust.dataset.shapes_texture import SIZE, TEXTURES, textured
from fourier_robust.dataset.siscore_scenes import Backgrounds, Objects, Pairs, Scenes, draw_pairs, pack
from fourier_robust.errors import UserError
from fourier_robust.run.seed import derive

FINER = 2  # pixels of an object's long side, per pixel of the canvas' side
_CROP = 20  # pixels of a texture on the long side of an object: a box of 39 % of the canvas shows it as the set does
_CHUNK = 500


def shape_scenes(
    size: int, objects: int, each: int, seed: int, pictures: Path | None = None, compat: bool = False
) -> Scenes:
    """Shapes of the embedded set before textures of the same family, another texture for each background.

    An object and its backgrounds have the colours that the set gives a shape and what lies behind it; the texture of
    the object moves, turns and scales with it. No noise is added.

    Args:
        size: pixels of the canvas.
        objects: how many, classes in turn.
        each: backgrounds per object.
        seed: of all draws.
        pictures: a folder whose images, at any depth, are the backgrounds instead.
        compat: these are cut square as in `file_scenes`.

    Raises:
        UserError: no such folder, too few pictures in it, or one that cannot be read.
    """
    generator = torch.Generator().manual_seed(derive(seed, "siscore", "shapes"))
    labels = torch.arange(objects) % len(SHAPES)
    families = torch.randint(len(TEXTURES), (objects,), generator=generator)
    below, above = layer_colours(objects, generator)[..., None, None]
    begin = (SIZE - _CROP) // 2
    front = (above + textured(families, generator))[..., begin : begin + _CROP, begin : begin + _CROP]
    cutouts = [_cutout(labels[rows], front[rows], FINER * size) for rows in torch.arange(objects).split(_CHUNK)]
    rgba, boxes = pack([one for part in cutouts for one in part], FINER * size)
    names = tuple(SHAPES)
    instances = tuple(str(row // len(SHAPES)) for row in range(objects))
    found = Objects(rgba, boxes, labels, tuple(names[label] for label in labels.tolist()), instances)
    if pictures is not None:
        if not pictures.is_dir():
            raise UserError(f"no folder {pictures}: suite.backgrounds needs one with pictures")
        return Scenes(found, *_behind(sorted(_pictures(pictures)), pictures, objects, size, each, seed, compat))
    behind = torch.arange(objects).repeat_interleave(each)
    pixels = [
        _levels(_resized(below[rows] + textured(families[rows], generator), size)) for rows in behind.split(_CHUNK)
    ]
    drawn = tuple(f"{tuple(TEXTURES)[families[row]]}_{place}" for place, row in enumerate(behind.tolist()))
    return Scenes(found, Backgrounds(torch.cat(pixels), drawn), Pairs(behind, torch.arange(len(behind))))


def file_scenes(root: Path, labels: Mapping[str, int], size: int, each: int, seed: int, compat: bool) -> Scenes:
    """Cutouts in ``foregrounds/<class>/`` before pictures in ``backgrounds/``.

    A cutout is an image with an alpha channel, or has its mask in ``masks/<class>/<stem>.png`` (grey, white is object).

    Args:
        root: the folder that holds them.
        labels: class -> the model's class index.
        size: pixels of the canvas.
        each: backgrounds per object.
        seed: decides which.
        compat: backgrounds are cut square from the upper left and cutouts keep their pixels, as for the release; else
            from the middle, and cutouts are held at twice the canvas' size.

    Raises:
        UserError: folders or masks are missing, a class the model doesn't know, too few backgrounds.
    """
    for folder, content in (("foregrounds", "<class>/*.png with alpha"), ("backgrounds", "pictures")):
        if not (root / folder).is_dir():
            raise UserError(f"no folder {root / folder}: {content} belong there")
    classes = subfolders(root / "foregrounds")
    unknown = [name for name in classes if name not in labels]
    if unknown:
        raise UserError(f"{root / 'foregrounds' / unknown[0]} is none of the model's classes")
    files = [(name, path) for name in classes for path in _images(root / "foregrounds" / name)]
    if not files:
        raise UserError(f"no image in the class folders of {root / 'foregrounds'}")
    behind = root / "backgrounds"
    backgrounds, pairs = _behind(_images(behind), behind, len(files), size, each, seed, compat)
    if compat:
        rgba, boxes = pack([_read_cutout(root, name, path) for name, path in files], None)
    else:  # one by one: photographs are many times larger than what is kept of them
        found = [pack([_read_cutout(root, name, path)], FINER * size) for name, path in files]
        rgba, boxes = (torch.cat(parts) for parts in zip(*found, strict=True))
    known = torch.tensor([labels[name] for name, _ in files])
    objects = Objects(rgba, boxes, known, tuple(name for name, _ in files), tuple(path.stem for _, path in files))
    return Scenes(objects, backgrounds, pairs)


def _behind(
    files: list[Path], folder: Path, objects: int, size: int, each: int, seed: int, corner: bool
) -> tuple[Backgrounds, Pairs]:
    """Those of the pictures in `folder` that are drawn, and which object stands before which."""
    try:
        generator = torch.Generator().manual_seed(derive(seed, "siscore", "pairs"))
        pairs = draw_pairs(objects, len(files), each, generator)
    except ValueError as error:
        raise UserError(f"suite.{error} in {folder}") from None
    used, drawn = pairs.backgrounds.unique(return_inverse=True)
    pixels = torch.stack([_background(files[place], size, corner) for place in used.tolist()])
    names = tuple(str(files[place].relative_to(folder)) for place in used.tolist())
    return Backgrounds(pixels, names), Pairs(pairs.objects, drawn)


def _cutout(labels: torch.Tensor, front: torch.Tensor, side: int) -> torch.Tensor:
    """(N,) shapes and (N,3,h,w) textures -> (N,side,side,4) uint8; the shape's radius is nearly half of `side`."""
    radius = side / 2.1  # a tip of the star reaches to 1
    steps = (torch.arange(side) - (side - 1) / 2) / radius
    y, x = steps[:, None].expand(side, side), steps[None].expand(side, side)
    masks = torch.stack([(shape(x, y) * -radius + 0.5).clamp(0, 1) for shape in SHAPES.values()])
    alpha = masks[labels][:, None]
    drawn = torch.empty(len(labels), 3, side, side)
    for row in range(len(labels)):  # the texture covers the box, not the square
        down, across = (torch.nonzero(masks[labels[row]].amax(axis))[:, 0] for axis in (1, 0))
        top, left = int(down[0]), int(across[0])
        reach = max(int(down[-1]) - top, int(across[-1]) - left) + 1
        reach = min(reach, side - max(top, left))
        drawn[row, :, top : top + reach, left : left + reach] = _resized(front[row : row + 1], reach)[0]
    return _levels(torch.where(alpha > 0, torch.cat((drawn, alpha), 1), 0.0))


def _resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """(B,3,h,w) -> (B,3,size,size); as it is where that is its size."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, (size, size), mode="bicubic", antialias=True, align_corners=False)


def _levels(images: torch.Tensor) -> torch.Tensor:
    """(B,C,H,W) -> (B,H,W,C) uint8."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _pictures(folder: Path) -> Iterator[Path]:
    """Images at any depth."""
    yield from _images(folder)
    for name in subfolders(folder):
        yield from _pictures(folder / name)


def _read_cutout(root: Path, name: str, path: Path) -> torch.Tensor:
    """(h,w,4) uint8."""
    mask = root / "masks" / name / f"{path.stem}.png"
    try:
        with Image.open(path) as image:
            if mask.is_file():
                with Image.open(mask) as alpha:
                    if alpha.size != image.size:
                        raise UserError(f"{mask} has {alpha.size} pixels, its image {image.size}")
                    rgba = image.convert("RGB")
                    rgba.putalpha(alpha.convert("L"))
            elif image.has_transparency_data:
                rgba = image.convert("RGBA")
            else:
                raise UserError(f"{path} has no alpha channel, and there is no mask {mask}")
            pixels = np.array(rgba)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} or its mask is not a readable image: {str(error).splitlines()[0]}") from None
    if not pixels[..., 3].any():
        raise UserError(f"{path} has an empty mask")
    return torch.from_numpy(pixels)


def _background(path: Path, size: int, corner: bool) -> torch.Tensor:
    """(size,size,3) uint8: the largest square, resized (bilinear, antialiased)."""
    try:
        with Image.open(path) as image:
            short = min(image.size)
            left, top = (0, 0) if corner else (math.floor((length - short) / 2) for length in image.size)
            square = image.convert("RGB").crop((left, top, left + short, top + short))
            return torch.from_numpy(np.array(square.resize((size, size), Image.Resampling.BILINEAR)))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is not a readable image: {str(error).splitlines()[0]}") from None
