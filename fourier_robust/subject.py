"""Who is measured: the model behind ``ckpt=``, whatever it comes from, with the preprocessing that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from fourier_robust.errors import UserError

PREPROCESS = ("mean", "std", "size", "resize", "interpolation")
HELD_OUT = ("val_size", "val_seed", "num_val")  # what decides which training images `val` is
OF_FILES = ("size", "resize", "interpolation")  # settings of data sets kept as image files


@dataclass(frozen=True)
class Subject:
    """A model to measure, before its data set has been looked at.

    Attributes:
        checkpoint: path and SHA-256 for the paper trail; `meta` is empty for a model we did not train.
        names: dataset, arch, aug and reg of its training, ``unknown`` where nobody says.
        seed: of its training.
        data: what tables call the data set it is measured on.
        dataset: config of that data set, with the model's preprocessing.
        classes: how many it tells apart, None where the data set decides.
        preprocessing: mean, std, size, resize, interpolation and where they come from, for the receipt.
        net: data set -> the network, which takes normalised images.
    """

    checkpoint: Any
    names: dict[str, str]
    seed: int | None
    data: str
    dataset: dict[str, Any]
    classes: int | None
    preprocessing: dict[str, Any]
    net: Callable[[Any], Any]

    @property
    def ours(self) -> bool:
        """Whether this project trained it."""
        return bool(self.checkpoint.meta)

    def model(self, dataset: Any, device: Any) -> Any:
        """The model on `device`, normalisation included, in evaluation mode; tried on two grey images.

        Raises:
            UserError: class counts that disagree, weights that do not fit, or images of a size it does not take.
        """
        from fourier_robust.arch.normalize import Normalized

        path = self.checkpoint.path
        if self.classes not in (None, dataset.num_classes):
            raise UserError(f"{path} knows {self.classes} classes, but {dataset.name} has {dataset.num_classes}")
        model = Normalized(self.net(dataset), dataset.mean, dataset.std)
        if self.ours:  # the checkpoint carries its normalisation
            _load(model, self.checkpoint)
        model = model.eval().to(device)
        _try(model, dataset, path, device)
        return model

    def remarks(self) -> list[str]:
        """What a reader of the table must know of a model we did not train."""
        if self.ours:
            return []
        shown = {key: _short(value) for key, value in self.preprocessing.items()}
        return ["input: " + ", ".join(f"{key} {value}" for key, value in shown.items() if value)]


def subject_of(config: Mapping[str, Any], names: Mapping[str, str]) -> Subject:
    """What ``ckpt=`` names: ``timm:NAME``, or a file: our checkpoint, a state dict, TorchScript, torch.export.

    Args:
        config: resolved and checked.
        names: of dataset and arch, where the command line chose them.

    Raises:
        UserError: nothing there, not a model, or something it takes to build it was not given.
    """
    if config["ckpt"].startswith("timm:"):
        return _of_timm(config, names)
    from fourier_robust.run.checkpoint import kind_of, read

    path = Path(config["ckpt"])
    kind = kind_of(path)
    if kind != "weights":
        return _of_program(config, names, path, kind)
    checkpoint = read(path)
    return _of_run(config, names, checkpoint) if checkpoint.meta else _of_weights(config, names, checkpoint)


def subject_of_module(
    config: Mapping[str, Any], names: Mapping[str, str], net: Any, name: str, folder: Path
) -> Subject:
    """A network handed over in Python: normalised (B,C,H,W) -> (B,K)."""
    return _foreign(config, names, _described(folder / name, net), name, None, {}, lambda dataset: net)


def _of_run(config: Mapping[str, Any], names: Mapping[str, str], checkpoint: Any) -> Subject:
    """One of ours: its own arch and data set, or another data set that the command line chose."""
    from fourier_robust.cli import build, data_name
    from fourier_robust.config import check_stored

    chosen = config.get("dataset", {})
    whole = "dataset" in names  # else at most other settings of the training run's data
    check_stored(checkpoint.meta, ("arch",) if whole else ("arch", "dataset"), config, checkpoint.path)
    own, trained = dict(checkpoint.meta["config"]), dict(checkpoint.meta["names"])
    seed = own.get("seed")
    if isinstance(seed, bool) or not isinstance(seed, int | None):  # it goes into the rows as it stands
        raise UserError(f"{checkpoint.path} is not a checkpoint of this project: its seed is no whole number")
    if "arch" in names and names["arch"] != trained["arch"]:
        raise UserError(f"{checkpoint.path} holds {trained['arch']}, not arch={names['arch']}")
    dataset = dict(chosen) if whole else {**own["dataset"], **chosen}
    for key in HELD_OUT:  # else `val` would hold images it was trained on
        if key in own["dataset"] and dataset.get(key) != own["dataset"][key]:
            if not whole:
                raise UserError(f"dataset.{key}: {checkpoint.path} was trained with {own['dataset'][key]}")
            if dataset["_target_"] == own["dataset"].get("_target_") and isinstance(own["dataset"][key], int):
                dataset[key] = own["dataset"][key]
    if not whole and dataset.get("root") == own["paths"]["data_dir"]:  # the data folder of now, not of training time
        dataset["root"] = config["paths"]["data_dir"]
    if "download" in dataset and "download" not in chosen:  # not for a file to decide
        dataset["download"] = False
    if any(config["preprocess"].values()):
        raise UserError(f"preprocess: {checkpoint.path} carries the preprocessing it was trained with")

    def net(data: Any) -> Any:
        arch = {**own["arch"], "num_classes": own["arch"].get("num_classes") or data.num_classes}
        return build({"arch": _without_weights(arch)}, "arch")

    return Subject(
        checkpoint=checkpoint,
        names=trained,
        seed=seed,
        data=names["dataset"] if whole else data_name(trained["dataset"].split("+")[0], dataset),
        dataset=dataset,
        classes=len(checkpoint.meta.get("class_names") or ()) or None,
        preprocessing=_preprocessing(dataset, "the training run"),
        net=net,
    )


def _without_weights(node: Any) -> Any:
    """The config of an architecture whose weights the checkpoint brings: no part of it loads or fetches others."""
    if isinstance(node, Mapping):
        return {key: False if key == "pretrained" else _without_weights(value) for key, value in node.items()}
    return [_without_weights(one) for one in node] if isinstance(node, list | tuple) else node


def _of_weights(config: Mapping[str, Any], names: Mapping[str, str], checkpoint: Any) -> Subject:
    """Somebody else's state dict, for an architecture of ours, torchvision's or timm's."""
    from fourier_robust.cli import build

    if not {"arch", "dataset"} <= names.keys():
        raise UserError(f"{checkpoint.path} does not say what it holds: give arch=... and dataset=...")

    def net(data: Any) -> Any:
        arch = {**config["arch"], "num_classes": config["arch"].get("num_classes") or data.num_classes}
        found = build({"arch": _without_weights(arch)}, "arch")
        _load(found, checkpoint)
        return found

    own: dict[str, Any] = {}
    if "timm" in config["arch"]["_target_"]:
        from fourier_robust.arch.timm_model import timm_preprocessing

        own = timm_preprocessing(config["arch"]["name"])
    return _foreign(config, names, checkpoint, names["arch"], None, own, net)


def _of_timm(config: Mapping[str, Any], names: Mapping[str, str]) -> Subject:
    """``timm:NAME``: timm's weights, from its cache or the hub."""
    from fourier_robust.arch.timm_model import pretrained, timm_classes, timm_preprocessing

    name = config["ckpt"].removeprefix("timm:")
    if "arch" in names:
        raise UserError(f"ckpt={config['ckpt']} is an architecture and its weights: leave arch= out")
    if "dataset" not in names:
        raise UserError(f"ckpt={config['ckpt']} does not say what it is measured on: give dataset=...")
    try:
        own, classes = timm_preprocessing(name), timm_classes(name)
        net = pretrained(name)
    except (ValueError, OSError, RuntimeError) as error:
        raise UserError(f"ckpt=timm:{name}: {' '.join(str(error).split())[:300]}") from error
    where = Path(config["paths"]["output_dir"]) / "timm" / name
    return _foreign(config, names, _described(where, net), f"timm_{name}", classes, own, lambda dataset: net)


def _of_program(config: Mapping[str, Any], names: Mapping[str, str], path: Path, kind: str) -> Subject:
    """A TorchScript or torch.export file: the network without our code."""
    from fourier_robust.arch.program import exported, scripted
    from fourier_robust.run.checkpoint import Checkpoint, file_sha256

    if "arch" in names:
        raise UserError(f"{path} is a whole network ({kind}): leave arch= out")
    if "dataset" not in names:
        raise UserError(f"{path} does not say what it is measured on: give dataset=...")
    checkpoint = Checkpoint(path, {}, file_sha256(path), {}, {})
    try:
        net = (scripted if kind == "torchscript" else exported)(path)
    except (RuntimeError, ValueError, OSError, KeyError, AssertionError, UnpicklingError) as error:
        raise UserError(f"{path} does not load as {kind} file: {' '.join(str(error).split())[:200]}") from error
    return _foreign(config, names, checkpoint, kind, None, {}, lambda dataset: net)


def _foreign(
    config: Mapping[str, Any],
    names: Mapping[str, str],
    checkpoint: Any,
    arch: str,
    classes: int | None,
    own: Mapping[str, Any],
    net: Callable[[Any], Any],
) -> Subject:
    """A model we did not train; settings of ``preprocess`` come before its own, those before the data set's."""
    dataset = dict(config["dataset"])
    asked = {key: value for key, value in config["preprocess"].items() if value is not None}
    impossible = [key for key in asked if key in OF_FILES and key not in dataset]
    if impossible:
        raise UserError(f"preprocess.{impossible[0]}: images of {names['dataset']} are taken as they are")
    if own and "size" in asked and "resize" not in asked:  # the same share of the image
        asked["resize"] = round(asked["size"] * own["resize"] / own["size"])
    for key, value in {**own, **asked}.items():
        if key in dataset:
            dataset[key] = value
    source = "the data set" if not own and not asked else "the model" if not asked else "preprocess="
    return Subject(
        checkpoint=checkpoint,
        names={"dataset": "unknown", "arch": arch, "aug": "unknown", "reg": "unknown"},
        seed=None,
        data=names["dataset"],
        dataset=dataset,
        classes=classes,
        preprocessing=_preprocessing(dataset, source),
        net=net,
    )


def _preprocessing(dataset: Mapping[str, Any], source: str) -> dict[str, Any]:
    return {**{key: dataset[key] for key in PREPROCESS if key in dataset}, "from": source}


def _described(path: Path, net: Any) -> Any:
    """The paper trail of weights that are no file: the hash of their names and values."""
    from fourier_robust.run.checkpoint import Checkpoint, weights_sha256

    return Checkpoint(path, {}, weights_sha256(net.state_dict()), {}, {})


def _load(module: Any, checkpoint: Any) -> None:
    """All weights or none; what does not fit is named."""
    from fourier_robust.run.checkpoint import without_prefix

    wanted, found = module.state_dict(), without_prefix(checkpoint.weights, module.state_dict())
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # files of before 2018 lack them
    shapes = [
        f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    complaints = [
        f"{title}: {', '.join(which[:4])}" + (f" and {len(which) - 4} more" if len(which) > 4 else "")
        for title, which in (
            ("missing in the file", [name for name in wanted if name not in found and name not in counters]),
            ("unknown to the architecture", [name for name in found if name not in wanted]),
            ("of another shape", shapes),
        )
        if which
    ]
    if complaints:
        raise UserError(f"{checkpoint.path} does not fit the architecture: {'; '.join(complaints)}")
    module.load_state_dict({**{name: wanted[name] for name in counters}, **found})


def _try(model: Any, dataset: Any, path: Path, device: Any) -> None:
    """Two grey images through the model: size and number of classes are known to fit before any work."""
    import torch

    size = dataset.size
    images = torch.full((2, len(dataset.mean), size, size), 0.5, device=device)
    try:
        with torch.inference_mode():
            logits = model(images)
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:200]
        raise UserError(f"{path} does not take images of {size}x{size} pixels: {reason}") from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(f"{path} does not give logits (B,K), but {shape}")
    if logits.shape[1] != dataset.num_classes:
        raise UserError(f"{path} knows {logits.shape[1]} classes, but {dataset.name} has {dataset.num_classes}")


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "/".join(f"{float(one):g}" for one in value)
    return "" if value is None else str(value)
