"""What several tests share and no fixture needs to hold."""

from __future__ import annotations

from typing import Any

from omegaconf import open_dict

TINY = (
    "dataset.num_train=64",
    "dataset.num_val=32",
    "dataset.num_test=32",
    "arch.widths=[8,8,8]",
    "trainer.epochs=2",
    "trainer.batch_size=16",
    "trainer.precision=fp32",
    "device.name=cpu",
    "device.threads=1",
    "device.keep_blocks=false",
)


def compose_config(name: str, *overrides: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The resolved config and the group names that the front door `name` (train, eval) gets for `overrides`."""
    from hydra import compose, initialize_config_dir

    from fourier_robust.cli import names_of, resolve
    from fourier_robust.config import conf_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose(name, overrides=list(overrides), return_hydra_config=True)
    choices = cfg.hydra.runtime.choices
    with open_dict(cfg):
        del cfg["hydra"]
    config = resolve(cfg)
    return config, names_of(choices, config)
