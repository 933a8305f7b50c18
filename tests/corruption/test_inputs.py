"""What every corruption does with images of unusual shape, number and content."""

from __future__ import annotations

import re

import pytest
import torch
from corruption.kinds import KINDS, to_array
from hypothesis import given, settings
from hypothesis import strategies as st

from fourier_robust.corruption.seeded import corrupt

EACH = pytest.mark.parametrize("name", KINDS)
SIDES = st.integers(16, 71)


@EACH
@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    height=SIDES,
    width=SIDES,
    batch=st.integers(0, 2),
    severity=st.integers(1, 5),
    size=st.sampled_from([32, 64, 224]),
    content=st.sampled_from(["noise", "black", "white", "flat"]),
)
def test_any_size_and_number(
    name: str, height: int, width: int, batch: int, severity: int, size: int, content: str
) -> None:
    generator = torch.Generator().manual_seed(height)
    fill = {"black": 0.0, "white": 1.0, "flat": 100 / 255}
    shape = (batch, 3, height, width)
    images = torch.rand(shape, generator=generator) if content == "noise" else torch.full(shape, fill[content])
    corruption = KINDS[name](severity, size)
    params = corruption.sample(shape, generator)
    assert all(len(value) == batch for value in params.values())
    out = corruption.apply(images, params)
    assert out.shape == shape
    to_array(out)  # on the grid k/255, so no NaN
    assert batch == 0 or (out.min() >= 0 and out.max() <= 1)


REFUSED = {
    "images have shape (2, 1, 32, 32): must be (B,3,H,W); repeat the grey channel": torch.zeros(2, 1, 32, 32),
    "images have shape (3, 32, 32): must be (B,3,H,W)": torch.zeros(3, 32, 32),
    "images have shape (2, 32, 32, 3): must be (B,3,H,W)": torch.zeros(2, 32, 32, 3),
    "images are torch.uint8: must be floats in [0,1]": torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
    "images are 15x32 pixels: no corruption below 16": torch.zeros(2, 3, 15, 32),
    "images run from 0 to 255: must lie in [0,1]": torch.tensor([0.0, 255.0]).repeat(3 * 16 * 16).view(2, 3, 16, 16),
    "images run from nan to nan: must lie in [0,1]": torch.full((2, 3, 32, 32), torch.nan),
}


@EACH
@pytest.mark.parametrize("message", REFUSED)
def test_refused_in_one_line(name: str, message: str) -> None:
    corruption = KINDS[name](3)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        corrupt(corruption, REFUSED[message], [1] * len(REFUSED[message]))
    assert "\n" not in str(caught.value)
    params = corruption.sample((2, 3, 32, 32), torch.Generator())
    with pytest.raises(ValueError, match=re.escape(message)):
        corruption.apply(REFUSED[message], params)


@EACH
def test_a_batch_of_none_seeded(name: str) -> None:
    assert corrupt(KINDS[name](1), torch.zeros(0, 3, 32, 32), []).shape == (0, 3, 32, 32)
