"""Copy what a finished run measured (tables, receipts, history, config; no weights) to a folder worth committing.

    python scripts/keep_reference.py outputs/cifar10/…/s0-… outputs/reference/cifar10_speednet_cpu/apr_sp
    python scripts/keep_reference.py theirs/eval/resnet20-12fca82f outputs/reference/thirdparty/resnet20

The second form keeps the evaluations of a model that was not trained here. Machine-specific values (folders, host) are
left out; numbers are copied byte for byte.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from fourier_robust.run.atomic import write_bytes, write_text

KEPT = (".csv", ".png", ".npz")
PLACES = ("paths", "root", "ckpt")
ABSOLUTE = re.compile(r"(?<![\w.…/])/(?:[\w.-]+/)+")


def without_places(node: Any) -> Any:
    """`node` without the settings that name folders of this machine, and without such folders in its text."""
    if isinstance(node, dict):
        return {key: without_places(value) for key, value in node.items() if key not in PLACES}
    if isinstance(node, str):
        return ABSOLUTE.sub("…/", node)
    return [without_places(value) for value in node] if isinstance(node, list) else node


def command(words: list[str]) -> list[str]:
    """A command line without the checkpoint's folder."""
    return ["ckpt=…/last.pt" if word.startswith("ckpt=") else word for word in words]


def keep_training(source: Path, target: Path) -> None:
    """Copy what the training left; refuses a run that is not done or whose code was not committed."""
    run = json.loads((source / "run.json").read_text())
    if json.loads((source / "status.json").read_text())["state"] != "done":
        sys.exit(f"{source} is not done")
    if any(launch["git"]["dirty"] is not False for launch in run["launches"]):
        sys.exit(f"{source} was made from code that is not in a commit")
    config = yaml.safe_load((source / "config.yaml").read_text())
    write_text(target / "config.yaml", yaml.safe_dump(without_places(config), sort_keys=False))
    write_text(target / "run.json", json.dumps(run, indent=2) + "\n")
    write_bytes(target / "train.csv", (source / "train.csv").read_bytes())


def main(source: Path, target: Path) -> None:
    """Copy; refuses what was made from code that is not in a commit."""
    trained = (source / "run.json").exists()
    if trained:
        keep_training(source, target)
    receipts = sorted(source.glob("eval/*/eval.json" if trained else "*/eval.json"))
    if not receipts:
        sys.exit(f"{source} is no run folder and holds no evaluations")
    for receipt in receipts:
        if json.loads(receipt.read_text())["git"]["dirty"] is not False:
            sys.exit(f"{receipt.parent} was made from code that is not in a commit")
        for path in sorted(path for path in receipt.parent.iterdir() if path.suffix in KEPT):
            write_bytes(target / receipt.parent.name / path.name, path.read_bytes())
        content = without_places(json.loads(receipt.read_text()))
        content["command"] = command(content["command"])
        write_text(target / receipt.parent.name / "eval.json", json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
