"""Files that would run or reach more than they should: programs, names of weights, damaged arrays."""

from __future__ import annotations

import json
import random
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fourier_robust.arch.program import exported, scripted
from fourier_robust.arch.program_text import _is_sum
from fourier_robust.errors import UserError
from fourier_robust.report.pairs import _values
from fourier_robust.run import checkpoint
from fourier_robust.run.predictions import PredictionCache
from fourier_robust.run.results import OutcomeStore, npz_bytes
from fourier_robust.suite import heatmap, spectra
from fourier_robust.suite.base import Condition


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(images.mean((2, 3)))


class Writes(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch.save(images, "ran")
        return self.last(images.mean((2, 3)))


def script(net: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), str(path))
    return path


def test_torchscript_that_writes_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert scripted(script(Net(), tmp_path / "net.pt"))(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    path = script(Writes(), tmp_path / "writes.pt")
    with pytest.raises(ValueError, match="its code calls save"):
        scripted(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(path))(torch.zeros(2, 3, 8, 8))
    assert (tmp_path / "ran").exists()  # it would have


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "net.pt2"
    sizes = {"images": {0: torch.export.Dim("batch", min=2, max=64)}}
    torch.export.save(torch.export.export(Net().eval(), (torch.zeros(4, 3, 8, 8),), dynamic_shapes=sizes), path)
    return path


def changed(archive: Path, path: Path, change: Callable[[str], str], more: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        folder = source.namelist()[0].partition("/")[0]
        for name in source.namelist():
            text = source.read(name)
            target.writestr(name, change(text.decode()) if name.endswith("models/model.json") else text)
        for name, content in (more or {}).items():
            target.writestr(f"{folder}/{name}", content)
    return path


def test_code_in_an_exported_archive_is_never_run(archive: Path, tmp_path: Path) -> None:
    """An expression that SymPy would evaluate; a name that becomes code; another function; machine code."""
    mark = tmp_path / "ran"
    code = f"__import__('os').mkdir('{mark}')"
    assert exported(archive)(torch.zeros(5, 3, 8, 8)).shape == (5, 10)

    def expression(text: str) -> str:
        found = re.search(r'"expr_str": *"[^"]*"', text)
        assert found
        return text.replace(found[0], f'"expr_str": "{code}"')

    changes = {
        "expression": expression,
        "name": lambda text: text.replace('"images"', json.dumps(f"images={code}")),
        "target": lambda text: text.replace("torch.ops.aten.mean.dim", "torch.os.mkdir"),
    }
    for name, change in changes.items():
        with pytest.raises(ValueError, match=r"and a file's code is never run"):
            exported(changed(archive, tmp_path / f"{name}.pt2", change))
    machine = {"data/aotinductor/model/net.so": b"x"}
    with pytest.raises(ValueError, match=r"it holds data/aotinductor/model/net\.so"):
        exported(changed(archive, tmp_path / "machine.pt2", str, machine))
    assert not mark.exists()
    with pytest.raises(AttributeError):
        torch.export.load(tmp_path / "expression.pt2")
    assert mark.is_dir()  # it would have


@pytest.mark.parametrize(
    "text", ["s77", "2*s0 + 1", "Symbol('s77', positive=True, integer=True)", "Max(1, s0//2)", "Ne(s0, 1) & (s0 < 9)"]
)
def test_sums(text: str) -> None:
    assert _is_sum(text)


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "__import__('os')",
        "().__class__",
        "s0[0]",
        "Symbol(open)('x')",
        "[1 for x in y]",
        "lambda: 0",
        "Symbol('a b')",
        "1 +",
    ],
)
def test_no_sums(text: str) -> None:
    assert not _is_sum(text)


@pytest.mark.parametrize("named", ["../elsewhere/w.safetensors", "/tmp/w.safetensors", "last.pt", "", 3, None])
def test_a_checkpoint_names_weights_beside_it(named: object, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    checkpoint.save(folder, 1, {"w": torch.zeros(1)}, {}, {"a": 1})
    (tmp_path / "elsewhere").mkdir()
    (folder / "step00000001.safetensors").rename(tmp_path / "elsewhere" / "w.safetensors")
    torch.save(torch.load(folder / "last.pt", weights_only=True) | {"weights": named}, folder / "last.pt")
    with pytest.raises(UserError, match="which is no file beside it"):
        checkpoint.read(folder)


@pytest.mark.parametrize("text", ["{", "[]", "3", "[" * 100_000])
def test_a_damaged_description_is_one_line(text: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, tmp_path / "w.safetensors", {"fourier_robust": text})
    with pytest.raises(UserError, match="damaged description"):
        checkpoint.read(tmp_path / "w.safetensors")


def test_a_condition_is_one_file(tmp_path: Path) -> None:
    store = OutcomeStore(tmp_path / "outcomes")
    for name in ("../../x", "/etc/x", "a\0b"):
        key = Condition("cifar10", name, 1).key
        store.save(key, "same", {"label": np.zeros(1)})
        assert store.load(key, "same") is not None
    assert {path.parent for path in tmp_path.rglob("*.npz")} == {tmp_path / "outcomes"}


ARRAYS = {
    "outcomes": (("label", "nll"), lambda path: OutcomeStore(path.parent).load("file", "same")),
    "predictions": (("logits", "labels"), lambda path: PredictionCache(path.parent, 2**20, str).load("file")),
    "pairs": (("label", "nll", "prediction"), lambda path: _values.__wrapped__(path, True)),
    "heatmap": (("error", "cells", "wrong", "n", "settings"), heatmap._read),
    "spectra": (("wrong", "clean_wrong", "who", "settings", "data"), spectra._read),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_damaged_arrays_are_absent_or_one_line(kind: str, tmp_path: Path) -> None:
    """500 flipped or cut files; what is read in spite of it is what was written."""
    keys, read = ARRAYS[kind]
    values = np.random.default_rng(0).integers(0, 10, 40)
    whole = npz_bytes({"identity": np.array("same"), **dict.fromkeys(keys, values)})
    rng, path, seen = random.Random(0), tmp_path / "file.npz", set()
    for number in range(500):
        content = bytearray(whole)
        if number % 3 == 0:
            content = content[: rng.randrange(len(content))]
        else:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            found = read(path)
        except UserError as error:
            seen.add("two lines" if "\n" in str(error) else "refused")
            continue
        seen.add("absent" if found is None else "read")
        for array in () if found is None else found.values() if isinstance(found, dict) else found:
            np.testing.assert_array_equal(array, values)
    assert seen in ({"absent", "read"}, {"refused", "read"})
