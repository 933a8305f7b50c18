"""Any model of the timm library."""

from __future__ import annotations

import math
from typing import Any

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

    _check(name)
    return timm.create_model(name, pretrained=pretrained, num_classes=num_classes)


def pretrained(name: str) -> nn.Module:
    """The model with timm's weights and their own head, from timm's cache or the hub.

    Raises:
        ValueError: timm knows no such model, or has no weights for it.
        OSError, RuntimeError: they are not in the cache and the hub is out of reach.
    """
    import timm

    config = _config(name)
    if not (config.hf_hub_id or config.url or config.file):
        raise ValueError(f"timm has no weights for {name}; its models with weights: timm.list_pretrained()")
    if config.hf_hub_id and not _cached(config) and not _hub_answers():
        raise OSError("its weights are not in the local cache, and the hub does not answer")
    return timm.create_model(name, pretrained=True)


def timm_classes(name: str) -> int:
    """How many classes the weights tell apart.

    Raises:
        ValueError: timm knows no such model.
    """
    return int(_config(name).num_classes)


def timm_preprocessing(name: str) -> dict[str, Any]:
    """What the weights expect: mean, std (of [0,1] pixels), size, resize (pixels) and interpolation.

    Raises:
        ValueError: timm knows no such model, or it wants images that are not cut from the centre.
    """
    config = _config(name)
    height, width = (config.test_input_size or config.input_size)[1:]
    if height != width or (config.crop_mode or "center") != "center":
        raise ValueError(
            f"{name} wants {height}x{width} pixels, crop mode {config.crop_mode}: only centre squares here"
        )
    return {
        "mean": list(config.mean),
        "std": list(config.std),
        "size": height,
        "resize": math.floor(height / (config.test_crop_pct or config.crop_pct)),
        "interpolation": config.interpolation,
    }


def _config(name: str) -> Any:
    from timm.models import get_pretrained_cfg

    _check(name)
    return get_pretrained_cfg(name)


def _cached(config: Any) -> bool:
    from huggingface_hub import try_to_load_from_cache

    files = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    return any(isinstance(try_to_load_from_cache(config.hf_hub_id, file), str) for file in files)


def _hub_answers() -> bool:
    """Asked once, for seconds; the hub's own library goes on asking for a minute."""
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    where = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((where.hostname, where.port or 443), timeout=5).close()
    except OSError:
        return False
    return True


def _check(name: str) -> None:
    import timm

    if not timm.is_model(name):
        from difflib import get_close_matches

        close = ", ".join(get_close_matches(name.split(".")[0], timm.list_models(), n=5)) or "see timm.list_models()"
        raise ValueError(f"name: timm has no model {name!r}; close matches: {close}")
