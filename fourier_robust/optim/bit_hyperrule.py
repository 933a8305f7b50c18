"""BiT-HyperRule: length, learning rates and MixUp of fine-tuning, from the number of training images alone."""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """supports: steps; the first ends the warm-up, the last ends training, at each between the rate falls to a tenth.

    mixup: alpha of MixUp, 0 for none.
    """

    supports: tuple[int, ...]
    mixup: float

    @property
    def steps(self) -> int:
        """Of training, at 512 images each."""
        return self.supports[-1]

    def epochs(self, images: int, batch_size: int = 512) -> int:
        """The passes over so many images, whole batches only, that come nearest to `steps` of 512; at least 1."""
        return max(1, round(self.steps * 512 / batch_size / (images // batch_size)))


def hyper_rule(images: int) -> Rule:
    """The rule for a training set of so many images.

    Source: Kolesnikov et al., "Big Transfer (BiT): General Visual Representation Learning", ECCV 2020, section 3.3, and
        the released code, google-research/big_transfer.
    """
    if images < 20_000:
        return Rule((100, 200, 300, 400, 500), 0.0)
    if images < 500_000:
        return Rule((500, 3000, 6000, 9000, 10_000), 0.1)
    return Rule((500, 6000, 12_000, 18_000, 20_000), 0.1)


class HyperRule:
    """The schedule of the rule, over training of any length: its steps are shares of that.

    Args:
        images: of the training set, >= 1; decides the rule.

    Raises:
        ValueError: `images` below 1.

    Source: see `hyper_rule`.
    """

    def __init__(self, images: int) -> None:
        if images < 1:
            raise ValueError(f"images must be at least 1, got {images}")
        self.rule = hyper_rule(images)

    def __call__(self, epoch: float, epochs: float) -> float:
        """See `Schedule`; stays at its last value after the end."""
        first, *falls, end = self.rule.supports
        step = min(epoch / epochs, 1.0) * end
        return step / first if step < first else 0.1 ** sum(step > fall for fall in falls)
