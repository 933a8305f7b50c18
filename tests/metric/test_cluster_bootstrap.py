from __future__ import annotations

import pytest
import torch

from fourier_robust.metric.cluster_bootstrap import bootstrap_means, grouped_sums, percentile_estimate
from fourier_robust.metric.outcome import error_rate


def test_sums_and_counts_by_hand() -> None:
    sums, counts = grouped_sums(torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([2, 0, 2, 0]), 4)
    assert sums.tolist() == [1, 0, 2, 0]
    assert counts.tolist() == [2, 0, 2, 0]


def test_means_are_those_of_the_drawn_objects_images(generator: torch.Generator) -> None:
    values, objects = torch.rand(12, generator=generator), torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 4])
    sums, counts = grouped_sums(values, objects, 5)
    found = bootstrap_means(sums[None], counts[None], torch.Generator().manual_seed(7), draws=20)[:, 0]
    chosen = torch.randint(5, (20, 5), generator=torch.Generator().manual_seed(7))
    wanted = [torch.cat([values[objects == one] for one in row]).double().mean() for row in chosen]
    assert torch.allclose(found, torch.stack(wanted))


def test_groups_share_their_draws_and_an_empty_draw_is_left_out() -> None:
    sums = torch.tensor([[1.0, 0.0, 2.0], [1.0, 0.0, 2.0], [1.0, 0.0, 0.0]])
    counts = torch.tensor([[2.0, 2.0, 2.0], [2.0, 2.0, 2.0], [1.0, 0.0, 0.0]])
    drawn = bootstrap_means(sums, counts, torch.Generator().manual_seed(0), 200)
    assert torch.equal(drawn[:, 0], drawn[:, 1])
    assert drawn[:, 2].isnan().any()
    assert percentile_estimate(1.0, drawn[:, 2], 1) == (1.0, 1.0, 1.0, 1)


def test_interval_covers_where_images_of_an_object_agree() -> None:
    """40 objects, 6 images of one fate each: 40 draws, not 240, which Wilson's interval over images takes them for."""
    generator, covered, naive, repeats, share = torch.Generator().manual_seed(0), 0, 0, 400, 0.3
    objects = torch.arange(40).repeat_interleave(6)
    for _ in range(repeats):
        values = (torch.rand(40, generator=generator) < share).double()[objects]
        sums, counts = grouped_sums(values, objects, 40)
        drawn = bootstrap_means(sums[None], counts[None], generator, 200)[:, 0]
        found = percentile_estimate(float(values.mean()), drawn, len(values))
        covered += found.low <= share <= found.high
        wilson = error_rate(values)
        naive += wilson.low <= share <= wilson.high
    assert covered / repeats == pytest.approx(0.95, abs=0.04)
    assert naive / repeats < 0.75
