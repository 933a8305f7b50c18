"""How often is the model wrong when one spatial frequency is added to its input? The Fourier heat map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.errors import DAMAGED_ARRAYS, UserError
from fourier_robust.fourier.basis import Phase
from fourier_robust.metric.outcome import GAP, SHARE, Outcome, error_rate, mean_of_images
from fourier_robust.run.seed import derive
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.heatmap_plane import (
    Cells,
    FourierNoise,
    Frequency,
    drawn_images,
    half_plane,
    plane_of,
    rings_and_mean,
    usual_norm,
)


class Heatmap:
    """Error under ``x + r eps U``, U the real basis image of one frequency, for half of the frequencies.

    ``(u,v)`` and ``(-u,-v)`` are one basis image up to its sign, so half of the plane is measured and mirrored: 514
    frequencies at 32 pixels (the mean among them). The sign r is drawn per image and channel from the seed, the images
    too: two models are asked the same questions, which makes their difference far more precise than either map.

    Args:
        images: of the test split, drawn without replacement by `seed` (the paper takes 1000 of CIFAR-10); None all.
        eps: L2 norm of the added image in each colour channel, pixels in [0,1]; None takes the paper's, 4.0 up to 128
            pixels and 15.7 above.
        cells: ``all``; ``centre63``, |u| and |v| at most 31; ``rings``, up to `per_ring` directions of each radius.
        per_ring: see `cells`.
        phase: of the basis image: ``mixed`` (the released code), ``cosine``, ``sine``, or ``random`` per image.
        clip: whether the sum is cut to [0,1]; the paper and its code do not.
        against: a heatmap.npz of another model, measured with the same settings: adds the map of differences.
        seed: of images, signs and phases.

    Raises:
        ValueError: eps, images or per_ring not above 0.

    Source: Yin et al., "A Fourier Perspective on Model Robustness in Computer Vision", NeurIPS 2019; released code in
        google-research/frequency_analysis.
    Deviates: a released option (`rand_flip`) ignores the norm; here it holds.
    """

    name = "heatmap"
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy on the clean images of the draw; 95 % interval by Wilson",
        "error(u,v)": "the same with the basis image of u cycles down, v across added; 95 % interval by Wilson",
        "error(k)": "mean of error(u,v) over the measured frequencies with round(sqrt(u^2 + v^2)) = k, both halves of "
        "the plane; interval over images, each image's errors averaged first",
        "mean_error": "mean of error(u,v) over all measured frequencies, both halves of the plane, without the mean "
        "image; interval over images",
        "difference": "mean_error minus the other model's, image by image; interval over images",
    }

    def __init__(
        self,
        images: int | None = 1000,
        eps: float | None = None,
        cells: Cells = "all",
        per_ring: int = 8,
        phase: Phase | Literal["random"] = "mixed",
        clip: bool = False,
        against: str | None = None,
        seed: int = 0,
    ) -> None:
        for key, value in (("images", images), ("eps", eps), ("per_ring", per_ring)):
            if value is not None and value <= 0:
                raise ValueError(f"suite.{key}={value} must be above 0")
        self.images, self.eps, self.cells, self.per_ring = images, eps, cells, per_ring
        self.phase, self.clip, self.seed = phase, clip, seed
        self._other = None if against is None else _read(Path(against))

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """The clean images, then one per frequency; see `Suite.conditions`."""
        size = dataset.size
        self._size, self._of = size, dataset.name
        self._norm = self.eps or usual_norm(size)
        self._frequencies = half_plane(size, self.cells, self.per_ring, derive(self.seed, "heatmap", "rings"))
        self._cell_of = {
            Condition(dataset.name, f"fourier_{u}_{v}", eps=self._norm): (u, v) for u, v in self._frequencies
        }
        if self._other is not None:
            self._check_other()
        self._split: Split | None = None
        return [Condition(dataset.name), *self._cell_of]

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The drawn images, with the condition's basis image added; see `Suite.source`."""
        if self._split is None:
            self._split = dataset.split("test", device)
            self._order = drawn_images(len(self._split), self.images, self.seed)
        identity = f"{self._split.identity}+{len(self._order)}-of-seed{self.seed}"
        batches = self._split.batches(batch_size, self._order)
        if condition not in self._cell_of:
            return Source(batches, len(self._order), identity)
        frequency = self._cell_of[condition]
        how = f"eps{self._norm:g}-{self.phase}" + ("-clip" if self.clip else "")
        noisy = self._noisy(batches, frequency)
        return Source(noisy, len(self._order), f"{identity}+fourier{frequency}-{how}")

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Error per frequency, per ring and over all; see `Suite.measure`."""
        clean = Condition(self._of)
        found = [Measurement(clean, "error", error_rate(outcomes[clean].wrong))]
        self._wrong = {cell: outcomes[condition].wrong for condition, cell in self._cell_of.items()}
        plane = Condition(f"{self._of}_fourier", eps=self._norm)
        overall, rings = rings_and_mean(self._wrong, self._size)
        found.append(Measurement(plane, "mean_error", mean_of_images(overall).within(SHARE)))
        for ring, wrong in rings.items():
            found.append(Measurement(plane, f"error({ring})", mean_of_images(wrong).within(SHARE)))
        for (u, v), wrong in self._wrong.items():
            found.append(Measurement(plane, f"error({u},{v})", error_rate(wrong)))
        if self._other is not None:
            theirs, _ = rings_and_mean(dict(zip(self._wrong, _bits(self._other), strict=True)), self._size)
            found.append(Measurement(plane, "difference", mean_of_images(overall - theirs).within(GAP)))
        return found

    def remarks(self) -> list[str]:
        """Norm, phase and how many frequencies; see `Suite.remarks`."""
        clipped = "clipped to [0,1]" if self.clip else "not clipped"
        return [
            f"eps {self._norm:g} (L2 per channel), phase {self.phase}, {clipped}, "
            f"{len(self._frequencies)} frequencies ({self.cells})"
        ]

    def files(self, outcomes: Mapping[Condition, Outcome], who: str) -> Mapping[str, bytes | Mapping[str, np.ndarray]]:
        """The map as picture and arrays, and that of differences; see `FilesSuite.files`."""
        from fourier_robust.report.heatmap_figure import heatmap_png

        rates = {cell: error_rate(wrong) for cell, wrong in self._wrong.items()}
        error = plane_of({cell: rate.value for cell, rate in rates.items()}, self._size)
        half_width = plane_of({cell: (rate.high - rate.low) / 2 for cell, rate in rates.items()}, self._size)
        arrays = {
            "error": error,
            "half_width": half_width,
            "cells": np.array(list(self._wrong), dtype=np.int64),
            "wrong": np.packbits(torch.stack(list(self._wrong.values())).bool().numpy(), axis=1),
            "n": np.array(len(self._order)),
            "settings": np.array(self._settings()),
        }
        title = f"error of {who}, n = {len(self._order)}\n{self.remarks()[0]}"
        found: dict[str, bytes | Mapping[str, np.ndarray]] = {
            "heatmap.npz": arrays,
            "heatmap.png": heatmap_png(title, error, (0.0, 1.0), "error"),
        }
        if self._other is not None:
            gap = error - self._other["error"]
            reach = float(np.nanmax(np.abs(gap))) or 1.0
            title = f"error of {who} minus the other model's\nsame images and signs, n = {len(self._order)}"
            found["difference.png"] = heatmap_png(title, gap, (-reach, reach), "difference of error")
        return found

    def _noisy(self, batches: Iterator[Batch], frequency: Frequency) -> Iterator[Batch]:
        """Batches with ``r eps U`` added."""
        noise = FourierNoise(frequency, self._size, self._norm, self.phase, self.clip, self.seed)
        for batch in batches:
            yield batch._replace(images=noise.add(batch.images))

    def _settings(self) -> str:
        clip = "clip" if self.clip else "noclip"
        return f"{self._of} {self.images} {self._norm:g} {self.cells} {self.per_ring} {self.phase} {clip} {self.seed}"

    def _check_other(self) -> None:
        assert self._other is not None
        theirs = str(self._other["settings"])
        if theirs != self._settings():
            raise UserError(f"suite.against was measured with other settings: {theirs}, not {self._settings()}")


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a heatmap.npz; no pickle is ever read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("error", "cells", "wrong", "n", "settings")}
    except DAMAGED_ARRAYS as error:
        why = (str(error).splitlines() or ["damaged"])[0]
        raise UserError(f"suite.against: {path} is no heatmap.npz ({why})") from error
    return arrays


def _bits(arrays: Mapping[str, np.ndarray]) -> torch.Tensor:
    """(cells, N) float64 of a heatmap.npz."""
    return torch.from_numpy(np.unpackbits(arrays["wrong"], axis=1, count=int(arrays["n"]))).double()
