"""The suites from Python, for any network at hand: what ``fr-eval`` does, without a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


def evaluate_module(
    net: nn.Module, overrides: Sequence[str], name: str = "module", folder: str | Path = "outputs"
) -> pd.DataFrame:
    """Measure `net` with a suite; leaves tables, pictures and a receipt in ``folder/eval/<name>/<suite>.<dataset>``.

    Args:
        net: normalised (B,C,H,W) -> logits (B,K); left in evaluation mode, on the device of ``device.name``.
        overrides: as on the command line of ``fr-eval``, at least ``dataset=...``; mean and std with which the images
            are normalised are those of the data set, or ``preprocess.mean=[...]`` and ``preprocess.std=[...]``.
        name: of the model in tables and folders.
        folder: see above.

    Returns:
        results.csv as a frame: one measurement per row, fractions in [0,1].

    Raises:
        UserError: as ``fr-eval`` would say it.
    """
    import hydra
    import pandas as pd
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import get_gh_backup, restore_gh_from_backup
    from omegaconf import open_dict

    from fourier_robust.cli import names_of, resolve
    from fourier_robust.config import conf_dir
    from fourier_robust.errors import UserError
    from fourier_robust.evaluate import measure
    from fourier_robust.subject import subject_of_module

    of_caller = get_gh_backup()  # where Hydra already runs: it would refuse to start twice
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            composed = hydra.compose("eval", [f"ckpt={name}", *overrides], return_hydra_config=True)
    finally:
        restore_gh_from_backup(of_caller)
    choices = dict(composed.hydra.runtime.choices)
    with open_dict(composed):
        del composed["hydra"]
    config = resolve(composed, "eval")
    names = names_of(choices, config)
    if "dataset" not in names:
        raise UserError("give dataset=...")
    where = measure(lambda: subject_of_module(config, names, net, name, Path(folder)), config)
    return pd.read_csv(where.folder / "results.csv")
