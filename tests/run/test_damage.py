"""Single flipped bits are seen, half-written files of dead processes go, and an error of the disk names the file."""

from __future__ import annotations

import errno
import io
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fourier_robust.errors import UserError
from fourier_robust.run import atomic, checkpoint
from fourier_robust.run.folder import RunFolder
from fourier_robust.run.results import OutcomeStore, npz_bytes, read_npz
from fourier_robust.run.seal import SEALED

ARRAYS = {"identity": np.array("abc"), "wrong": np.arange(12.0, dtype="f4"), "label": np.arange(12)}


def flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_flipped_bit_in_a_cache_entry_gives_its_values_or_none(tmp_path: Path, compressed: bool) -> None:
    content, path, draw, refused = npz_bytes(ARRAYS, compressed), tmp_path / "a.npz", random.Random(0), 0
    for position in range(len(content)):
        path.write_bytes(flipped(content, position, draw.randrange(8)))
        found = read_npz(path)
        refused += found is None
        if found is not None:
            assert found.keys() == ARRAYS.keys(), position
            assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items()), position
    assert refused > len(content) / 3


def test_what_is_no_archive_is_absent(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path)
    for content in (b"", b"PK", b"x" * 100, npz_bytes(ARRAYS)[:-1]):
        (tmp_path / "key.npz").write_bytes(content)
        assert store.load("key", "abc") is None


def test_every_flipped_bit_of_a_state_file_is_seen(tmp_path: Path) -> None:
    state = {"step": 5, "optimizer": [torch.arange(40.0)]}
    checkpoint.save(tmp_path, 5, {"weight": torch.ones(2)}, state, {"names": {}})
    path, draw = tmp_path / "last.pt", random.Random(0)
    content = path.read_bytes()
    positions = [draw.randrange(len(content)) for _ in range(300)]
    momentum = content.index(torch.arange(40.0).numpy().tobytes()) + 7
    for position in [momentum, *positions]:
        path.write_bytes(flipped(content, position, draw.randrange(8)))
        with pytest.raises(UserError, match=r"last\.pt"):
            checkpoint.read(path)


def test_state_files_of_before_the_seal_are_read_and_checked(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 5, {"weight": torch.ones(2)}, {"step": 5, "m": torch.arange(40.0)}, {"names": {}})
    path = tmp_path / "last.pt"
    old = path.read_bytes()[:-SEALED]
    assert zipfile.ZipFile(io.BytesIO(old)).testzip() is None
    path.write_bytes(old)
    assert checkpoint.read(path).state["step"] == 5
    path.write_bytes(flipped(old, old.index(torch.arange(40.0).numpy().tobytes()) + 7, 0))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.read(path)


def test_half_written_files_go_when_their_process_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, gone = tmp_path / "a.csv", 2**22 + 1  # no process has this number
    dead = tmp_path / f".a.csv.{atomic.here()}-{gone}-00000000.tmp"
    alive = tmp_path / f".a.csv.{atomic.here()}-{os.getpid()}-00000000.tmp"
    elsewhere, silent = (tmp_path / f".a.csv.ffffffff-{gone}-0000000{n}.tmp" for n in (0, 1))
    others = tmp_path / ".fog.npy.tmp"
    for rest in (dead, alive, elsewhere, silent, others):
        rest.touch()
    then = path.parent.stat().st_mtime - atomic.LONGEST - 60
    os.utime(silent, (then, then))
    os.utime(alive, (1, 1))  # whatever the clock says
    atomic.write_text(path, "text")
    assert sorted(tmp_path.iterdir()) == sorted([path, alive, elsewhere, others])


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", no_space)
    with pytest.raises(OSError, match=r"No space left on device: '.*results\.csv'"):
        atomic.write_text(tmp_path / "results.csv", "text")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b'{"attempt": "x"}', b'{"state": ["done"]}'])
def test_a_damaged_status_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    folder = RunFolder(tmp_path)
    assert folder.status() is None
    folder.set_status("running")
    assert folder.read_json("status.json")["attempt"] == 1


def test_an_array_that_claims_more_than_any_memory_holds_is_one_line(tmp_path: Path) -> None:
    """NumPy asks for the memory before it looks at how long the file is."""
    from fourier_robust.dataset.shift_cifar import _array

    header = {"descr": "|u1", "fortran_order": False, "shape": (10**15, 32, 32, 3)}
    with open(tmp_path / "images.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(MemoryError):
        np.load(tmp_path / "images.npy", allow_pickle=False)
    with pytest.raises(UserError, match="is not a readable array: Unable to allocate"):
        _array(tmp_path / "images.npy", "images")
