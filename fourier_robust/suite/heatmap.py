"""How often is the model wrong when one spatial frequency is added to its input? The Fourier heat map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.errors import UserError
from fourier_robust.fourier.basis import Phase, fourier_basis, random_phases
from fourier_robust.metric.outcome import Outcome, error_rate, mean_of_images
from fourier_robust.run.seed import derive
from fourier_robust.suite.base import Condition, Measurement, Source

NORMS = {32: 4.0, 224: 15.7}  # the paper's, L2 per channel, by pixels per side
Frequency = tuple[int, int]


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
        cells: Literal["all", "centre63", "rings"] = "all",
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
        self._norm = self.eps or NORMS[32 if size <= 128 else 224]
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
            count = len(self._split)
            draw = torch.Generator().manual_seed(derive(self.seed, "heatmap", "images"))
            wanted = min(self.images or count, count)
            self._order = torch.randperm(count, generator=draw)[:wanted].sort().values
        identity = f"{self._split.identity}+{len(self._order)}-of-seed{self.seed}"
        batches = self._split.batches(batch_size, self._order)
        if condition not in self._cell_of:
            return Source(batches, len(self._order), identity)
        frequency = self._cell_of[condition]
        how = f"eps{self._norm:g}-{self.phase}" + ("-clip" if self.clip else "")
        noisy = self._noisy(batches, frequency, device)
        return Source(noisy, len(self._order), f"{identity}+fourier{frequency}-{how}")

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Error per frequency, per ring and over all; see `Suite.measure`."""
        clean = Condition(self._of)
        found = [Measurement(clean, "error", error_rate(outcomes[clean].wrong))]
        self._wrong = {cell: outcomes[condition].wrong for condition, cell in self._cell_of.items()}
        plane = Condition(f"{self._of}_fourier", eps=self._norm)
        overall = self._mean(lambda cell: cell != (0, 0))
        found.append(Measurement(plane, "mean_error", mean_of_images(overall)))
        for ring in sorted({_ring(cell) for cell in self._wrong}):
            rate = mean_of_images(self._mean(lambda cell, ring=ring: _ring(cell) == ring))
            found.append(Measurement(plane, f"error({ring})", rate))
        for (u, v), wrong in self._wrong.items():
            found.append(Measurement(plane, f"error({u},{v})", error_rate(wrong)))
        if self._other is not None:
            theirs = _bits(self._other)
            weights = torch.tensor([self._copies(cell) * (cell != (0, 0)) for cell in self._wrong]).double()
            mean = (weights[:, None] * theirs).sum(0) / weights.sum()
            found.append(Measurement(plane, "difference", mean_of_images(overall - mean)))
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
        error = self._plane({cell: rate.value for cell, rate in rates.items()})
        half_width = self._plane({cell: (rate.high - rate.low) / 2 for cell, rate in rates.items()})
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

    def _noisy(self, batches: Iterator[Batch], frequency: Frequency, device: torch.device) -> Iterator[Batch]:
        """Batches with ``r eps U`` added; draws on the CPU, in the order of the images."""
        draw = torch.Generator().manual_seed(derive(self.seed, "heatmap", *frequency))
        freqs = torch.tensor([frequency])
        fixed = None if self.phase == "random" else fourier_basis(freqs, self._size, self._size, self.phase)
        for batch in batches:
            count, channels = batch.images.shape[:2]
            signs = torch.randint(2, (count, channels, 1, 1), generator=draw).mul(2).sub(1)
            basis = fixed
            if basis is None:
                phases = random_phases(count, draw)
                basis = fourier_basis(freqs.expand(count, -1), self._size, self._size, phases)
            added = batch.images + (signs * self._norm).to(device) * basis[:, None].to(device)
            yield batch._replace(images=added.clamp_(0, 1) if self.clip else added)

    def _mean(self, chosen: Any) -> torch.Tensor:
        """(N,) mean over the chosen frequencies, in both halves of the plane, of each image's errors."""
        cells = [cell for cell in self._wrong if chosen(cell)]
        weights = torch.tensor([self._copies(cell) for cell in cells]).double()
        return (weights[:, None] * torch.stack([self._wrong[cell] for cell in cells])).sum(0) / weights.sum()

    def _copies(self, cell: Frequency) -> int:
        return 1 if _mirror(cell, self._size) == cell else 2

    def _plane(self, values: Mapping[Frequency, float]) -> np.ndarray:
        """(H,W) float64, zero frequency at (H//2,W//2), NaN where nothing was measured."""
        plane = np.full((self._size, self._size), np.nan)
        for cell, value in values.items():
            for u, v in (cell, _mirror(cell, self._size)):
                plane[(u + self._size // 2) % self._size, (v + self._size // 2) % self._size] = value
        return plane

    def _settings(self) -> str:
        clip = "clip" if self.clip else "noclip"
        return f"{self._of} {self.images} {self._norm:g} {self.cells} {self.per_ring} {self.phase} {clip} {self.seed}"

    def _check_other(self) -> None:
        assert self._other is not None
        theirs = str(self._other["settings"])
        if theirs != self._settings():
            raise UserError(f"suite.against was measured with other settings: {theirs}, not {self._settings()}")


def half_plane(size: int, cells: str, per_ring: int, seed: int) -> list[Frequency]:
    """The frequencies of one half of the plane, nearest to zero first.

    Args:
        size: pixels per side.
        cells: see `Heatmap`.
        per_ring: see `Heatmap`.
        seed: of the choice on a ring.
    """
    low, high = -(size // 2), (size - 1) // 2
    if cells == "centre63":
        low, high = max(low, -31), min(high, 31)
    every = {(u, v) for u in range(low, high + 1) for v in range(low, high + 1)}
    half = {max(cell, _mirror(cell, size)) for cell in every}
    ordered = sorted(half, key=lambda cell: (cell[0] ** 2 + cell[1] ** 2, cell))
    if cells != "rings":
        return ordered
    draw = torch.Generator().manual_seed(seed)
    shuffled = [ordered[i] for i in torch.randperm(len(ordered), generator=draw).tolist()]
    rings: dict[int, list[Frequency]] = {}
    for cell in shuffled:
        rings.setdefault(_ring(cell), []).append(cell)
    return [cell for ring in sorted(rings) for cell in sorted(rings[ring][:per_ring])]


def _mirror(cell: Frequency, size: int) -> Frequency:
    """(-u,-v), where -size/2 stands for size/2 too."""
    u, v = ((-value if 2 * value != -size else value) for value in cell)
    return u, v


def _ring(cell: Frequency) -> int:
    return round((cell[0] ** 2 + cell[1] ** 2) ** 0.5)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a heatmap.npz; no pickle is ever read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("error", "cells", "wrong", "n", "settings")}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f"suite.against: {path} is no heatmap.npz ({str(error).splitlines()[0]})") from error
    return arrays


def _bits(arrays: Mapping[str, np.ndarray]) -> torch.Tensor:
    """(cells, N) float64 of a heatmap.npz."""
    return torch.from_numpy(np.unpackbits(arrays["wrong"], axis=1, count=int(arrays["n"]))).double()
