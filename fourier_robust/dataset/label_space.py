"""How the classes of a set of images meet those of a model: by name (wnid), or by a declared many-to-one map."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from fourier_robust.dataset.base import Dataset
from fourier_robust.dataset.wnids import WNIDS, are_wnids
from fourier_robust.errors import UserError


@dataclass(frozen=True)
class LabelSpace:
    """The classes that a set and a model share; made by `by_name` or `by_groups`.

    Attributes:
        names: of the G shared classes, in the set's order.
        columns: (K,) int64, the shared class that each class of the model stands for, -1 for none.
        places: (S,) int64, the shared class of each of the set's own S classes, -1 for one that the model lacks.
    """

    names: tuple[str, ...]
    columns: torch.Tensor
    places: torch.Tensor

    @property
    def whole(self) -> bool:
        """Whether every class of the model is in it: then both label rules are one."""
        return bool((self.columns >= 0).all())

    @property
    def lacking(self) -> int:
        """How many of the set's classes the model does not have."""
        return int((self.places < 0).sum())

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the two maps."""
        return hashlib.sha256(f"{self.columns.tolist()}{self.places.tolist()}".encode()).hexdigest()

    def over_all(self, prediction: torch.Tensor) -> torch.Tensor:
        """(N,) classes of the model -> (N,) shared classes, -1 (never right) for one that is not shared."""
        return self.columns[prediction]

    def masked(self, logits: torch.Tensor) -> torch.Tensor:
        """(N,K) logits -> (N,) shared class of the largest logit among the shared classes' columns.

        A class with several columns has the largest of them, so this equals the argmax over classes of their maxima.
        """
        members = (self.columns >= 0).nonzero()[:, 0]
        return self.columns[members[logits[:, members].argmax(1)]]


def by_name(model: Sequence[str], names: Sequence[str], partial: bool = False) -> LabelSpace:
    """Classes of equal names meet, whatever their order.

    Args:
        model: the K class names of the model.
        names: the S class names of the set.
        partial: leave out those of the set's classes that the model lacks; else one such is an error.

    Raises:
        UserError: a name twice, a class of the set that the model lacks, or fewer than two shared classes.
    """
    _once("the set", names)
    return by_groups(model, {name: (name,) for name in names}, partial)


def by_groups(model: Sequence[str], groups: Mapping[str, Sequence[str]], partial: bool = False) -> LabelSpace:
    """Each class of the set stands for several of the model's.

    Args:
        model: the K class names of the model.
        groups: the S classes of the set, in their order -> names of classes of the model.
        partial: leave out classes of the set of which the model has none; a group of which it has some is kept.

    Raises:
        UserError: a class of the model in two groups, or as in `by_name`.
    """
    _once("the model", model)
    _once("the groups of the set", [member for members in groups.values() for member in members])
    column = {name: index for index, name in enumerate(model)}
    known = [name for name, members in groups.items() if any(member in column for member in members)]
    unknown = [name for name in groups if name not in known]
    if unknown and (not partial or len(known) < 2):
        raise UserError(
            f"{len(unknown)} of the set's {len(groups)} classes are none of the model's {len(model)}: "
            f"{', '.join(unknown[:3])} against {', '.join(model[:3])}"
        )
    if len(known) < 2:
        raise UserError(f"the set shares {len(known)} of the model's {len(model)} classes; two at least are needed")
    place = {name: index for index, name in enumerate(known)}
    columns = torch.full((len(model),), -1, dtype=torch.int64)
    for name in known:
        columns[[column[member] for member in groups[name] if member in column]] = place[name]
    return LabelSpace(tuple(known), columns, torch.tensor([place.get(name, -1) for name in groups]))


def model_classes(dataset: Dataset) -> tuple[str, ...]:
    """Names of the classes that a model of `dataset` tells apart; those of ImageNet are known without its files.

    Raises:
        UserError: another data set whose classes are its folders, and they are not there.
    """
    try:
        return tuple(dataset.class_names)
    except UserError:
        if dataset.name == "imagenet" and dataset.num_classes == len(WNIDS):
            return WNIDS
        raise


def need_wnids(model: Sequence[str], what: str) -> None:
    """Refuse a model whose classes have no wnids: nothing would say which of them is which.

    Raises:
        UserError: `what`, a set with wnids, cannot meet it.
    """
    if not are_wnids(model):
        raise UserError(f"{what} has classes by wnid, the model by other names ({', '.join(model[:3])}): no match")


def without_images(what: str, model: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """A remark on `what`, a set of the classes `names`, where it lacks some of the model's; else none."""
    gone = sorted(set(model).difference(names))
    if not gone:
        return ()
    some = f"{', '.join(gone[:3])}{' ...' * (len(gone) > 3)}"
    return (f"{what}: {len(gone)} of the model's {len(model)} classes have no image: {some}",)


def _once(what: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise UserError(f"{what} names class {twice} twice: its label would be ambiguous")
