"""What `suite=ood` keeps of one set of images: all that any score asks of the model, from one pass."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import nn

from fourier_robust.dataset.base import Batch
from fourier_robust.engine.last_layer import Mover, last_layer, last_linear
from fourier_robust.engine.predict import Precision
from fourier_robust.errors import UserError
from fourier_robust.score.base import Head, Outputs
from fourier_robust.suite.base import Shared, Source


class Observed(NamedTuple):
    """Sizes are 0 where no score asks.

    Attributes:
        label: (N,) int64.
        digest: (N,) int64, of each image's 8-bit pixels.
        logits: (N,K) float32.
        features: (N,D) float32, the input of the last linear layer.
        moved: (S,N,K) float32, logits of the images as each score with a gradient moves them.
        weight: (K,D) float32, of the last linear layer.
        bias: (K,) float32.
    """

    label: torch.Tensor
    digest: torch.Tensor
    logits: torch.Tensor
    features: torch.Tensor
    moved: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def outputs(self, mover: int | None = None) -> Outputs:
        """For a score; the logits are those of images that mover number `mover` moved, if one is given."""
        logits = self.logits if mover is None else self.moved[mover]
        return Outputs(logits, self.features if self.features.shape[1] else None, self.label)

    def head(self) -> Head | None:
        """The last linear layer, if it was asked for."""
        return Head(self.weight, self.bias) if self.weight.shape[1] else None

    def take(self, keep: torch.Tensor) -> Observed:
        """The images where (N,) bool `keep` holds."""
        rows = {name: getattr(self, name)[keep] for name in ("label", "digest", "logits", "features")}
        return self._replace(moved=self.moved[:, keep], **rows)


def observe(
    model: nn.Module,
    source: Source,
    features: bool,
    movers: Sequence[Mover],
    precision: Precision,
    known: Shared | None = None,
) -> Observed | None:
    """One pass over the batches of `source`, at least one; None where features are asked for and there is no head.

    Without movers, what `known` has is not computed again: the images are read for their digests alone.

    Raises:
        UserError: movers, and a model without a gradient with respect to its input.
    """
    rest = iter(source.batches)
    first = next(rest)
    linear = last_linear(model, first.images[:2]) if features else None
    if features and linear is None:
        return None
    names = ["logits", "labels", *(["features"] if features else [])]
    found = None if known is None or movers else known.load(source.identity, names)
    digests: list[torch.Tensor] = []
    noted = _noting(chain([first], rest), digests)
    moved: list[torch.Tensor] = []
    if found is not None:
        deque(noted, maxlen=0)
        arrays = {name: torch.from_numpy(array) for name, array in found.items()}
    else:
        parts = list(last_layer(model, noted, linear, movers, precision))
        arrays = {"logits": torch.cat([part.logits for part in parts])}
        arrays["labels"] = torch.cat([part.labels for part in parts])
        if features:
            arrays["features"] = torch.cat([part.features for part in parts if part.features is not None])
        moved = [torch.cat(one) for one in zip(*(part.moved for part in parts), strict=True)]
        if known is not None:
            known.save(source.identity, {name: array.numpy() for name, array in arrays.items()})
    logits = arrays["logits"]
    weight, bias = linear.head() if linear else (logits.new_empty(logits.shape[1], 0), logits.new_empty(0))
    return Observed(
        label=arrays["labels"],
        digest=torch.cat(digests),
        logits=logits,
        features=arrays.get("features", logits.new_empty(len(logits), 0)),
        moved=torch.stack(moved) if moved else logits.new_empty(0, *logits.shape),
        weight=weight,
        bias=bias,
    )


def without_overlap(name: str, seen: Observed, known: torch.Tensor, allowed: float) -> tuple[Observed, int]:
    """`seen` without the images whose digest is among `known`, and how many those were.

    Raises:
        UserError: they are more than the share `allowed`, or all.
    """
    same = torch.isin(seen.digest, known)
    count, n = int(same.sum()), len(same)
    if count > allowed * n or count == n:
        first = ", ".join(map(str, same.nonzero()[:5, 0].tolist()))
        raise UserError(
            f"OOD set {name}: {count} of its {n} images are in-distribution images, pixel for pixel (first: {first}); "
            "remove them, or suite.overlap=0.01 leaves up to 1 % out"
        )
    return (seen.take(~same) if count else seen), count


def _noting(batches: Iterable[Batch], digests: list[torch.Tensor]) -> Iterator[Batch]:
    """`batches`; a 64-bit digest of each image's 8-bit pixels goes to `digests`."""
    for batch in batches:
        levels = batch.images.mul(255).round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()
        found = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in levels]
        digests.append(torch.tensor([int.from_bytes(one, "big", signed=True) for one in found]))
        yield batch
