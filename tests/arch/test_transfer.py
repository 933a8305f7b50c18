"""A network that begins with the weights of another: which are taken, which not, what is refused, and a run of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import TINY, compose_config
from torch import nn

from fourier_robust.arch.normalize import Normalized
from fourier_robust.arch.resnet import resnet20
from fourier_robust.arch.transfer import Transfer, transfer, transfer_timm
from fourier_robust.cli import build
from fourier_robust.errors import UserError
from fourier_robust.run.checkpoint import read
from fourier_robust.run.folder import RunFolder
from fourier_robust.train import train


def source(classes: int = 7) -> nn.Module:
    """A network whose running statistics are not those of the beginning."""
    torch.manual_seed(1)
    net = resnet20(classes)
    for buffer in net.buffers():
        buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return net


@pytest.mark.parametrize("kind", ["safetensors", "wrapped", "twice", "state_dict"])
@pytest.mark.parametrize("classes", [7, 4])
def test_all_but_the_head_is_taken(kind: str, classes: int, tmp_path: Path) -> None:
    """Also where the other network knows as many classes: its head is of other ones."""
    trained = source(classes)
    weights = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    if kind in ("wrapped", "twice"):
        prefix = "net." if kind == "wrapped" else "net.net."
        weights = {f"{prefix}{name}": tensor for name, tensor in weights.items()} | {"mean": torch.zeros(3)}
    path = tmp_path / ("a.th" if kind == "state_dict" else "a.safetensors")
    if kind == "state_dict":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}}, path)
    else:
        save_file(weights, path)
    torch.manual_seed(2)
    net: Any = transfer(resnet20(4), 4, str(path))
    for name, tensor in trained.state_dict().items():
        if not name.startswith("linear."):
            assert torch.equal(net.net.state_dict()[name], tensor), name
    assert torch.equal(net(torch.rand(2, 3, 32, 32)), torch.zeros(2, 4))
    assert net.net.linear.weight.requires_grad


def test_images_are_resized() -> None:
    seen: list[torch.Tensor] = []

    class Keeps(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images.mean((2, 3))

    images = torch.rand(2, 3, 8, 8)
    Transfer(Keeps(), 12)(images)
    Transfer(Keeps(), 8)(images)
    Transfer(Keeps(), None)(images)
    wide = torch.nn.functional.interpolate(images, size=(12, 12), mode="bilinear", antialias=True)
    assert torch.equal(seen[0], wide)
    assert seen[1] is images
    assert seen[2] is images


def test_timm() -> None:
    """The head of BiT's nets is a convolution; it begins at zero too."""
    net = transfer_timm("resnetv2_50x1_bit", 5, pretrained=False, size=32).eval()
    with torch.no_grad():
        assert torch.equal(net(torch.rand(1, 3, 16, 16)), torch.zeros(1, 5))
    assert (
        sum(parameter.numel() for parameter in transfer_timm("resnetv2_50x1_bit", 10, False).parameters()) == 23_520_842
    )


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(dict(source().state_dict()), path)
    with pytest.raises(ValueError, match="must name a run folder or a file"):
        transfer(resnet20(4), 4, None)
    with pytest.raises(ValueError, match="its last linear layer has 4"):
        transfer(resnet20(4), 5, str(path))
    with pytest.raises(ValueError, match="no linear layer to be its head"):
        transfer(nn.Conv2d(3, 4, 1), 4, str(path))
    with pytest.raises(ValueError, match=f"no file {tmp_path}/b"):
        transfer(resnet20(4), 4, f"{tmp_path}/b")
    with pytest.raises(ValueError, match=r"has no 0\.bias .* another architecture"):
        transfer(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 4)), 4, str(path))
    narrow = nn.ModuleDict({"conv1": nn.Conv2d(3, 9, 3, bias=False), "linear": nn.Linear(9, 4)})
    with pytest.raises(ValueError, match=r"holds conv1\.weight of shape \(16, 3, 3, 3\) for \(9, 3, 3, 3\)"):
        transfer(narrow, 4, str(path))
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match="is not readable"):
        transfer(resnet20(4), 4, str(path))
    (tmp_path / "list.pt").write_bytes(b"junk")
    with pytest.raises(ValueError, match="is not readable"):
        transfer(resnet20(4), 4, f"{tmp_path}/list.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no state dict"):
        transfer(resnet20(4), 4, f"{tmp_path}/list.pt")


def test_a_run_goes_on_from_another(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], tmp_path: Path
) -> None:
    """From a run folder to a new run; measuring that needs the first no more."""
    first = train_tiny()
    chosen = ("arch=transfer", "arch@arch.net=speednet", "arch.net.widths=[8,8,8]", f"arch.pretrained={first}")
    tiny = [one for one in TINY if not one.startswith("arch.")]
    config, _ = compose_config("train", *tiny, *chosen)
    begun: Any = Normalized(build(config, "arch"), (0.5,) * 3, (0.5,) * 3)
    weights = read(first).weights
    kept = [name for name in weights if name.startswith("net.")]
    same = [name for name in kept if torch.equal(begun.state_dict()[f"net.{name}"], weights[name])]
    assert len(same) == len(kept) - 1  # all but the head's one tensor
    config, names = compose_config("train", *tiny, *chosen, f"paths.output_dir={tmp_path}/outputs")
    folder = RunFolder.of(tmp_path / "outputs", names, config["seed"], config).path
    train(config, names)
    first.rename(tmp_path / "away")
    evaluate_tiny(folder / "last.pt", "suite=clean")
    rows = list(csv.DictReader((folder / "eval" / "clean" / "results.csv").open()))
    assert {row["arch"] for row in rows} == {"transfer"}


def test_a_recipe_without_its_weights_is_refused() -> None:
    config, _ = compose_config("train", "experiment=transfer/bit_hyperrule")
    with pytest.raises(UserError, match="arch: pretrained must name a run folder or a file of weights"):
        build(config, "arch")
