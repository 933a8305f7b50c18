"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import socket
import uuid
from pathlib import Path

LONGEST = 3600.0  # seconds after which a process of another host is no longer writing
_cleared: set[tuple[int, Path]] = set()  # by this process


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, flush it to disk, then rename over `path`; folders are made as needed.

    What a killed process left half-written in that folder is removed.

    Raises:
        OSError: naming `path`: the disk is full, can't be written, or is gone.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with open(temporary, "xb") as file:
                _clear(path.parent, os.fstat(file.fileno()).st_mtime)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise named(error, path) from error


def also_as(path: Path, other: Path) -> None:
    """Give the file `path` the further name `other`, replacing what had it; a copy where files have one name only."""
    temporary = _temporary(other)
    try:
        os.link(path, temporary)
    except OSError:
        write_bytes(other, path.read_bytes())
        return
    os.replace(temporary, other)
    temporary.unlink(missing_ok=True)  # both names are one file: then the rename above does nothing


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())


def _temporary(path: Path) -> Path:
    """A name beside `path` that says who writes there."""
    return path.with_name(f".{path.name}.{here()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


@functools.cache
def here() -> str:
    """8 hex digits that tell this host, boot and table of processes from others."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    table = os.readlink("/proc/self/ns/pid") if os.path.lexists("/proc/self/ns/pid") else ""
    about = f"{socket.gethostname()} {boot.read_text() if boot.exists() else ''} {table}"
    return hashlib.sha256(about.encode()).hexdigest()[:8]


def _clear(folder: Path, now: float) -> None:
    """Remove what processes that are gone left half-written in `folder`; looked for once per process.

    Args:
        folder: where to look.
        now: by the clock of the file system.
    """
    if (os.getpid(), folder) in _cleared:
        return
    _cleared.add((os.getpid(), folder))
    for rest in folder.glob(".*.tmp"):
        writer = re.search(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp$", rest.name)
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if writer and _void(writer[1], writer[2], rest, now):
                rest.unlink()


def _void(host: str, pid: str, rest: Path, now: float) -> bool:
    """Whether nobody writes the temporary file `rest` any more."""
    if host == here() and Path("/proc/self").exists():
        return not Path(f"/proc/{pid}").exists()
    return now - rest.stat().st_mtime > LONGEST


def named(error: OSError, path: Path) -> OSError:
    """The same error with the name of the file that could not be written, which a full disk does not give."""
    return type(error)(error.errno, error.strerror, str(path)) if error.errno and error.strerror else error
