"""Atomic writes, run folders, derived seeds, result rows."""

from __future__ import annotations

import csv
import io
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from fourier_robust.errors import UserError
from fourier_robust.run import atomic
from fourier_robust.run.folder import RunFolder, experiment_hash, slug
from fourier_robust.run.results import COLUMNS, OutcomeStore, Row, write_rows
from fourier_robust.run.seed import derive

NAMES = {"dataset": "shapes", "arch": "timm_vit=a,b", "aug": "apr_sp", "reg": "none"}


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    atomic.write_text(path, "old")
    monkeypatch.setattr(atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["table.csv"]


def test_hash_ignores_where_and_on_what_it_runs() -> None:
    config = {
        "seed": 0,
        "paths": {"a": 1},
        "device": {"name": "cpu"},
        "dataset": {"root": "/x", "size": 32},
        "resume": True,
    }
    moved = {
        "seed": 0,
        "paths": {"a": 2},
        "device": {"name": "cuda"},
        "dataset": {"root": "/y", "size": 32},
        "resume": False,
    }
    other = {**config, "dataset": {"root": "/x", "size": 64}}
    assert experiment_hash(config) == experiment_hash(moved)
    assert experiment_hash(config) != experiment_hash(other)
    assert experiment_hash(dict(reversed(config.items()))) == experiment_hash(config)


def test_paths_hold_no_character_that_breaks_a_command_line() -> None:
    folder = RunFolder.of(Path("outputs"), NAMES, 3, {"seed": 3})
    assert folder.path.parts[:4] == ("outputs", "shapes", "timm_vit-a-b", "apr_sp-none")
    assert folder.path.name == f"s3-{experiment_hash({'seed': 3})}"
    assert slug("../..") == "unnamed"


def test_status_counts_attempts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.status() is None
    for state in ("running", "preempted", "running", "done"):
        folder.set_status(state)
    assert folder.status() == "done"
    assert folder.read_json("status.json")["attempt"] == 2


def _hold(path: str, ready: object, release: object) -> None:
    with RunFolder(Path(path)).claimed():
        ready.set()
        release.wait(20)


def test_one_process_per_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), ready, release))
    other.start()
    try:
        assert ready.wait(300)
        with pytest.raises(UserError, match="another process"), RunFolder(tmp_path).claimed():
            pass
    finally:
        release.set()
        other.join()
    with RunFolder(tmp_path).claimed():
        pass


def test_derived_seeds() -> None:
    assert derive(0, "aug", 1) == derive(0, "aug", 1)
    seeds = {derive(seed, key, step) for seed in range(3) for key in ("aug", "order") for step in range(50)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, 23) != derive(12, 3)


def test_rows_are_tidy_csv(tmp_path: Path) -> None:
    row = Row(
        "s0",
        "clean",
        "shapes",
        None,
        None,
        None,
        None,
        None,
        "error",
        0.25,
        0.2,
        None,
        8,
        False,
        "shapes",
        "a",
        "b",
        "c",
        0,
    )
    write_rows(tmp_path / "results.csv", [row])
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert tuple(lines[0]) == COLUMNS
    assert ",".join(COLUMNS) == (
        "run,suite,dataset,corruption,severity,attack,eps,score,metric,value,ci_low,ci_high,n,higher_is_better,"
        "train_dataset,arch,aug,reg,seed"
    )
    assert lines[0]["value"] == "0.250000"
    assert (lines[0]["corruption"], lines[0]["ci_high"], lines[0]["higher_is_better"]) == ("", "", "false")


def test_outcomes_are_reused_only_for_the_same_thing(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path)
    assert store.load("clean", "a") is None
    store.save("clean", "a", {"label": np.arange(3)})
    found = store.load("clean", "a")
    assert found is not None
    assert found.keys() == {"label"}
    assert np.array_equal(found["label"], np.arange(3))
    assert store.load("clean", "b") is None
    content = (tmp_path / "clean.npz").read_bytes()
    (tmp_path / "clean.npz").write_bytes(content[: len(content) // 2])
    assert store.load("clean", "a") is None
