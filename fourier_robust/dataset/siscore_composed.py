"""SI-Score images of any objects and backgrounds, made as they are asked for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from fourier_robust.dataset.base import Batch
from fourier_robust.dataset.siscore_compose import (
    Published,
    Setting,
    compose,
    inside_share,
    jpeg,
    published,
    published_place,
)
from fourier_robust.dataset.siscore_design import PUBLISHED_INSIDE, Grid, Step, steps_of
from fourier_robust.dataset.siscore_scenes import Scenes
from fourier_robust.errors import UserError
from fourier_robust.metric.factor import Members


class Composed:
    """Images of all factor values over the same pairs.

    Args:
        scenes: objects, backgrounds and pairs.
        grid: what moves.
        compat: as the release was made: whole pixels, Pillow's filters, JPEG; images are left out where too little of
            the object's box is on the canvas.
        min_inside: that share; None takes the release's with `compat` (0.95, for location 0), else 0.

    Raises:
        UserError: an area at which less than a pixel is left of an object.
    """

    def __init__(self, scenes: Scenes, grid: Grid, compat: bool = False, min_inside: float | None = None) -> None:
        self.scenes, self.compat, self._min_inside = scenes, compat, min_inside
        self._grid, self._identity = grid, scenes.identity()
        self.objects = len(scenes.objects.labels)
        self._check(min((*grid.areas, *grid.turned, grid.placed)))
        self._kept: dict[str, dict[str, list[tuple[Step, torch.Tensor]]]] = {}

    def values(self, factor: str) -> tuple[str, ...]:
        """As the tables write them; those that have images."""
        return tuple(value for value, kept in self.kept(factor).items() if any(len(rows) for _, rows in kept))

    def left_out(self, factor: str) -> tuple[int, int]:
        """Images that are left out, and how many there would be."""
        every = [rows for kept in self.kept(factor).values() for _, rows in kept]
        whole = len(every) * len(self.scenes.pairs.objects)
        return whole - sum(map(len, every)), whole

    def members(self, factor: str, value: str) -> Members:
        """See `Members`."""
        kept, pairs = self.kept(factor)[value], self.scenes.pairs.objects
        chosen = torch.cat([rows for _, rows in kept])
        places = torch.cat([rows + number * len(pairs) for number, (_, rows) in enumerate(kept)])
        return Members(pairs[chosen], places)

    def identity(self, factor: str, value: str) -> str:
        """What decides the images of a value."""
        how = ([step.setting for step, _ in self.kept(factor)[value]], self.compat, self.min_inside(factor))
        return f"siscore-{factor}-{hashlib.sha256(f'{self._identity}{how}'.encode()).hexdigest()}"

    def min_inside(self, factor: str) -> float:
        """Images with less of the turned box on the canvas are left out."""
        usual = PUBLISHED_INSIDE[factor] if self.compat else 0.0
        return usual if self._min_inside is None else self._min_inside

    def batches(self, factor: str, value: str, device: torch.device, batch_size: int) -> Iterator[Batch]:
        """The images of a value, in the order of `members`."""
        start = 0
        for step, rows in self.kept(factor)[value]:
            for part in rows.split(batch_size) if len(rows) else ():
                images, _ = self.images(step.setting, part, device)
                labels = self.scenes.objects.labels[self.scenes.pairs.objects[part]].to(device)
                yield Batch(images, labels, torch.arange(start, start + len(part)))
                start += len(part)

    def picture(self, factor: str, value: str, pair: int) -> np.ndarray:
        """(S,S,3) float32 in [0,1]: one pair at the first setting of a value, left out or not."""
        setting = steps_of(self._grid, factor, 1)[value][0].setting
        images, _ = self.images(setting, torch.tensor([pair]), torch.device("cpu"))
        return images[0].permute(1, 2, 0).numpy()

    def images(
        self, setting: Setting, rows: torch.Tensor, device: torch.device, coded: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,3,S,S) float32 in [0,1] and the covered share (B,) of the pairs at `rows`."""
        objects, backgrounds, pairs = self.scenes
        if self.compat:
            made = [self._published(setting, row) for row in rows.tolist()]
            scenes = [Image.open(io.BytesIO(jpeg(one.image))) if coded else one.image for one in made]
            levels = torch.from_numpy(np.stack([np.asarray(scene) for scene in scenes]))
            return levels.to(device).permute(0, 3, 1, 2).float() / 255, torch.tensor([one.mask_area for one in made])
        fronts, behind = pairs.objects[rows], pairs.backgrounds[rows]
        pixels = backgrounds.pixels[behind].to(device).permute(0, 3, 1, 2).float() / 255
        drawn = compose(objects.layers(fronts).to(device), objects.boxes[fronts].to(device), pixels, setting)
        return drawn.images, drawn.mask_area

    def _published(self, setting: Setting, row: int) -> Published:
        objects, backgrounds, pairs = self.scenes
        one, behind = int(pairs.objects[row]), int(pairs.backgrounds[row])
        (width, height), side = objects.boxes[one].tolist(), objects.rgba.shape[1]
        top, left = (side - height) // 2, (side - width) // 2
        cutout = objects.rgba[one, top : top + height, left : left + width].contiguous().numpy()
        return published(Image.fromarray(cutout, "RGBA"), Image.fromarray(backgrounds.pixels[behind].numpy()), setting)

    def inside_and_area(self, setting: Setting, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Share of the turned box on the canvas, and area of the upright box as drawn, (B,) each."""
        boxes, size = self.scenes.objects.boxes[self.scenes.pairs.objects[rows]], self.scenes.size
        if not self.compat:
            return inside_share(boxes, size, setting), torch.full((len(rows),), setting.area, dtype=torch.float64)
        places = [published_place((width, height), (size, size), setting) for width, height in boxes.tolist()]
        return torch.tensor([one.inside for one in places]), torch.tensor([one.box_area for one in places])

    def kept(self, factor: str) -> dict[str, list[tuple[Step, torch.Tensor]]]:
        """Value -> its steps, and the pairs that are kept at each."""
        if factor not in self._kept:
            count, least = len(self.scenes.pairs.objects), self.min_inside(factor)
            every = torch.arange(count)
            found: dict[str, list[tuple[Step, torch.Tensor]]] = {}
            for value, steps in steps_of(self._grid, factor, count).items():
                for step in steps:
                    kept = every if least <= 0 else every[self.inside_and_area(step.setting, every)[0] >= least]
                    found.setdefault(value, []).append((step, kept))
            self._kept[factor] = found
        return self._kept[factor]

    def _check(self, area: float) -> None:
        """Refuse a canvas on which the smallest objects are less than a pixel."""
        size, boxes = self.scenes.size, self.scenes.objects.boxes.double()
        short = (area * size * size / boxes.prod(1)).sqrt() * boxes.amin(1)
        if float(short.min()) < 1:
            raise UserError(
                f"suite.size: on {size}x{size} pixels an area of {area:g} leaves less than a pixel of an object; "
                "give larger areas or a larger canvas"
            )
