"""How far does one spatial frequency in the input move what a layer puts out? The Fourier heat map of features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from fourier_robust.dataset.base import Batch, Dataset, Split
from fourier_robust.engine.features import Features, features
from fourier_robust.engine.predict import Precision
from fourier_robust.fourier.basis import Phase
from fourier_robust.metric.outcome import mean_of_images
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

BLOCK = 16  # frequencies of a condition: they share the pass over the clean images


class FeatureDistance(NamedTuple):
    """label (N,) int64; distance (F,L,N) float32, of each frequency, layer and image."""

    label: torch.Tensor
    distance: torch.Tensor


class LayerHeatmap:
    """Mean of ``||h(x + r eps U) - h(x)||_2`` over images, h what a layer puts out, by the frequency of U.

    Images, frequencies, signs and phases are those of `Heatmap` with the same settings. Distances of two layers do not
    compare: each is in the unit of its layer and grows with the number of its values.

    Args:
        layers: modules of the model, by name; ``net`` is the network behind the normalisation, its output the logits.
        relative: whether the picture shows each layer over its own maximum; table and arrays never do.
        images: of the test split, drawn without replacement by `seed`; None all.
        eps: see `Heatmap`.
        cells: see `Heatmap`.
        per_ring: see `Heatmap`.
        phase: see `Heatmap`.
        clip: see `Heatmap`.
        seed: of images, signs and phases.

    Raises:
        ValueError: no layers, or one twice; eps, images or per_ring not above 0.

    Source: Yin et al., "A Fourier Perspective on Model Robustness in Computer Vision", NeurIPS 2019, appendix; released
        code in google-research/frequency_analysis.
    """

    name = "heatmap_layers"
    observation = FeatureDistance
    definitions: Mapping[str, str] = {
        "feature_distance(u,v)": "L2 norm, over all values of an image, of the change of the layer's output (column "
        "corruption) when the basis image of u cycles down, v across is added; mean and normal 95 % interval over "
        "images",
        "feature_distance(k)": "mean of feature_distance(u,v) over the measured frequencies with "
        "round(sqrt(u^2 + v^2)) = k, both halves of the plane; interval over images, each image averaged first",
        "mean_feature_distance": "mean of feature_distance(u,v) over all measured frequencies, both halves of the "
        "plane, without the mean image; interval over images",
    }

    def __init__(
        self,
        layers: Sequence[str] = ("net",),
        relative: bool = False,
        images: int | None = 1000,
        eps: float | None = None,
        cells: Cells = "all",
        per_ring: int = 8,
        phase: Phase | Literal["random"] = "mixed",
        clip: bool = False,
        seed: int = 0,
    ) -> None:
        if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
            raise ValueError(f"suite.layers={layers} must be a list of names, each once")
        for key, value in (("images", images), ("eps", eps), ("per_ring", per_ring)):
            if value is not None and value <= 0:
                raise ValueError(f"suite.{key}={value} must be above 0")
        self.layers, self.relative = tuple(layers), relative
        self.images, self.eps, self.cells, self.per_ring = images, eps, cells, per_ring
        self.phase, self.clip, self.seed = phase, clip, seed

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Blocks of frequencies; see `Suite.conditions`."""
        self._size, self._of = dataset.size, dataset.name
        self._norm = self.eps or usual_norm(dataset.size)
        cells = half_plane(dataset.size, self.cells, self.per_ring, derive(self.seed, "heatmap", "rings"))
        blocks = [cells[start : start + BLOCK] for start in range(0, len(cells), BLOCK)]
        self._blocks = {
            Condition(dataset.name, f"features_{number:04d}", eps=self._norm): block
            for number, block in enumerate(blocks)
        }
        self._split: Split | None = None
        return list(self._blocks)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """Each batch of the drawn images, then the same with each frequency of the block; see `Suite.source`."""
        if self._split is None:
            self._split = dataset.split("test", device)
            self._order = drawn_images(len(self._split), self.images, self.seed)
        block = self._blocks[condition]
        how = f"eps{self._norm:g}-{self.phase}" + ("-clip" if self.clip else "")
        images = f"{self._split.identity}+{len(self._order)}-of-seed{self.seed}"
        batches = self._split.batches(batch_size, self._order)
        identity = f"{images}+fourier{block}-{how}+{','.join(self.layers)}"
        return Source(self._with_noise(batches, block), len(self._order), identity)

    def observe(self, model: nn.Module, source: Source, condition: Condition, precision: Precision) -> FeatureDistance:
        """What the layers put out, and its distances; see `ModelSuite.observe`."""
        return self.distances(features(model, source.batches, self.layers, precision))

    def distances(self, outputs: Iterable[Features]) -> FeatureDistance:
        """Distances of noisy images from the clean ones, which come first."""
        labels: list[torch.Tensor] = []
        distances: list[list[torch.Tensor]] = []
        clean = None
        for batch in outputs:
            if clean is None or not torch.equal(batch.indices, clean.indices):
                clean = batch
                labels.append(batch.labels)
                distances.append([])
                continue
            change = [(batch.layers[one] - clean.layers[one]).flatten(1).norm(dim=1) for one in self.layers]
            distances[-1].append(torch.stack(change))
        whole = torch.cat([torch.stack(of_batch) for of_batch in distances], dim=2)
        return FeatureDistance(torch.cat(labels), whole.cpu())

    def measure(self, outcomes: Mapping[Condition, FeatureDistance]) -> list[Measurement]:
        """Of each layer: the mean, and the distance of each ring and frequency; see `Suite.measure`."""
        every = torch.cat([outcomes[one].distance for one in self._blocks]).double()
        cells = [cell for block in self._blocks.values() for cell in block]
        found = []
        self._means: dict[str, dict[Frequency, float]] = {}
        for layer, distances in zip(self.layers, every.unbind(1), strict=True):
            of_cell = dict(zip(cells, distances, strict=True))
            row = Condition(f"{self._of}_fourier", layer, eps=self._norm)
            overall, rings = rings_and_mean(of_cell, self._size)
            found.append(Measurement(row, "mean_feature_distance", mean_of_images(overall)))
            for ring, values in rings.items():
                found.append(Measurement(row, f"feature_distance({ring})", mean_of_images(values)))
            for (u, v), values in of_cell.items():
                found.append(Measurement(row, f"feature_distance({u},{v})", mean_of_images(values)))
            self._means[layer] = {cell: float(values.mean()) for cell, values in of_cell.items()}
        return found

    def remarks(self) -> list[str]:
        """Norm, phase and how many frequencies; see `Suite.remarks`."""
        clipped = "clipped to [0,1]" if self.clip else "not clipped"
        count = sum(map(len, self._blocks.values()))
        return [
            f"eps {self._norm:g} (L2 per channel), phase {self.phase}, {clipped}, {count} frequencies ({self.cells})"
        ]

    def files(
        self, outcomes: Mapping[Condition, FeatureDistance], who: str
    ) -> Mapping[str, bytes | Mapping[str, np.ndarray]]:
        """The maps as one picture, a panel per layer, and as arrays; see `FilesSuite.files`."""
        from fourier_robust.report.heatmap_figure import Panel, heatmaps_png

        planes = {layer: plane_of(means, self._size) for layer, means in self._means.items()}
        panels = []
        for layer, plane in planes.items():
            highest = float(np.nanmax(plane)) or 1.0
            scale, label = (highest, f"distance / {highest:.3g}") if self.relative else (1.0, "distance")
            panels.append(Panel(layer, plane / scale, (0.0, highest / scale), label))
        title = f"change of features, {who}, n = {len(self._order)}\n{self.remarks()[0]}"
        arrays = {
            "layers": np.array(self.layers),
            "distance": np.stack(list(planes.values())),
            "n": np.array(len(self._order)),
        }
        return {"heatmap_layers.npz": arrays, "heatmap_layers.png": heatmaps_png(title, panels)}

    def _with_noise(self, batches: Iterator[Batch], block: Sequence[Frequency]) -> Iterator[Batch]:
        """A batch as it is, then once with each frequency."""
        noises = [FourierNoise(one, self._size, self._norm, self.phase, self.clip, self.seed) for one in block]
        for batch in batches:
            yield batch
            for noise in noises:
                yield batch._replace(images=noise.add(batch.images))
