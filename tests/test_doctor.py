"""`fr-doctor`: each check on made-up machines, the data folders against the readers themselves, the whole here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from PIL import Image

from fourier_robust import doctor as front
from fourier_robust.checkup import data, machine, packages
from fourier_robust.checkup.finding import Finding
from fourier_robust.checkup.machine import Driver, Gpu
from fourier_robust.config import conf_dir
from fourier_robust.dataset import cifar, cifar_files
from fourier_robust.dataset.imagenet import ImageNet
from fourier_robust.dataset.tiny_imagenet import TinyImageNet

LINES = ["torch>=2.11", "hydra-core<1.5,>=1.3.5", "pyautoattack<0.3,>=0.2; extra == 'attacks'"]
GIB = 2**30
H200 = Driver("580.65.06", (13, 0), (Gpu("NVIDIA H200", 140 * GIB, 139 * GIB),))


def kinds(findings: list[Finding]) -> list[str]:
    return [one.kind for one in findings]


@pytest.mark.parametrize(
    ("version", "kind"), [("3.11.7", "ok"), ("3.13.0", "ok"), ("3.10.2", "broken"), ("3.14.1", "broken")]
)
def test_python(version: str, kind: str) -> None:
    (found,) = packages.python(version, ">=3.11,<3.14")
    assert found.kind == kind
    assert version in found.text


def test_required_packages() -> None:
    (found,) = packages.required(LINES, {"torch": "2.15.0", "hydra-core": "1.3.8"}.get)
    assert found == Finding("ok", "2 packages in range", details=("torch 2.15.0", "hydra-core 1.3.8"))
    old, absent = packages.required(LINES, {"torch": "2.9.1"}.get)
    assert (old.kind, old.text, old.help) == (
        "broken",
        "torch 2.9.1 is installed, needed is >=2.11",
        "pip install 'torch>=2.11'",
    )
    assert absent.text == "hydra-core is not installed, needed is <1.5,>=1.3.5"


def test_an_absent_extra_is_no_error_but_a_wrong_version_is() -> None:
    (absent,) = packages.extras(LINES, {}.get)
    assert absent.kind == "missing"
    assert absent.text == "autoattack in suite=attacks: pyautoattack not installed"
    assert absent.help == "pip install 'fourier-robust[attacks]'"
    assert kinds(packages.extras(LINES, {"pyautoattack": "0.3.1"}.get)) == ["broken"]
    assert packages.extras(LINES, {"pyautoattack": "0.2.5"}.get) == []


def test_every_extra_of_the_project_has_a_use() -> None:
    import tomllib

    project = Path(__file__).parents[1] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert extras.keys() - {"test", "dev"} <= packages.EXTRAS.keys()


@pytest.mark.parametrize(
    ("torch", "torchvision", "needs", "kind"),
    [
        ("2.15.0+cu132", "0.30.0+cu132", "torch==2.15.0", "ok"),
        ("2.15.0+cu132", "0.29.2+cu130", "torch (>=2.14.0)", "ok"),  # one CUDA major version
        ("2.15.0", "0.30.0", "torch==2.15.0", "ok"),
        ("2.15.0+cpu", "0.30.0+cpu", "torch==2.15.0", "ok"),
        ("2.14.0+cu132", "0.30.0+cu132", "torch==2.15.0", "broken"),
        ("2.15.0+cpu", "0.30.0+cu132", "torch==2.15.0", "broken"),
        ("2.15.0+cu128", "0.30.0+cu132", "torch==2.15.0", "broken"),
    ],
)
def test_torch_and_torchvision_are_a_pair(torch: str, torchvision: str, needs: str, kind: str) -> None:
    (found,) = packages.pair(torch, torchvision, ["numpy", needs])
    assert found.kind == kind
    assert torch in found.text
    assert packages.pair(None, torchvision, [needs]) == []  # said elsewhere


def test_two_packages_of_one_module_name() -> None:
    record = "\n".join(
        [
            "cv2/__init__.py,sha256=x,1",
            "cv2/data/__init__.py,sha256=x,1",
            "six.py,sha256=x,1",
            "_yaml.cpython-311-x86_64-linux-gnu.so,sha256=x,1",
            "nvidia/cudnn/__init__.py,,",
            "tests/__init__.py,,",
            "opencv_python-4.dist-info/RECORD,,",
        ]
    )
    assert packages.modules_of(record) == {"cv2", "six", "_yaml"}  # not the namespace, not tests
    modules = {
        "opencv-python": {"cv2"},
        "opencv-python-headless": {"cv2"},
        "imagecorruptions": {"imagecorruptions"},
        "imagecorruptions-imaug": {"imagecorruptions"},
        "numpy": {"numpy"},
    }
    look, broken = packages.twice(modules, {"imagecorruptions-imaug", "numpy"})
    assert (look.kind, broken.kind) == ("look", "broken")
    assert "opencv-python and opencv-python-headless both bring the module cv2" in look.text
    assert "pip uninstall imagecorruptions; " in broken.help  # the one that is needed stays
    assert packages.twice({"numpy": {"numpy"}}, {"numpy"}) == []


def test_one_package_installed_twice() -> None:
    (found,) = packages.copies([("timm", "1.0.31", "/env"), ("Timm", "0.9.2", "/env"), ("numpy", "2.4", "/env")])
    assert found.kind == "broken"
    assert "timm is installed 2 times: 1.0.31 in /env, 0.9.2 in /env" in found.text
    assert kinds(packages.copies([("timm", "1.0.31", "/env"), ("timm", "0.9.2", "/home")])) == ["look"]
    assert packages.copies([("timm", "1.0.31", "/env"), ("timm", "1.0.31", "/home")]) == []


def test_versions_are_read_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("torch", "__version__ = '2.15.0+cpu'\ncuda: Optional[str] = None\nraise SystemExit\n"),):
        (tmp_path / name).mkdir()
        (tmp_path / name / "version.py").write_text(text)
        (tmp_path / f"{name}-2.15.0.dist-info").mkdir()
        (tmp_path / f"{name}-2.15.0.dist-info/METADATA").write_text(f"Name: {name}\nVersion: 2.15.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.full_version("torch") == "2.15.0+cpu"
    assert packages.cuda_of_torch() is None
    (tmp_path / "torch/version.py").write_text("__version__ = '2.15.0+cu132'\ncuda: Optional[str] = '13.2'\n")
    assert packages.cuda_of_torch() == "13.2"
    assert packages.full_version("no-such-package") is None


def test_loading_is_tried() -> None:
    assert packages.imports("print('CUDA works: False')")[0].text.endswith("load; CUDA works: False")
    (found,) = packages.imports("import no_such_module")
    assert found.kind == "broken"
    assert found.text.endswith("ModuleNotFoundError: No module named 'no_such_module'")


@pytest.mark.parametrize(
    ("driver", "cuda", "visible", "kind", "says"),
    [
        (None, "13.2", None, "ok", "no NVIDIA GPU"),
        (Driver("580", (13, 0), ()), "13.2", None, "ok", "no NVIDIA GPU"),
        ("the driver does not answer", "13.2", None, "broken", "does not answer"),
        (H200, "13.2", None, "ok", "1 GPU(s): NVIDIA H200, 140 GiB, 139 free; driver 580.65.06 (CUDA 13.0)"),
        (H200, "12.8", None, "ok", "torch for CUDA 12.8"),
        (H200._replace(cuda=(12, 8)), "13.2", None, "broken", "runs CUDA up to 12.8"),
        (H200, None, None, "look", "not used, for torch 2.15.0 is built without CUDA"),
        (H200, "13.2", "", "look", "hides 1 GPU"),
        (H200, "13.2", "0", "ok", "NVIDIA H200"),
    ],
)
def test_gpu(driver: Any, cuda: str | None, visible: str | None, kind: str, says: str) -> None:
    (found,) = machine.gpu(driver, cuda, "2.15.0", visible)
    assert found.kind == kind
    assert says in found.text


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 20 * GIB})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: usage)
    (found,) = machine.room("output", tmp_path / "not" / "yet")
    assert (found.kind, found.text) == ("ok", f"output folder {tmp_path}/not/yet: 20 GiB free")
    usage.free = 3 * GIB // 2
    assert machine.room("data", tmp_path)[0].text.endswith("1.5 GiB free")
    assert kinds(machine.room("data", tmp_path)) == ["look"]
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert kinds(machine.room("output", tmp_path / "new")) == ["broken"]
    assert kinds(machine.room("data", tmp_path)) == ["look"]  # data may be read-only


@pytest.mark.parametrize(("what", "variable"), [("data", "FR_DATA"), ("output", "FR_OUTPUTS")])
@pytest.mark.parametrize("below", ["", "not/yet"])
def test_a_file_is_no_folder(what: str, variable: str, below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (found,) = machine.room(what, tmp_path / "file" / below)
    assert (found.kind, found.text.endswith(f": {tmp_path}/file is no folder")) == ("broken", True)
    assert found.help == f"name another: {variable}=DIR or paths.{what}_dir=DIR"


def test_cores_and_memory() -> None:
    meminfo = f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {32 * GIB // 1024} kB\nHugePages_Total: 0\n"
    assert machine.capacity(meminfo, ["max\n", ""], 8)[0].text == "8 cores, 64 GiB memory, 32 free"
    assert machine.capacity(meminfo, [f"{16 * GIB}\n"], 1)[0].text == "1 core, 16 GiB memory, 16 free"  # a container
    assert kinds(machine.capacity(meminfo, [str(GIB)], 8)) == ["look"]
    assert machine.capacity("", [], 8)[0].text == "8 cores"


def readers() -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted((conf_dir() / "suite").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        found |= {f"{path.stem}.{name}": node for name, node in (content.get("readers") or {}).items()}
    return found


READERS = readers()
ON_DISK = [name for name, node in READERS.items() if data.ways_of(node) and "dataset" not in node]


def test_sets_without_a_place_are_drawn() -> None:
    """A reader whose place the doctor does not know would be left out in silence."""
    made = {node["_target_"].rsplit(".", 1)[1] for node in READERS.values() if not data.ways_of(node)}
    nested = {
        node["dataset"]["_target_"].rsplit(".", 1)[1]
        for node in READERS.values()
        if not data.ways_of(node) and "dataset" in node
    }
    assert made <= {"Drawn", "Recombined", "OwnSplit", "OtherDataset", "OfDataset"}
    assert nested == {"Shapes"}
    named = {path.stem for path in (conf_dir() / "dataset").glob("*.yaml")}
    assert {one.name for one in next(data.sets_of(conf_dir()))[2]} == named - {"shapes", "imagefolder"}


def put(root: Path, way: data.Way) -> None:
    """What a way asks for: files where the name has a suffix or is one of the published ones without, else folders."""
    for part in way:
        path = root / part
        if path.suffix in (".npy", ".npz", ".mat", ".txt", ".csv", ".bin", ".gz") or path.name.endswith("-ubyte"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            path.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 2)).save(path / "image.png")


@pytest.mark.parametrize("name", ON_DISK)
def test_places_are_those_of_the_readers(name: str, tmp_path: Path) -> None:
    """In each place that it names, and only then, the suite finds the set too."""
    node = READERS[name]
    ways = data.ways_of(node)
    for number, way in enumerate(dict.fromkeys((ways[0], ways[-1]))):
        root = tmp_path / str(number)
        root.mkdir()
        settings = {key: str(root) if key == "root" else value for key, value in node.items()}
        one = data.DataSet(name, ways)
        assert not one.there(root)
        assert hydra.utils.instantiate(settings, _convert_="all").absent() is not None
        put(root, way)
        assert one.there(root)
        assert hydra.utils.instantiate(settings, _convert_="all").absent() is None


@pytest.mark.parametrize(
    ("target", "release", "folder"), [("CIFAR10", cifar._CIFAR10, "cifar10"), ("CIFAR100", cifar._CIFAR100, "cifar100")]
)
def test_places_of_cifar(target: str, release: cifar_files.Release, folder: str, tmp_path: Path) -> None:
    for number, way in enumerate(data.ways_of({"_target_": f"fourier_robust.dataset.cifar.{target}"})):
        root = tmp_path / str(number)
        for part in way:
            (root / part).parent.mkdir(parents=True, exist_ok=True)
            (root / part).touch()
        for split in ("train", "test"):
            files = cifar_files._find(release, str(root), folder, split)
            assert files is not None
            assert {str(file.relative_to(root)) for file in files} <= set(way)


def test_places_of_the_imagenets(tmp_path: Path) -> None:
    for number, way in enumerate(data.ways_of({"_target_": "fourier_robust.dataset.imagenet.ImageNet"})):
        put(tmp_path / str(number), way)
        assert ImageNet(str(tmp_path / str(number)))._find("val") == tmp_path / str(number) / way[0]
    for number, way in enumerate(data.ways_of({"_target_": "fourier_robust.dataset.tiny_imagenet.TinyImageNet"})):
        put(tmp_path / f"tiny{number}", way)
        found = TinyImageNet(str(tmp_path / f"tiny{number}"))._folder("val")
        assert found == (tmp_path / f"tiny{number}" / way[0]).parent


def test_data(tmp_path: Path) -> None:
    found = data.check_data(conf_dir(), tmp_path / "none")
    assert found[0].text == f"there is no data folder {tmp_path / 'none'}"
    assert "ok" not in kinds(found)
    assert "broken" not in kinds(found)
    (tmp_path / "CIFAR-10-C").mkdir()
    found = data.check_data(conf_dir(), tmp_path)
    (corruptions,) = [one for one in found if one.text.startswith("suite=corruptions:")]
    assert corruptions.text.startswith("suite=corruptions: CIFAR-10-C of 4 data sets found; the images are generated")
    assert f"ImageNet-C: ImageNet-C in {tmp_path}" in corruptions.details
    (shift,) = [one for one in found if one.text.startswith("suite=shift")]
    assert f"imagenet_a: imagenet-a or ImageNet-A in {tmp_path}" in shift.details


def test_folders_come_from_the_command_the_environment_or_the_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FR_DATA", "FR_OUTPUTS"):
        monkeypatch.delenv(variable, raising=False)
    assert [front.folder_of(conf_dir(), key, {}) for key in ("data_dir", "output_dir")] == [
        Path("data"),
        Path("outputs"),
    ]
    monkeypatch.setenv("FR_DATA", "/mnt/sets")
    assert front.folder_of(conf_dir(), "data_dir", {}) == Path("/mnt/sets")
    monkeypatch.setenv("FR_OUTPUTS", "")  # as if unset
    assert front.folder_of(conf_dir(), "output_dir", {}) == Path("outputs")
    assert front.folder_of(conf_dir(), "data_dir", {"paths.data_dir": "/x=y"}) == Path("/x=y")


def test_the_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Finding("ok", "fine", details=("at length",)),
        Finding("missing", "a set", "get it", ("put it there",)),
        Finding("look", "hm", "see"),
    ]
    monkeypatch.setattr(front, "examine", lambda given, thorough: found)
    assert front.doctor([]) == 0
    short = capsys.readouterr().out.splitlines()
    assert short == [
        "nothing is broken",
        "look at hm",
        "        -> see",
        "missing a set (get it)",
        "ok      fine",
        "fr-doctor --all says what belongs where",
    ]
    found.append(Finding("broken", "no", "mend it"))
    assert front.doctor(["--all"]) == 1
    whole = capsys.readouterr().out.splitlines()
    assert whole[:3] == ["1 thing is broken", "BROKEN  no", "        -> mend it"]
    assert "          put it there" in whole
    assert front.doctor(["--al"]) == 2
    assert "error: --al: fr-doctor takes" in capsys.readouterr().err


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[Finding]:
        raise ImportError("no yaml\nhere")

    monkeypatch.setattr(packages, "check_packages", fails)
    found = front.examine({})
    assert found[0] == Finding(
        "broken",
        "the check of packages failed: ImportError: no yaml here",
        "install fourier-robust again in a new environment",
    )
    assert len(found) > 5


def test_here_it_answers_without_torch(tmp_path: Path) -> None:
    code = "import sys; from fourier_robust.doctor import doctor; code = doctor(sys.argv[1:]); " + (
        "loaded = {'torch', 'numpy', 'hydra', 'omegaconf', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'loaded {loaded}' if loaded else code)"
    )
    run = subprocess.run([sys.executable, "-c", code, f"paths.data_dir={tmp_path}"], capture_output=True, text=True)
    assert run.stderr == ""
    assert run.returncode == ("BROKEN" in run.stdout)
    assert f"data folder {tmp_path}" in run.stdout
    assert "packages in range" in run.stdout
