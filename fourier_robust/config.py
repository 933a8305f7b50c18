"""Check a resolved config before any work: unknown settings and wrong types, in one line each.

The signature of the class or function that a ``_target_`` names is the schema. It is read from the source by
`ast`, not by import, so a mistake is answered before torch is loaded.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError

PACKAGE = Path(__file__).parent
FROM_DATA = frozenset({"arch.num_classes"})  # null until the data set (an image folder) has been looked at
HYDRA_KEYS = frozenset({"_target_", "_partial_", "_args_", "_recursive_", "_convert_"})
TOP_LEVEL = {
    "seed": "int",
    "resume": "bool",
    "retry": "int",
    "ckpt": "str | None",
    "batch_size": "int | None",
    "predictions_gib": "float",
    "precision": "Literal['fp32', 'bf16']",
}
LEAST = {"retry": 0, "batch_size": 1, "predictions_gib": 0}
PATHS = {"data_dir": "str", "output_dir": "str"}
CORRUPTION = {"corruption": "str | None", "severity": "int | None", "corruption_seed": "int"}
LABELS = {"label_noise": "float", "label_seed": "int"}
PREPROCESS = {
    "mean": "list | None",
    "std": "list | None",
    "size": "int | None",
    "resize": "int | None",
    "interpolation": "str | None",
}
OF_ANY_DATA = CORRUPTION | LABELS  # keys of dataset that the front doors read themselves
STORED_GROUPS = ("arch", "dataset", "paths")  # of a checkpoint's config, what its evaluation reads
STORED_NAMES = ("dataset", "arch", "aug", "reg")


def conf_dir() -> Path:
    """The folder of the yaml files: inside the installed package, else the checkout's."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parent / "conf"


def validate(config: Mapping[str, Any], door: str | None = None) -> None:
    """Check every setting of `config` (resolved, plain containers) against the signature that receives it.

    Args:
        config: to check.
        door: train, eval or report: no other keys than those of conf/<door>.yaml may be in it. None: any.

    Raises:
        UserError: names the setting, its value, and what is expected or known.
    """
    if door is not None:
        _known(config, _keys_of(door), f"fr-{door}")
    for key, annotation in TOP_LEVEL.items():
        if key in config:
            _check(key, config[key], annotation)
    for key, least in LEAST.items():
        value = config.get(key)
        if value is not None and not least <= value < math.inf:
            raise UserError(f"{key}={value}: must be {least} or more{', and finite' * isinstance(value, float)}")
    check_paths(config.get("paths") or {})
    for key, annotation in OF_ANY_DATA.items():
        if key in config.get("dataset", {}):
            _check(f"dataset.{key}", config["dataset"][key], annotation)
    for key, annotation in PREPROCESS.items():
        if key in config.get("preprocess", {}):
            _check(f"preprocess.{key}", config["preprocess"][key], annotation)
    for path, node in _nodes(config):
        target = node["_target_"]
        if str(target).startswith("fourier_robust."):
            _check_node(path, node, _signature(target))


def check_paths(paths: Mapping[str, Any]) -> None:
    """Check the settings below ``paths``.

    Raises:
        UserError: an unknown one, or one that names no folder.
    """
    _known(paths, PATHS, "paths", "paths.")
    for key, annotation in PATHS.items():
        if key in paths:
            _check(f"paths.{key}", paths[key], annotation)
            if not isinstance(paths[key], str):
                raise UserError(f"paths.{key}={paths[key]} must name a folder")
            if not paths[key].strip():
                raise UserError(f"paths.{key} is empty: it must name a folder ('.' is the working folder)")


@cache
def _keys_of(door: str) -> tuple[str, ...]:
    """Top-level keys and groups of ``conf/<door>.yaml`` and of what it shares with the other doors, as they stand."""
    texts = [(conf_dir() / f"{name}.yaml").read_text() for name in (door, "hydra_base")]
    found = [key for text in texts for key in re.findall(r"^(?:  - )?(\w+):\s", text, re.MULTILINE)]
    return tuple(dict.fromkeys(key for key in found if key not in ("defaults", "hydra")))


def _known(node: Iterable[str], known: Iterable[str], who: str, place: str = "") -> None:
    """Refuse a key of `node` that is not known."""
    for key in node:
        if key not in known:
            raise UserError(f"{place}{key}: {who} has no such setting; {_nearest(key, known)}")


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"


def check_stored(meta: Mapping[str, Any], built: Sequence[str], asked: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint's description where building from it could run more than what the user has installed for it.

    A ``_target_`` must be one that a yaml below ``conf/<group>`` names, or the command line itself: whoever needs
    another has it then from the user, not from the file.

    Args:
        meta: as the checkpoint holds it: config, names and class_names.
        built: groups whose stored config will be instantiated.
        asked: config of the command line.
        path: of the checkpoint, for the message.

    Raises:
        UserError: another ``_target_``, one of Hydra's other keys, an interpolation, or parts that are missing.
    """
    config, names, classes = (meta.get(key) for key in ("config", "names", "class_names"))
    whole = isinstance(config, Mapping) and all(isinstance(config.get(key), Mapping) for key in STORED_GROUPS)
    named = isinstance(names, Mapping) and all(isinstance(names.get(key), str) for key in STORED_NAMES)
    if not whole or not named or not isinstance(classes, list | None):
        raise UserError(f"{path} is not a checkpoint of this project: config or names are missing in its description")
    for group in built:
        node = config[group] if config else {}
        if "_target_" not in node:
            raise UserError(f"{path} is not a checkpoint of this project: its config builds no {group}")
        allowed = _targets_of(group) | {str(one["_target_"]) for _, one in _nodes(asked.get(group, {}))}
        for key, value in _unsafe(node, group, allowed):
            ask = f"; if the file is yours, name it yourself: +{key}={value}" if key == f"{group}._target_" else ""
            raise UserError(f"{path}: its config asks for {key}={value}, and no file may choose what runs{ask}")


@cache
def _targets_of(group: str) -> frozenset[str]:
    """Every ``_target_`` in the yaml files of a group."""
    texts = (path.read_text() for path in (conf_dir() / group).rglob("*.yaml"))
    return frozenset(found for text in texts for found in re.findall(r"\b_target_: *([\w.]+)", text))


def _unsafe(node: Any, path: str, allowed: Set[str]) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of everything below `node` that is more than plain settings of what is `allowed`."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in HYDRA_KEYS and (key != "_target_" or not isinstance(value, str) or value not in allowed):
                yield f"{path}.{key}", value
            yield from _unsafe(value, f"{path}.{key}", allowed)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _unsafe(value, f"{path}[{index}]", allowed)
    elif isinstance(node, str) and "${" in node:
        yield path, node


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with a ``_target_`` below `node`, with its dotted path."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from _nodes(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _nodes(value, f"{path}[{index}]")


def _check_node(path: str, node: Mapping[str, Any], signature: tuple[dict[str, str | None], bool]) -> None:
    arguments, open_ended = signature
    name = node["_target_"].rsplit(".", 1)[1]
    for key, value in node.items():
        if key in HYDRA_KEYS or (path == "dataset" and key in OF_ANY_DATA):
            continue
        if value is None and f"{path}.{key}" in FROM_DATA:
            continue
        if key in arguments:
            _check(f"{path}.{key}", value, arguments[key])
        elif not open_ended:
            raise UserError(f"{path}.{key}: {name} has no such setting; {_nearest(key, arguments)}")


@cache
def _signature(target: str) -> tuple[dict[str, str | None], bool]:
    """Arguments (name -> annotation) of `target`, and whether it takes any keyword beside them."""
    module, name = target.rsplit(".", 1)
    source = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not source.exists():
        raise UserError(f"_target_ {target}: there is no module {module}")
    tree = ast.parse(source.read_text())
    for item in tree.body:
        if isinstance(item, ast.FunctionDef) and item.name == name:
            return _arguments(item, skip=0)
        if isinstance(item, ast.ClassDef) and item.name == name:
            return _class_arguments(item, _imported(tree, module))
    raise UserError(f"_target_ {target}: {module} has no {name}")


def _arguments(function: ast.FunctionDef, skip: int) -> tuple[dict[str, str | None], bool]:
    listed = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs][skip:]
    annotations = {item.arg: ast.unparse(item.annotation) if item.annotation else None for item in listed}
    return annotations, function.args.kwarg is not None


def _imported(tree: ast.Module, module: str) -> dict[str, str]:
    """Where the package's classes that a module names are defined: its own, and those it imports."""
    found = {item.name: f"{module}.{item.name}" for item in tree.body if isinstance(item, ast.ClassDef)}
    for item in tree.body:
        if isinstance(item, ast.ImportFrom) and str(item.module).startswith("fourier_robust."):
            found |= {alias.asname or alias.name: f"{item.module}.{alias.name}" for alias in item.names}
    return found


def _class_arguments(item: ast.ClassDef, where: Mapping[str, str]) -> tuple[dict[str, str | None], bool]:
    for member in item.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return _arguments(member, skip=1)
    for base in item.bases:  # the constructor is inherited
        if ast.unparse(base) in where:
            return _signature(where[ast.unparse(base)])
    fields = [member for member in item.body if isinstance(member, ast.AnnAssign)]
    if not fields and item.bases:  # from elsewhere: checked when it is called
        return {}, True
    return {ast.unparse(member.target): ast.unparse(member.annotation) for member in fields}, False


def _check(path: str, value: Any, annotation: str | None) -> None:
    if annotation is None or isinstance(value, Mapping):
        return
    verdicts = [_fits(value, ast.unparse(option)) for option in _options(ast.parse(annotation, mode="eval").body)]
    if not any(verdicts):
        raise UserError(f"{path}={value!r}: expected {annotation.replace(' | None', ' or null')}")


def _options(node: ast.expr) -> Iterator[ast.expr]:
    """The alternatives of ``A | B | None``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _options(node.left)
        yield from _options(node.right)
    else:
        yield node


def _fits(value: Any, annotation: str) -> bool:
    """Whether a plain yaml value can stand for one alternative; annotations that are no yaml type fit anything."""
    plain = {"int": int, "float": int | float, "str": str, "bool": bool}
    if annotation == "None":
        return value is None
    if annotation in plain:
        return isinstance(value, plain[annotation]) and (annotation == "bool" or not isinstance(value, bool))
    if annotation.startswith("Literal["):
        choices = ast.literal_eval(f"({annotation[len('Literal[') : -1]},)")
        return value in choices
    if annotation.split("[")[0] in ("list", "tuple", "Sequence"):
        return isinstance(value, list)
    return value is not None
