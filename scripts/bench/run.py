"""``make bench``: every benchmark in turn, each in a process of its own, one thread; ratios beside their goals."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    *("startup", "apr_p", "apr_s", "crop_flip", "train_loop", "precision"),
    *("corruptions", "sensitivity", "heatmap", "fourier_reg", "attacks", "ood"),
    *("bootstrap", "decode", "ddp", "report"),
)


def main() -> None:
    """Run the scripts named on the command line, or all; exit with 1 if one of them failed to run."""
    names = sys.argv[1:] or SCRIPTS
    tests = str(Path(__file__).parents[2] / "tests")  # the slow references are those of the tests
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": tests}
    print(f"{platform.machine()}, {os.cpu_count()} cores, one thread; ratios of medians, side by side in one process\n")
    failed = []
    for name in names:
        print(f"-- {name}", flush=True)
        script = Path(__file__).with_name(f"{name}.py")
        if subprocess.run([sys.executable, script], env=environment).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
