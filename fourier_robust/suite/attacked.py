"""What is kept of an attack on a stretch of images: outcomes, sizes, and the spectrum of what broke an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from fourier_robust.attack.band_pgd import BandPGD, band_mask, outside_band
from fourier_robust.attack.base import Attack, attacking, logits_of
from fourier_robust.dataset.base import Batch
from fourier_robust.engine.predict import Precision, autocast, memory_format
from fourier_robust.errors import UserError
from fourier_robust.fourier.high_frequency import ChangeSpectrum
from fourier_robust.metric.outcome import outcome

_SLACK = 1e-5  # of float32, on a perturbation's size


class Attacked(NamedTuple):
    """Per-image outcomes under one attack, and a spectrum.

    Attributes:
        label, prediction, confidence, nll: (N,), of the attacked images, see `metric.outcome.Outcome`.
        right: (N,) bool: the image was right without attack; the others are left alone.
        linf: (N,) float32, largest change of a value.
        l2: (N,) float32, length of the perturbation.
        outside: (N,) float32, the share of the perturbation's energy outside the attack's band; 0 without a band.
        high: (N,) float64, the share of its energy at high frequencies (`ChangeSpectrum`); 0 where not `broken`.
        plane: (H,W) float64, centred, mean amplitude of the perturbations over the `broken` images; 0 without any.
    """

    label: torch.Tensor
    prediction: torch.Tensor
    confidence: torch.Tensor
    nll: torch.Tensor
    right: torch.Tensor
    linf: torch.Tensor
    l2: torch.Tensor
    outside: torch.Tensor
    high: torch.Tensor
    plane: torch.Tensor

    @property
    def wrong(self) -> torch.Tensor:
        """(N,) float64: 1 where the prediction is not the label."""
        return (self.prediction != self.label).double()

    @property
    def broken(self) -> torch.Tensor:
        """(N,) bool: right without attack, wrong under it."""
        return self.right & (self.prediction != self.label)


class Broken(NamedTuple):
    """Over the images that an attack broke: mean amplitude (H,W), and their shares of high frequencies (n,)."""

    plane: torch.Tensor
    high: torch.Tensor


def attack_batch(
    model: nn.Module,
    attack: Attack | None,
    batch: Batch,
    generator: torch.Generator,
    precision: Precision,
    change: ChangeSpectrum,
) -> list[torch.Tensor]:
    """The columns of `Attacked` up to `outside`; the perturbations of broken images are added to `change`.

    Raises:
        UserError: the model does not take the images, or has no usable gradient; the attack left its bounds.
    """
    device, labels = batch.images.device, batch.labels
    images = batch.images.contiguous(memory_format=memory_format(device, precision))
    with attacking(model), torch.no_grad(), autocast(device, precision):
        logits = logits_of(model, images)
        right = logits.argmax(1) == labels
        adversarial = images
        if attack is not None and right.any():
            adversarial = images.clone()
            adversarial[right] = attack(model, images[right], labels[right], generator)
            logits[right] = logits_of(model, adversarial[right])
    moved = adversarial - images
    linf, l2 = moved.abs().amax((1, 2, 3)), torch.linalg.vector_norm(moved, dim=(1, 2, 3))
    if attack is not None:
        _hold(attack, adversarial, linf if attack.norm == "linf" else l2)
    outside = torch.zeros_like(linf)
    if isinstance(attack, BandPGD):
        outside = outside_band(moved, band_mask(images.shape[-2], images.shape[-1], attack.band).to(device))
    under = outcome(logits, labels)
    broken = right & (under.prediction != labels)
    if broken.any():
        change.add(moved[broken])
    return [*under, right, linf, l2, outside]


def joined(batches: Sequence[Sequence[torch.Tensor]], change: ChangeSpectrum, size: tuple[int, int]) -> Attacked:
    """The batches of `attack_batch`, and what `change` has gathered of them; images have (H,W) `size`."""
    columns = [torch.cat(column).cpu() for column in zip(*batches, strict=True)]
    high = torch.zeros(len(columns[0]), dtype=torch.float64)
    found = Attacked._make([*columns, high, torch.zeros(size, dtype=torch.float64)])
    if not found.broken.any():
        return found
    high[found.broken] = change.fractions()
    return found._replace(plane=change.mean_amplitude())


def broken_spectrum(parts: Sequence[Attacked]) -> Broken | None:
    """Over all stretches of one attack; None where it broke no image."""
    counts = [int(part.broken.sum()) for part in parts]
    if not sum(counts):
        return None
    plane = torch.stack([count * part.plane for count, part in zip(counts, parts, strict=True)]).sum(0) / sum(counts)
    high = torch.cat([part.high[part.broken] for part in parts])
    return Broken(plane, high[~high.isnan()])


def _hold(attack: Attack, adversarial: torch.Tensor, size: torch.Tensor) -> None:
    """Refuse an attack that cheats; NaN is refused too."""
    low, high = adversarial.aminmax()
    if not (low >= 0 and high <= 1 and bool((size <= attack.eps + _SLACK).all())):
        raise UserError(
            f"{attack} left its bounds: values from {float(low):.4g} to {float(high):.4g}, "
            f"perturbations up to {float(size.max()):.6g}"
        )
