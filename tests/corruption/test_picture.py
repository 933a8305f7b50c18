"""The script that draws every corruption, on images small enough for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

SCRIPT = Path(__file__).parents[2] / "scripts" / "corruptions_picture.py"


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], cwd=cwd, capture_output=True, text=True)


def test_both_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (40, 24), (90, 120, 200)).save(tmp_path / "mine.png")
    few = ("dataset.num_train=10", "dataset.num_test=4", "-n", "4", "--image", "mine.png")
    done = run("drawn", *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote corruptions.png and spectra.png in drawn" in done.stdout
    sizes = [Image.open(tmp_path / "drawn" / name).size for name in ("corruptions.png", "spectra.png")]
    assert all(min(size) > 500 for size in sizes)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    for arguments, said in (
        (("out", "--image", "nowhere.png"), "error: --image nowhere.png: "),
        (("out", "dataset=cifar10", f"paths.data_dir={tmp_path}"), "error: "),
        (("out", "dataset=none"), "error: "),
    ):
        done = run(*arguments, "dataset.num_test=4" if "none" in said else "seed=0", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith(said), done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
