"""The script that sets measured Fourier-sensitivity profiles beside the published ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "outputs" / "reference" / "cifar10_speednet_small_8epochs"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "profiles_picture.py"
    return subprocess.run([sys.executable, str(script), *map(str, words)], capture_output=True, text=True, check=False)


def test_published_and_measured_stand_side_by_side(tmp_path: Path) -> None:
    done = run(tmp_path, RUNS / "standard", RUNS / "lsf")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "profiles.csv")
    assert set(table.reg) == {"none", "lsf"}
    sums = table.groupby("reg")[["measured", "white_noise"]].sum()
    assert sums.to_numpy().ravel() == pytest.approx(1, abs=1e-4)
    fourth = table[(table.reg == "lsf") & (table.k == 4)].iloc[0]
    assert fourth.published == 0.351
    rows = pd.read_csv(RUNS / "lsf" / "sensitivity" / "results.csv")
    assert fourth.measured == float(rows[rows.metric == "p(4)"].value.iloc[0])
    assert table[(table.reg == "lsf") & (table.k > 21)].published.isna().all()  # the figure is not readable there
    assert (tmp_path / "profiles.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    for words, said in (
        ([tmp_path / "out", tmp_path], f"no {tmp_path / 'sensitivity' / 'results.csv'}"),
        ([tmp_path / "out", RUNS / "lsf", "--dataset", "svhn"], "none of the runs was measured on svhn"),
    ):
        done = run(*words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
        assert not (tmp_path / "out").exists()
