"""Composed SI-Score images as the files and the lines of metadata of a release."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from fourier_robust.dataset.siscore_compose import jpeg
from fourier_robust.dataset.siscore_composed import Composed

RELEASE_COLUMNS = (
    "image_id",
    "x_coord",
    "y_coord",
    "area",
    "rotation",
    "foreground_class",
    "foreground_instance",
    "background",
    "bg_resolution_width",
    "bg_resolution_height",
    "pct_inside_image",
)
OWN_COLUMNS = ("area_realised", "mask_area", "pair_id")  # box and object on the canvas, shares of it
_AT_ONCE = 64  # images


class Entry(NamedTuple):
    """A file of a release: path below the factor's folder, bytes, and its line of the metadata."""

    path: str
    content: bytes
    row: Mapping[str, Any]


def entries(composed: Composed, factor: str, value: str, suffix: str) -> Iterator[Entry]:
    """The files of a value: ``png`` without loss, or ``jpg`` as the release's; of `compat` images always the latter.

    Args:
        composed: makes the images.
        factor: as in `Composed.values`.
        value: one of these.
        suffix: see above.
    """
    objects, _, pairs = composed.scenes
    classes, size = sorted(set(objects.classes)), composed.scenes.size
    numbers, suffix = _instance_numbers(objects.classes), "jpg" if composed.compat else suffix
    for step, rows in composed.kept(factor)[value]:
        for part in rows.split(_AT_ONCE) if len(rows) else ():
            images, covered = composed.images(step.setting, part, torch.device("cpu"), coded=False)
            levels = images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            inside, areas = composed.inside_and_area(step.setting, part)
            for place, pair in enumerate(part.tolist()):
                one, number = int(pairs.objects[pair]), step.first + pair
                name = objects.classes[one]
                what = (classes.index(name), numbers[one], int(pairs.backgrounds[pair]))
                came = (round(float(inside[place]), 4), float(areas[place]), float(covered[place]), pair)
                cells = (number, *step.setting, *what, size, size, *came)
                row = dict(zip((*RELEASE_COLUMNS, *OWN_COLUMNS), cells, strict=True))
                yield Entry(f"{name}/{number}.{suffix}", _encoded(levels[place], suffix), row)


def _instance_numbers(classes: tuple[str, ...]) -> list[int]:
    """Place of each object among those of its class."""
    seen: dict[str, int] = {}
    numbers = []
    for name in classes:
        numbers.append(seen.get(name, 0))
        seen[name] = numbers[-1] + 1
    return numbers


def _encoded(levels: np.ndarray, suffix: str) -> bytes:
    image = Image.fromarray(levels)
    if suffix == "jpg":
        return jpeg(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
