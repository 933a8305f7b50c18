"""The APR recipes: each names its source, command, cost and published number, and the numbers are the right ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import compose_config

FOLDER = Path(__file__).parents[1] / "conf" / "experiment" / "apr"
METHODS = ("standard", "apr_s", "apr_p", "apr_sp")

# Yucel et al., "HybridAugment++", ICCV 2023. Table 1, mean corruption error in % (columns as METHODS):
CORRUPTION_ERROR = {
    "cifar10": {
        "allconv": (30.8, 14.8, 21.5, 11.5),
        "densenet40_12": (30.7, 12.3, 20.3, 10.3),
        "wrn_40_2": (26.9, 10.6, 18.3, 9.1),
        "resnext29_4x32d": (27.5, 11.0, 18.5, 9.1),
        "resnet18": (25.4, 9.9, 17.0, 9.1),
    },
    "cifar100": {
        "allconv": (56.4, 39.8, 47.5, 35.9),
        "densenet40_12": (59.3, 38.3, 49.8, 35.8),
        "wrn_40_2": (53.3, 35.5, 44.7, 32.9),
        "resnext29_4x32d": (53.4, 33.7, 44.2, 31.0),
        "resnet18": (51.2, 33.0, 49.2, 31.8),
    },
}
# Table 2, clean accuracy in %:
CLEAN_ACCURACY = {
    "cifar10": {
        "allconv": (93.9, 93.5, 94.5, 94.3),
        "densenet40_12": (94.2, 94.9, 95.0, 95.2),
        "wrn_40_2": (94.8, 95.0, 95.2, 95.7),
        "resnext29_4x32d": (95.7, 95.5, 95.5, 96.1),
        "resnet18": (92.2, 95.6, 94.9, 95.0),
    },
    "cifar100": {
        "allconv": (74.9, 75.3, 74.8, 75.2),
        "densenet40_12": (71.4, 75.8, 71.5, 75.6),
        "wrn_40_2": (72.1, 76.2, 70.4, 76.8),
        "resnext29_4x32d": (75.0, 78.8, 71.1, 79.1),
        "resnet18": (70.9, 77.0, 63.7, 76.1),
    },
}
# ImageNet, ResNet-50: mCE of the APR repository's README; clean accuracy of HybridAugment++'s table 3 (100 - error):
IMAGENET_MCE = (80.6, 70.5, 69.3, 65.0)
IMAGENET_ACCURACY = (76.1, 75.5, 75.6, 75.6)

CIFAR = [(dataset, arch, method) for dataset, rows in CORRUPTION_ERROR.items() for arch in rows for method in METHODS]
NAMES = [f"{dataset}_{arch}_{method}" for dataset, arch, method in CIFAR]
IMAGENET_NAMES = [f"imagenet_resnet50_{method}" for method in METHODS]
FAST = "fast_adversarial"


def header(name: str) -> dict[str, str]:
    """The comment block as {field: text}, continuation lines joined; the title under ""."""
    fields: dict[str, str] = {}
    field = ""
    for line in (FOLDER / f"{name}.yaml").read_text().splitlines():
        if not line.startswith("#"):
            break
        match = re.match(r"# (source|command|cost|expect|caution) +(.*)", line)
        field, text = match.groups() if match else (field, line.removeprefix("#").strip())
        fields[field] = f"{fields.get(field, '')} {text}".strip()
    return fields


def body(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def overrides(name: str) -> dict[str, str]:
    """The defaults list as {group: choice}."""
    pairs = (next(iter(entry.items())) for entry in body(name)["defaults"])
    return {key.removeprefix("override /"): choice for key, choice in pairs}


def test_the_folder_holds_these_recipes_and_no_other() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted([*NAMES, *IMAGENET_NAMES, FAST])


@pytest.mark.parametrize("name", [*NAMES, *IMAGENET_NAMES, FAST])
def test_header(name: str) -> None:
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# @package _global_\n")
    fields = header(name)
    assert {"source", "command", "cost", "expect"} <= set(fields)
    assert fields["command"].startswith(f"fr-train experiment=apr/{name}")
    assert name == FAST or fields["command"] == f"fr-train experiment=apr/{name}"
    assert "arXiv 2108.08487" in fields["source"]
    assert "published" in fields["expect"]
    assert ("caution" in fields) == (not name.endswith("standard"))


@pytest.mark.parametrize(("dataset", "arch", "method"), CIFAR)
def test_cifar_recipe(dataset: str, arch: str, method: str) -> None:
    name, column = f"{dataset}_{arch}_{method}", METHODS.index(method)
    expect = re.match(r"mean corruption error ([\d.]+) %, clean accuracy ([\d.]+) % ", header(name)["expect"])
    assert expect is not None
    published = (CORRUPTION_ERROR[dataset][arch][column], CLEAN_ACCURACY[dataset][arch][column])
    assert tuple(map(float, expect.groups())) == published
    assert f"released {dataset.upper().replace('CIFAR', 'CIFAR-')}-C" in header(name)["expect"]
    assert overrides(name) == {"dataset": dataset, "arch": arch, "aug": method, "optim": "sgd"}
    settings = body(name)
    assert settings["trainer"] == {"epochs": 200, "batch_size": 128}
    cifar10_constants = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}  # the authors', for both
    assert settings["dataset"] == {"val_size": 0} | (cifar10_constants if dataset == "cifar100" else {})
    cifar10 = yaml.safe_load((FOLDER.parents[1] / "dataset" / "cifar10.yaml").read_text())
    assert {key: cifar10[key] for key in cifar10_constants} == cifar10_constants
    assert set(settings) == {"defaults", "trainer", "dataset"}


@pytest.mark.parametrize("method", METHODS)
def test_imagenet_recipe(method: str) -> None:
    name, column = f"imagenet_resnet50_{method}", METHODS.index(method)
    expect = re.match(r"mCE ([\d.]+), clean accuracy ([\d.]+) % ", header(name)["expect"])
    assert expect is not None
    assert tuple(map(float, expect.groups())) == (IMAGENET_MCE[column], IMAGENET_ACCURACY[column])
    assert overrides(name) == {"dataset": "imagenet", "arch": "timm", "aug": method, "optim": "sgd_imagenet"}
    settings = body(name)
    assert settings["trainer"] == {"epochs": 100, "batch_size": 256}
    assert settings["dataset"] == {"val_size": 0}
    assert set(settings) == {"defaults", "trainer", "dataset", "aug"}
    timm = yaml.safe_load((FOLDER.parents[1] / "arch" / "timm.yaml").read_text())
    assert (timm["name"], timm["pretrained"]) == ("resnet50", False)
    pair = {"views": {"p": 0.5, "space": "normalised"}} if method in ("apr_p", "apr_sp") else {}
    assert settings["aug"] == {"crop": {"padding": 0}} | pair


@pytest.mark.parametrize("name", NAMES + IMAGENET_NAMES)
def test_cost_is_epochs_times_images_times_views(name: str) -> None:
    """Views: 1 without APR-P; 1 + p with it, as a batch whose coin said no passes once."""
    cost = re.match(r"(\d+) epochs x ([\d,]+) images x ([\d.]+) views? = (\d+) million", header(name)["cost"])
    assert cost is not None
    epochs, images, views, total = (float(group.replace(",", "")) for group in cost.groups())
    p = 0.0 if name.endswith(("standard", "apr_s")) else 0.5 if name.startswith("imagenet") else 0.6
    assert epochs == body(name)["trainer"]["epochs"]
    assert images == (1_281_167 if name.startswith("imagenet") else 50_000)
    assert views == 1 + p
    assert total == round(epochs * images * views / 1e6)


def test_fast_adversarial_recipe() -> None:
    """The row APR-SP of the authors' autoattacks/README, and what their training script does."""
    config, names = compose_config("train", f"experiment=apr/{FAST}")
    assert names == {"dataset": "cifar10", "arch": "preact_resnet18", "aug": "apr_sp_fgsm", "reg": "none"}
    assert (config["trainer"]["epochs"], config["trainer"]["batch_size"]) == (90, 128)
    optim = config["optim"]
    triangle = optim.pop("schedule")
    assert (triangle["start"], triangle["peak"], triangle["end"]) == (0.0, 0.5, 0.0)
    plain = {"momentum": 0.9, "nesterov": False, "weight_decay": 5e-4, "bias_lr_scale": 1.0, "lr_batch": None}
    assert {key: value for key, value in optim.items() if key != "_target_"} == {"lr": 0.2} | plain
    aug = config["aug"]
    assert (aug["single"]["apply_p"], aug["views"]["p"], aug["crop"]["fill"]) == (0.9, 0.16, 0.0)
    assert (aug["views"]["space"], aug["views"]["std"]) == ("normalised", [0.2471, 0.2435, 0.2616])
    assert (255 * aug["attack"]["eps"], 255 * aug["attack"]["step_size"]) == pytest.approx((8, 10))
    assert (aug["attack"]["random_start"], aug["bn_mode"], aug["compat"]) == (True, "train", "upstream")
    cost = re.match(r"(\d+) epochs x 50,000 images x 2 views x 2 passes = (\d+) million", header(FAST)["cost"])
    assert cost is not None
    assert int(cost[2]) == int(cost[1]) * 50_000 * 4 / 1e6
    assert "83.16 %, attacked 44.83 % (published" in header(FAST)["expect"]
