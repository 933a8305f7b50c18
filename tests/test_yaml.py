"""Every yaml composes, instantiates and works: in a house wired by ``_target_`` this is the type checker."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import TINY, compose_config

from fourier_robust.cli import build
from fourier_robust.config import conf_dir
from fourier_robust.errors import UserError

CONF = conf_dir()
HEADER = ("source", "command", "cost", "expect")


def choices(group: str) -> list[str]:
    """The names of a group's yaml files, with folders."""
    return sorted(str(path.relative_to(CONF / group).with_suffix("")) for path in (CONF / group).rglob("*.yaml"))


def two_steps(*overrides: str) -> None:
    """Compose, instantiate, and take two optimizer steps on 16 embedded images."""
    from fourier_robust.arch.normalize import Normalized
    from fourier_robust.engine.fit import Trainer
    from fourier_robust.engine.job import Job

    config, _ = compose_config("train", *overrides)
    dataset = build(config, "dataset")
    torch.manual_seed(0)
    model = Normalized(build(config, "arch"), dataset.mean, dataset.std)
    before = [parameter.clone() for parameter in model.parameters() if parameter.requires_grad]
    aug, reg, optim = (build(config, key) for key in ("aug", "reg", "optim"))
    job = Job(
        model=model,
        train=dataset.split("train"),
        val=None,
        aug=aug,
        reg=reg,
        optim=optim,
        seed=0,
        device=torch.device("cpu"),
        channels_last=True,
        compiled=False,
        save=lambda *_: None,
        record=lambda _: None,
    )
    history = Trainer(epochs=1, batch_size=8, precision="fp32").fit(job)
    assert history[-1]["step"] == 2
    after = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


SMALL = ("dataset.num_train=16", "dataset.num_val=8", "dataset.num_test=8")


@pytest.mark.parametrize("name", choices("arch"))
def test_arch(name: str) -> None:
    extra = ("arch.name=resnet18",) if name in ("timm", "torchvision") else ()
    two_steps(*SMALL, f"arch={name}", *extra)


@pytest.mark.parametrize("group", ["aug", "reg", "optim"])
def test_methods(group: str) -> None:
    for name in choices(group):
        two_steps(*SMALL, "arch.widths=[4,4,4]", f"{group}={name}")


@pytest.mark.parametrize("name", choices("dataset"))
def test_dataset(name: str, tmp_path: Path) -> None:
    """The embedded set trains (above); the others compose and say in one line what is missing and where."""
    config, _ = compose_config("train", f"dataset={name}", f"paths.data_dir={tmp_path}/none")
    if name == "shapes":
        assert len(build(config, "dataset").split("train")) == config["dataset"]["num_train"]
        return
    with pytest.raises(UserError) as refused:
        build(config, "dataset").split("test")
    assert f"{tmp_path}/none" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", choices("suite"))
def test_suite(name: str, tmp_path: Path) -> None:
    config, _ = compose_config("eval", "ckpt=x", f"suite={name}", f"paths.data_dir={tmp_path}")
    suite = build(config, "suite")
    assert suite.name == name
    assert suite.definitions
    train, _ = compose_config("train", *TINY)
    assert suite.conditions(build(train, "dataset"))


@pytest.mark.parametrize("name", choices("experiment"))
def test_experiment(name: str) -> None:
    """Each recipe composes, its settings fit, its method instantiates, and the command line still wins."""
    config, names = compose_config("train", f"experiment={name}", "seed=5")
    assert config["seed"] == 5
    for key in ("trainer", "aug", "reg", "optim", "device"):
        build(config, key)
    other = "apr_s" if names["aug"] != "apr_s" else "apr_sp"
    _, chosen = compose_config("train", f"experiment={name}", f"aug={other}")
    assert chosen == {**names, "aug": other}


@pytest.mark.parametrize("group", ["aug", "arch", "attack", "dataset", "optim", "reg", "score", "suite", "experiment"])
def test_headers(group: str) -> None:
    for name in choices(group):
        text = (CONF / group / f"{name}.yaml").read_text()
        header = [line.lower() for line in text.splitlines() if line.startswith("#")]
        for word in HEADER:
            assert any(line.startswith(f"# {word}") for line in header), f"{group}/{name}.yaml says no {word}"


def leaves(node: object, path: str = "") -> set[str]:
    """Dotted paths of all settings of a config."""
    if isinstance(node, dict):
        return set().union(
            *(leaves(value, f"{path}.{key}" if path else str(key)) for key, value in node.items()), set()
        )
    return {path}


def test_user_facing_keys_change_only_on_purpose() -> None:
    """The settings people type; a key that disappears breaks their scripts. Regenerate: write `found` to the file."""
    found = set()
    for group in ("aug", "reg", "optim", "suite", "arch", "dataset"):
        for name in choices(group):
            command, extra = ("eval", ("ckpt=x",)) if group == "suite" else ("train", ())
            if group == "dataset":  # keys that are there only when they are used
                extra = ("dataset.corruption=brightness", "dataset.severity=1", "dataset.label_noise=0.5")
            config, _ = compose_config(command, f"{group}={name}", *extra)
            found |= {f"{group}={name} {key}" for key in leaves(config[group], group)}
    for command, extra in (("train", ()), ("eval", ("ckpt=x",))):
        config, _ = compose_config(command, *extra)
        top = {key: value for key, value in config.items() if key not in ("aug", "optim", "suite", "arch", "dataset")}
        found |= {f"fr-{command} {key}" for key in leaves(top)}
    committed = set((Path(__file__).parent / "keys.txt").read_text().splitlines())
    assert found == committed, f"new: {sorted(found - committed)}, gone: {sorted(committed - found)}"
