"""The machine: GPUs and their driver, cores, memory, disk; asked without loading torch."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fourier_robust.checkup.finding import Finding

_GIB = 2**30
_LITTLE = 5 * _GIB  # of disk: CIFAR-10-C alone is 19 files of 153.6 MB


class Gpu(NamedTuple):
    """One GPU: its name, bytes of memory, and how many are free."""

    name: str
    memory: int
    free: int


class Driver(NamedTuple):
    """What the NVIDIA driver says.

    Attributes:
        version: e.g. "580.65.06".
        cuda: the newest CUDA it can run, e.g. 13.0 as (13, 0).
        gpus: that this process may use.
    """

    version: str
    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def nvidia() -> Driver | str | None:
    """The driver's answer; a sentence where it is there and does not answer; None where there is none.

    Asked through the management library that comes with the driver: nvidia-smi does the same in a process of its own.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        there = Path("/proc/driver/nvidia/version").exists()
        return "the NVIDIA driver is loaded, but its library libnvidia-ml.so.1 is not found" if there else None
    if code := library.nvmlInit_v2():
        library.nvmlErrorString.restype = ctypes.c_char_p
        return f"the NVIDIA driver does not answer: {library.nvmlErrorString(code).decode(errors='replace')}"
    try:
        text, number = ctypes.create_string_buffer(96), ctypes.c_int()
        library.nvmlSystemGetDriverVersion(text, 96)
        version = text.value.decode(errors="replace")
        library.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(number))
        cuda = number.value // 1000, number.value % 1000 // 10
        count, gpus = ctypes.c_uint(), []
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        for index in range(count.value):
            handle, memory = ctypes.c_void_p(), _Memory()
            if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
                continue
            library.nvmlDeviceGetName(handle, text, 96)
            library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
            gpus.append(Gpu(text.value.decode(errors="replace"), memory.total, memory.free))
        return Driver(version, cuda, tuple(gpus))
    finally:
        library.nvmlShutdown()


def gpu(driver: Driver | str | None, cuda: str | None, build: str, visible: str | None) -> list[Finding]:
    """Whether torch's build can use the GPUs that are there.

    Args:
        driver: what `nvidia` says.
        cuda: CUDA version of torch's build, or None.
        build: full version of torch, for the text.
        visible: CUDA_VISIBLE_DEVICES, or None.
    """
    if isinstance(driver, str):
        return [Finding("broken", driver, "reload the driver or restart the machine; nvidia-smi must list the GPUs")]
    if driver is None or not driver.gpus:
        return [Finding("ok", "no NVIDIA GPU: everything runs on the CPU (device.name=cpu)")]
    listed = tuple(f"{one.name}, {_gib(one.memory)} GiB, {_gib(one.free)} free" for one in driver.gpus)
    if cuda is None:
        how = "install a CUDA build: see pytorch.org, Get started"
        return [Finding("look", f"{listed[0]}: not used, for torch {build} is built without CUDA", how, listed)]
    newest = ".".join(map(str, driver.cuda))
    if int(cuda.split(".")[0]) > driver.cuda[0]:  # within one major version, newer builds run on older drivers
        text = f"torch is built for CUDA {cuda}, the driver {driver.version} runs CUDA up to {newest}: no GPU is used"
        return [Finding("broken", text, "update the driver, or install a torch build for the driver's CUDA", listed)]
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return [Finding("look", f"CUDA_VISIBLE_DEVICES={visible!r} hides {len(listed)} GPU(s)", "unset it", listed)]
    text = f"{len(listed)} GPU(s): {listed[0]}; driver {driver.version} (CUDA {newest}), torch for CUDA {cuda}"
    return [Finding("ok", text, details=listed[1:])]


def room(what: str, folder: Path) -> list[Finding]:
    """Free disk space where `folder` is or would be made; for the output folder, whether one may write there too.

    A file in its place, or in that of a folder above, is an error.
    """
    place = folder.expanduser().absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    how = f"name another: {'FR_DATA' if what == 'data' else 'FR_OUTPUTS'}=DIR or paths.{what}_dir=DIR"
    if place.exists() and not place.is_dir():
        return [Finding("broken", f"{what} folder {folder}: {place} is no folder", how)]
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return [Finding("broken", f"{what} folder {folder}: {error.strerror or error}", "is its disk mounted?")]
    text = f"{what} folder {folder}: {_gib(free)} GiB free"
    if what == "output" and not os.access(place, os.W_OK | os.X_OK):
        return [Finding("broken", f"output folder {folder}: {place} can't be written", how)]
    if free < _LITTLE:
        return [Finding("look", text, "make room: data sets and results will not fit")]
    return [Finding("ok", text)]


def capacity(meminfo: str, limits: Sequence[str], cores: int) -> list[Finding]:
    """Cores and memory.

    Args:
        meminfo: text of /proc/meminfo, or empty.
        limits: texts of this process's cgroup limits of memory (bytes or "max").
        cores: that this process may use.
    """
    known = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    sizes = {name: int(known[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable") if name in known}
    text = f"{cores} core{'s' * (cores != 1)}"
    if not sizes:
        return [Finding("ok", text)]
    total = min([sizes["MemTotal"], *(int(limit) for limit in limits if limit.strip().isdigit())])
    free = min(total, sizes.get("MemAvailable", total))
    text += f", {_gib(total)} GiB memory, {_gib(free)} free"
    if free < 2 * _GIB:
        return [Finding("look", text, "close something, or take a smaller batch_size")]
    return [Finding("ok", text)]


def check_machine(data: Path, outputs: Path, cuda: str | None, build: str) -> list[Finding]:
    """All of the above, of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [_read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    found = gpu(nvidia(), cuda, build, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return found + capacity(_read("/proc/meminfo"), limits, cores) + room("data", data) + room("output", outputs)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f}" if size < 10 * _GIB else f"{size / _GIB:.0f}"
