"""From the console to a task: Hydra composes, mistakes become one line, signals become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fourier_robust.config import conf_dir, validate
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.errors import UserError

GROUPS = ("dataset", "arch", "aug", "reg")
Task = Callable[[dict[str, Any], dict[str, str]], None]


def resolve(cfg: DictConfig) -> dict[str, Any]:
    """`cfg` as plain containers, interpolations resolved, checked; nothing is read and torch is not loaded.

    Raises:
        UserError: a required value is missing, a setting is unknown or of the wrong type.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"{missing[0]} is required: give {missing[0]}=...")
    config = _plain(cfg, resolve=True)
    validate(config)
    return config


def _plain(cfg: DictConfig, resolve: bool = False) -> dict[str, Any]:
    config = OmegaConf.to_container(cfg, resolve=resolve)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def names_of(choices: Mapping[str, str | None], config: Mapping[str, Any]) -> dict[str, str]:
    """What the run folder and the rows call each part: the group's choice, with the model's name for ``arch=timm``."""
    names = {group: str(choices.get(group)) for group in GROUPS if choices.get(group) not in (None, "null")}
    if names.get("arch") == "timm":
        names["arch"] = f"timm_{config['arch']['name']}"
    return names


def build(config: Mapping[str, Any], key: str, **extra: Any) -> Any:
    """Instantiate ``config[key]``; a refused value becomes one line.

    Raises:
        UserError: the constructor refused its arguments.
    """
    try:
        return hydra.utils.instantiate(config[key], _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError | TypeError):
            raise UserError(f"{key}: {cause}") from error
        raise


def to_yaml(config: Mapping[str, Any]) -> str:
    """`config` as yaml text."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def launch(config_name: str, task: Task) -> None:
    """Run `task` on the composed config of the command line: once, or once per job of a multirun.

    Exits with 2 after a user's mistake, 128 + signal after an interruption; ``FR_DEBUG=1`` shows tracebacks.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises to us instead of printing its own trace

    def job(cfg: DictConfig) -> None:
        try:
            task(resolve(cfg), names_of(HydraConfig.get().runtime.choices, _plain(cfg)))
        except Interrupted as stop:
            _leave(stop, 128 + stop.signum)
        except UserError as error:
            if HydraConfig.get().mode == RunMode.RUN:
                _leave(error, 2)
            print(f"error: {error}", file=sys.stderr)  # the other jobs of the sweep go on
            raise

    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(job)()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _leave(error, 2)
    except KeyboardInterrupt as error:
        _leave(error, 130)


def _leave(error: BaseException, code: int) -> NoReturn:
    if os.environ.get("FR_DEBUG") == "1":
        raise error
    text = str(error).strip() or type(error).__name__
    print(text if isinstance(error, Interrupted) else f"error: {text}", file=sys.stderr)
    sys.exit(code)
