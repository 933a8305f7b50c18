"""Checkpoints: weights in safetensors, the rest in a state file that loads without executing a pickle.

``last.pt`` names its weights file and that file's SHA-256. The weights are written first, under a new name; then
``last.pt`` becomes ``previous.pt`` as well; then ``last.pt`` is replaced in one rename; then weights that neither names
are removed. A process killed at any point leaves a ``last.pt`` whose weights are there and whole, and should the disk
damage that, the checkpoint before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from fourier_robust.errors import UserError
from fourier_robust.run.atomic import also_as, write_bytes
from fourier_robust.run.seal import sealed, unchanged

FORMAT = 1
PREVIOUS = "previous.pt"
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk.

    Attributes:
        path: the file the user named.
        weights: state dict of the reported model (the average, where one is kept).
        sha256: hex digest of the weights file.
        meta: resolved config, group choices, class names, ...; empty for somebody else's file.
        state: optimizer, progress, raw weights under averaging; empty where only weights were read.
        beside: name of the weights file that `path` names; None where it is not one of ours.
    """

    path: Path
    weights: dict[str, torch.Tensor]
    sha256: str
    meta: dict[str, Any]
    state: dict[str, Any]
    beside: str | None = None


def save(
    folder: Path,
    step: int,
    weights: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    meta: Mapping[str, Any],
    before: str | None = None,
) -> str:
    """Write a checkpoint of global step `step` into `folder`; returns the name of its weights file.

    Args:
        folder: the run folder.
        step: global step, names the weights file.
        weights: state dict of the model to report.
        state: tensors, numbers, strings and containers of them (`weights_only` loadable).
        meta: JSON-able description of the model; stored in both files.
        before: weights file of the checkpoint now in ``last.pt``, which stays as ``previous.pt``; None where there is
            none to go on from.
    """
    described = json.dumps(meta)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    blob = save_tensors(tensors, metadata={"fourier_robust": described})
    name = f"step{step:08d}.safetensors"
    write_bytes(folder / name, blob)
    buffer = io.BytesIO()
    header = {"format": FORMAT, "weights": name, "sha256": hashlib.sha256(blob).hexdigest(), "meta": described}
    torch.save(header | {"state": dict(state)}, buffer)
    last, previous, coming = folder / "last.pt", folder / PREVIOUS, folder / "next.pt"
    write_bytes(coming, sealed(buffer.getvalue()))
    if before is None:
        previous.unlink(missing_ok=True)
    elif last.exists():
        also_as(last, previous)
    coming.replace(last)
    for old in folder.glob("step*.safetensors"):
        if old.name not in (name, before):
            old.unlink()
    return name


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in list(file.keys())}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"checkpoint {path} is truncated or damaged ({error})") from None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        meta = json.loads(metadata.get("fourier_robust", "{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"checkpoint {path} has a damaged description ({error})") from None
    if not isinstance(meta, dict):
        raise UserError(f"checkpoint {path} has a damaged description (it is no object)")
    return weights, meta, digest


def _read_pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it holds {named[1]}, and a pickle's code is never run" if named else "or holds code, which is never run"
        raise UserError(f"{path} is not a checkpoint ({why}); save its state dict alone") from None
    except Exception as error:  # of damaged bytes the reader may make anything: IndexError, TypeError ...
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if not zipped:  # torch's own reason may be advice to run what is in there
            raise UserError(f"{path} is not a checkpoint (neither an archive of torch.save nor a pickle)") from None
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is truncated or damaged ({reason})") from None


def _foreign(path: Path, content: Any) -> dict[str, torch.Tensor]:
    """The state dict inside somebody else's file: bare, or under the usual keys."""
    for key in ("state_dict", "model", "net", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(value) for value in content.values()):
        raise UserError(f"{path} is not a checkpoint: no state dict of tensors in it")
    return dict(content)


def without_prefix(weights: Mapping[str, torch.Tensor], wanted: Iterable[str]) -> dict[str, torch.Tensor]:
    """`weights` without the prefixes that wrappers of a network leave before all of its names.

    A prefix goes only where every name has it, and not where the architecture has such names itself.
    """
    found, known = dict(weights), set(wanted)
    while not known & found.keys():
        shared = [prefix for prefix in WRAPPERS if found and all(name.startswith(prefix) for name in found)]
        if not shared:
            break
        found = {name.removeprefix(shared[0]): tensor for name, tensor in found.items()}
    return found


def kind_of(path: Path) -> Literal["weights", "torchscript", "export"]:
    """What a file (or run folder) holds, by its table of contents; nothing in it is loaded."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return "weights"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    exported = "archive_format" in names or "serialized_exported_program.json" in names
    return "export" if exported else "weights"


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(weights: Mapping[str, torch.Tensor]) -> str:
    """Hex digest of names, dtypes, shapes and values; for weights that are no file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
        return Checkpoint(path, _foreign(path, content), file_sha256(path), {}, {})
    if not unchanged(path):
        raise UserError(f"{path} is truncated or damaged (its bytes are not those that were written)")
    if content["format"] != FORMAT:
        raise UserError(f"{path} has checkpoint format {content['format']}, this version reads {FORMAT}")
    named = content["weights"]
    if not isinstance(named, str) or Path(named).name != named or not named.endswith(".safetensors"):
        raise UserError(f"{path} is not a checkpoint: it names {named!r} as its weights, which is no file beside it")
    beside = path.parent / named
    if not beside.exists():
        raise UserError(f"{path} names the weights file {content['weights']}, which is not beside it")
    weights, meta, digest = _read_safetensors(beside)
    if digest != content["sha256"]:
        raise UserError(f"checkpoint {beside} is damaged: its SHA-256 is not the one {path.name} names")
    return Checkpoint(path, weights, digest, meta, content["state"], content["weights"])
