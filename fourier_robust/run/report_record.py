"""The files of a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fourier_robust.errors import UserError
from fourier_robust.run.atomic import write_text


def write_report(folder: Path, files: Mapping[str, str]) -> None:
    """Write each of `files` (name -> text) into `folder`, made as needed; files of other names stay.

    Raises:
        UserError: nothing can be written there.
    """
    try:
        for name, text in files.items():
            write_text(folder / name, text)
    except OSError as error:
        raise UserError(f"out={folder}: {error.strerror or error}") from error
