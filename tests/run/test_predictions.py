"""Logits kept between suites: found again, bounded, and safe beside other processes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fourier_robust.run.predictions import PredictionCache

LOGITS, LABELS = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32), np.arange(50)
SIZE = LOGITS.nbytes + LABELS.nbytes
OVERHEAD = 600  # bytes of a file beyond its arrays


def aged(cache: PredictionCache) -> list[str]:
    """Give the files distinct times, oldest first by name; some file systems count in seconds."""
    names = sorted(path.stem for path in cache.folder.glob("*.npz"))
    for second, name in enumerate(names):
        os.utime(cache.folder / f"{name}.npz", (second, second))
    return names


def test_found_again(tmp_path: Path) -> None:
    cache = PredictionCache(tmp_path / "predictions", 10 * SIZE)
    assert cache.load("a") is None
    cache.save("a", LOGITS, LABELS)
    found = PredictionCache(tmp_path / "predictions", 10 * SIZE).load("a")
    assert found is not None
    np.testing.assert_array_equal(found[0], LOGITS)
    np.testing.assert_array_equal(found[1], LABELS)
    assert cache.load("b") is None


def test_damaged_files_count_as_absent(tmp_path: Path) -> None:
    cache = PredictionCache(tmp_path, 10 * SIZE)
    cache.save("a", LOGITS, LABELS)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert cache.load("a") is None
    cache.save("a", LOGITS, LABELS)
    assert cache.load("a") is not None


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = PredictionCache(tmp_path, 3 * (SIZE + OVERHEAD))
    for key in "abc":
        cache.save(key, LOGITS, LABELS)
    assert aged(cache) == ["a", "b", "c"]
    cache.load("a")
    cache.save("d", LOGITS, LABELS)
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * (SIZE + OVERHEAD)


def test_nothing_beyond_the_limit(tmp_path: Path) -> None:
    PredictionCache(tmp_path, SIZE - 1).save("a", LOGITS, LABELS)
    off = PredictionCache(tmp_path, 0)
    off.save("a", LOGITS, LABELS)
    assert not list(tmp_path.iterdir())
    PredictionCache(tmp_path, SIZE).save("a", LOGITS, LABELS)
    assert off.load("a") is None
