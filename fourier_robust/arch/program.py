"""Networks that come as a file with their own code: TorchScript, and torch.export's archives."""

from __future__ import annotations

import contextlib
import os
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fourier_robust.arch.program_text import check_export, check_script

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch.load's own switch


class Program(nn.Module):
    """A network whose insides are not ours to set: it has one mode, evaluation, and one device.

    Args:
        run: normalised (B,C,H,W) -> logits (B,K).
        batch: the one batch size it takes, or None for any; others are run in pieces, the last one filled up.
    """

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], batch: int | None = None) -> None:
        super().__init__()
        self.__dict__["_run"] = run  # no submodule: train(), eval() and memory formats do not reach it
        self.batch = batch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised (B,C,H,W) -> logits (B,K)."""
        run = self.__dict__["_run"]
        if self.batch in (None, len(images)):
            return run(images)
        found = []
        for piece in images.split(self.batch):
            filled = torch.cat([piece, piece[:1].expand(self.batch - len(piece), -1, -1, -1)])
            found.append(run(filled)[: len(piece)])
        return torch.cat(found)

    def _apply(self, fn: Any, recurse: bool = True) -> Program:
        """Move the network to where a tensor would go."""
        device = fn(torch.zeros(1)).device
        move = self.__dict__["_run"]
        if hasattr(move, "to"):
            move.to(device)
        return super()._apply(fn, recurse)


def scripted(path: Path) -> Program:
    """A TorchScript file, in evaluation mode.

    Its code runs while it is loaded; files are all that TorchScript can reach outside of it.

    Raises:
        RuntimeError, ValueError: not one, or its code writes or reads files.
    """
    check_script(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, but the files are there
        return Program(torch.jit.load(str(path), map_location="cpu").eval())


def exported(path: Path) -> Program:
    """A torch.export archive (.pt2); it stays in the mode in which it was exported.

    Raises:
        RuntimeError, ValueError, UnpicklingError: not one, or it holds pickled objects or code.
    """
    check_export(path)
    with _no_pickles():
        program = torch.export.load(str(path))
    inputs = set(program.graph_signature.user_inputs)
    (images,) = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    first = images.meta["val"].shape[0]
    return Program(program.module(), first if isinstance(first, int) else None)


@contextlib.contextmanager
def _no_pickles() -> Iterator[None]:
    """torch.export reads tensors of unusual kinds, example inputs and opaque constants by pickle: not in here."""
    from torch.export.pt2_archive import _package as reader

    def refuse(*_: Any) -> None:
        raise ValueError("it holds a pickled object, and a pickle's code is never run")

    guarded: Any = reader
    extension: Any = torch._C
    given, loads, load_object = os.environ.get(_FORCE), guarded.pickle, extension._pickle_load_obj
    guarded.pickle, extension._pickle_load_obj = types.SimpleNamespace(loads=refuse), refuse
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        guarded.pickle, extension._pickle_load_obj = loads, load_object
        if given is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = given
