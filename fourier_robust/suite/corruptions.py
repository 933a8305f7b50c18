"""How often is the model wrong on corrupted images? Read from a release where one is on disk, generated where not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from fourier_robust.corruption.names import COMMON, EXTRA
from fourier_robust.corruption.seeded import condition_seed, corrupt, image_seeds
from fourier_robust.dataset.base import Batch, Dataset
from fourier_robust.dataset.corrupted import CifarCRelease, ImageNetCRelease, available, available_tree
from fourier_robust.errors import UserError
from fourier_robust.metric.corruption import ALEXNET_CLEAN_ERROR, ALEXNET_ERROR, mce, relative_mce
from fourier_robust.metric.outcome import Estimate, Outcome, error_rate, mean_of_images
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.clean import table_name

FOLDERS = {
    "cifar10": "CIFAR-10-C",
    "cifar100": "CIFAR-100-C",
    "imagenet": "ImageNet-C",
    "tiny_imagenet": "Tiny-ImageNet-C",
}
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

    Raises:
        ValueError: an unknown corruption, or a severity outside 1 to 5.
    """

    name = "corruptions"
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
    ) -> None:
        self.root, self.generators, self.kind, self.seed = Path(root), dict(generators), source, seed
        self.wanted = corruptions
        self.severities = tuple(severities or ALL_SEVERITIES)
        unknown = [name for name in corruptions or () if name not in {*COMMON, *EXTRA, *self.generators}]
        if unknown:
            raise ValueError(f"suite.corruptions: no corruption {unknown[0]}; there are {', '.join((*COMMON, *EXTRA))}")
        if not set(self.severities) <= set(ALL_SEVERITIES):
            raise ValueError(f"suite.severities={list(self.severities)} must be out of 1 to 5")
        self._said: list[str] = []

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Clean, then corruptions x severities in canonical order; see `Suite.conditions`."""
        self.released = self._use_release(dataset)
        offered = self._offered(dataset)
        names = [name for name in offered if self.wanted is None or name in self.wanted]
        absent = [name for name in self.wanted or () if name not in offered]
        if absent:
            where = f"in {self._folder(dataset)}" if self.released else "among the generators"
            raise UserError(f"no {absent[0]} {where}; there are {', '.join(offered) or 'none'}")
        label = f"{dataset.name}_c" if self.released else f"{dataset.name}_c_generated"
        self._note(dataset, names)
        corrupted = [Condition(label, name, severity) for name in names for severity in self.severities]
        return [Condition(table_name(dataset, "test")), *corrupted]

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """Clean, released or generated images; see `Suite.source`."""
        name, severity = condition.corruption, condition.severity
        if name is None or severity is None or not self.released:
            clean = dataset.split("test", device)
            if name is None or severity is None:
                return Source(clean.batches(batch_size), len(clean), clean.identity)
            identity = f"{clean.identity}+{name}-{severity}-seed{self.seed}"
            return Source(self._generate(clean.batches(batch_size), name, severity, dataset.size), len(clean), identity)
        folder = str(self._folder(dataset))
        if not _is_tree(dataset):
            arrays = CifarCRelease(folder, name, severity, device=device)
            return Source(arrays.batches(batch_size), len(arrays), arrays.identity)
        tree = ImageNetCRelease(folder, name, severity, dataset.size, dataset.class_names, device)
        return Source(tree.batches(batch_size), len(tree), tree.identity)

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
            found.append(Measurement(Condition(label, name), "mean_error", mean_of_images(by_name[name])))
        for group, members in (("common", COMMON), ("extra", EXTRA)):
            present = [name for name in members if name in by_name]
            if present:
                mean = torch.stack([by_name[name] for name in present]).mean(0)
                condition = Condition(label, self._group_name(group, len(present), len(members)))
                found.append(Measurement(condition, "mean_error", mean_of_images(mean)))
        if label.startswith("imagenet_c") and self._complete(by_name):
            found += _against_alexnet(label, by_name, clean)
        return found

    def remarks(self) -> list[str]:
        """Whether the set is partial or generated; see `Suite.remarks`."""
        return list(self._said)

    def _folder(self, dataset: Dataset) -> Path:
        return self.root / FOLDERS.get(dataset.name, f"{dataset.name}-C")

    def _use_release(self, dataset: Dataset) -> bool:
        folder = self._folder(dataset)
        if self.kind == "release" and not folder.is_dir():
            content = "<corruption>/<severity>/<wnid>/" if _is_tree(dataset) else "labels.npy and <corruption>.npy"
            raise UserError(f"no release at {folder}: {content} belong there; or give suite.source=generated")
        return self.kind != "generated" and folder.is_dir()

    def _offered(self, dataset: Dataset) -> list[str]:
        if not self.released:
            order = [*COMMON, *EXTRA, *self.generators]
            return [name for name in dict.fromkeys(order) if name in self.generators]
        folder = self._folder(dataset)
        offered = list(available_tree(str(folder)) if _is_tree(dataset) else available(str(folder)))
        if not offered:
            raise UserError(f"the folder {folder} holds none of the known corruptions, e.g. {COMMON[0]}")
        return offered

    def _complete(self, names: Mapping[str, Any] | Sequence[str]) -> bool:
        return set(COMMON) <= set(names) and set(self.severities) == set(ALL_SEVERITIES)

    def _group_name(self, group: str, present: int, whole: int) -> str:
        name = f"{group}{whole}" if present == whole else f"{group}{present}of{whole}"
        partial = set(self.severities) != set(ALL_SEVERITIES)
        return name + (f"-severity{''.join(map(str, self.severities))}" if partial else "")

    def _note(self, dataset: Dataset, names: Sequence[str]) -> None:
        self._said = []
        if not self.released:
            self._said.append(f"generated images, seed {self.seed}: no release in {self._folder(dataset)}")
            made = {name: self.generators[name](severity=1, size=dataset.size) for name in names}
            sizes = {getattr(one, "table_size", dataset.size) for one in made.values()}
            for size in sorted(sizes - {dataset.size}):
                self._said.append(f"parameters of the {size}-pixel table, the nearest to {dataset.size} pixels")
        if not self._complete(names):
            missing = [name for name in COMMON if name not in names]
            what = (
                f"{15 - len(missing)} of the 15 common corruptions, severities {', '.join(map(str, self.severities))}"
            )
            self._said.append(f"PARTIAL SET: {what}" + (f"; without {', '.join(missing)}" if missing else ""))

    def _generate(self, batches: Iterator[Batch], name: str, severity: int, size: int) -> Iterator[Batch]:
        corruption = self.generators[name](severity=severity, size=size)
        base = condition_seed(self.seed, name, severity)
        for batch in batches:
            yield batch._replace(images=corrupt(corruption, batch.images, image_seeds(base, batch.indices)))


def _is_tree(dataset: Dataset) -> bool:
    """Whether the release of this data set is a folder tree of JPEGs rather than arrays."""
    return dataset.name in ("imagenet", "tiny_imagenet")


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
