"""suite=clean: top-5 error by hand, and that of a published network on real images."""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dataset.shift_layouts import Known, tree
from PIL import Image
from support import compose_config

from fourier_robust.arch.normalize import Normalized
from fourier_robust.cli import build
from fourier_robust.dataset.wnids import WNIDS
from fourier_robust.metric.outcome import error_rate
from fourier_robust.suite.base import Measurement
from fourier_robust.suite.clean import Clean


def measured(classes: int, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, Measurement]:
    suite, dataset = Clean(), Known([f"c{number}" for number in range(classes)])
    (condition,) = suite.conditions(dataset)
    return {one.metric: one for one in suite.measure({condition: suite.summarise(logits, labels, condition, {})})}


def test_top5_by_hand() -> None:
    logits = torch.zeros(4, 120)
    logits[:, [7, 30, 90, 91, 119, 3]] = torch.tensor([6.0, 5, 4, 3, 2, 1])
    found = measured(120, logits, torch.tensor([7, 119, 3, 0]))  # first, fifth, sixth, none of them
    assert found["error"].estimate == error_rate(torch.tensor([0.0, 1, 1, 1]))
    assert found["top5_error"].estimate == error_rate(torch.tensor([0.0, 0, 1, 1]))
    assert list(found) == ["error", "top5_error", "nll"]
    assert all(name in Clean.definitions and not one.higher_is_better for name, one in found.items())


@pytest.mark.parametrize("classes", [3, 99])
def test_few_classes_have_no_top5(classes: int) -> None:
    assert list(measured(classes, torch.randn(2, classes), torch.tensor([0, 1]))) == ["error", "nll"]


def test_outcomes_without_top5_are_not_reused() -> None:
    """Predictions are shared with other suites; what is kept of them is not what was kept before."""
    suite, dataset = Clean(), Known(["a", "b"])
    source = suite.source(dataset, suite.conditions(dataset)[0], torch.device("cpu"), 2)
    assert source.identity == dataset.split("test").identity
    assert source.kept


def test_from_the_command_line(evaluate_tiny: Callable[..., None], tmp_path: Path) -> None:
    """Somebody's net of a hundred classes on a folder: a second launch reuses what the first kept."""
    tree(tmp_path / "mine" / "val", WNIDS[:100])
    folder = ("dataset=imagefolder", f"dataset.root={tmp_path}/mine", "dataset.num_workers=0")
    settings = (*folder, "dataset.size=32", "dataset.resize=32", "arch=speednet", "arch.widths=[8,8,8]")
    config, _ = compose_config("eval", "ckpt=x", *settings)
    net = build({**config, "arch": {**config["arch"], "num_classes": 100}}, "arch")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    for reused in (0, 1):
        evaluate_tiny(tmp_path / "net.pth", *settings, "suite=clean", f"paths.output_dir={tmp_path}/out")
        (receipt,) = tmp_path.rglob("eval.json")
        assert json.loads(receipt.read_text())["conditions_reused"] == reused
        rows = {row["metric"]: row for row in csv.DictReader((receipt.parent / "results.csv").open())}
        assert float(rows["error"]["value"]) == 0.99  # all images are one grey: one class is named, five are
        assert float(rows["top5_error"]["value"]) == 0.95


@pytest.mark.realdata
def test_a_published_network_on_real_images(realdata: Path, tmp_path: Path) -> None:
    """SqueezeNet 1.0 on the first 60 of the 1,000 images: 23 and 10 wrong, the ten by hand on torchvision's crops."""
    from torchvision.models import squeezenet1_0
    from torchvision.transforms import v2

    with tarfile.open(realdata / "imagenet_sample1000_s256.tar.xz") as archive:
        members = [one for one in archive.getmembers() if one.isfile() and one.name.split("/")[2] in WNIDS[:60]]
        archive.extractall(tmp_path, members, filter="data")
    with tarfile.open(realdata / "models_thirdparty.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (weights,) = tmp_path.rglob("squeezenet1_0*/*.pth")
    net = squeezenet1_0()
    net.load_state_dict(torch.load(weights, weights_only=True))
    model = Normalized(net, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()
    crop = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])
    images = [next((tmp_path / "imagenet-sample" / "val" / wnid).iterdir()) for wnid in WNIDS[:60]]
    with torch.inference_mode():
        logits = model(torch.stack([crop(Image.open(path).convert("RGB")) for path in images]) / 255)
    found = measured(1000, logits, torch.arange(60))
    by_hand = [place not in logits[place].argsort(descending=True)[:5] for place in range(60)]
    assert sum(by_hand) == 10
    assert {name: one.estimate.value for name, one in found.items() if name != "nll"} == {
        "error": 23 / 60,
        "top5_error": 10 / 60,
    }
