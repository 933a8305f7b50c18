"""Pickles of arrays are read; pickles of anything else are refused before anything in them runs."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from fourier_robust.dataset.cifar import CIFAR100
from fourier_robust.dataset.unpickle import load_arrays
from fourier_robust.errors import UserError


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's str, as the official files hold them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str2(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        else:
            self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[str] = save_str2
    dispatch[bytes] = save_str2


def write_python2(path: Path, content: object) -> None:
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.", b"numpy.core."))  # as NumPy 1 wrote it


@pytest.fixture
def content() -> dict[str, object]:
    data = np.random.default_rng(0).integers(0, 256, (7, 3072), np.uint8)
    return {"data": data, "labels": list(range(7)), "batch_label": "one"}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_python3_pickles_of_every_protocol(tmp_path, content, protocol):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, protocol))
    read = load_arrays(path)
    assert read.keys() == content.keys()
    np.testing.assert_array_equal(read["data"], content["data"])
    assert read["labels"] == content["labels"]


def test_python2_pickle_with_byte_string_keys(tmp_path, content):
    path = tmp_path / "batch"
    write_python2(path, content)
    assert pickle.loads(path.read_bytes(), encoding="bytes").keys() == {b"data", b"labels", b"batch_label"}
    read = load_arrays(path)
    np.testing.assert_array_equal(read["data"], content["data"])
    assert read["labels"] == content["labels"]
    assert read["batch_label"] == b"one"


class Evil:
    def __init__(self, function: object, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, __import__, np.load, np.fromfile])
def test_code_is_refused_and_not_run(tmp_path, function, protocol):
    mark = tmp_path / "ran"
    path = tmp_path / "evil"
    evil = Evil(function, f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')")
    path.write_bytes(pickle.dumps({"data": evil}, protocol))
    with pytest.raises(UserError, match=r"evil is not a readable pickle of arrays: it asks for '.*', and data need no"):
        load_arrays(path)
    assert not mark.exists()


def test_code_inside_an_object_array_is_refused(tmp_path):
    mark = tmp_path / "ran"
    array = np.empty(1, object)
    array[0] = Evil(os.system, f"touch {mark}")
    path = tmp_path / "evil"
    path.write_bytes(pickle.dumps({"data": array}))
    with pytest.raises(UserError, match="system"):
        load_arrays(path)
    assert not mark.exists()


def test_damage_is_one_line(tmp_path, content):
    """200 truncated or flipped files: each reads as a dictionary or gives the one-line error, nothing else."""
    whole = pickle.dumps({**content, "data": content["data"][:, :8]}, 4)
    path = tmp_path / "batch"
    rng = random.Random(0)
    refused = []
    for case in range(200):
        damaged = bytearray(whole[: rng.randrange(len(whole))] if case % 2 else whole)
        if damaged:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert isinstance(load_arrays(path), dict)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(line.startswith(str(path)) and "\n" not in line for line in refused)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cut_at_every_byte(tmp_path, protocol):
    """Numbers of 1, 2, 4 and 8 bytes among them, each of which can be cut in half."""
    content = {"data": np.zeros((2, 3), np.uint8), "labels": [1, 300, 70_000, 2**40, 1.5], "name": "n" * 300}
    whole = pickle.dumps(content, protocol)
    path = tmp_path / "batch"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="is not a readable pickle of arrays"):
            load_arrays(path)


def test_a_claimed_size_takes_no_memory(tmp_path):
    """A buffer of 2**40 bytes (protocol 5) and a memo slot of 2**31: refused, at no cost."""
    path = tmp_path / "batch"
    for stream in (b"\x80\x05\x96" + (2**40).to_bytes(8, "little"), b"\x80\x02}r\xff\xff\xff\x7f"):
        path.write_bytes(stream)
        with pytest.raises(UserError, match="is not a readable pickle of arrays"):
            load_arrays(path)


def test_not_a_dictionary(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="holds a list, not a dict"):
        load_arrays(path)


@pytest.mark.realdata
def test_official_python2_file(tmp_path, realdata):
    """CIFAR-100's `meta`, byte for byte as published: its names are the class names, in the label order."""
    path = tmp_path / "meta"
    path.write_bytes(np.load(realdata / "cifar100_partial_exact.npz")["meta_pickle"].tobytes())
    names = [name.decode() for name in load_arrays(path)["fine_label_names"]]
    assert tuple(names) == CIFAR100.class_names
