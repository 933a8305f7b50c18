"""An augmentation: image-to-image steps in order, then (optionally) one step that makes several views."""

from __future__ import annotations

import torch

from fourier_robust.aug.views import Pairing, Params, Transform, Views


class Chain:
    """Named transforms applied in the order given, then `views`; the empty chain is ``aug=none``.

    Args:
        views: makes the views of the transformed batch (APR-P); None gives one view of weight 1.
        global_pairs: in a run of several processes, `views` pairs images of the whole batch, not of a process's part.
        transforms: steps by name. The names are config keys, so ``aug.crop.padding=2`` reaches a step.

    Raises:
        ValueError: `global_pairs` with views that can't.
    """

    def __init__(self, views: Pairing | None = None, global_pairs: bool = False, **transforms: Transform) -> None:
        if global_pairs:
            if views is None or not hasattr(views, "global_pairs"):
                raise ValueError("global_pairs needs views that pair images over processes, as APR-P's do")
            views.global_pairs = True
        self.views = views
        self.transforms = transforms

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        """Draw every step's parameters for a (B,C,H,W) batch from one CPU generator, in order."""
        params = {name: step.sample(shape, generator) for name, step in self.transforms.items()}
        if self.views is not None:
            params["views"] = self.views.sample(shape, generator)
        return params

    def apply(self, images: torch.Tensor, labels: torch.Tensor, params: Params) -> Views:
        """(B,C,H,W) in [0,1] and (B,) labels -> Views; the input batch is left unchanged."""
        for name, step in self.transforms.items():
            images = step.apply(images, params[name])
        if self.views is not None:
            return self.views.apply(images, labels, params["views"])
        return Views(images[None], labels[None], (1.0,))
