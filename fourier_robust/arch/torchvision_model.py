"""Any classifier of torchvision."""

from __future__ import annotations

from torch import nn


def torchvision_model(name: str, num_classes: int) -> nn.Module:
    """Build ``torchvision.models.get_model(name)`` without weights: normalised (B,3,H,W) -> logits (B,K).

    Args:
        name: as in ``torchvision.models.list_models()``, of a classifier.
        num_classes: K.

    Raises:
        ValueError: torchvision knows no such classifier; the message lists the closest names.

    Source: TorchVision maintainers, https://github.com/pytorch/vision.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        from difflib import get_close_matches

        close = ", ".join(get_close_matches(name, known, n=5)) or "see torchvision.models.list_models()"
        raise ValueError(f"name: torchvision has no classifier {name!r}; close matches: {close}")
    more = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return models.get_model(name, num_classes=num_classes, **more)
