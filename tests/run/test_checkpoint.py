"""Checkpoints: what is written is read back, and each kind of damage is named in one line."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch

from fourier_robust.errors import UserError
from fourier_robust.run import checkpoint

WEIGHTS = {"layer.weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7)}
META = {"names": {"arch": "x"}, "class_names": ["a", "b"]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path, 5, WEIGHTS, {"step": 5, "buffers": [torch.ones(2)]}, META)
    return tmp_path / "last.pt"


def test_round_trip(saved: Path) -> None:
    for path in (saved, saved.parent):
        found = checkpoint.read(path)
        assert all(torch.equal(found.weights[name], tensor) for name, tensor in WEIGHTS.items())
        assert found.meta == META
        assert found.state["step"] == 5
        assert torch.equal(found.state["buffers"][0], torch.ones(2))


def test_weights_alone_carry_the_description(saved: Path) -> None:
    found = checkpoint.read(saved.parent / "step00000005.safetensors")
    assert found.meta == META
    assert found.sha256 == checkpoint.read(saved).sha256
    assert found.state == {}


def test_channels_last_weights_survive(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path, 1, {"weight": weight}, {}, META)
    assert torch.equal(checkpoint.read(tmp_path).weights["weight"], weight)


def test_a_later_checkpoint_replaces_the_earlier(saved: Path) -> None:
    checkpoint.save(saved.parent, 9, WEIGHTS, {"step": 9}, META)
    assert checkpoint.read(saved).state["step"] == 9
    assert [path.name for path in saved.parent.glob("*.safetensors")] == ["step00000009.safetensors"]


def test_the_one_before_stays(tmp_path: Path) -> None:
    names: list[str | None] = [None]
    for step in (5, 9, 13):
        names.append(checkpoint.save(tmp_path, step, WEIGHTS, {"step": step}, META, names[-1]))
    assert checkpoint.read(tmp_path).state["step"] == 13
    assert checkpoint.read(tmp_path / "previous.pt").state["step"] == 9
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == names[2:]
    checkpoint.save(tmp_path, 1, WEIGHTS, {"step": 1}, META)  # a run that starts anew leaves nothing of the old one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "step00000001.safetensors"]


def test_killed_between_weights_and_state_keeps_the_earlier(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = checkpoint.write_bytes

    def dies(path: Path, content: bytes) -> None:
        if path.name == "next.pt":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_bytes", dies)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(saved.parent, 9, {"layer.weight": torch.zeros(2, 3)}, {"step": 9}, META)
    found = checkpoint.read(saved)
    assert found.state["step"] == 5
    assert torch.equal(found.weights["layer.weight"], WEIGHTS["layer.weight"])


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint at .*nothing\.pt"):
        checkpoint.read(tmp_path / "nothing.pt")


@pytest.mark.parametrize("content", [b"", b"hello, no checkpoint", b"\x80\x04", b"PK\x03\x04 no zip"])
def test_not_a_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not a checkpoint|truncated or damaged"):
        checkpoint.read(path)


@pytest.mark.parametrize("content", [bytes(5000), b"", b"hello, no checkpoint"])
def test_what_is_no_archive_gets_no_advice_to_run_it(tmp_path: Path, content: bytes) -> None:
    """A file of zeros, as a loss of power leaves it, is an old archive to torch, which advises `weights_only=False`."""
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        checkpoint.read(path)
    assert str(raised.value) == f"{path} is not a checkpoint (neither an archive of torch.save nor a pickle)"


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_truncated_state(saved: Path, keep: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match=r"last\.pt .*(truncated|not a checkpoint)"):
        checkpoint.read(saved)


def test_truncated_and_changed_weights(saved: Path) -> None:
    weights = saved.parent / "step00000005.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-3])
    with pytest.raises(UserError, match="truncated or damaged"):
        checkpoint.read(saved)
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="SHA-256"):
        checkpoint.read(saved)
    weights.unlink()
    with pytest.raises(UserError, match="not beside it"):
        checkpoint.read(saved)


def test_code_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for name, protocol in (("evil.pt", 2), ("evil.th", 4)):
        (tmp_path / name).write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=protocol))
        with pytest.raises(UserError, match="not a checkpoint"):
            checkpoint.read(tmp_path / name)
    torch.save({"state_dict": Evil()}, tmp_path / "zip.pt")
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoint.read(tmp_path / "zip.pt")
    assert not (tmp_path / "ran").exists()


def test_somebody_elses_state_dict(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in WEIGHTS.items()}, "best": 1.0}, tmp_path / "a.th"
    )
    found = checkpoint.read(tmp_path / "a.th")
    assert found.meta == {}
    assert found.weights.keys() == {f"module.{name}" for name in WEIGHTS}
    assert checkpoint.without_prefix(found.weights, WEIGHTS).keys() == WEIGHTS.keys()
    torch.save({"epoch": 3}, tmp_path / "b.th")
    with pytest.raises(UserError, match="no state dict"):
        checkpoint.read(tmp_path / "b.th")


def test_prefixes_go_only_where_all_names_have_them() -> None:
    one = torch.zeros(1)
    strip = checkpoint.without_prefix
    assert strip({"module.model.a": one, "module.model.b": one}, ["a", "b"]).keys() == {"a", "b"}
    assert strip({"model.a": one, "model.b": one}, ["model.a", "c"]).keys() == {"model.a", "model.b"}
    assert strip({"model.a": one, "head.b": one}, ["a", "b"]).keys() == {"model.a", "head.b"}
    assert strip({}, ["a"]) == {}


def test_kinds_of_files_by_their_contents(saved: Path, tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), str(tmp_path / "a.pt"))
    torch.export.save(torch.export.export(net, (torch.zeros(1, 2),)), tmp_path / "b.pt2")
    torch.save(net.state_dict(), tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(b"no zip")
    kinds = [checkpoint.kind_of(tmp_path / name) for name in ("a.pt", "b.pt2", "c.pt", "d.pt", "none.pt")]
    assert kinds == ["torchscript", "export", "weights", "weights", "weights"]
    assert checkpoint.kind_of(saved) == "weights"
    assert checkpoint.kind_of(saved.parent) == "weights"
