"""How often is the model wrong when somebody looks for the perturbation? A little over 200 lines: settings and text."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from fourier_robust.attack.band_pgd import BandPGD, band_mask
from fourier_robust.attack.base import Attack, Norm
from fourier_robust.attack.fgsm import FGSM
from fourier_robust.attack.masking import Checked, judged
from fourier_robust.attack.pgd import PGD
from fourier_robust.attack.transfer import Transfer
from fourier_robust.dataset.base import Dataset, Split
from fourier_robust.engine.predict import Precision
from fourier_robust.fourier.high_frequency import ChangeSpectrum, highest_square
from fourier_robust.metric.outcome import SHARE, Estimate, error_rate, mean_of_images
from fourier_robust.run.seed import derive
from fourier_robust.suite.attacked import Attacked, Broken, attack_batch, broken_spectrum, joined
from fourier_robust.suite.bands import drawn
from fourier_robust.suite.base import Condition, Measurement, Source

STEPS = 20  # of the white-box attack in the checks


class Part(NamedTuple):
    """What one condition does: the attack (None: none), and which of the drawn images."""

    attack: Attack | None
    first: int
    last: int


class Attacks:
    """Error under attacks over the size of the perturbation, under the worst of them per image, and their spectra.

    The attacks know the model and its gradient. Images that are wrong anyway are not attacked and count as errors, so
    no error lies below the clean one. Each attack and eps is stored in stretches of images: an interrupted run goes on
    after the last finished stretch, also within AutoAttack. The draws of a stretch follow from the seed; another
    batch size shuffles them. Every attack is held to its bounds. Spectra are the mean of ``|F(x' - x)|`` over the
    images that the attack broke (right before, wrong under it) and channels, F unitary.

    Args:
        attacks: names of `kinds`, in the order of the table.
        kinds: name -> what makes an attack of an eps (``conf/attack``).
        eps_255: of attacks with ``norm=linf``, in 255ths: 8 stands for 8/255.
        eps_l2: of attacks with ``norm=l2``, pixels in [0,1].
        images: of the test split, drawn without replacement by `seed`; None takes all.
        stretch: images per stored part, above 0.
        checks: images on which the model is checked for gradient masking, the first of the draw; 0 for no checks.
        seed: of images, starts and substitutes.

    Raises:
        ValueError: an unknown attack, an eps that is not at least 0, numbers out of range.
        UserError: an attack's package is missing.

    Source: see the attacks; the checks: `attack.masking`; spectra of successful attacks: Yin et al., "A Fourier
        Perspective on Model Robustness in Computer Vision", NeurIPS 2019, figure 7.
    """

    name = "attacks"
    observation = Attacked
    definitions: Mapping[str, str] = {
        "error": "1 - top-1 accuracy under the attack, images wrong without attack included; without attack where eps "
        "is empty; eps in [0,1] pixels, the largest change of a value or, for l2 attacks, the length of the whole "
        "perturbation; 95 % interval by Wilson",
        "worst_case": "share of images that are wrong under at least one attack of that norm and eps; 95 % interval by "
        "Wilson",
        "outside_band": "share of the perturbation's energy outside the attack's band of frequencies, put there by "
        "cutting to [0,1]; mean over attacked images; 95 % normal interval over images",
        "hf_fraction": "energy of the perturbation (all channels) in the square around the highest frequency "
        "(abs(u) and abs(v) at least 3 cycles per image at 32 pixels), over that at all frequencies; mean over the "
        "images that the attack broke, with the normal interval over them; neither high nor low is better",
    }

    def __init__(
        self,
        attacks: list[str],
        kinds: dict[str, Callable[..., Attack]],
        eps_255: list[float],
        eps_l2: list[float],
        images: int | None = 1000,
        stretch: int = 500,
        checks: int = 200,
        seed: int = 0,
    ) -> None:
        for key, value, least in (("images", images, 1), ("stretch", stretch, 1), ("checks", checks, 0)):
            if value is not None and value < least:
                raise ValueError(f"suite.{key}={value} must be at least {least}")
        if not attacks or len(set(attacks)) < len(attacks):
            raise ValueError(f"suite.attacks must be names, each once, at least one, got {attacks}")
        for key, sizes in (("eps_255", eps_255), ("eps_l2", eps_l2)):
            for eps in sizes:
                if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < math.inf:
                    raise ValueError(f"suite.{key}: {eps!r} is no size; it must be a number, at least 0")
        unknown = [name for name in attacks if name not in kinds]
        if unknown:
            raise ValueError(f"suite.attacks: {unknown[0]!r} must be one of {', '.join(kinds)}")
        sizes_of = {
            "linf": {f"{eps:g}/255": eps / 255 for eps in sorted(eps_255)},
            "l2": {f"{eps:g}": eps for eps in sorted(eps_l2)},
        }
        self._norm_of: dict[str, Norm] = {name: kinds[name](eps=0.0).norm for name in attacks}
        self._attacks = {
            name: {label: kinds[name](eps=eps) for label, eps in sizes_of[norm].items()}
            for name, norm in self._norm_of.items()
        }
        for name, made in self._attacks.items():
            if not made:
                key = {"linf": "eps_255", "l2": "eps_l2"}[self._norm_of[name]]
                raise ValueError(f"suite.{key} is empty, but {name} needs it")
            for attack in made.values():
                if hasattr(attack, "ready"):
                    attack.ready()
        self.attacks = attacks
        self.images, self.stretch, self.checks, self.seed = images, stretch, checks, seed

    def conditions(self, dataset: Dataset) -> Sequence[Condition]:
        """Without attack, then attack by attack, eps by eps, stretch by stretch, then the checks; see `Suite`."""
        count = len(dataset.split("test")) if self.images is None else self.images
        self._of = dataset.name
        self._split: Split | None = None
        self._checked: dict[str, Condition] = {}
        self._parts: dict[Condition, Part] = {Condition(dataset.name): Part(None, 0, count)}
        self._at: dict[tuple[str, str], list[Condition]] = {}
        for name, made in self._attacks.items():
            for label, attack in made.items():
                self._at[name, label] = [
                    self._add(f"{name}_{label}", attack, first, min(first + self.stretch, count), number)
                    for number, first in enumerate(range(0, count, self.stretch))
                ]
        if self.checks:
            self._add_checks(dataset, min(self.checks, count))
        for attack in itertools.chain.from_iterable(made.values() for made in self._attacks.values()):
            if isinstance(attack, BandPGD):
                band_mask(dataset.size, dataset.size, attack.band)  # an empty band is known before any work
        return list(self._parts)

    def source(self, dataset: Dataset, condition: Condition, device: torch.device, batch_size: int) -> Source:
        """The images as they are, and in the identity what is done to them; see `Suite.source`."""
        if self._split is None:
            self._split = dataset.split("test", device)
            self._order = drawn(len(self._split), self.images, derive(self.seed, "images"))
        attack, first, last = self._parts[condition]
        order = self._order[first:last]
        drawn_of = f"{first}-{last}-of-{len(self._order)}-of-seed{self.seed}"
        identity = f"{self._split.identity}+{drawn_of}+{attack!r}+spectrum"
        return Source(self._split.batches(batch_size, order), len(order), identity)

    def observe(self, model: nn.Module, source: Source, condition: Condition, precision: Precision) -> Attacked:
        """The attack of one condition on its images, batch by batch.

        Raises:
            UserError: the model does not take the images, or has no usable gradient; an attack left its bounds.
        """
        from tqdm import tqdm

        attack = self._parts[condition].attack
        generator = torch.Generator().manual_seed(derive(self.seed, "attacks", condition.key))
        found, change, size = [], ChangeSpectrum(), (0, 0)
        with tqdm(total=source.n, unit="image", leave=False, disable=None) as bar:
            for batch in source.batches:
                found.append(attack_batch(model, attack, batch, generator, precision, change))
                size = (batch.images.shape[-2], batch.images.shape[-1])
                bar.update(len(batch.labels))
        return joined(found, change, size)

    def measure(self, outcomes: Mapping[Condition, Attacked]) -> list[Measurement]:
        """Error per attack and eps, worst case per norm and eps; see `Suite.measure`."""
        clean = Condition(self._of)
        self._clean = error_rate(outcomes[clean].wrong)
        self._error: dict[tuple[str, str], Estimate] = {}
        self._worst: dict[tuple[Norm, str], Estimate] = {}
        self._broken: dict[tuple[str, str], tuple[Broken, Estimate | None]] = {}
        found, wrong = [Measurement(clean, "error", self._clean)], {}
        for (name, label), parts in self._at.items():
            attack = self._attacks[name][label]
            row = Condition(self._of, attack=name, eps=attack.eps)
            wrong[name, label] = torch.cat([outcomes[part].wrong for part in parts])
            self._error[name, label] = error_rate(wrong[name, label])
            found.append(Measurement(row, "error", self._error[name, label]))
            outside = torch.cat([outcomes[part].outside[outcomes[part].right] for part in parts]).double()
            if isinstance(attack, BandPGD) and len(outside):
                found.append(Measurement(row, "outside_band", mean_of_images(outside).within(SHARE)))
            broken = broken_spectrum([outcomes[part] for part in parts])
            if broken is not None:
                share = mean_of_images(broken.high).within(SHARE) if len(broken.high) else None
                self._broken[name, label] = broken, share
                found += [Measurement(row, "hf_fraction", share)] if share is not None else []
        for norm in dict.fromkeys(self._norm_of.values()):
            names = [name for name, other in self._norm_of.items() if other == norm]
            for label, attack in self._attacks[names[0]].items():
                worst = torch.stack([outcomes[clean].wrong, *(wrong[name, label] for name in names)]).amax(0)
                self._worst[norm, label] = error_rate(worst)
                row = Condition(self._of, attack=norm, eps=attack.eps)
                found.append(Measurement(row, "worst_case", self._worst[norm, label]))
        self._verdict = self._judge(outcomes) if self.checks else ["not checked for gradient masking"]
        return found

    def remarks(self) -> list[str]:
        """Images, attacks and their settings, and what the checks found; after `measure`."""
        which = f"{self._clean.n} images, " + ("all" if self.images is None else f"drawn by seed {self.seed}")
        made = [f"{name}: {_settings(next(iter(one.values())))}" for name, one in self._attacks.items()]
        idle = [f"{name} {label}" for name, label in self._error if (name, label) not in self._broken]
        spectra = [f"no image was broken, so no spectrum: {', '.join(idle)}"] if idle else []
        return [f"{which}; eps in [0,1] pixels", *made, *spectra, *self._verdict]

    def files(self, outcomes: Mapping[Condition, Attacked], who: str) -> Mapping[str, bytes | Mapping[str, np.ndarray]]:
        """Accuracy over eps, one diagram per norm, and the spectra; see `FilesSuite.files`."""
        from fourier_robust.report.band_figure import Panel, curves_png

        panels = []
        for norm in dict.fromkeys(self._norm_of.values()):
            names = [name for name, other in self._norm_of.items() if other == norm]
            scale, unit = (255, "255ths") if norm == "linf" else (1, "pixels in [0,1]")
            places = [0.0, *(scale * attack.eps for attack in self._attacks[names[0]].values())]
            lines = {name: (places, self._accuracies(self._error, name)) for name in names}
            if len(names) > 1:
                lines["worst case"] = (places, self._accuracies(self._worst, norm))
            panels.append(Panel(f"eps ({norm}, {unit})", lines, {}))
        title = f"{who} on {self._of}, n = {self._clean.n}"
        return {"attacks.png": curves_png(title, "accuracy under attack (%)", panels), **self._spectra(who)}

    def _spectra(self, who: str) -> dict[str, bytes | Mapping[str, np.ndarray]]:
        """spectra.png and spectra.npz; neither where no attack broke an image."""
        from fourier_robust.report.spectra_figure import Panel, spectra_png

        if not self._broken:
            return {}
        shares = [math.nan if share is None else share.value for _, share in self._broken.values()]
        planes = [broken.plane.numpy() for broken, _ in self._broken.values()]
        first = int(highest_square(*planes[0].shape).any(1).nonzero()[0])
        panels = [
            Panel(f"{name}\n{label}", plane, share)
            for (name, label), plane, share in zip(self._broken, planes, shares, strict=True)
        ]
        title = (
            f"{who} on {self._of}: mean amplitude of the perturbations that broke an image; zero frequency in the "
            "middle\nhigh: share of energy off the cross drawn in the first panel "
            f"(|u| or |v| below {first} cycles per image)"
        )
        arrays = {
            "attack": np.array([name for name, _ in self._broken]),
            "eps": np.array([self._attacks[name][label].eps for name, label in self._broken]),
            "amplitude": np.stack(planes).astype(np.float32),
            "hf_fraction": np.array(shares),
            "n": np.array([len(broken.high) for broken, _ in self._broken.values()]),
        }
        return {
            "spectra.png": spectra_png(title, panels, "mean amplitude, pixels in [0,1]", first),
            "spectra.npz": arrays,
        }

    def _add(self, what: str, attack: Attack, first: int, last: int, number: int) -> Condition:
        condition = Condition(self._of, what.replace("/", "_"), number, attack.eps)
        self._parts[condition] = Part(attack, first, last)
        return condition

    def _add_checks(self, dataset: Dataset, count: int) -> None:
        norm: Norm = "linf" if "linf" in self._norm_of.values() else "l2"
        grey = 0.5 if norm == "linf" else 0.5 * math.sqrt(3) * dataset.size  # reaches uniform grey from every image
        name = next(name for name, other in self._norm_of.items() if other == norm)
        eps = max(attack.eps for attack in self._attacks[name].values())
        attacks: dict[str, Attack] = {
            "far": PGD(grey, norm, STEPS),
            "many": PGD(eps, norm, STEPS),
            "few": PGD(eps, norm, STEPS // 2),
            "one": FGSM(eps, norm),
            "transfer": Transfer(eps, norm),
        }
        self._far, self._near = f"{grey:g}", f"{255 * eps:g}/255" if norm == "linf" else f"{eps:g}"
        self._checked = {key: self._add(f"check_{key}", one, 0, count, 0) for key, one in attacks.items()}

    def _judge(self, outcomes: Mapping[Condition, Attacked]) -> list[str]:
        found = {key: outcomes[condition] for key, condition in self._checked.items()}
        one = found["one"]
        return judged(
            Checked(
                **{key: each.wrong for key, each in found.items()},
                still=one.right & (one.linf == 0),
                far_eps=self._far,
                near_eps=self._near,
                steps=STEPS,
            )
        )

    def _accuracies(self, errors: Mapping[Any, Estimate], name: str) -> list[Estimate]:
        estimates = [self._clean, *(each for (other, _), each in errors.items() if other == name)]
        return [Estimate(1 - each.value, 1 - each.high, 1 - each.low, each.n) for each in estimates]


def _settings(attack: Attack) -> str:
    return re.sub(r"\beps=[^,)]*(, )?", "", str(attack))
