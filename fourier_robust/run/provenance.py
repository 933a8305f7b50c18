"""Where a number comes from: code, packages, machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "timm", "hydra-core", "omegaconf", "numpy", "pandas", "pillow", "safetensors")


def _git(*arguments: str) -> str | None:
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(source), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_state() -> dict[str, Any]:
    """Commit of the source checkout, and whether package or configs differ (new files too); None for a wheel."""
    status = _git("status", "--porcelain", "--", "fourier_robust", "conf")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """The product name of the device's chip."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def _cuda(device: torch.device) -> dict[str, Any]:
    """The driver, CUDA and memory behind a CUDA device; nothing for others."""
    if device.type != "cuda":
        return {}
    try:
        driver = Path("/proc/driver/nvidia/version").read_text().splitlines()[0].partition(":")[2].strip()
    except (OSError, IndexError):
        driver = None
    total = torch.cuda.get_device_properties(device).total_memory
    return {"driver": driver, "cuda": torch.version.cuda, "memory_gib": round(total / 2**30, 1)}


def peak_memory(device: torch.device) -> dict[str, float]:
    """GiB: the most that this process has held since `restart_peak`, in RAM and on its GPU."""
    found = {"host_gib": round(_peak_bytes() / 2**30, 2)}
    if device.type == "cuda":
        found["device_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    return found


def restart_peak(device: torch.device) -> None:
    """Forget what earlier jobs of this process have held; where the system can't, they count."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_bytes() -> int:
    try:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        kilo = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def provenance(device: torch.device) -> dict[str, Any]:
    """What a receipt says of code and machine: git state, versions, device, threads, the command line, the time."""
    from fourier_robust import __version__

    return {
        "fourier_robust": __version__,
        "git": git_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": {
            "type": device.type,
            "name": device_name(device),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            **_cuda(device),
        },
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
