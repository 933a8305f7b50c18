"""The Fourier heat map: which frequencies, which noise, what the numbers mean, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import Outcome
from fourier_robust.run.results import npz_bytes
from fourier_robust.suite.base import Condition
from fourier_robust.suite.heatmap import Heatmap
from fourier_robust.suite.heatmap_plane import half_plane

CPU = torch.device("cpu")


class Grey:
    """Forty images of one grey."""

    name, num_classes, val_size, mean, std = "grey", 2, 0, (0.5,) * 3, (0.5,) * 3

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        return ResidentSplit(torch.full((40, self.size, self.size, 3), 102, dtype=torch.uint8), torch.arange(40) % 2)


def images(suite: Heatmap, condition: Condition, batch_size: int = 16, size: int = 8) -> torch.Tensor:
    return torch.cat([batch.images for batch in suite.source(Grey(size), condition, CPU, batch_size).batches])


@pytest.mark.parametrize(("size", "cells", "number"), [(32, "all", 514), (224, "centre63", 1985), (31, "all", 481)])
def test_half_of_the_plane(size: int, cells: str, number: int) -> None:
    found = half_plane(size, cells, 8, 0)
    assert len(found) == len(set(found)) == number
    assert found[0] == (0, 0)


def test_rings() -> None:
    found = half_plane(32, "rings", 3, 1)
    radii = [round(float(np.hypot(*cell))) for cell in found]
    assert max(np.bincount(radii)) == 3
    assert set(radii) == set(range(24))
    assert found == half_plane(32, "rings", 3, 1) != half_plane(32, "rings", 3, 2)


@pytest.mark.parametrize("phase", ["mixed", "cosine", "sine", "random"])
@pytest.mark.parametrize("size", [8, 9])
def test_each_channel_gets_one_frequency_of_norm_eps(size: int, phase: str) -> None:
    suite = Heatmap(images=None, eps=0.7, phase=phase)  # type: ignore[arg-type]
    clean, *noisy = suite.conditions(Grey(size))
    base = images(suite, clean, size=size)
    for condition in noisy[:: len(noisy) // 6]:
        added = (images(suite, condition, size=size) - base).double()
        assert added.flatten(2).norm(dim=2) == pytest.approx(torch.full((40, 3), 0.7), abs=1e-5)
        u, v = map(int, str(condition.corruption).split("_")[1:])
        power = torch.fft.fft2(added).abs().square()
        there = power[..., u % size, v % size] + power[..., -u % size, -v % size] * ((u, v) != (-u % size, -v % size))
        assert (there / power.sum((-1, -2)) >= 1 - 1e-9).all() or (2 * u % size == 0 and 2 * v % size == 0)
        signs = torch.sign((added[:, 0] * added[:, 1]).flatten(1).sum(1))
        assert set(signs.tolist()) == {-1.0, 1.0}


def test_draws_do_not_depend_on_the_batch_and_are_the_same_for_all_models() -> None:
    suite, again = Heatmap(images=10, seed=3), Heatmap(images=10, seed=3)
    condition = suite.conditions(Grey())[5]
    again.conditions(Grey())
    assert torch.equal(images(suite, condition, 3), images(again, condition, 10))
    other = Heatmap(images=10, seed=4)
    other.conditions(Grey())
    assert not torch.equal(images(other, condition), images(suite, condition))


def test_clip_and_default_norms() -> None:
    suite = Heatmap(images=4, eps=9, clip=True)
    condition = suite.conditions(Grey())[3]
    assert images(suite, condition).amin() == 0
    assert Heatmap().conditions(Grey(32))[1].eps == 4.0
    assert Heatmap(cells="rings", per_ring=1).conditions(Grey(224))[1].eps == 15.7
    assert "eps 9 (L2 per channel), phase mixed, clipped to [0,1]" in suite.remarks()[0]


def outcomes(suite: Heatmap, wrong_at: set[tuple[int, int]]) -> dict[Condition, Outcome]:
    found = {}
    for condition in suite.conditions(Grey()):
        cell = tuple(map(int, condition.corruption.split("_")[1:])) if condition.corruption else None
        suite.source(Grey(), condition, CPU, 8)
        wrong = torch.full((4,), int(cell in wrong_at))
        found[condition] = Outcome(torch.zeros(4, dtype=torch.int64), wrong, torch.ones(4), torch.zeros(4))
    return found


def test_the_map_is_mirrored_and_the_means_count_both_halves(tmp_path: Path) -> None:
    suite = Heatmap(images=4)
    seen = outcomes(suite, {(2, -1), (0, 0)})
    values = {one.metric: one.estimate.value for one in suite.measure(seen)}
    assert values["error"] == 0
    assert values["error(2,-1)"] == values["error(0)"] == 1
    assert values["mean_error"] == pytest.approx(2 / 63)  # both halves of 64 frequencies without the mean image
    assert values["error(2)"] == pytest.approx(2 / 12)
    files = suite.files(seen, "someone")
    plane = files["heatmap.npz"]["error"]
    assert plane.shape == (8, 8)
    assert {tuple(place) for place in np.argwhere(plane == 1) - 4} == {(0, 0), (2, -1), (-2, 1)}
    assert files["heatmap.png"].startswith(b"\x89PNG")
    (tmp_path / "theirs.npz").write_bytes(npz_bytes(files["heatmap.npz"]))
    second = Heatmap(images=4, against=str(tmp_path / "theirs.npz"))
    seen = outcomes(second, {(2, -1), (1, 1)})
    values = {one.metric: one.estimate.value for one in second.measure(seen)}
    assert values["difference"] == pytest.approx(2 / 63)
    assert "difference.png" in second.files(seen, "someone")
    with pytest.raises(UserError, match="measured with other settings"):
        Heatmap(images=3, against=str(tmp_path / "theirs.npz")).conditions(Grey())


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"suite\.eps=-1"):
        Heatmap(eps=-1)
    (tmp_path / "x.npz").write_bytes(b"no")
    for path in (tmp_path / "x.npz", tmp_path / "nowhere.npz"):
        with pytest.raises(UserError, match=r"suite\.against: .* is no heatmap\.npz"):
            Heatmap(against=str(path))
