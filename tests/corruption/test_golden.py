"""What the published CIFAR-C script makes of one test image after numpy.random.seed(0), bit for bit.

`cifar_c_golden.csv` holds its mean, standard deviation, mean absolute change, three pixels and the start of the SHA-256
of its (32,32,3) bytes; the script was adapted to current NumPy and scikit-image names only.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption.kinds import KINDS, from_levels, needs_opencv, to_array
from reference.corruptions import golden_card, published_draw

with (Path(__file__).parents[1] / "reference" / "cifar_c_golden.csv").open() as file:
    # No seed fixes the published draw of impulse noise; test_noise checks its statistics.
    ROWS = [row for row in csv.DictReader(file) if row["corruption"] != "impulse_noise"]
CARD = golden_card()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['corruption']}-{row['severity']}")
def test_published_values(row: dict[str, str]) -> None:
    name, severity = row["corruption"], int(row["severity"])
    needs_opencv(name)
    drawn = published_draw(name, severity, 32, np.random.RandomState(0), CARD)
    params = {key: torch.from_numpy(np.array(value[None])) for key, value in drawn.items()}
    out = to_array(KINDS[name](severity).apply(from_levels(CARD[None]), params))[0]
    assert out.mean() == pytest.approx(float(row["mean"]), abs=5e-5)
    assert out.std() == pytest.approx(float(row["std"]), abs=5e-5)
    assert np.abs(out.astype(int) - CARD).mean() == pytest.approx(float(row["mad_vs_clean"]), abs=5e-5)
    for place, column in (((0, 0), "p0_0"), ((16, 16), "p16_16"), ((31, 31), "p31_31")):
        assert out[place].tolist() == json.loads(row[column])
    assert hashlib.sha256(out.tobytes()).hexdigest()[:16] == row["sha16"]


def test_golden_values_cover_the_nineteen() -> None:
    assert {row["corruption"] for row in ROWS} | {"impulse_noise"} == set(KINDS)
