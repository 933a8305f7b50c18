"""What a set of files is, in one digest that is cheap for a million of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_LOOKED_INTO = 64  # files of a set


def identity_of(folder: Path, files: Sequence[tuple[bytes, int]]) -> str:
    """SHA-256 (hex) over all paths and sizes, and over the bytes of 64 of the files, evenly spaced.

    Cheap, and blind to a change of other files that keeps their sizes.

    Args:
        folder: what the paths are relative to.
        files: path and size of each, sorted.
    """
    digest = hashlib.sha256(b"".join(b"%s %d\n" % file for file in files))
    for place in np.unique(np.linspace(0, len(files) - 1, _LOOKED_INTO).round().astype(int)) if files else ():
        try:
            with open(os.path.join(os.fsencode(folder), files[place][0]), "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:  # who reads the images says what is wrong with it
            digest.update(b"-")
    return digest.hexdigest()
