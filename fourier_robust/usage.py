"""``--help``: the groups with their choices, and the settings with the comments they have in the yaml."""

from __future__ import annotations

import sys
import textwrap

from fourier_robust.config import conf_dir

EXAMPLES = {
    "train": (
        "fr-train dataset=cifar10 arch=resnet18 aug=apr_sp        one run; the same command resumes it",
        "fr-train experiment=apr/cifar10_resnet18_apr_sp          a published recipe",
        "fr-train -m aug=standard,apr_sp seed=0,1,2               all combinations",
        "fr-train --cfg job ...                                   what would run",
    ),
    "eval": (
        "fr-eval ckpt=outputs/.../last.pt suite=corruptions       tables beside the checkpoint",
        "fr-eval ckpt=theirs.th arch=resnet20 dataset=cifar10     somebody else's weights",
        "fr-eval dataset=cifar10 suite=corruptions suite.save=DIR write the corrupted images, measure nothing",
    ),
    "report": (
        "fr-report runs=outputs/cifar10                           tables and a page of all results below",
        "fr-report 'runs=[outputs/a,outputs/b/*]' out=page        several folders or globs",
        "fr-report runs=outputs 'columns=[clean:error,ood:auroc@msp]'   what becomes a column",
    ),
}
GROUPS = {
    "train": ("dataset", "arch", "aug", "reg", "optim", "experiment"),
    "eval": ("suite", "dataset", "arch"),
    "report": (),
}


def asked_for() -> bool:
    """Whether the command line asks for help."""
    return bool({"-h", "--help"} & set(sys.argv[1:]))


def usage(name: str) -> str:
    """The help text of the front door ``fr-<name>``; reads yaml names and one file, imports nothing."""
    conf = conf_dir()
    lines = [
        f"fr-{name} {'[group=choice] ' if GROUPS[name] else ''}[key=value] ...",
        "",
        *(f"  {line}" for line in EXAMPLES[name]),
        "",
        *(["Groups", ""] if GROUPS[name] else []),
    ]
    for group in GROUPS[name]:
        folder = conf / group
        choices = ", ".join(sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")))
        lines.append(textwrap.fill(f"{group}: {choices}", 116, initial_indent="  ", subsequent_indent=" " * 6))
    settings = (conf / f"{name}.yaml").read_text().split("\nhydra:")[0]
    of_groups = " (the keys of a group's choice: --cfg job, or its file below conf/)" if GROUPS[name] else ""
    lines += [*([""] if GROUPS[name] else []), f"Settings{of_groups}", ""]
    lines += [f"  {line}".rstrip() for line in settings.splitlines()]
    return "\n".join(
        [*lines, "", "Mistakes are answered in one line; FR_DEBUG=1 shows the traceback. --hydra-help: Hydra's own."]
    )
