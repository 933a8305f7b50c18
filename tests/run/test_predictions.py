"""Logits kept between suites: found again, bounded, and safe beside other processes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fourier_robust.run.predictions import PredictionCache

LOGITS, LABELS = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32), np.arange(50)
SIZE = LOGITS.nbytes + LABELS.nbytes
ARRAYS = {"logits": LOGITS, "labels": LABELS}
OVERHEAD = 600  # bytes of a file beyond its arrays


def cached(folder: Path, limit: int = 10 * SIZE) -> PredictionCache:
    return PredictionCache(folder, limit, lambda identity: identity)


def aged(cache: PredictionCache) -> list[str]:
    """Give the files distinct times, oldest first by name; some file systems count in seconds."""
    names = sorted(path.stem for path in cache.folder.glob("*.npz"))
    for second, name in enumerate(names):
        os.utime(cache.folder / f"{name}.npz", (second, second))
    return names


def test_found_again(tmp_path: Path) -> None:
    cache = cached(tmp_path / "predictions")
    assert cache.load("a") is None
    cache.save("a", ARRAYS)
    found = cached(tmp_path / "predictions").load("a")
    assert found is not None
    np.testing.assert_array_equal(found["logits"], LOGITS)
    np.testing.assert_array_equal(found["labels"], LABELS)
    assert cache.load("a", ("logits", "labels", "features")) is None
    cache.save("a", {**ARRAYS, "features": LOGITS + 1})
    np.testing.assert_array_equal(cache.load("a", ("features",))["features"], LOGITS + 1)
    assert cache.load("b") is None


def test_damaged_files_count_as_absent(tmp_path: Path) -> None:
    cache = cached(tmp_path)
    cache.save("a", ARRAYS)
    (file,) = tmp_path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    assert cache.load("a") is None
    cache.save("a", ARRAYS)
    assert cache.load("a") is not None


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = cached(tmp_path, 3 * (SIZE + OVERHEAD))
    for key in "abc":
        cache.save(key, ARRAYS)
    assert aged(cache) == ["a", "b", "c"]
    cache.load("a")
    cache.save("d", ARRAYS)
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * (SIZE + OVERHEAD)


def test_nothing_beyond_the_limit(tmp_path: Path) -> None:
    cached(tmp_path, SIZE - 1).save("a", ARRAYS)
    off = cached(tmp_path, 0)
    off.save("a", ARRAYS)
    assert not list(tmp_path.iterdir())
    cached(tmp_path, SIZE).save("a", ARRAYS)
    assert off.load("a") is None
