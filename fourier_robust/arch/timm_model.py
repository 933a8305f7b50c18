"""Any model of the timm library."""

from __future__ import annotations

from torch import nn


def timm_model(name: str, num_classes: int, pretrained: bool = False) -> nn.Module:
    """Build ``timm.create_model(name)`` with a head of K classes: normalised (B,3,H,W) -> logits (B,K).

    Args:
        name: as in ``timm.list_models()``, with or without a weights tag ("resnet50", "resnet50.a1_in1k").
        num_classes: K; other than the weights' own K, the head is new.
        pretrained: load timm's weights (downloads them at first use). They expect their own mean and std.

    Raises:
        ValueError: timm knows no such model; the message lists the closest names.

    Source: Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
    """
    import timm

    if not timm.is_model(name):
        from difflib import get_close_matches

        close = ", ".join(get_close_matches(name.split(".")[0], timm.list_models(), n=5)) or "see timm.list_models()"
        raise ValueError(f"name: timm has no model {name!r}; close matches: {close}")
    return timm.create_model(name, pretrained=pretrained, num_classes=num_classes)
