"""From the console to a task: Hydra composes, mistakes become one line, signals become exit codes."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fourier_robust import sweeping
from fourier_robust.config import CORRUPTION, LABELS, OF_ANY_DATA, conf_dir, validate
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.errors import BUSY, Busy, UserError
from fourier_robust.run.sweep import Outcome

GROUPS = ("dataset", "arch", "aug", "reg")
OWN_IMAGES = "fourier_robust.dataset.imagefolder.ImageFolder"
Task = Callable[[dict[str, Any], dict[str, str]], Outcome | None]


def resolve(cfg: DictConfig, door: str | None = None) -> dict[str, Any]:
    """`cfg` as plain containers, interpolations resolved, checked; nothing is read and torch is not loaded.

    Args:
        cfg: composed.
        door: whose keys alone it may have, see `validate`.

    Raises:
        UserError: a required value is missing, a setting is unknown or of the wrong type.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing == ["ckpt"] and OmegaConf.select(cfg, "suite.save") is not None:  # images alone, no measurement
        cfg.ckpt, missing = None, []
    if missing:
        raise UserError(f"{missing[0]} is required: give {missing[0]}=...")
    config = _plain(cfg, resolve=True)
    validate(config, door)
    _settle_labels(config.get("dataset", {}))
    if config.get("aug", {}).get("global_pairs") is False:  # as before there was the key: the run's hash stays
        del config["aug"]["global_pairs"]
    _settle_corruption(config)
    return config


def _settle_labels(dataset: dict[str, Any]) -> None:
    """Check ``dataset.label_noise``; where there is none, its keys go (the run's hash stays)."""
    if not LABELS.keys() <= dataset.keys():
        return
    share = dataset["label_noise"] = float(dataset["label_noise"])  # 1 and 1.0 are one experiment
    if not 0 <= share <= 1:
        raise UserError(f"dataset.label_noise={share:g}: must lie in 0 to 1")
    if share == 0:
        for key in LABELS:
            del dataset[key]


def _settle_corruption(config: dict[str, Any]) -> None:
    """Check ``dataset.corruption`` and its severity; where there is none, their keys go (the run's hash stays)."""
    dataset = config.get("dataset")
    if dataset is None or not CORRUPTION.keys() <= dataset.keys():
        return
    name, severity = dataset["corruption"], dataset["severity"]
    if name in (None, "none"):
        if severity is not None:
            raise UserError(f"dataset.severity={severity} needs dataset.corruption=...")
        for key in CORRUPTION:
            del dataset[key]
        if name == "none" and "_target_" not in dataset:
            dataset["corruption"] = name  # takes that of the checkpoint's data set away
        if not dataset:
            del config["dataset"]
        return
    _generator(config, name)
    if severity not in (1, 2, 3, 4, 5):
        raise UserError(f"dataset.severity={'null' if severity is None else severity}: must be 1, 2, 3, 4 or 5")


def _generator(config: Mapping[str, Any], name: str) -> Any:
    """How a corruption is made: as the suite in the config says, else as the yaml of the suite that has it."""
    known: dict[str, Any] = {}
    for path in sorted((conf_dir() / "suite").glob("corruptions*.yaml")):
        whole = OmegaConf.create({**config, "suite": OmegaConf.load(path)})
        known |= _plain(whole.suite.generators, resolve=True)
    known |= config.get("suite", {}).get("generators", {})
    if name not in known:
        raise UserError(f"dataset.corruption={name}: must be one of {', '.join(known)}")
    return known[name]


def build_dataset(config: Mapping[str, Any]) -> Any:
    """The data set of `config`: every image corrupted, training labels shuffled, where its settings say so.

    Raises:
        UserError: a refused argument.
    """
    settings = {key: value for key, value in config["dataset"].items() if key in OF_ANY_DATA}
    rest = {key: value for key, value in config["dataset"].items() if key not in OF_ANY_DATA}
    dataset = _corrupted(build({"dataset": rest}, "dataset"), settings, config)
    if not settings.get("label_noise"):
        return dataset
    from fourier_robust.dataset.shuffled_labels import ShuffledLabels

    return ShuffledLabels(dataset, settings["label_noise"], settings["label_seed"])


def _corrupted(dataset: Any, settings: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """`dataset`, or with every image corrupted where `settings` say so."""
    if settings.get("corruption") in (None, "none"):
        return dataset
    from fourier_robust.corruption.dataset import Corrupted

    name = settings["corruption"]
    generators = build({"dataset": {name: _generator(config, name)}}, "dataset")
    try:
        return Corrupted(dataset, generators, name, settings["severity"], settings["corruption_seed"])
    except ValueError as error:
        raise UserError(f"dataset: {error}") from error


def data_name(name: str, dataset: Mapping[str, Any]) -> str:
    """What tables call a data set of group choice `name`: ``cifar10``, or ``cifar10+fog-3+shuffled-1`` if changed.

    A folder of the user's own images is called as the folder.
    """
    if dataset.get("_target_") == OWN_IMAGES:
        name = Path(str(dataset["root"])).expanduser().absolute().name
    if dataset.get("corruption") not in (None, "none"):
        name += f"+{dataset['corruption']}-{dataset['severity']}"
    if dataset.get("label_noise"):
        name += f"+shuffled-{dataset['label_noise']:g}"
    return name


def _plain(cfg: DictConfig, resolve: bool = False) -> dict[str, Any]:
    config = OmegaConf.to_container(cfg, resolve=resolve)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def names_of(choices: Mapping[str, str | None], config: Mapping[str, Any]) -> dict[str, str]:
    """What the run folder and the rows call each part: the group's choice, with the model's name for ``arch=timm``."""
    names = {group: str(choices.get(group)) for group in GROUPS if choices.get(group) not in (None, "null")}
    if "dataset" in names:
        names["dataset"] = data_name(names["dataset"], config["dataset"])
    if names.get("arch") == "timm":
        names["arch"] = f"timm_{config['arch']['name']}"
    return names


def build(config: Mapping[str, Any], key: str, **extra: Any) -> Any:
    """Instantiate ``config[key]``; a refused value becomes one line.

    Raises:
        UserError: a constructor refused its arguments; begins with its place in the config.
    """
    try:
        return hydra.utils.instantiate(config[key], _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError | TypeError):
            found = re.search(r"\nfull_key: (\S+)$", str(error))
            place, said = f"{key}.{found[1]}" if found else key, str(cause)
            raise UserError(place + said[len(key) :] if said.startswith(f"{key}.") else f"{place}: {said}") from error
        raise


def to_yaml(config: Mapping[str, Any]) -> str:
    """`config` as yaml text."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def launch(config_name: str, task: Task) -> None:
    """Run `task` on the composed config of the command line: once, or once per job of a multirun.

    Exits with 2 after a user's mistake, with 1 after a fault of the machine or where jobs of a sweep are not done, with
    128 + signal after an interruption; ``FR_DEBUG=1`` shows tracebacks. Empty ``FR_DATA`` and ``FR_OUTPUTS`` count as
    unset.
    """
    _line_by_line()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises to us instead of printing its own trace
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/ray' is validated")  # the plugin has that name too
    for variable in ("FR_DATA", "FR_OUTPUTS"):
        if os.environ.get(variable) == "":  # as if unset: the yaml would take the working folder
            del os.environ[variable]

    if "TORCHELASTIC_RUN_ID" in os.environ and {"-m", "--multirun"} & set(sys.argv[1:]):
        _leave(UserError("no sweep inside torchrun: fr-train -m ... device.processes=N starts it for each job"), 2)

    def job(cfg: DictConfig) -> None:
        _line_by_line()  # a launcher's process has not come through the door
        names = HydraConfig.get().runtime.choices

        def work(device: str | None) -> Outcome | None:
            config = resolve(cfg, config_name)
            if device is not None and config["device"]["name"] == "auto":
                config["device"]["name"] = device
            return task(config, names_of(names, config))

        if "RANK" not in os.environ:  # one of several processes has it of the job that started it
            os.environ.pop("FR_SWEEP_JOB", None)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            hydra_config = HydraConfig.get()
            os.environ["FR_SWEEP_JOB"] = f"{Path(hydra_config.sweep.dir).absolute()}#{hydra_config.job.num}"
            retry = cfg.get("retry")
            sweeping.job(work, retry if isinstance(retry, int) and retry > 0 else 0)  # `work` refuses the others
            return
        try:  # here, for Hydra would add lines of its own
            work(None)
        except Interrupted as stop:
            sweeping.hand_over(stop)
        except UserError as error:
            below = "TORCHELASTIC_RUN_ID" in os.environ  # for who started it
            _leave(error, BUSY if below and isinstance(error, Busy) else 2)
        except OSError as error:
            _leave(error, 1)

    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(job)()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _leave(error, sweeping.finish(error) or 2)
    except OSError as error:
        _leave(error, sweeping.finish(error) or 1)
    except KeyboardInterrupt as error:
        sweeping.finish(error)
        _leave(KeyboardInterrupt("interrupted; what is finished is kept"), 130)
    except SystemExit as left:  # a signal, in a job of this process
        if left.code:
            sweeping.finish(left)
        raise
    except Exception as error:
        needed = sweeping.missing_extra(error)
        if needed:
            _leave(UserError(needed), 2)
        if sweeping.finish(error) is None:
            raise
        _leave(error, 1)
    code = sweeping.finish()
    if code:
        sys.exit(code)


def _line_by_line() -> None:
    """Have each line reach a log when it is printed, and errors after it: to a file Python writes in blocks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _leave(error: BaseException, code: int) -> NoReturn:
    if os.environ.get("FR_DEBUG") == "1":
        raise error
    text = str(error).strip() or type(error).__name__
    print(f"error: {text}", file=sys.stderr)
    sys.exit(code)
