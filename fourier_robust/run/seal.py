"""Whether a checkpoint's files hold the bytes that were written, told without torch: a run that is done starts none."""

from __future__ import annotations

import hashlib
import pickletools
import zipfile
from pathlib import Path

SEAL = b"\nsha256 "  # at the end of a state file, then the hex digest of all that is before; torch does not mind it
SEALED = len(SEAL) + 64


def sealed(body: bytes) -> bytes:
    """`body` with its SHA-256 at the end."""
    return body + SEAL + hashlib.sha256(body).hexdigest().encode()


def unchanged(path: Path) -> bool:
    """Hold a state file against the SHA-256 at its end: torch reads a flipped bit without a word.

    Files of before the seal have the CRC-32 that archives have, of their contents alone.
    """
    try:
        content = path.read_bytes()
        body, seal = content[:-SEALED], content[-SEALED:]
        if seal.startswith(SEAL):
            return seal[len(SEAL) :] == hashlib.sha256(body).hexdigest().encode()
        with zipfile.ZipFile(path) as archive:
            return content[-22:-18] == b"PK\5\6" and archive.testzip() is None  # and no part of a seal
    except Exception:  # of damaged bytes the reader may make anything: IndexError, TypeError ...
        return False


def whole(path: Path) -> bool:
    """Whether the state file `path` and the weights file that it names are there and unchanged."""
    named = weights_of(path) if unchanged(path) else None
    if named is None:
        return False
    try:
        with (path.parent / named[0]).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == named[1]
    except (OSError, ValueError):
        return False


def weights_of(path: Path) -> tuple[str, str] | None:
    """Name and SHA-256 (hex) of the weights file that a state file names; None where that can't be told."""
    try:
        with zipfile.ZipFile(path) as archive:
            (pickled,) = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
            texts = [text for _, text, _ in pickletools.genops(archive.read(pickled)) if isinstance(text, str)]
        name, digest = (texts[texts.index(key) + 1] for key in ("weights", "sha256"))
    except Exception:  # see `unchanged`
        return None
    return name, digest
