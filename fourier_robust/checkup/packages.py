"""Installed packages: in range, fitting each other, each module name from one of them; read from their metadata."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from fourier_robust.checkup.finding import Finding

OURS = "fourier-robust"
EXTRAS = {  # what each is for
    "corruptions": "frost in suite=corruptions (its photographs)",
    "attacks": "autoattack in suite=attacks",
    "report": "the page of fr-report",
    "slurm": "sweeps on a SLURM cluster",
    "local": "sweeps of several processes on this machine",
    "ray": "sweeps with Ray",
    "track": "TensorBoard",
    "wandb": "Weights & Biases",
    "db": "tables in DuckDB",
    "browser": "the tests of the page of fr-report",
}
_MODULE = re.compile(r"^(\w+)(?:/__init__\.py|\.py|(?:\.[\w-]+)?\.so),", re.MULTILINE)
_NO_MODULES = frozenset({"test", "tests", "docs", "examples", "setup", "conftest"})  # nobody imports them by that name
_TRY = "import torch, torchvision; print('CUDA works:', torch.cuda.is_available(), torch.cuda.device_count(), 'GPUs')"


def python(version: str, wanted: str) -> list[Finding]:
    """Whether Python `version` is in the range `wanted`."""
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return [Finding("ok", f"Python {version}")]
    return [Finding("broken", f"Python {version}: {OURS} needs {wanted}", "make an environment with another Python")]


def required(lines: Iterable[str], version_of: Callable[[str], str | None]) -> list[Finding]:
    """Packages that nothing works without.

    Args:
        lines: requirements, as the metadata lists them.
        version_of: name -> installed version, or None.
    """
    found, right = [], []
    for need in _needs(lines, ""):
        version = version_of(need.name)
        if version is None or not need.specifier.contains(version, prereleases=True):
            found.append(_wrong(need, version))
        else:
            right.append(f"{need.name} {version}")
    if right:
        found.append(Finding("ok", f"{len(right)} packages in range", details=tuple(right)))
    return found


def extras(lines: Sequence[str], version_of: Callable[[str], str | None]) -> list[Finding]:
    """Packages that parts need: an absent one is no error, one out of range is."""
    found = []
    for extra, use in EXTRAS.items():
        needs = _needs(lines, extra)
        versions = {need.name: version_of(need.name) for need in needs}
        absent = [name for name, version in versions.items() if version is None]
        if absent:
            install = f"pip install '{OURS}[{extra}]'"
            found.append(Finding("missing", f"{use}: {' and '.join(absent)} not installed", install))
        found += [
            _wrong(need, version)
            for need in needs
            if (version := versions[need.name]) and not need.specifier.contains(version, prereleases=True)
        ]
    return found


def _wrong(need: Requirement, version: str | None) -> Finding:
    has = "is not installed" if version is None else f"{version} is installed"
    return Finding("broken", f"{need.name} {has}, needed is {need.specifier or 'any'}", f"pip install '{_plain(need)}'")


def _needs(lines: Iterable[str], extra: str) -> list[Requirement]:
    """Those of `lines` that the extra adds; "": that always hold."""
    needs = [Requirement(line) for line in lines]
    always = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [need for need in needs if need not in always and need.marker and need.marker.evaluate({"extra": extra})]


def _plain(need: Requirement) -> str:
    return f"{need.name}{need.specifier}"


def pair(torch: str | None, torchvision: str | None, needs: Iterable[str]) -> list[Finding]:
    """Whether torch and torchvision are of one build: else ``import torchvision`` fails, or a model crashes.

    Args:
        torch: its full version, with the build behind the plus ("2.15.0+cu132", "2.11.0+cpu"), None if not installed.
        torchvision: the same.
        needs: requirements of torchvision, which names the torch it was built for.
    """
    if torch is None or torchvision is None:
        return []
    both = f"torch {torch} and torchvision {torchvision}"
    how = "install both in one command, from one index: pip install --force-reinstall torch torchvision"
    for need in map(Requirement, needs):
        if need.name == "torch" and not need.specifier.contains(torch.split("+")[0], prereleases=True):
            return [Finding("broken", f"{both} do not fit: torchvision was built for torch {need.specifier}", how)]
    first, second = (_build(version) for version in (torch, torchvision))
    if (first == "cpu" and second.startswith("cu")) or (
        first.startswith("cu") and second.startswith("cu") and first[:-1] != second[:-1]
    ):
        return [Finding("broken", f"{both} are of different builds ({first}, {second})", how)]
    return [Finding("ok", f"{both} fit")]


def _build(version: str) -> str:
    """``cpu``, ``cu132`` (the last digit is the minor version), ..., or empty where the version does not say."""
    return version.partition("+")[2]


def modules_of(record: str) -> set[str]:
    """Top-level modules among the files of a distribution; folders that several share (namespaces) are none.

    Args:
        record: text of its RECORD, a file per line.
    """
    return set(_MODULE.findall(record)) - _NO_MODULES


def twice(modules: Mapping[str, Iterable[str]], used: Set[str]) -> list[Finding]:
    """Module names that two distributions bring: the one installed last wins, file by file.

    Args:
        modules: distribution -> its top-level modules.
        used: distributions (canonical names) that this project needs.
    """
    owners: dict[str, list[str]] = {}
    for name, brought in sorted(modules.items()):
        for module in brought:
            owners.setdefault(module, []).append(name)
    found = []
    for module, names in sorted(owners.items()):
        if len(names) < 2:
            continue
        needed = [name for name in names if canonicalize_name(name) in used]
        keep = (needed or names)[0]
        others = " ".join(name for name in names if name != keep)
        how = f"keep one: pip uninstall {others}; pip install --force-reinstall --no-deps {keep}"
        text = f"{' and '.join(names)} both bring the module {module}: their files are mixed"
        found.append(Finding("broken" if needed else "look", text, how))
    return found


def copies(installed: Iterable[tuple[str, str, str]]) -> list[Finding]:
    """Packages that are installed twice with different versions.

    Args:
        installed: name, version, folder, in the order in which Python looks.
    """
    known: dict[str, list[tuple[str, str]]] = {}
    for name, version, folder in installed:
        known.setdefault(canonicalize_name(name), []).append((version, folder))
    return [
        Finding(
            "broken" if len({folder for _, folder in places}) == 1 else "look",
            f"{name} is installed {len(places)} times: {', '.join(f'{one} in {folder}' for one, folder in places)}",
            f"pip uninstall {name} until none is left, then install it once",
        )
        for name, places in sorted(known.items())
        if len({version for version, _ in places}) > 1
    ]


def imports(code: str = _TRY) -> list[Finding]:
    """Whether torch and torchvision load at all, in a process of its own: seconds.

    Args:
        code: what to run; prints whether CUDA works, and the number of GPUs.
    """
    try:
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return [Finding("broken", "torch and torchvision do not load within five minutes", "is the disk in trouble?")]
    said = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
    if ran.returncode:
        how = "install both again in one command: pip install --force-reinstall torch torchvision"
        return [Finding("broken", f"torch and torchvision do not load: {said[:300]}", how)]
    return [Finding("ok", f"torch and torchvision load; {ran.stdout.strip()}")]


def version_of(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def full_version(name: str) -> str | None:
    """As `version_of`, with the build behind the plus where the package's version.py has it; nothing is imported."""
    version = version_of(name)
    if version is None:
        return None
    text = _text(name, f"{name}/version.py")
    found = re.search(r"^__version__.*?=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found[1] if found else version


def cuda_of_torch() -> str | None:
    """The CUDA version that torch was built for, as its version.py says; None for another build."""
    found = re.search(r"^cuda\b.*?=\s*['\"]([\d.]+)['\"]", _text("torch", "torch/version.py"), re.MULTILINE)
    return found[1] if found else None


def _text(name: str, file: str) -> str:
    try:
        return Path(str(metadata.distribution(name).locate_file(file))).read_text()
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return ""


def check_packages() -> list[Finding]:
    """All of the above, of the running Python."""
    try:
        about = metadata.metadata(OURS)
        lines = metadata.requires(OURS) or []
    except metadata.PackageNotFoundError:
        how = "pip install -e . in the checkout"
        return [Finding("broken", f"{OURS} itself is not installed in this Python", how)]
    found = python(platform.python_version(), about["Requires-Python"] or "")
    found += required(lines, version_of) + extras(lines, version_of)
    needs = metadata.requires("torchvision") or [] if version_of("torchvision") else []
    found += pair(full_version("torch"), full_version("torchvision"), [one for one in needs if one.startswith("torch")])
    modules: dict[str, set[str]] = {}
    installed = []
    for one in metadata.distributions():
        named = one.metadata
        name, version = str(named["Name"]), str(named["Version"])  # each look at one.name would parse it again
        installed.append((name, version, str(one.locate_file(""))))
        modules.setdefault(name, modules_of(one.read_text("RECORD") or ""))
    return [*found, *twice(modules, {canonicalize_name(Requirement(line).name) for line in lines}), *copies(installed)]
