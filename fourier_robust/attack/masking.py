"""Does a model only look robust? Checks that an attack by a gradient that leads nowhere does not pass.

Source: Athalye, Carlini and Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018; Carlini et al.,
    "On Evaluating Adversarial Robustness", 2019, arXiv 1902.06705.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from fourier_robust.metric.outcome import error_rate, mean_of_images

WARNING = "WARNING: the gradient may be masked: "
LEFT_OVER = 0.01  # accuracy under a perturbation that can make every image grey; the share of images without a gradient


class Checked(NamedTuple):
    """Of the same N images.

    Attributes:
        far: (N,) float64, 1 where the model is wrong under the white-box attack at `far_eps`.
        many: the same at the eps of the table, with `steps` steps.
        few: with half as many.
        one: under one step.
        transfer: under an attack made without the model's gradient.
        still: (N,) bool: right without attack, and one step along the gradient's sign changes nothing.
        far_eps: as printed, a perturbation that can make every image uniform grey.
        near_eps: as printed, of the others.
        steps: of `many`.
    """

    far: torch.Tensor
    many: torch.Tensor
    few: torch.Tensor
    one: torch.Tensor
    transfer: torch.Tensor
    still: torch.Tensor
    far_eps: str
    near_eps: str
    steps: int


def judged(found: Checked) -> list[str]:
    """What was checked on how many images, then a warning for each check that failed.

    A comparison of two attacks fails where the 95 % interval of the paired difference lies on the wrong side of 0.
    """
    said = [
        f"checked for gradient masking on {len(found.far)} images: accuracy at eps {found.far_eps}; more steps; "
        f"transfer; images without a gradient (the last three at eps {found.near_eps})"
    ]
    accuracy = 1 - error_rate(found.far).value
    if accuracy > LEFT_OVER:
        said.append(f"{WARNING}accuracy {accuracy:.3f} is left at eps {found.far_eps}, where all images can be grey")
    by_steps = ((f"{found.steps // 2} steps", found.few), ("one step", found.one))
    for name, weaker in by_steps:
        if mean_of_images(weaker - found.many).low > 0:
            said.append(f"{WARNING}{name} break more images than {found.steps}: {_against(weaker, found.many)}")
    if mean_of_images(found.transfer - found.many).low > 0:
        said.append(f"{WARNING}a transfer attack beats the white-box one: {_against(found.transfer, found.many)}")
    still = error_rate(found.still.double()).value
    if still > LEFT_OVER:
        said.append(f"{WARNING}the gradient is exactly 0 for {still:.3f} of the images")
    return said


def _against(one: torch.Tensor, other: torch.Tensor) -> str:
    return f"error {float(one.mean()):.3f} against {float(other.mean()):.3f}"
