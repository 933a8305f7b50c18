"""ViM: a virtual logit from what the features have outside the principal subspace."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fourier_robust.score.base import ROWS, Head, Outputs, Scorer, by_rows, features, head_energy


@dataclass(frozen=True)
class ViM:
    """alpha |R'(f - u)| - log sum_k exp(logits_k), the logits being those of the head.

    u = - pinv(W) b is where the head's logits vanish; R spans all but the `dim` directions in which ``f - u`` of the
    training images is largest; alpha is their mean largest logit over their mean ``|R'(f - u)|``.

    Args:
        dim: of the principal subspace, from 1 to below D. None: 1000 from D = 2048 on, 512 from 768 on, else D // 2.

    Raises:
        ValueError: dim out of range; at `fit`, not below D.

    Source:
        Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022; haoqiwang/vim.

    Deviates:
        float64. The published code takes 512 for every D below 2048, which leaves nothing of 512 features.
    """

    dim: int | None = None
    needs = frozenset({"features", "head", "train"})

    def __post_init__(self) -> None:
        if self.dim is not None and self.dim < 1:
            raise ValueError(f"dim must be at least 1 or null, got {self.dim}")

    def fit(self, train: Outputs, head: Head) -> Scorer:
        """From (N,D) features of training images and the head."""
        known = features(train)
        size = known.shape[1]
        dim = self.dim or (1000 if size >= 2048 else 512 if size >= 768 else size // 2)
        if dim >= size:
            raise ValueError(f"dim must be below the number of features ({size}), got {dim}")
        weight, bias = head.weight.double(), head.bias.double()
        origin = -torch.linalg.pinv(weight) @ bias
        second = torch.zeros(size, size, dtype=torch.float64, device=known.device)
        for block in known.split(ROWS):
            moved = block.double() - origin
            second.addmm_(moved.T, moved, alpha=1 / len(known))
        residual = torch.linalg.eigh(second).eigenvectors[:, : size - dim]  # ascending: the smallest

        def norm(block: torch.Tensor) -> torch.Tensor:
            return ((block - origin) @ residual).norm(dim=1)

        largest = by_rows(lambda block: (block @ weight.T + bias).amax(1), known).mean()
        alpha = largest / by_rows(norm, known).mean()

        def scorer(outputs: Outputs) -> torch.Tensor:
            return by_rows(lambda block: alpha * norm(block) + head_energy(block, head), features(outputs))

        return scorer
