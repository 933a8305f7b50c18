"""What a folder of generated corruptions says of itself: of which data, how made, by what, and each file's identity."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fourier_robust.errors import UserError
from fourier_robust.run.identity import identity_of
from fourier_robust.run.provenance import provenance
from fourier_robust.run.results import write_receipt

NAME = "corruptions.json"


def read_receipt(folder: Path) -> dict[str, Any] | None:
    """The receipt in `folder`; None where there is none, as in a published release.

    Raises:
        UserError: it is damaged.
    """
    try:
        receipt = json.loads((folder / NAME).read_text())
        whole = receipt["facts"], receipt["corruptions"], receipt["files"], receipt["launches"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        whole = None
    if whole is None:
        raise UserError(f"{folder / NAME} is damaged, so nobody knows what lies there: give another folder")
    return receipt


def identity(path: Path) -> str:
    """SHA-256 (hex): of a file's bytes; of a folder as tree readers have it, see `identity_of`."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    found = sorted(os.path.join(parent, name) for parent, _, names in os.walk(os.fsencode(path)) for name in names)
    return identity_of(path, [(name[len(os.fsencode(path)) + 1 :], os.stat(name).st_size) for name in found])


class ReleaseReceipt:
    """The receipt of the release in `folder`, read if there is one and held against what is wanted.

    Args:
        folder: of the release; may not exist.
        facts: what decides all images: data, seed, layout.
        corruptions: name -> what decides its images beside that.

    Raises:
        UserError: the folder holds other files, or images made otherwise.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], corruptions: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder = folder
        found = read_receipt(folder)
        if found is None:
            if folder.is_dir() and any(not item.name.startswith((".claim", ".lock")) for item in folder.iterdir()):
                raise UserError(f"{folder} holds files, but no {NAME} of ours: give suite.save a new folder")
            found = {"state": "writing", "facts": dict(facts), "corruptions": {}, "files": {}, "launches": []}
        self.content: dict[str, Any] = found
        self._checked: dict[str, str] = {}
        for key in {**facts, **found["facts"]}:
            self._same(key, found["facts"].get(key), facts.get(key))
        for name in corruptions.keys() & found["corruptions"].keys():
            self._same(name, found["corruptions"][name], dict(corruptions[name]))
        found["corruptions"] |= {name: dict(how) for name, how in corruptions.items()}

    def keeps(self, unit: str) -> bool:
        """Whether `unit` (a file, or the folder of a severity) is there, and is what the receipt says.

        Raises:
            UserError: it is there and is not.
        """
        path = self.folder / unit
        if not path.exists():
            return False
        if unit not in self._checked:
            self._checked[unit] = identity(path)
        if self._checked[unit] != self.content["files"].get(unit):
            raise UserError(f"{path} is not what {NAME} says: remove it to have it made again")
        return True

    def begin(self, processes: int, images: int) -> None:
        """Note who goes to work."""
        launch = {"processes": processes, "images": images} | provenance(torch.device("cpu"))
        self.content["launches"].append(launch)
        self._write("writing")

    def add(self, unit: str, identity: str) -> None:
        """Note a finished unit, before it gets its name."""
        self.content["files"][unit] = identity
        self._write("writing")

    def end(self, seconds: float) -> None:
        """Note that all is done, and the wall time of this launch."""
        self.content["launches"][-1]["wall_seconds"] = round(seconds, 1)
        self._write("done")

    def _same(self, what: str, theirs: Any, ours: Any) -> None:
        if theirs != ours:
            raise UserError(
                f"{self.folder} holds images made with another {what} ({_short(theirs)}, not {_short(ours)}): "
                "give another suite.save"
            )

    def _write(self, state: str) -> None:
        write_receipt(self.folder / NAME, self.content | {"state": state})


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
