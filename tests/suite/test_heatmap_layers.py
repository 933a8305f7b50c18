"""The heat map of features: distances in closed form, rows, arrays and picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.features import features
from fourier_robust.suite.base import Condition
from fourier_robust.suite.heatmap import Heatmap
from fourier_robust.suite.heatmap_layers import FeatureDistance, LayerHeatmap

CPU = torch.device("cpu")


class Noise:
    """Forty random images of 8 x 8."""

    name, num_classes, val_size, mean, std, size = "noise", 2, 0, (0.5,) * 3, (0.5,) * 3, 8

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        pixels = torch.randint(0, 256, (40, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return ResidentSplit(pixels, torch.arange(40) % 2)


MODEL = nn.Sequential(nn.Identity(), nn.AvgPool2d(8), nn.Flatten())


def measured(suite: LayerHeatmap, batch_size: int = 16) -> dict[Condition, FeatureDistance]:
    found = {}
    for condition in suite.conditions(Noise()):
        source = suite.source(Noise(), condition, CPU, batch_size)
        found[condition] = suite.distances(features(MODEL, source.batches, suite.layers))
        assert len(found[condition].label) == source.n
    return found


def test_distances_in_closed_form() -> None:
    suite = LayerHeatmap(["0", "1"], images=30, eps=0.5)
    outcomes = measured(suite)
    values = {(one.condition.corruption, one.metric): one.estimate for one in suite.measure(outcomes)}
    # The identity moves by eps in each of 3 channels; a mean over 8 x 8 only by that of the mean image, 1/8 per pixel.
    for metric in ("mean_feature_distance", "feature_distance(3)", "feature_distance(2,-1)", "feature_distance(0)"):
        assert values["0", metric].value == pytest.approx(0.5 * math.sqrt(3), rel=1e-5)
        assert values["0", metric].n == 30
        expected = 0.5 / 8 * math.sqrt(3) if metric == "feature_distance(0)" else 0
        assert values["1", metric].value == pytest.approx(expected, abs=1e-6)
    files = suite.files(outcomes, "someone")
    planes = files["heatmap_layers.npz"]["distance"]
    assert planes.shape == (2, 8, 8)
    assert [tuple(place) for place in np.argwhere(planes[1] > 1e-3)] == [(4, 4)]
    assert files["heatmap_layers.png"].startswith(b"\x89PNG")


def test_the_noise_is_that_of_the_heat_map() -> None:
    suite, other = LayerHeatmap(images=10, seed=3), Heatmap(images=10, seed=3)
    block = suite.conditions(Noise())[1]
    same = other.conditions(Noise())[1 + 16 :][:16]
    batches = list(suite.source(Noise(), block, CPU, 10).batches)
    for batch, condition in zip(batches[1:], same, strict=True):
        (expected,) = other.source(Noise(), condition, CPU, 10).batches
        assert torch.equal(batch.images, expected.images)


def test_the_size_of_a_batch_decides_nothing() -> None:
    suite = LayerHeatmap(["2"], images=30, cells="rings", per_ring=2)
    few, all_at_once = measured(suite, 7), measured(suite, 40)
    for condition, found in few.items():
        assert torch.equal(found.label, all_at_once[condition].label)
        assert torch.allclose(found.distance, all_at_once[condition].distance, atol=1e-6)


@pytest.mark.parametrize("relative", [False, True])
def test_the_picture_of_each_layer_over_its_maximum(relative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import fourier_robust.report.heatmap_figure as figure

    drawn = []
    monkeypatch.setattr(figure, "heatmaps_png", lambda title, panels: drawn.extend(panels) or b"")
    suite = LayerHeatmap(["0", "1"], relative=relative, images=5, eps=0.5)
    outcomes = measured(suite)
    suite.measure(outcomes)
    suite.files(outcomes, "someone")
    highest = [1, 1] if relative else [0.5 * math.sqrt(3), 0.5 / 8 * math.sqrt(3)]
    assert [np.max(panel.plane) for panel in drawn] == pytest.approx(highest, rel=1e-5)
    assert [panel.limits[1] for panel in drawn] == pytest.approx(highest, rel=1e-5)


def test_refused() -> None:
    for layers in ([], ["net", "net"], "net"):
        with pytest.raises(ValueError, match=r"suite\.layers="):
            LayerHeatmap(layers)
    with pytest.raises(ValueError, match=r"suite\.images=0"):
        LayerHeatmap(images=0)
