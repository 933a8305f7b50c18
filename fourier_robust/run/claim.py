"""One process at a time in a folder, by a file that a dead process or a dead host does not hold for ever.

The file appears by exclusive creation, which network file systems keep to as well; locks of the kernel are not known
to other hosts on all of them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from fourier_robust.errors import Busy
from fourier_robust.run.atomic import here, named

BEAT = 20.0  # seconds between two signs of life
STALE = 180.0  # seconds without one after which a claim from another host counts for nothing
NAME = ".claim"


class Claim:
    """Hold `folder` for this process while inside a ``with``; a thread gives signs of life.

    A claim is void when its process is gone (same host), or when the file was not touched for `STALE` seconds by the
    clock of the file system (another host). Void claims are moved aside by one process only.

    Args:
        folder: exists.
        beat: also called with every sign of life, while the folder is held; what it raises is ignored.
        doing: what the holder does there, as the message to the others says it.
        job: whose it is; see `Busy.job`.

    Raises:
        Busy: on entering: a living process holds the folder.
    """

    def __init__(
        self,
        folder: Path,
        beat: Callable[[], None] = lambda: None,
        doing: str = "is running this experiment",
        job: str = "",
    ) -> None:
        self.path = folder / NAME
        self._beat_too, self._doing = beat, doing
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        self._mine = json.dumps({**_self(), "since": since, "job": job, "token": uuid.uuid4().hex})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beats, name="heartbeat", daemon=True)

    def __enter__(self) -> Claim:
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.held():
            self.path.unlink(missing_ok=True)

    def held(self) -> bool:
        """Whether the claim is still this process's; a clock that jumps may have made another take it."""
        return _read(self.path) == self._mine

    def _take(self) -> None:
        while not self._created():
            seen = _read(self.path)
            if seen is None:  # given up in this moment
                continue
            if alive(self.path, seen):
                raise Busy(f"another process {self._doing}: {self.path.parent} ({_holder(seen)})", _job(seen))
            aside = _temporary(self.path.parent)
            try:
                os.rename(self.path, aside)
            except FileNotFoundError:  # another was faster
                continue
            if _read(aside) != seen:  # not the one judged: put it back, unless there is a newer one
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self.path)
            aside.unlink(missing_ok=True)

    def _created(self) -> bool:
        """Make the file, whole from the start where files can have two names."""
        made = _temporary(self.path.parent)
        try:
            made.write_text(self._mine)
            try:
                os.link(made, self.path)
            except FileExistsError:
                return False
            except OSError:
                self._write_alone()
        except FileExistsError:
            return False
        except OSError as error:  # a full disk does not say where
            raise named(error, self.path) from error
        finally:
            made.unlink(missing_ok=True)
        return True

    def _write_alone(self) -> None:
        with open(self.path, "x") as file:
            try:
                file.write(self._mine)
                file.flush()
            except OSError:
                self.path.unlink(missing_ok=True)
                raise

    def _beats(self) -> None:
        while not self._stop.wait(BEAT):
            with contextlib.suppress(Exception):
                if self.held():
                    os.utime(self.path)
                    self._beat_too()


def alive(path: Path, text: str) -> bool:
    """Whether the process whose claim `text` stands in the file `path` lives, as far as can be known from here."""
    try:
        holder, this = json.loads(text), _self()
        same_host = all(holder[key] == this[key] for key in ("host", "boot", "processes"))
        pid, start = int(holder["pid"]), holder["start"]
    except (ValueError, KeyError, TypeError):
        same_host = False  # being written, or damaged: its age tells
    if same_host:
        return _start(pid) == start
    return _age(path) < STALE


def _self() -> dict[str, str | int]:
    """What tells this process from all others: host, boot, table of processes, number, time of its start."""
    return {
        "host": socket.gethostname(),
        "boot": _text(Path("/proc/sys/kernel/random/boot_id")),
        "processes": os.readlink("/proc/self/ns/pid") if os.path.lexists("/proc/self/ns/pid") else "",
        "pid": os.getpid(),
        "start": _start(os.getpid()),
    }


def _start(pid: int) -> str:
    """When a process of this host began, in ticks since boot; empty where there is none."""
    stat = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if stat:
        return "" if stat[0] in "ZX" else stat[19]  # a zombie holds nothing
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"


def _temporary(folder: Path) -> Path:
    """A name that `run.atomic` clears away where a killed process has left it."""
    return folder / f"{NAME}.{here()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"


def _age(path: Path) -> float:
    """Seconds since the last sign of life, both times by the clock of the file system; endless where it is gone."""
    now = _temporary(path.parent)
    try:
        now.touch()
        return now.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf
    finally:
        now.unlink(missing_ok=True)


def _job(text: str) -> str:
    try:
        return str(json.loads(text)["job"])
    except (ValueError, KeyError, TypeError):
        return ""


def _holder(text: str) -> str:
    try:
        content = json.loads(text)
        since = f" since {content['since']}" if "since" in content else ""
        return f"process {content['pid']} on {content['host']}{since}"
    except (ValueError, KeyError, TypeError):
        return "by another host"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()  # a process may be called by any bytes
    except OSError:
        return ""
