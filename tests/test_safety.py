"""What lies in a file can't run: no pickle, no other class by a checkpoint's config, no path out of its folder."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import TINY
from torch import nn

from fourier_robust import config as config_module
from fourier_robust.arch.program import scripted
from fourier_robust.dataset.cifar import CIFAR10
from fourier_robust.dataset.clips import CifarClips
from fourier_robust.dataset.corrupted import CifarCRelease
from fourier_robust.dataset.ood import ImageArray
from fourier_robust.dataset.shift_cifar import CifarArrays
from fourier_robust.dataset.unpickle import load_arrays
from fourier_robust.errors import UserError
from fourier_robust.report.collect import Receipt, Run
from fourier_robust.report.pairs import _values
from fourier_robust.report.pictures.arrays import arrays_of
from fourier_robust.report.pictures.looks import looks_of
from fourier_robust.report.pictures.series import Material
from fourier_robust.run import checkpoint
from fourier_robust.run.folder import RunFolder, slug
from fourier_robust.run.predictions import PredictionCache
from fourier_robust.run.results import OutcomeStore
from fourier_robust.suite import heatmap, spectra

PACKAGE = Path(config_module.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "conf" not in path.relative_to(PACKAGE).parts)
Evaluate = Callable[..., None]


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What exists once a file's code has run."""
    return tmp_path / "ran"


def objects(mark: Path) -> np.ndarray:
    """An array that NumPy stores as a pickle."""
    array = np.empty(1, object)
    array[0] = Evil(mark)
    return array


def npy(path: Path, mark: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, objects(mark))
    return path


def npz(path: Path, mark: Path, *keys: str, **honest: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **honest, **{key: objects(mark) for key in keys})
    return path


def read_state_dict(folder: Path, mark: Path) -> None:
    torch.save({"state_dict": Evil(mark)}, folder / "theirs.pth")
    checkpoint.read(folder / "theirs.pth")


def read_bare_pickle(folder: Path, mark: Path) -> None:
    (folder / "theirs.th").write_bytes(pickle.dumps({"state_dict": Evil(mark)}, 2))
    checkpoint.read(folder / "theirs.th")


def read_own_state(folder: Path, mark: Path) -> None:
    checkpoint.save(folder, 1, {"w": torch.zeros(1)}, {}, {"a": 1})
    path = folder / "last.pt"
    torch.save(torch.load(path, weights_only=True) | {"state": Evil(mark)}, path)
    checkpoint.read(path)


def read_torchscript(folder: Path, mark: Path) -> None:
    path = folder / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Identity()), str(path))
    with zipfile.ZipFile(path) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in parts.items():
            target.writestr(name, pickle.dumps(Evil(mark), 2) if name.endswith("/data.pkl") else content)
    assert checkpoint.kind_of(path) == "torchscript"
    scripted(path)


def read_cifar(folder: Path, mark: Path) -> None:
    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    for name in ("test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
        (batches / name).write_bytes(pickle.dumps({"data": Evil(mark)}, 2))
    CIFAR10(str(folder)).split("test")


def read_cifar_c(folder: Path, mark: Path) -> None:
    np.save(folder / "labels.npy", np.zeros(5, np.uint8))
    npy(folder / "fog.npy", mark)
    CifarCRelease(str(folder), "fog", 1)


def read_cifar_c_labels(folder: Path, mark: Path) -> None:
    np.save(folder / "fog.npy", np.zeros((5, 32, 32, 3), np.uint8))
    npy(folder / "labels.npy", mark)
    CifarCRelease(str(folder), "fog", 1)


def read_cifar_shift(folder: Path, mark: Path) -> None:
    npy(folder / "a" / "images.npy", mark)
    npy(folder / "a" / "labels.npy", mark)
    CifarArrays(str(folder), ["a"], "images.npy", "labels.npy").check(Tiny)


def read_cifar_p(folder: Path, mark: Path) -> None:
    npy(folder / "CIFAR-10-P" / "tilt.npy", mark)
    CifarClips(str(folder), "cifar10", ["CIFAR-10-P"], ["tilt"]).check(Tiny)


def read_ood_npy(folder: Path, mark: Path) -> None:
    npy(folder / "ood.npy", mark)
    ImageArray(str(folder), "ood.npy").split(Tiny, None, "cpu")


def read_ood_npz(folder: Path, mark: Path) -> None:
    npz(folder / "ood.npz", mark, "images")
    ImageArray(str(folder), "ood.npz").split(Tiny, None, "cpu")


def read_heatmap(folder: Path, mark: Path) -> None:
    heatmap._read(npz(folder / "heatmap.npz", mark, "error", "cells", "wrong", "n", "settings"))


def read_spectra(folder: Path, mark: Path) -> None:
    spectra._read(npz(folder / "spectra.npz", mark, "wrong", "clean_wrong", "who", "settings", "data"))


class Tiny:
    """What the readers ask of a data set."""

    name, size, num_classes, class_names = "cifar10", 32, 10, CIFAR10.class_names


REFUSED = [
    *(read_state_dict, read_bare_pickle, read_own_state, read_torchscript, read_cifar, read_cifar_c),
    *(read_cifar_c_labels, read_cifar_shift, read_cifar_p, read_ood_npy, read_ood_npz, read_heatmap, read_spectra),
]


@pytest.mark.parametrize("read", REFUSED, ids=lambda read: read.__name__)
def test_a_pickle_in_a_file_is_refused_and_never_run(
    read: Callable[[Path, Path], None], tmp_path: Path, mark: Path
) -> None:
    with pytest.raises(UserError if read is not read_torchscript else RuntimeError) as refusal:
        read(tmp_path, mark)
    assert "\n" not in str(refusal.value) or read is read_torchscript
    assert not mark.exists()


def test_a_pickle_of_arrays_names_no_codec(tmp_path: Path) -> None:
    """Its bytes are latin1; looking up another name would import a module."""
    path = tmp_path / "batch"
    path.write_bytes(b"(dS'data'\nc_codecs\nencode\n(Vtext\nVrot13\ntRs.")
    with pytest.raises(UserError, match="asks for the encoding 'rot13'"):
        load_arrays(path)
    path.write_bytes(b"(dS'data'\nc_codecs\nencode\n(Vtext\nVlatin1\ntRs.")
    assert load_arrays(path) == {"data": b"text"}


def test_stored_outcomes_with_a_pickle_count_as_absent(tmp_path: Path, mark: Path) -> None:
    store = OutcomeStore(tmp_path)
    npz(tmp_path / "clean.npz", mark, "label", identity=np.array("same"))
    assert store.load("clean", "same") is None
    cache = PredictionCache(tmp_path, 2**20, lambda identity: identity)
    npz(tmp_path / "images.npz", mark, "logits", "labels")
    assert cache.load("images") is None
    for name in ("clean", "images"):  # the whole file a pickle
        (tmp_path / f"{name}.npz").write_bytes(pickle.dumps(Evil(mark)))
    assert store.load("clean", "same") is None
    assert cache.load("images") is None
    assert not mark.exists()


def test_the_report_leaves_out_arrays_with_a_pickle(tmp_path: Path, mark: Path) -> None:
    receipt = Receipt(Run(tmp_path, "run", None, "", {}), "heatmap", tmp_path, {})
    material = Material([], [receipt], [], looks_of([]), 8)
    npz(tmp_path / "heatmap.npz", mark, "error")
    assert arrays_of(material, receipt, "heatmap.npz", {"error": 2}) is None
    assert ["heatmap.npz is damaged" in line for line in material.skipped] == [True]
    assert _values(npz(tmp_path / "clean.npz", mark, "label", "nll", "prediction"), True) is None
    assert not mark.exists()


def test_the_marker_would_appear(tmp_path: Path, mark: Path) -> None:
    """The files above do hold code: read without care, it runs."""
    np.load(npy(tmp_path / "evil.npy", mark), allow_pickle=True)
    assert mark.is_dir()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """(dotted name, call) of all calls in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def value_of(call: ast.Call, name: str) -> object:
    return next((getattr(word.value, "value", None) for word in call.keywords if word.arg == name), None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_in_the_house_unpickles_evaluates_or_listens(path: Path) -> None:
    for name, call in calls(path):
        where = f"{path.name}:{call.lineno} calls {name}"
        last = name.rsplit(".", 1)[-1]
        if name in ("np.load", "numpy.load"):
            assert value_of(call, "allow_pickle") is False, where
        if name == "torch.load":
            assert value_of(call, "weights_only") is True, where
        if name in ("yaml.load", "yaml.load_all"):
            assert "SAFE" in ast.unparse(call.args[1]).upper() or ast.unparse(call.args[1]) == "LOADER", where
        if name in ("pickle.load", "pickle.loads", "pickle.Unpickler"):  # what the parent process itself has sent
            assert path.relative_to(PACKAGE).as_posix() == "run/pool.py", where
        assert name not in ("eval", "exec", "compile", "os.system", "os.popen", "__import__"), where
        assert last not in ("read_pickle", "unsafe_load", "full_load", "extractall", "unpack_archive"), where
        assert last not in ("bind", "listen", "accept", "serve_forever", "create_server", "HTTPServer"), where
        assert value_of(call, "shell") is not True, where
    imported = set(re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE))
    servers = {"http.server", "socketserver", "xmlrpc.server", "wsgiref", "shelve", "marshal", "dill", "cloudpickle"}
    assert not imported & servers


def test_the_only_yaml_loader_is_a_safe_one() -> None:
    from yaml import CSafeLoader, SafeLoader

    from fourier_robust.report import collect

    assert collect.LOADER in (CSafeLoader, SafeLoader)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> checkpoint.Checkpoint:
    """A checkpoint as training leaves it, of an untrained net."""
    from support import TINY, compose_config

    from fourier_robust.arch.normalize import Normalized
    from fourier_robust.cli import build

    folder = tmp_path_factory.mktemp("honest")
    config, names = compose_config("train", *TINY)
    dataset = build(config, "dataset")
    net = Normalized(build(config, "arch"), dataset.mean, dataset.std)
    meta = {"config": config, "names": names, "class_names": list(dataset.class_names)}
    checkpoint.save(folder, 1, net.state_dict(), {}, meta)
    return checkpoint.read(folder)


def tampered(honest: checkpoint.Checkpoint, folder: Path, group: str, change: dict[str, Any]) -> Path:
    """The checkpoint with other settings in its stored config."""
    config = honest.meta["config"]
    meta = honest.meta | {"config": config | {group: config[group] | change}}
    checkpoint.save(folder, 1, honest.weights, {}, meta)
    return folder / "last.pt"


def code(target: str, mark: Path) -> dict[str, Any]:
    return {"_target_": target, "path": str(mark)}


MALICIOUS = {
    "another function": lambda mark: ("arch", {"_target_": "os.mkdir", "path": str(mark), "_args_": [str(mark)]}),
    "builtins": lambda mark: ("arch", {"_target_": "builtins.exec", "_args_": [f"open({str(mark)!r}, 'w')"]}),
    "inside a setting": lambda mark: ("arch", {"widths": [8, 8, code("os.mkdir", mark)]}),
    "deep in a list": lambda mark: ("arch", {"widths": [[{"a": [code("os.mkdir", mark)]}]]}),
    "an import of ours": lambda mark: ("arch", code("fourier_robust.run.folder.os.mkdir", mark)),
    "a writer of ours": lambda mark: (
        "arch",
        code("fourier_robust.run.atomic.write_text", mark) | {"content": "x"},
    ),
    "a loader of ours": lambda mark: ("arch", code("fourier_robust.arch.program.scripted", mark)),
    "as a partial": lambda mark: ("arch", {"_partial_": True}),
    "positional": lambda mark: ("arch", {"_args_": [[8, 8, 8]]}),
    "not text": lambda mark: ("arch", {"_target_": ["os.mkdir"]}),
    "an environment variable": lambda mark: ("arch", {"widths": "${oc.env:HOME}"}),
    "a data set": lambda mark: ("dataset", code("os.mkdir", mark)),
    "inside a data set": lambda mark: ("dataset", {"num_test": code("os.mkdir", mark)}),
    "a resolver": lambda mark: ("dataset", {"num_test": "32${hydra:runtime.cwd}"}),
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_stored_config_builds_nothing_else(
    kind: str, honest: checkpoint.Checkpoint, evaluate_tiny: Evaluate, tmp_path: Path, mark: Path
) -> None:
    path = tampered(honest, tmp_path, *MALICIOUS[kind](mark))
    with pytest.raises(UserError, match=r"its config asks for .*, and no file may choose what runs"):
        evaluate_tiny(path)
    assert not mark.exists()
    assert not (tmp_path / "eval").exists()


def test_held_out_settings_are_numbers(
    honest: checkpoint.Checkpoint, evaluate_tiny: Evaluate, tmp_path: Path, mark: Path
) -> None:
    """They are the one thing of its data set that goes into another one's config."""
    path = tampered(honest, tmp_path, "dataset", {"num_val": code("os.mkdir", mark)})
    evaluate_tiny(path, "dataset=shapes", "dataset.num_test=32")
    assert not mark.exists()


def test_the_guard_is_what_holds(
    honest: checkpoint.Checkpoint,
    evaluate_tiny: Evaluate,
    tmp_path: Path,
    mark: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tampered(honest, tmp_path, *MALICIOUS["inside a setting"](mark))
    monkeypatch.setattr(config_module, "check_stored", lambda *_: None)
    with pytest.raises((UserError, RuntimeError, TypeError)):  # a folder's None is no width; it is made by then
        evaluate_tiny(path)
    assert mark.is_dir()


def test_what_the_user_names_goes(
    honest: checkpoint.Checkpoint, evaluate_tiny: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes of one's own: the command line vouches for them; the honest file needs nothing."""
    (tmp_path / "my_nets.py").write_text("from fourier_robust.arch.speednet import SpeedNet as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tampered(honest, tmp_path, "arch", {"_target_": "my_nets.Mine"})
    with pytest.raises(UserError, match=r"name it yourself: \+arch\._target_=my_nets\.Mine"):
        evaluate_tiny(path)
    evaluate_tiny(path, "+arch._target_=my_nets.Mine")
    evaluate_tiny(tampered(honest, tmp_path / "same", "arch", {}))
    rows = [(tmp_path / folder / "eval/clean/results.csv").read_text().splitlines()[1:] for folder in (".", "same")]
    first, second = ([line.split(",", 1)[1] for line in one] for one in rows)
    assert first == second


@pytest.mark.parametrize(
    "change",
    [{"config": None}, {"config": {}}, {"names": {}}, {"names": {"dataset": 3}}, {"class_names": 10}],
    ids=str,
)
def test_a_damaged_description_is_one_line(
    change: dict[str, Any], honest: checkpoint.Checkpoint, evaluate_tiny: Evaluate, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path, 1, honest.weights, {}, honest.meta | change)
    with pytest.raises(UserError, match="is not a checkpoint of this project"):
        evaluate_tiny(tmp_path)


def test_a_file_does_not_start_a_download(honest: checkpoint.Checkpoint, tmp_path: Path) -> None:
    from support import compose_config

    from fourier_robust.subject import subject_of

    stored = compose_config("train", "dataset=cifar10", "dataset.download=true")[0]["dataset"]
    meta = honest.meta | {"config": honest.meta["config"] | {"dataset": stored}}
    checkpoint.save(tmp_path, 1, honest.weights, {}, meta)
    path = tmp_path / "last.pt"
    assert subject_of(*compose_config("eval", f"ckpt={path}")).dataset["download"] is False
    assert subject_of(*compose_config("eval", f"ckpt={path}", "+dataset.download=true")).dataset["download"] is True


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "..", ".", "a/../../b", "a\\..\\b", "x\0y", "~", ""])
def test_names_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    assert "/" not in slug(name)
    assert slug(name) not in ("", ".", "..")
    names = dict.fromkeys(("dataset", "arch", "aug", "reg"), name)
    folder = RunFolder.of(tmp_path, names, 0, {"seed": 0}).path
    assert folder.resolve().is_relative_to(tmp_path.resolve())
    assert len(folder.relative_to(tmp_path).parts) == 4


def test_an_archive_that_is_not_the_published_one_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from torchvision.datasets import utils

    archive, root = tmp_path / "served" / "evil.tar.gz", tmp_path / "data"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as file:
        for name in ("../escaped", "inside"):
            member = tarfile.TarInfo(name)
            member.size = 1
            file.addfile(member, io.BytesIO(b"x"))
    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(utils, "_urlretrieve", lambda _, target, **__: shutil.copy(archive, target))
    with pytest.raises(UserError, match="could not be downloaded"):
        CIFAR10(str(root), download=True).split("test")
    assert list(root.iterdir()) == [root / "cifar-10-python.tar.gz"]
    assert not (tmp_path / "escaped").exists()


def test_nothing_listens_on_the_network(
    train_tiny: Callable[..., Path], evaluate_tiny: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    class Watched(socket.socket):
        def bind(self, address: Any) -> None:
            opened.append((self.family, address))
            super().bind(address)

        def connect(self, address: Any) -> None:
            opened.append((self.family, address))
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Watched)
    with Watched() as own:
        own.bind(("127.0.0.1", 0))
    assert len(opened) == 1  # it would be seen
    evaluate_tiny(train_tiny("trainer.epochs=1"))
    assert len(opened) == 1


def below(pid: int) -> Iterator[int]:
    """A process and all that it has started, as far as they are still there."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                yield from below(int(child))


def listening(pid: int) -> Iterator[str]:
    """Addresses, as /proc has them, at which a process waits for others."""
    held = set()
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            held.add(os.readlink(path))
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in (line.split() for line in Path(table).read_text().splitlines()[1:]):
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
                yield fields[1].rpartition(":")[0]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_several_processes_listen_on_the_loopback_device_alone(tmp_path: Path) -> None:
    """With them there is talk between processes, which nobody outside this machine may join."""
    loopback = {"0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F"}
    several = ("device.processes=2", "trainer.epochs=1", f"paths.output_dir={tmp_path}")
    command = [sys.executable, "-m", "fourier_robust.train", *TINY, *several]
    found: set[str] = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        while run.poll() is None:
            for pid in list(below(run.pid)):
                with contextlib.suppress(OSError):
                    found |= set(listening(pid))
            time.sleep(0.02)
        assert run.stdout is not None
        assert run.returncode == 0, run.stdout.read()
    assert found  # it was seen
    assert found <= loopback
