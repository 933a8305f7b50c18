"""Checkpoints: weights in safetensors, the rest in a state file that loads without executing a pickle.

``last.pt`` names its weights file and that file's SHA-256. The weights are written first, under a new name;
then ``last.pt`` is replaced in one rename; then the weights before it are removed. A process killed at any
point leaves a ``last.pt`` whose weights are there and whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from fourier_robust.errors import UserError
from fourier_robust.run.atomic import write_bytes

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk.

    Attributes:
        path: the file the user named.
        weights: state dict of the reported model (the average, where one is kept).
        sha256: hex digest of the weights file.
        meta: resolved config, group choices, class names, ...; empty for somebody else's file.
        state: optimizer, progress, raw weights under averaging; empty where only weights were read.
    """

    path: Path
    weights: dict[str, torch.Tensor]
    sha256: str
    meta: dict[str, Any]
    state: dict[str, Any]


def save(
    folder: Path, step: int, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any], meta: Mapping[str, Any]
) -> Path:
    """Write a checkpoint of global step `step` into `folder` and return the path of its ``last.pt``.

    Args:
        folder: the run folder.
        step: global step, names the weights file.
        weights: state dict of the model to report.
        state: tensors, numbers, strings and containers of them (`weights_only` loadable).
        meta: JSON-able description of the model; stored in both files.
    """
    described = json.dumps(meta)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    blob = save_tensors(tensors, metadata={"fourier_robust": described})
    name = f"step{step:08d}.safetensors"
    write_bytes(folder / name, blob)
    buffer = io.BytesIO()
    header = {"format": FORMAT, "weights": name, "sha256": hashlib.sha256(blob).hexdigest(), "meta": described}
    torch.save(header | {"state": dict(state)}, buffer)
    write_bytes(folder / "last.pt", buffer.getvalue())
    for old in folder.glob("step*.safetensors"):
        if old.name != name:
            old.unlink()
    return folder / "last.pt"


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in list(file.keys())}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"checkpoint {path} is truncated or damaged ({error})") from None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return weights, json.loads(metadata.get("fourier_robust", "{}")), digest


def _read_pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(f"{path} is not a checkpoint (or holds code, which is never run)") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        zipped = path.open("rb").read(2) == b"PK"
        what = "is truncated or damaged" if zipped else "is not a checkpoint"
        raise UserError(f"{path} {what} ({reason})") from None


def _foreign(path: Path, content: Any) -> dict[str, torch.Tensor]:
    """The state dict inside somebody else's file: bare, or under the usual keys, with or without ``module.``."""
    for key in ("state_dict", "model", "net", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(value) for value in content.values()):
        raise UserError(f"{path} is not a checkpoint: no state dict of tensors in it")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def read(path: Path) -> Checkpoint:
    """Read ``last.pt``, a run folder, a ``.safetensors`` file, or somebody else's state dict.

    Raises:
        UserError: missing, not a checkpoint, truncated, or its weights file missing or changed: one line says which.
    """
    if path.is_dir():
        path = path / "last.pt"
    if not path.exists():
        raise UserError(f"no checkpoint at {path}")
    if path.suffix == ".safetensors":
        weights, meta, digest = _read_safetensors(path)
        return Checkpoint(path, weights, digest, meta, {})
    content = _read_pickled(path)
    if not (isinstance(content, dict) and "format" in content and "weights" in content):
        return Checkpoint(path, _foreign(path, content), hashlib.sha256(path.read_bytes()).hexdigest(), {}, {})
    if content["format"] != FORMAT:
        raise UserError(f"{path} has checkpoint format {content['format']}, this version reads {FORMAT}")
    beside = path.parent / content["weights"]
    if not beside.exists():
        raise UserError(f"{path} names the weights file {content['weights']}, which is not beside it")
    weights, meta, digest = _read_safetensors(beside)
    if digest != content["sha256"]:
        raise UserError(f"checkpoint {beside} is damaged: its SHA-256 is not the one {path.name} names")
    return Checkpoint(path, weights, digest, meta, content["state"])
