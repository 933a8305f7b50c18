"""How often is the model wrong on corrupted images? Read from a release where one is on disk, generated where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from fourier_robust.corruption.base import SMALLEST
from fourier_robust.corruption.dataset import jpeg_quality
from fourier_robust.corruption.names import COMMON, EXTRA
from fourier_robust.dataset.base import Dataset
from fourier_robust.errors import UserError
from fourier_robust.metric.corruption import ALEXNET_CLEAN_ERROR, ALEXNET_ERROR, mce, relative_mce
from fourier_robust.metric.outcome import SHARE, Estimate, Outcome, error_rate, mean_of_images
from fourier_robust.run.release import Release
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.clean import table_name
from fourier_robust.suite.corrupted_images import Clean, Made, Stored

TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet", "tiny_imagenet": "Tiny-ImageNet"}
ALL_SEVERITIES = (1, 2, 3, 4, 5)


class Corruptions:
    """Error per corruption and severity, their means, and for ImageNet mCE and relative mCE.

    Args:
        root: data folder in which a release lies as ``CIFAR-10-C/``, ``CIFAR-100-C/``, ``ImageNet-C/``.
        generators: corruption name -> callable of (severity, size), for images made on the fly.
        source: ``auto`` reads the release where its folder exists and generates otherwise.
        corruptions: names to measure; None takes all that the source offers.
        severities: out of 1 to 5.
        seed: of generated corruptions; each image draws from (seed, corruption, severity, its index).
        save: a folder for the generated images, in the layout of the releases, from where they are then read.
        workers: processes that generate them; None one per core, 0 or 1 none but the running one.
        jpeg: pass generated images of data sets kept as files (ImageNet, image folders) through JPEG at quality 85, as
            the files of ImageNet-C are.

    Raises:
        ValueError: an unknown corruption, a severity outside 1 to 5, or settings that contradict each other.

    Attributes:
        suffix: of the release's folder, ``CIFAR-10-C``; in small letters, of the set's name in the table.
    """

    name = "corruptions"
    suffix = "C"
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy; fraction of images; 95 % interval by Wilson",
        "mean_error": "plain mean of error over the severities (one corruption) or over corruptions x severities "
        "(common15: the fifteen of CIFAR-C; a partial set is named, e.g. common8of15); 95 % interval over images, each "
        "image's errors averaged first",
        "ce": "mean error over five severities divided by AlexNet's on the same corruption of ImageNet-C",
        "mce": "mean ce over the fifteen common corruptions of ImageNet-C",
        "relative_mce": "mean over the fifteen of (error - clean error) divided by the same difference of AlexNet",
    }

    def __init__(
        self,
        root: str,
        generators: Mapping[str, Callable[..., Any]],
        source: Literal["auto", "release", "generated"] = "auto",
        corruptions: list[str] | None = None,
        severities: list[int] | None = None,
        seed: int = 0,
        save: str | None = None,
        workers: int | None = None,
        jpeg: bool = True,
    ) -> None:
        self.root, self.generators, self.kind, self.seed = Path(root), dict(generators), source, seed
        self.wanted = corruptions
        self.severities = tuple(ALL_SEVERITIES if severities is None else severities)
        known = tuple(dict.fromkeys((*self._known(), *self.generators)))
        unknown = [name for name in corruptions or () if name not in known]
        if unknown:
            raise ValueError(f"suite.corruptions: no corruption {unknown[0]}; there are {', '.join(known)}")
        if not self.severities or not set(self.severities) <= set(ALL_SEVERITIES):
            raise ValueError(f"suite.severities={list(self.severities)} must be out of 1 to 5")
        if len(set(self.severities)) < len(self.severities):
            raise ValueError(f"suite.severities={list(self.severities)} names one twice")
        if workers is not None and workers < 0:
            raise ValueError(f"suite.workers={workers} must be at least 0")
        if save is not None and (source == "release" or not jpeg):
            contradiction = "suite.source=release" if source == "release" else "suite.jpeg=false"
            raise ValueError(f"suite.save writes generated images, as JPEG where they are files: no {contradiction}")
        self.save, self.workers, self.jpeg = None if save is None else Path(save), workers, jpeg
        self._said: list[str] = []
        self._groups = self.groups(0)

    def groups(self, size: int) -> Mapping[str, Sequence[str]]:
        """The benchmark's corruptions for images of `size` pixels, by group; the first one should be whole."""
        return {"common": COMMON, "extra": EXTRA}

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Clean, then corruptions x severities in canonical order; see `Suite.conditions`."""
        if hasattr(dataset, "corruption"):
            raise UserError(f"{dataset.name} is corrupted already: give dataset.corruption=none for suite={self.name}")
        if dataset.size < SMALLEST:
            raise UserError(f"{dataset.name} has {dataset.size} pixels per side: no corruption below {SMALLEST}")
        self._groups = self.groups(dataset.size)
        self._clean = Clean(dataset)
        self._images = self._origin(dataset)
        offered = self._images.names
        members = {name for group in self._groups.values() for name in group}
        others = [name for name in self.generators if name not in self._known()]  # of the user's own
        usual = [name for name in offered if name in members or name in others]
        self._names = usual if self.wanted is None else [name for name in offered if name in self.wanted]
        absent = [name for name in self.wanted or () if name not in offered]
        if absent and absent[0] in self._images.absent:
            raise UserError(self._images.absent[absent[0]])
        if absent:
            raise UserError(f"no {absent[0]} {self._images.where}; there are {', '.join(offered) or 'none'}")
        self._said = [*self._images.remarks(self._names), *self._missing()]
        marks = (["generated"] if self._images.generated else []) + list(self._images.variants(self._names))
        label = "_".join([dataset.name, self.suffix.lower().replace("-", "_"), *marks])
        corrupted = [Condition(label, name, severity) for name in self._names for severity in self.severities]
        return [Condition(table_name(dataset, "test")), *corrupted]

    def to_write(self) -> Release | None:
        """What must be on disk before `source` is asked; None without `save`. After `conditions`.

        Raises:
            UserError: the layout can't hold it.
        """
        if self.save is None or not isinstance(self._images, Made):
            return None
        return self._images.release(self.save, self._names, self.severities)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """Clean, released or generated images; see `Suite.source`."""
        if dataset is not self._clean.dataset:
            self.conditions(dataset)
        name, severity = condition.corruption, condition.severity
        if name is None or severity is None:
            clean = self._clean(device)
            return Source(clean.batches(batch_size), len(clean), clean.identity)
        images = self._images if self.save is None else Stored(self._clean, self.save, self._known())
        split = images.split(name, severity, device)
        return Source(split.batches(batch_size), len(split), split.identity)

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Error of each condition, then the means; see `Suite.measure`."""
        found = [Measurement(condition, "error", error_rate(outcome.wrong)) for condition, outcome in outcomes.items()]
        clean = next(outcome.wrong for condition, outcome in outcomes.items() if condition.corruption is None)
        corrupted = {condition: outcome.wrong for condition, outcome in outcomes.items() if condition.corruption}
        if not corrupted:
            return found
        label = next(iter(corrupted)).dataset
        by_name: dict[str, torch.Tensor] = {}
        for name in dict.fromkeys(str(condition.corruption) for condition in corrupted):
            rows = [wrong for condition, wrong in corrupted.items() if condition.corruption == name]
            by_name[name] = torch.stack(rows).mean(0)  # (N,): each image's mean error over the severities
            found.append(Measurement(Condition(label, name), "mean_error", mean_of_images(by_name[name]).within(SHARE)))
        for group, members in self._groups.items():
            present = [name for name in members if name in by_name]
            if present:
                mean = torch.stack([by_name[name] for name in present]).mean(0)
                condition = Condition(label, self._group_name(group, len(present), len(members)))
                found.append(Measurement(condition, "mean_error", mean_of_images(mean).within(SHARE)))
        if label.startswith("imagenet_c") and set(ALEXNET_ERROR) <= set(by_name) and self._complete(by_name):
            found += _against_alexnet(label, by_name, clean)
        return found

    def remarks(self) -> list[str]:
        """Whether the set is partial or generated; see `Suite.remarks`."""
        return list(self._said)

    def _origin(self, dataset: Dataset) -> Made | Stored:
        folder = self.root / f"{TITLES.get(dataset.name, dataset.name)}-{self.suffix}"
        if self.kind == "release" and not folder.is_dir():
            tree = jpeg_quality(dataset) is not None
            content = "<corruption>/<severity>/<wnid>/" if tree else "labels.npy and <corruption>.npy"
            raise UserError(f"no release at {folder}: {content} belong there; or give suite.source=generated")
        if self.save is None and self.kind != "generated" and folder.is_dir():
            return Stored(self._clean, folder, self._known())
        why = f"written to {self.save} and read from there" if self.save else f"no release in {folder}"
        return Made(self._clean, self.generators, self.seed, self.jpeg, why, self._known())

    def _known(self) -> tuple[str, ...]:
        """All corruptions of the benchmark, in the order of the table."""
        every = (name for size in (32, 224) for group in self.groups(size).values() for name in group)
        return tuple(dict.fromkeys(every))

    def _complete(self, names: Mapping[str, Any] | Sequence[str]) -> bool:
        first = next(iter(self._groups.values()))
        return set(first) <= set(names) and set(self.severities) == set(ALL_SEVERITIES)

    def _group_name(self, group: str, present: int, whole: int) -> str:
        name = f"{group}{whole}" if present == whole else f"{group}{present}of{whole}"
        partial = set(self.severities) != set(ALL_SEVERITIES)
        return name + (f"-severity{''.join(map(str, self.severities))}" if partial else "")

    def _missing(self) -> list[str]:
        """The remark on a partial set, or nothing."""
        if self._complete(self._names):
            return []
        group, members = next(iter(self._groups.items()))
        missing = [name for name in members if name not in self._names]
        present, severities = len(members) - len(missing), ", ".join(map(str, self.severities))
        what = f"{present} of the {len(members)} {group} corruptions, severities {severities}"
        return [f"PARTIAL SET: {what}" + (f"; without {', '.join(missing)}" if missing else "")]


def _against_alexnet(label: str, by_name: Mapping[str, torch.Tensor], clean: torch.Tensor) -> list[Measurement]:
    """ce per corruption, mce and relative_mce; intervals over images, for each metric is a mean over images."""
    found = []
    for name, alexnet in ALEXNET_ERROR.items():
        found.append(Measurement(Condition(label, name), "ce", mean_of_images(by_name[name] / alexnet)))
    common = Condition(label, "common15")
    errors = {name: float(by_name[name].mean()) for name in ALEXNET_ERROR}
    spread = torch.stack([by_name[name] / alexnet for name, alexnet in ALEXNET_ERROR.items()]).mean(0)
    found.append(Measurement(common, "mce", _around(mce(errors), spread)))
    if len(clean) == len(spread):
        gaps = [(by_name[name] - clean) / (alexnet - ALEXNET_CLEAN_ERROR) for name, alexnet in ALEXNET_ERROR.items()]
        relative = relative_mce(errors, float(clean.mean()))
        found.append(Measurement(common, "relative_mce", _around(relative, torch.stack(gaps).mean(0))))
    return found


def _around(value: float, per_image: torch.Tensor) -> Estimate:
    """`value` with the interval of the per-image values whose mean it is."""
    estimate = mean_of_images(per_image)
    return Estimate(value, value + estimate.low - estimate.value, value + estimate.high - estimate.value, estimate.n)
