"""How do the predictions change when only an object's size, angle or place does? SI-Score, released or composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from fourier_robust.dataset.base import Dataset
from fourier_robust.dataset.label_space import model_classes
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.dataset.siscore import FOLDERS, NAMES
from fourier_robust.dataset.siscore_classes import label_map
from fourier_robust.dataset.siscore_composed import Composed
from fourier_robust.dataset.siscore_design import FACTORS, Grid, reference_of, share_key, usual_grid
from fourier_robust.dataset.siscore_sources import file_scenes, shape_scenes
from fourier_robust.errors import UserError
from fourier_robust.metric.factor import Scores, accuracies, balanced_accuracy, complete, flips
from fourier_robust.metric.outcome import Estimate, Outcome, outcome
from fourier_robust.run.seed import derive
from fourier_robust.run.siscore_release import SIScoreRelease
from fourier_robust.suite.base import Condition, Measurement, Source
from fourier_robust.suite.siscore_images import Made, Stored

Origin = Literal["auto", "release", "generated"]


class SIScore:
    """Accuracy per value of a factor, its mean over the values (the published score), and how many predictions flip.

    Generated images are paired: the same objects before the same backgrounds at every value. They are antialiased,
    turned before they are scaled, and none is left out; `compat` makes them as the release was made.

    Args:
        root: data folder, with the release or with ``foregrounds/`` and ``backgrounds/`` in ``si-score/`` or itself.
        source: ``auto`` composes embedded shapes for ``dataset=shapes``, else reads the release where its folders
            exist, else composes ``foregrounds/``; ``release`` reads; ``generated`` composes.
        factors: out of size, rotation, location.
        metadata: folder with ``object_<factor>/metadata.csv``, where the release's folders have none.
        size: pixels of the canvas; None takes the data set's.
        areas: of the object's upright box, shares of the canvas, for size; None takes the usual (`usual_grid`).
        angles: degrees counter-clockwise, for rotation; None likewise.
        turned_areas: areas that are pooled at each angle; None likewise.
        places: per axis, for location; None likewise.
        location_area: for location.
        objects: shapes to draw; foregrounds from files are all taken.
        backgrounds: a folder of pictures to lay embedded shapes before; None: textures of the embedded set.
        backgrounds_each: per object.
        compat: the release's grids, roundings, filters, omissions and JPEG; see `dataset.siscore_compose.published`.
        min_inside: images with less of the turned box on the canvas are left out; None: 0, with `compat` 0.95 for size
            and rotation.
        left_out: what an image that is not there takes with it: nothing (``image``), or the images of its ``pair`` at
            all values of the factor, so that every value shows the same objects.
        unreadable: the largest share, below 1, of a value's image files that may be unreadable: left out and named.
        draws: of the bootstrap.
        seed: of shapes, pairs and bootstrap.
        save: a folder for the generated images in the release's layout, from where they are then read.
        format: of these: ``png``, or ``jpg`` as in the release.
        workers: processes that write them; None one per core, 0 or 1 none but the running one.

    Raises:
        ValueError: no or unknown factors, values outside their range, settings that contradict each other.

    Source: Djolonga et al., "On Robustness and Transferability of Convolutional Neural Networks", CVPR 2021;
        google-research/si-score at abd52d6 (images), google-research/robustness_metrics (score).
    """

    name = "siscore"
    observation = Outcome
    definitions: Mapping[str, str] = {
        "mean_accuracy": "plain mean of accuracy(v) over the factor's values, the published size_average, "
        "rotation_average, location_average; rotation pools its areas; 95 % interval by bootstrap over objects",
        "balanced_accuracy": "the same with the plain mean over classes in the place of accuracy(v); 95 % interval "
        "likewise",
        "worst_accuracy": "lowest accuracy(v); 95 % interval likewise, of each draw's lowest, so a little low",
        "flip_rate": "plain mean of flip_rate(v) over all values but the reference",
        "accuracy(v)": "top-1 accuracy over all classes at value v (area of the object's upright box as a share of the "
        "image, degrees counter-clockwise, place of the centre across,down); 95 % interval by bootstrap over objects",
        "flip_rate(v)": "share of pairs (object, background, all other factors) whose prediction at v is not that at "
        "the reference value; 95 % interval likewise",
    }

    def __init__(
        self,
        root: str,
        source: Origin = "auto",
        factors: Sequence[str] = FACTORS,
        metadata: str | None = None,
        size: int | None = None,
        areas: list[float] | None = None,
        angles: list[float] | None = None,
        turned_areas: list[float] | None = None,
        places: int | None = None,
        location_area: float = 0.2,
        objects: int = 100,
        backgrounds: str | None = None,
        backgrounds_each: int = 2,
        compat: bool = False,
        min_inside: float | None = None,
        left_out: Literal["image", "pair"] = "image",
        unreadable: float = 0.01,
        draws: int = 1000,
        seed: int = 0,
        save: str | None = None,
        format: Literal["png", "jpg"] = "png",
        workers: int | None = None,
    ) -> None:
        unknown = [name for name in factors if name not in FACTORS]
        if not factors or unknown:
            raise ValueError(f"suite.factors={list(factors)} must be out of {', '.join(FACTORS)}, at least one")
        for key, choice, known in (
            ("source", source, get_args(Origin)),
            ("format", format, ("png", "jpg")),
            ("left_out", left_out, ("image", "pair")),
        ):
            if choice not in known:
                raise ValueError(f"suite.{key}={choice!r} must be one of {', '.join(known)}")
        if save is not None and source == "release":
            raise ValueError("suite.save writes generated images: no suite.source=release")
        for key, numbers in (("areas", areas), ("turned_areas", turned_areas), ("angles", angles)):
            _check_numbers(key, numbers)
        for key, shares in (("areas", areas), ("turned_areas", turned_areas), ("location_area", [location_area])):
            if not all(0 < share <= 1 for share in shares or ()):
                raise ValueError(f"suite.{key}={shares} must be shares of the canvas, above 0 and 1 at most")
        whole = {"places": (places, 2), "size": (size, 4), "draws": (draws, 100), "workers": (workers, 0)}
        whole |= {"objects": (objects, 1), "backgrounds_each": (backgrounds_each, 1)}
        for key, (value, least) in whole.items():
            if value is not None and value < least:
                raise ValueError(f"suite.{key}={value} must be at least {least}")
        if min_inside is not None and not 0 <= min_inside <= 1:
            raise ValueError(f"suite.min_inside={min_inside} must lie in 0 to 1")
        if not 0 <= unreadable < 1:
            raise ValueError(f"suite.unreadable={unreadable} must be at least 0 and below 1")
        self.root, self.kind, self.metadata = root, source, metadata
        self.factors = tuple(name for name in FACTORS if name in factors)
        self.size, self.areas, self.angles, self.turned_areas = size, areas, angles, turned_areas
        self.places, self.location_area = places, location_area
        self.objects, self.backgrounds, self.backgrounds_each = objects, backgrounds, backgrounds_each
        self.compat, self.min_inside, self.left_out, self.unreadable = compat, min_inside, left_out, unreadable
        self.draws, self.seed, self.save, self.format, self.workers = draws, seed, save, format, workers

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """One per value of each factor; see `Suite.conditions`."""
        self._chance = 1 / dataset.num_classes
        self._images: Made | Stored = self._origin(dataset)
        self._read: Stored | None = None
        self._said: list[str] = []
        self._value_of = {
            Condition(self._images.label(factor), value): (factor, value)
            for factor in self.factors
            for value in self._images.values(factor)
        }
        for factor in self.factors:
            if not self._images.values(factor):
                raise UserError(f"suite.min_inside={self.min_inside}: no image of {factor} is left")
        return list(self._value_of)

    def to_write(self) -> SIScoreRelease | None:
        """What must be on disk before `source` is asked; None without `save`. After `conditions`."""
        if self.save is None or not isinstance(self._images, Made):
            return None
        return self._images.release(Path(self.save), self.format)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images at one value; see `Suite.source`."""
        if self.save is None:
            return self._images.source(*self._value_of[condition], device, batch_size)
        if self._read is None:
            self._read = Stored(self.save, self.factors, dataset, unreadable=self.unreadable)
        return self._read.source(*self._value_of[condition], device, batch_size)

    def summarise(
        self, logits: torch.Tensor, labels: torch.Tensor, condition: Condition, earlier: Mapping[Condition, Outcome]
    ) -> Outcome:
        """Outcomes; unreadable images keep their label. See `LogitsSuite.summarise`."""
        return outcome(logits, labels.clamp_min(0))._replace(label=labels)

    def measure(self, outcomes: Mapping[Condition, Outcome]) -> list[Measurement]:
        """Scores of each factor, then its values; see `Suite.measure`."""
        found: list[Measurement] = []
        self._scores: dict[str, tuple[Scores, Scores]] = {}
        self._said = []
        for factor in self.factors:
            at = {value: outcomes[one] for one, (name, value) in self._value_of.items() if name == factor}
            row = Condition(self._images.label(factor))
            right, flipped, balanced = self._scored(factor, at)
            self._scores[factor] = (right, flipped)
            wholes = {"mean_accuracy": right.mean, "balanced_accuracy": balanced}
            wholes |= {"worst_accuracy": right.lowest, "flip_rate": flipped.mean}
            found += [
                Measurement(row, name, one, name != "flip_rate") for name, one in wholes.items() if one is not None
            ]
            for name, curve in (("accuracy", right.at), ("flip_rate", flipped.at)):
                for value, estimate in curve.items():
                    shown = value.replace("_", ",")
                    found.append(Measurement(row, f"{name}({shown})", estimate, name == "accuracy"))
        return found

    def remarks(self) -> list[str]:
        """Which images, and what flips are counted against; see `Suite.remarks`."""
        images = self._read or self._images
        said = images.remarks()
        if self._read is not None:
            said = [*self._images.remarks(), *said]
        values = ((factor, reference_of(factor, self._images.values(factor))) for factor in self.factors)
        against = ", ".join(f"{factor} {value.replace('_', ',')}" for factor, value in values)
        if self.backgrounds is not None:
            said.append(f"backgrounds: pictures of the folder {Path(self.backgrounds).name}")
        return [*said, *self._said, f"flips are counted against {against}; intervals: {self.draws} draws of objects"]

    def files(self, outcomes: Mapping[Condition, Outcome], who: str) -> Mapping[str, bytes]:
        """Curves, the map of places, and composed images; see `FilesSuite.files`."""
        from fourier_robust.report import siscore_figure

        title = "\n".join([who, *self.remarks()])
        found = {}
        curves = {factor: self._scores[factor] for factor in self.factors if factor != "location"}
        if curves:
            found["siscore.png"] = siscore_figure.curves(title, curves, self._chance)
        if "location" in self.factors:
            found["location.png"] = siscore_figure.location(title, *self._scores["location"])
        if isinstance(self._images, Made):
            found["examples.png"] = siscore_figure.examples(self._images.composed, self.factors)
        return found

    def _scored(self, factor: str, at: Mapping[str, Outcome]) -> tuple[Scores, Scores, Estimate]:
        """Accuracies, flips and the class-balanced mean, over the same drawn objects."""
        members = {value: self._images.members(factor, value) for value in at}
        images = self._read or self._images
        if isinstance(images, Stored):
            at, members, lost = images.readable(factor, at, members)
            self._said += lost
        if self.left_out == "pair":
            at, members, left, whole = complete(at, members)
            if not left:
                raise UserError(f"suite.left_out=pair: no pair of {factor} is there at every value; take fewer values")
            if left < whole:
                self._said.append(f"{factor}: {whole - left} of {whole} pairs left out, not there at every value")
        count, seed = self._images.objects(factor), derive(self.seed, "siscore", "bootstrap")
        draw = torch.Generator()
        return (
            accuracies(at, members, count, draw.manual_seed(seed), self.draws),
            flips(at, members, reference_of(factor, list(at)), count, draw.manual_seed(seed), self.draws),
            balanced_accuracy(at, members, count, draw.manual_seed(seed), self.draws),
        )

    def _origin(self, dataset: Dataset) -> Made | Stored:
        embedded = isinstance(dataset, Shapes)
        if self.backgrounds is not None and (not embedded or self.kind == "release"):
            raise UserError("suite.backgrounds is for embedded shapes: dataset=shapes, and no suite.source=release")
        if self.kind == "release" or (self.kind == "auto" and not embedded and self._released()):
            return Stored(self.root, self.factors, dataset, self.metadata, self.unreadable)
        size = self.size or dataset.size
        usual = usual_grid(size, self.compat)
        grid = Grid(
            areas=tuple(self.areas or usual.areas),
            angles=tuple(self.angles or usual.angles),
            turned=tuple(self.turned_areas or usual.turned),
            places=self.places or usual.places,
            placed=self.location_area,
        )
        where = self._foregrounds()
        if where is not None and not (embedded and (self.kind == "auto" or self.backgrounds)):
            labels = label_map(model_classes(dataset), where / "foreground_classes.csv")
            labels = {name: label for name, label in labels.items() if label >= 0}
            scenes = file_scenes(where, labels, size, self.backgrounds_each, self.seed, self.compat)
        elif embedded:
            pictures = Path(self.backgrounds).expanduser().absolute() if self.backgrounds else None
            scenes = shape_scenes(size, self.objects, self.backgrounds_each, self.seed, pictures, self.compat)
        else:
            looked = " and ".join(str(place) for place in self._places())
            raise UserError(
                f"SI-Score not found: looked for {NAMES[self.factors[0]][0]}/ (the release) or foregrounds/ and "
                f"backgrounds/ (to compose) in {looked}; put either there, or use dataset=shapes"
            )
        return Made(Composed(scenes, grid, self.compat, self.min_inside), dataset.name, self.factors)

    def _places(self) -> list[Path]:
        return [*(Path(self.root).absolute() / folder for folder in FOLDERS), Path(self.root).absolute()]

    def _released(self) -> bool:
        return any((place / name).is_dir() for place in self._places() for name in NAMES[self.factors[0]])

    def _foregrounds(self) -> Path | None:
        return next((place for place in self._places() if (place / "foregrounds").is_dir()), None)


def _check_numbers(key: str, values: list[float] | None) -> None:
    """Refuse what is no list of different numbers; two that the tables would call the same are not different.

    Raises:
        ValueError: it is not.
    """
    if values is None:
        return
    if not values or any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise ValueError(f"suite.{key} must be numbers, at least one, got {values}")
    names = {f"{value:g}" if key == "angles" else share_key(value) for value in values}
    if len(names) < len(values):
        raise ValueError(f"suite.{key}={values} holds a value twice")
