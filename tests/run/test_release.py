"""Generated corruptions on disk: the layouts, the same table as on the fly, killed runs and foreign folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import compose_config

from fourier_robust.cli import build, build_dataset
from fourier_robust.corruption.digital import Contrast
from fourier_robust.corruption.noise import GaussianNoise
from fourier_robust.corruption.seeded import condition_seed, corrupt, image_seeds
from fourier_robust.dataset.corrupted import CifarCRelease, available
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.errors import UserError
from fourier_robust.evaluate import evaluate
from fourier_robust.run.release import Release, write
from fourier_robust.suite.corruptions import Corruptions

N = 24
DEVICE = ("device.name=cpu", "device.threads=1", "device.keep_blocks=false")
TWO = "suite.corruptions=[contrast,gaussian_noise]"


def generate(folder: Path, *overrides: str) -> None:
    """``fr-eval dataset=shapes suite=corruptions suite.save=folder`` without a checkpoint, in this process."""
    data = ("dataset=shapes", f"dataset.num_test={N}", f"paths.data_dir={folder.parent}/data", *DEVICE)
    evaluate(*compose_config("eval", *data, "suite=corruptions", f"suite.save={folder}", "suite.workers=0", *overrides))


def receipt(folder: Path) -> dict:
    return json.loads((folder / "corruptions.json").read_text())


def visible(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))


def test_arrays_as_released(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    generate(folder, TWO)
    assert capsys.readouterr().out.startswith(f"{folder}: 2 x 5 x {N} images, {10 * N} made in ")
    assert visible(folder) == ["contrast.npy", "corruptions.json", "gaussian_noise.npy", "labels.npy"]
    assert list(tmp_path.iterdir()) == [folder]
    clean = Shapes(num_test=N).split("test")
    labels = np.load(folder / "labels.npy")
    assert (labels.dtype, labels.shape) == (np.uint8, (5 * N,))
    assert np.array_equal(labels, np.tile(clean.labels.numpy(), 5))
    images = next(clean.batches(N)).images
    for name, kind in (("contrast", Contrast), ("gaussian_noise", GaussianNoise)):
        array = np.load(folder / f"{name}.npy")
        assert (array.dtype, array.shape, array.flags.c_contiguous) == (np.uint8, (5 * N, 32, 32, 3), True)
        for severity in range(1, 6):
            seeds = image_seeds(condition_seed(0, name, severity), torch.arange(N))
            expected = corrupt(kind(severity), images, seeds).mul(255).round().permute(0, 2, 3, 1)
            assert np.array_equal(array[(severity - 1) * N : severity * N], expected.numpy())
    said = receipt(folder)
    assert said["state"] == "done"
    assert said["facts"]["data"] == clean.identity
    assert said["corruptions"]["contrast"]["table_size"] == 32
    assert said["files"].keys() == {"labels.npy", "contrast.npy", "gaussian_noise.npy"}
    assert {"git", "packages", "wall_seconds", "processes", "command"} <= said["launches"][0].keys()


def test_what_is_there_is_kept_and_what_is_new_is_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    generate(folder, "suite.corruptions=[contrast]")
    before = (folder / "contrast.npy").stat().st_mtime_ns
    generate(folder, "suite.corruptions=[contrast]")
    assert "all made before" in capsys.readouterr().out
    assert len(receipt(folder)["launches"]) == 1
    generate(folder, TWO)
    assert (folder / "contrast.npy").stat().st_mtime_ns == before
    assert available(str(folder)) == ("gaussian_noise", "contrast")
    assert [launch["images"] for launch in receipt(folder)["launches"]] == [5 * N, 5 * N]


def table(checkpoint: Path) -> str:
    return (checkpoint / "eval/corruptions/results.csv").read_text()


def test_written_and_read_gives_the_table_of_on_the_fly(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], tmp_path: Path
) -> None:
    run = train_tiny("trainer.epochs=1")
    evaluate_tiny(run, "suite=corruptions", TWO)
    on_the_fly = table(run)
    assert ",shapes_c_generated,contrast,5," in on_the_fly
    saved = ("suite=corruptions", TWO, "suite.workers=0")
    evaluate_tiny(run, *saved, f"suite.save={tmp_path}/data/shapes-C")
    assert table(run) == on_the_fly
    remarks = json.loads((run / "eval/corruptions/eval.json").read_text())["remarks"]
    assert any("and read from there" in remark for remark in remarks)
    evaluate_tiny(run, "suite=corruptions", TWO)  # finds the folder where a release would lie, and knows it is none
    assert table(run) == on_the_fly
    remarks = json.loads((run / "eval/corruptions/eval.json").read_text())["remarks"]
    assert any("which is no published release" in remark for remark in remarks)
    with pytest.raises(UserError, match="generated from other images than those of shapes"):
        evaluate_tiny(run, "suite=corruptions", "dataset=shapes", "dataset.num_test=20")


def test_names_beyond_the_nineteen_are_written_and_found(tmp_path: Path) -> None:
    kinds, data, cpu = {"stripes": GaussianNoise, "contrast": Contrast}, Shapes(num_test=N), torch.device("cpu")
    saved = Corruptions(str(tmp_path), kinds, save=str(tmp_path / "shapes-C"))
    wanted = saved.conditions(data)
    write(saved.to_write(), workers=0)
    (tmp_path / "shapes-C" / "stripes.npy").rename(tmp_path / "shapes-C" / ".stripes.npy.tmp")
    found = Corruptions(str(tmp_path), kinds)
    assert found.conditions(data) == wanted[:6]  # clean and contrast: the other one is not finished
    write(saved.to_write(), workers=0)
    assert [item.corruption for item in wanted[1::5]] == ["contrast", "stripes"]
    assert found.conditions(data) == wanted
    made = Corruptions(str(tmp_path), kinds, "generated")
    assert made.conditions(data) == wanted
    for condition in wanted:
        one, other = (suite.source(data, condition, cpu, 7).batches for suite in (found, made))
        assert torch.equal(*(torch.cat([batch.images for batch in batches]) for batches in (one, other)))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An image folder of ten classes with two 40-pixel test images each, of noise, one of them one folder deeper."""
    rng = np.random.default_rng(0)
    for label in range(10):
        folder = tmp_path / "photos" / "val" / f"class{label}"
        (folder / "more").mkdir(parents=True)
        for name in ("one.png", "more/two.bmp"):
            Image.fromarray(rng.integers(0, 256, (40, 44, 3)).astype(np.uint8)).save(folder / name)
    return tmp_path / "photos"


def test_a_jpeg_tree_as_released(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], photos: Path, tmp_path: Path
) -> None:
    run = train_tiny("trainer.epochs=1")
    data = ("dataset=imagefolder", f"dataset.root={photos}", "dataset.size=32", "dataset.resize=36")
    settings = (*data, "dataset.num_workers=0", "suite=corruptions", TWO, "suite.severities=[2,5]")
    results = run / "eval/corruptions.photos"
    evaluate_tiny(run, *settings)
    on_the_fly = (results / "results.csv").read_text()
    assert any("JPEG-coded" in item for item in json.loads((results / "eval.json").read_text())["remarks"])
    folder = tmp_path / "tree"
    evaluate_tiny(run, *settings, f"suite.save={folder}", "suite.workers=0")
    assert (results / "results.csv").read_text() == on_the_fly
    assert visible(folder) == ["contrast", "corruptions.json", "gaussian_noise"]
    assert visible(folder / "contrast") == ["2", "5"]
    paths = sorted(str(path.relative_to(folder / "contrast/5")) for path in (folder / "contrast/5").rglob("*.JPEG"))
    assert paths == [f"class{label}/{name}.JPEG" for label in range(10) for name in ("more/two", "one")]
    with Image.open(folder / "contrast/5/class0/one.JPEG") as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (32, 32), "RGB")
        tables = image.quantization
    Image.new("RGB", (32, 32)).save(tmp_path / "reference.jpg", quality=85)
    with Image.open(tmp_path / "reference.jpg") as image:
        assert tables == image.quantization

    evaluate_tiny(run, *settings, "suite.jpeg=false")
    assert not any("JPEG-coded" in item for item in json.loads((results / "eval.json").read_text())["remarks"])
    (folder / "contrast/5/class3/one.JPEG").unlink()
    with pytest.raises(UserError, match=r"contrast/5 is not what corruptions\.json says: remove it"):
        evaluate_tiny(run, *settings, f"suite.save={folder}", "suite.workers=0")


def test_the_pixels_on_the_fly_are_those_of_the_jpeg_files(photos: Path, tmp_path: Path) -> None:
    from fourier_robust.dataset.imagefolder import ImageFolder

    data = ImageFolder(str(photos), size=32, resize=36, num_workers=0)
    kinds, cpu = {"gaussian_noise": GaussianNoise}, torch.device("cpu")
    ways = ({}, {"save": str(tmp_path / "t")}, {"jpeg": False})
    suite, saved, bare = (Corruptions("nowhere", kinds, severities=[4], **way) for way in ways)
    condition = suite.conditions(data)[1]
    assert saved.conditions(data)[1] == bare.conditions(data)[1] == condition
    write(saved.to_write(), workers=0)
    made, read, raw = (one.source(data, condition, cpu, 7) for one in (suite, saved, bare))
    pixels = [torch.cat([batch.images for batch in source.batches]) for source in (made, read, raw)]
    assert torch.equal(pixels[0], pixels[1])
    assert not torch.equal(pixels[0], pixels[2])
    assert len({made.identity, raw.identity}) == 2


def test_two_images_of_one_name_are_refused(photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(photos / "val/class4/one.jpg")
    data = ("dataset=imagefolder", f"dataset.root={photos}", "dataset.size=32", "dataset.num_workers=0", *DEVICE)
    config = compose_config("eval", *data, "suite=corruptions", f"suite.save={tmp_path}/tree", TWO)
    with pytest.raises(UserError, match=r"two test images would be written as class4/one\.JPEG"):
        evaluate(*config)
    assert not (tmp_path / "tree").exists()


STUCK = """
import multiprocessing, sys, time
from support import compose_config
from fourier_robust.evaluate import evaluate
import fourier_robust.run.release as release

whole, calls = release.identity, []

def stuck(path):
    calls.append(path)
    if len(calls) == 2:
        print("stuck", *(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(600)
    return whole(path)

if __name__ == "__main__":
    release.identity = stuck
    evaluate(*compose_config("eval", *sys.argv[1:]))
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_run_leaves_no_half_file_and_the_next_goes_on(tmp_path: Path) -> None:
    """Killed with the first file finished and the second one all but named; its two workers end with it."""
    script, folder = tmp_path / "stuck.py", tmp_path / "killed"
    script.write_text(STUCK)
    data = ("dataset=shapes", "dataset.num_test=400", "suite=corruptions", TWO, *DEVICE)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(script), *data, f"suite.save={folder}", "suite.workers=2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=tmp_path) as process:
        said = process.stdout.readline().split()
        process.kill()
    assert said[0] == "stuck"
    assert len(said) == 3
    limit = time.monotonic() + 20
    while any(alive(int(pid)) for pid in said[1:]):
        assert time.monotonic() < limit, "a worker outlives its parent"
        time.sleep(0.05)
    (first,) = available(str(folder))
    (second,) = {"contrast", "gaussian_noise"} - {first}
    assert (folder / f".{second}.npy.tmp").exists()
    assert receipt(folder)["state"] == "writing"
    with pytest.raises(UserError, match=rf"{second}\.npy not found"):
        CifarCRelease(str(folder), second, 1)

    (folder / ".fog.3.tmp" / "class0").mkdir(parents=True)  # what a killed run leaves of a tree
    before = (folder / f"{first}.npy").stat().st_mtime_ns
    again, whole = folder, tmp_path / "whole"
    for target in (again, whole):  # in this process, so the bytes of two workers are held against those of none
        evaluate(*compose_config("eval", *data, f"suite.save={target}", "suite.workers=0"))
    assert (folder / f"{first}.npy").stat().st_mtime_ns == before
    assert receipt(folder)["state"] == "done"
    assert receipt(folder)["files"] == receipt(whole)["files"]
    assert not list(folder.glob(".*.tmp"))
    for name in ("labels", first, second):
        assert (folder / f"{name}.npy").read_bytes() == (whole / f"{name}.npy").read_bytes()


def test_a_folder_of_other_content_is_refused_and_left_alone(tmp_path: Path) -> None:
    released = tmp_path / "CIFAR-10-C"
    released.mkdir()
    np.save(released / "fog.npy", np.zeros(3, np.uint8))
    with pytest.raises(UserError, match=r"CIFAR-10-C holds files, but no corruptions\.json of ours"):
        generate(released, TWO)
    assert visible(released) == ["fog.npy"]

    folder = tmp_path / "out"
    generate(folder, "suite.corruptions=[contrast]")
    files = {path: path.read_bytes() for path in folder.iterdir()}
    for override, said in (
        ("seed=1", r"another seed \(0, not 1\)"),
        ("dataset.num_test=25", r"another n \(24, not 25\)"),
        ("dataset.noise=0.03", "another data"),
        ("+suite.generators.contrast.size=64", r"another contrast \("),
    ):
        with pytest.raises(UserError, match=said) as refused:
            generate(folder, "suite.corruptions=[contrast]", override)
        assert "\n" not in str(refused.value)
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
    content = bytearray(files[folder / "contrast.npy"])
    content[-1] ^= 1
    (folder / "contrast.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"contrast\.npy is not what corruptions\.json says: remove it to have it made"):
        generate(folder, "suite.corruptions=[contrast]")
    (folder / "contrast.npy").unlink()
    generate(folder, "suite.corruptions=[contrast]")
    assert (folder / "contrast.npy").read_bytes() == files[folder / "contrast.npy"]
    (folder / "corruptions.json").write_text('{"facts": ')
    with pytest.raises(UserError, match=r"corruptions\.json is damaged"):
        generate(folder, "suite.corruptions=[contrast]")


def test_refusals_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for override, said in (
        ("suite.severities=[1,2]", "an array file holds all five severities"),
        ("suite.corruptions=[fogg]", "no corruption fogg; there are gaussian_noise, "),
        ("suite.source=release", "no suite.source=release"),
        ("suite.jpeg=false", "no suite.jpeg=false"),
        ("suite.workers=-1", "suite.workers=-1 must be at least 0"),
    ):
        with pytest.raises(UserError, match=said):
            generate(folder, override)
    for words in ((), ("dataset=shapes",), ("suite=corruptions", "suite.save=x")):
        with pytest.raises(UserError, match="ckpt is required"):
            evaluate(*compose_config("eval", *words, *DEVICE))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"writing .*file stopped: "):
        generate(tmp_path / "file", TWO)
    assert not folder.exists()


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    from fourier_robust.run.folder import RunFolder

    with RunFolder(tmp_path / "out").claimed(), pytest.raises(UserError, match="another process"):
        generate(tmp_path / "out", TWO)


def test_rests_are_cleared_but_not_the_question_of_another_process(tmp_path: Path) -> None:
    from fourier_robust.run import claim

    folder = tmp_path / "out"
    generate(folder, "suite.corruptions=[contrast]")
    asked, rest = claim._temporary(folder), folder / ".contrast.npy.tmp"
    asked.touch()
    rest.touch()
    generate(folder, TWO)
    assert asked.exists()
    assert not rest.exists()


def test_our_arrays_are_held_against_their_receipt_when_they_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "data/shapes-C"
    generate(folder, TWO)
    with open(folder / "contrast.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    overrides = ("dataset=shapes", f"dataset.num_test={N}", "ckpt=none", "suite=corruptions", TWO)
    config, _ = compose_config("eval", *overrides, f"paths.data_dir={tmp_path}/data", "suite.source=release")
    dataset, suite = build_dataset(config), build(config, "suite")
    one, other = (
        next(found for found in suite.conditions(dataset) if found.corruption == name)
        for name in ("gaussian_noise", "contrast")
    )
    assert suite.source(dataset, one, torch.device("cpu"), 8).n == N
    with pytest.raises(UserError, match=r"contrast\.npy is not what its receipt says: remove it"):
        suite.source(dataset, other, torch.device("cpu"), 8)


def test_images_that_do_not_fit_are_an_error_not_a_file(tmp_path: Path) -> None:
    def small(name: str, severity: int, first: int, last: int) -> np.ndarray:
        return np.zeros((last - first, 8, 8, 3), np.uint8)

    labels = np.zeros(4, np.int64)
    release = Release(tmp_path / "out", {"fog": {}}, (1, 2, 3, 4, 5), labels, (8, 9), None, 85, small, {})
    with pytest.raises(ValueError, match=r"fog made \(4, 8, 8, 3\) uint8 where \(4, 8, 9, 3\) uint8 is due"):
        write(release, workers=1)
    assert available(str(tmp_path / "out")) == ()


def test_any_height_and_width(tmp_path: Path) -> None:
    """Images of 8 x 9 pixels, 300 classes: labels that need two bytes, and a reader that is told the size."""

    def make(name: str, severity: int, first: int, last: int) -> np.ndarray:
        pixels = np.arange(first, last, dtype=np.uint8)[:, None, None, None] + severity
        return np.broadcast_to(pixels, (last - first, 8, 9, 3)).astype(np.uint8)

    labels = np.arange(0, 300, 3)
    folder = tmp_path / "out"
    write(Release(folder, {"fog": {}}, (1, 2, 3, 4, 5), labels, (8, 9), None, 85, make, {}), workers=0)
    assert np.load(folder / "labels.npy").dtype == np.uint16
    split = CifarCRelease(str(folder), "fog", 4, size=(8, 9))
    batch = next(split.batches(100))
    assert batch.images.shape == (100, 3, 8, 9)
    assert torch.equal(batch.labels, torch.from_numpy(labels))
    assert torch.equal(batch.images[:, 0, 0, 0], (torch.arange(100) + 4) / 255)
    with pytest.raises(UserError, match=r"fog\.npy holds \(500, 8, 9, 3\) uint8, expected \(500, 32, 32, 3\)"):
        CifarCRelease(str(folder), "fog", 4)
