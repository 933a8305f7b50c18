"""How often is the model wrong under corruptions chosen to differ from the common ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fourier_robust.corruption.names import CIFAR_BAR, IMAGENET_BAR
from fourier_robust.suite.corruptions import Corruptions


class CorruptionsBar(Corruptions):
    """As `Corruptions`, with the ten of CIFAR-10-C-bar (up to 128 pixels) or the ten of ImageNet-C-bar.

    Those of the other benchmark are measured where they are named; their means are over the benchmark's own ten.

    Source: Mintun, Kirillov and Xie 2021 (2102.11273).
    """

    name = "corruptions_bar"
    suffix = "C-bar"
    definitions: Mapping[str, str] = {
        key: text.replace("common15: the fifteen of CIFAR-C", "bar10: the ten of the benchmark").replace(
            "common8of15", "bar8of10"
        )
        for key, text in Corruptions.definitions.items()
        if key in ("error", "mean_error")
    }

    def groups(self, size: int) -> Mapping[str, Sequence[str]]:
        """See `Corruptions.groups`."""
        return {"bar": CIFAR_BAR if size <= 128 else IMAGENET_BAR}
