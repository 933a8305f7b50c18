"""The run folder: one experiment, one place; a second launch finds the first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fourier_robust.run.atomic import write_text
from fourier_robust.run.claim import Claim

# What may differ between two launches of the same experiment: where things lie and what runs them.
LAUNCH_SETTINGS = frozenset({"paths", "device", "resume", "retry"})
LAUNCH_LEAVES = frozenset({"root", "download", "num_workers"})
_KINDS = {"state": str, "attempt": int, "launches": list}  # of what is read of status.json and run.json


def experiment_hash(config: Mapping[str, Any]) -> str:
    """8 hex digits of SHA-256 over the resolved config without paths and device settings."""

    def strip(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: strip(value) for key, value in node.items() if key not in LAUNCH_LEAVES}
        return [strip(value) for value in node] if isinstance(node, list | tuple) else node

    kept = {key: strip(value) for key, value in config.items() if key not in LAUNCH_SETTINGS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def slug(text: str) -> str:
    """`text` with everything but ``[A-Za-z0-9._-]`` replaced by ``-`` (``=`` and ``,`` break command lines)."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


class RunFolder:
    """``outputs/<dataset>/<arch>/<aug>-<reg>/s<seed>-<hash8>/`` and the files of a training run in it.

    Args:
        path: the folder; made when something is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()  # status.json: by the run, and by its heartbeat
        self._begun = False  # a launch, by this process

    @classmethod
    def of(cls, outputs: Path, names: Mapping[str, str], seed: int, config: Mapping[str, Any]) -> RunFolder:
        """The folder of the experiment that `config` (resolved) describes; `names` are the group choices."""
        method = f"{slug(names['aug'])}-{slug(names['reg'])}"
        run = f"s{seed}-{experiment_hash(config)}"
        return cls(outputs / slug(names["dataset"]) / slug(names["arch"]) / method / run)

    @property
    def checkpoint(self) -> Path:
        """The state file of the last checkpoint."""
        return self.path / "last.pt"

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write `name` (``run.json``, ...) atomically, indented."""
        write_text(self.path / name, json.dumps(content, indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """The content of `name`, or an empty dict where the file is absent or damaged: no JSON, or of odd types."""
        try:
            content = json.loads((self.path / name).read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        return content if _sound(content) else {}

    def status(self) -> str | None:
        """``running``, ``done``, ``failed``, ``preempted``, or None for a folder never used."""
        return self.read_json("status.json").get("state")

    def set_status(self, state: str, **details: Any) -> None:
        """Write status.json; `attempt` counts the launches so far."""
        with self._writing:
            self._begun |= state == "running"
            attempt = self.read_json("status.json").get("attempt", 0) + (state == "running")
            about = {"host": socket.gethostname(), "pid": os.getpid(), "time": _now(), "heartbeat": _now()}
            self.write_json("status.json", {"state": state, "attempt": attempt} | about | details)

    def beat(self) -> None:
        """A sign of life in status.json, while the run is running."""
        with self._writing:
            status = self.read_json("status.json")
            if status.get("state") == "running":
                self.write_json("status.json", status | {"heartbeat": _now()})

    def claimed(self) -> Claim:
        """Hold the folder for this process, inside a ``with``.

        Raises:
            Busy: another process trains in this folder now.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        return Claim(self.path, self.beat)

    @contextlib.contextmanager
    def noting(self, held: Callable[[], bool]) -> Iterator[None]:
        """Inside, an error of a launch that has not set the status to ``running`` makes it ``failed``, with the reason.

        Args:
            held: whether this process still holds the folder; nothing is written once it does not.
        """
        try:
            yield
        except Exception as error:
            with contextlib.suppress(OSError):
                if not self._begun and held():
                    self.set_status("running")  # counts the launch
                    self.set_status("failed", reason=f"{type(error).__name__}: {error}")
            raise


def _sound(content: object) -> bool:
    """Whether what was read of status.json or run.json has the types that were written."""
    if not isinstance(content, dict):
        return False
    if any(key in content and not isinstance(content[key], kind) for key, kind in _KINDS.items()):
        return False
    launches = content.get("launches", [])
    return all(isinstance(one, dict) and isinstance(one.get("data", {}), dict) for one in launches)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
