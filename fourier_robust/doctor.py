"""``fr-doctor``: what is installed, what this machine has, which data are where; what is wrong comes first."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fourier_robust.checkup.finding import Finding, Kind
from fourier_robust.usage import asked_for

HELP = """fr-doctor [--all] [paths.data_dir=DIR] [paths.output_dir=DIR]

  fr-doctor          what is wrong or missing, then one line for each thing that is right
  fr-doctor --all    with every data set that is missing, and what belongs where; loads torch once, to see that it can

Exit code 0: nothing is broken (optional things may be missing); 1: something is; 2: a mistake in the command.
Nothing is changed, and of data only names are looked at: whether files are whole is seen in use."""
TITLES: dict[Kind, str] = {"broken": "BROKEN ", "look": "look at", "missing": "missing", "ok": "ok     "}


def main() -> None:
    """Entry point of ``fr-doctor``."""
    if asked_for():
        print(HELP)
        return
    sys.exit(doctor(sys.argv[1:]))


def doctor(arguments: Sequence[str]) -> int:
    """Look at everything and print what was found; returns the exit code.

    Args:
        arguments: of the command line.
    """
    unknown = [text for text in arguments if text != "--all" and not re.match(r"paths\.(data|output)_dir=.", text)]
    if unknown:
        print(
            f"error: {unknown[0]}: fr-doctor takes --all, paths.data_dir=DIR and paths.output_dir=DIR", file=sys.stderr
        )
        return 2
    findings = examine(dict(text.split("=", 1) for text in arguments if "=" in text), "--all" in arguments)
    print(text_of(findings, "--all" in arguments))
    return int(any(one.kind == "broken" for one in findings))


def examine(given: dict[str, str], thorough: bool = False) -> list[Finding]:
    """All findings; one check that fails costs no other.

    Args:
        given: ``paths.data_dir`` and ``paths.output_dir`` where the command line names them.
        thorough: load torch and torchvision too.
    """
    from fourier_robust.config import conf_dir

    conf = conf_dir()
    data, outputs = (folder_of(conf, key, given) for key in ("data_dir", "output_dir"))

    def packages() -> list[Finding]:
        from fourier_robust.checkup.packages import check_packages, imports

        return check_packages() + (imports() if thorough else [])

    def machine() -> list[Finding]:
        from fourier_robust.checkup.machine import check_machine
        from fourier_robust.checkup.packages import cuda_of_torch, full_version

        return check_machine(data, outputs, cuda_of_torch(), full_version("torch") or "(not installed)")

    def sets() -> list[Finding]:
        from fourier_robust.checkup.data import check_data

        return check_data(conf, data)

    return [finding for check in (packages, machine, sets) for finding in _guarded(check)]


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    """What a check says, or that it failed: a broken environment is what this is for."""
    try:
        return check()
    except Exception as error:
        what = f"the check of {check.__name__} failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return [Finding("broken", what, "install fourier-robust again in a new environment")]


def folder_of(conf: Path, key: str, given: dict[str, str]) -> Path:
    """The folder that ``paths.<key>`` means here: the one given, else as conf/paths/default.yaml and FR_DATA say.

    A variable that is empty counts as unset.
    """
    if f"paths.{key}" in given:
        return Path(given[f"paths.{key}"]).expanduser()
    text = (conf / "paths" / "default.yaml").read_text()
    found = re.search(rf"^{key}: *(?:\$\{{oc\.env:(\w+),(.*)\}}|(.*?)) *$", text, re.MULTILINE)
    if found is None:
        return Path(key)
    variable, default, plain = found.groups()
    return Path((os.environ.get(variable) or default) if variable else plain).expanduser()


def text_of(findings: Sequence[Finding], everything: bool) -> str:
    """The answer: broken first, then what to look at, what is missing, what is right."""
    broken = sum(one.kind == "broken" for one in findings)
    lines = [f"{broken} thing{'s are' if broken > 1 else ' is'} broken" if broken else "nothing is broken"]
    for kind, title in TITLES.items():
        for one in (one for one in findings if one.kind == kind):
            lines.append(f"{title} {one.text}" + (f" ({one.help})" if one.help and kind == "missing" else ""))
            if one.help and kind != "missing":
                lines.append(f"        -> {one.help}")
            if everything:
                lines += [f"          {line}" for line in one.details]
    if not everything and any(one.details for one in findings if one.kind == "missing"):
        lines.append("fr-doctor --all says what belongs where")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
