"""The straight line: slope, intercept, and an interval that scipy gives too."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from fourier_robust.metric.line import fit_line, t975


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 13, 17, 100])
def test_student(degrees: int) -> None:
    assert t975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


@pytest.mark.parametrize("n", [3, 4, 19])
def test_slope_and_interval(n: int, generator: torch.Generator) -> None:
    x = torch.rand(n, generator=generator, dtype=torch.float64)
    y = 0.3 * x - 1 + 0.1 * torch.randn(n, generator=generator, dtype=torch.float64)
    line, known = fit_line(x, y), stats.linregress(x.numpy(), y.numpy())
    assert line is not None
    half = stats.t.ppf(0.975, n - 2) * known.stderr
    assert line.slope == pytest.approx((known.slope, known.slope - half, known.slope + half, n))
    assert line.intercept == pytest.approx(known.intercept)


def test_too_few_points() -> None:
    assert fit_line(torch.tensor([]), torch.tensor([])) is None
    assert fit_line(torch.tensor([1.0]), torch.tensor([2.0])) is None
    assert fit_line(torch.tensor([0.5, 0.5]), torch.tensor([2.0, 3.0])) is None
    line = fit_line(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 5.0]))
    assert line is not None
    assert line == ((2.0, -math.inf, math.inf, 2), 1.0)
