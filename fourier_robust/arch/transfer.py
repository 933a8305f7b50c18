"""A trained network with a new head, for images of another size and of other classes: what fine-tuning starts from."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

# What random bytes were seen to raise, and what torch refuses.
_DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    pickle.UnpicklingError,
)


class Transfer(nn.Module):
    """Normalised (B,3,H,W) -> logits (B,K): images are resized (bilinear, antialiased) before `net` sees them.

    Args:
        net: takes (B,3,size,size).
        size: pixels; None leaves the images as they are.
    """

    def __init__(self, net: nn.Module, size: int | None) -> None:
        super().__init__()
        if size is not None and size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.net, self.size = net, size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class; images of the right size pass as they are."""
        if self.size is not None and images.shape[2:] != (self.size, self.size):
            images = functional.interpolate(images, size=(self.size,) * 2, mode="bilinear", antialias=True)
        logits: torch.Tensor = self.net(images)
        return logits


def transfer(net: nn.Module, num_classes: int, pretrained: str | bool | None, size: int | None = None) -> Transfer:
    """`net` with the weights of a file, but for its last linear layer, which begins at zero.

    Args:
        net: a network of K = `num_classes`; its last linear layer is the head.
        num_classes: K.
        pretrained: a run folder, a ``last.pt``, a ``.safetensors`` file or a state dict of the same architecture with
            any number of classes; False leaves `net` as it is (the weights come from elsewhere).
        size: see `Transfer`.

    Raises:
        ValueError: no file was named, it is none, it does not fit, or `net` has no linear layer or another K.

    Source: Kolesnikov et al., "Big Transfer (BiT)", ECCV 2020: a head of zeros.
    """
    heads = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not heads:
        raise ValueError("net has no linear layer to be its head")
    head: Any = net.get_submodule(heads[-1])
    if head.out_features != num_classes:
        raise ValueError(f"net.num_classes must be {num_classes}, its last linear layer has {head.out_features}")
    if pretrained is None or pretrained is True:
        raise ValueError("pretrained must name a run folder or a file of weights (false: none)")
    if pretrained is not False:
        _load(net, Path(pretrained).expanduser(), heads[-1])
        _zero(head)
    return Transfer(net, size)


def transfer_timm(name: str, num_classes: int, pretrained: bool = True, size: int | None = None) -> Transfer:
    """A timm model with timm's weights, but for its head, which begins at zero.

    Args:
        name: as in ``timm.list_pretrained()``: "resnetv2_50x1_bit.goog_in21k".
        num_classes: K.
        pretrained: load the weights (from timm's cache or the hub); False leaves the model as it begins.
        size: see `Transfer`.

    Raises:
        ValueError: timm knows no such model.
    """
    from fourier_robust.arch.timm_model import timm_model

    net: Any = timm_model(name, num_classes, pretrained)
    _zero(net.get_classifier())
    return Transfer(net, size)


def _zero(head: Any) -> None:
    with torch.no_grad():
        head.weight.zero_()
        if head.bias is not None:
            head.bias.zero_()


def _load(net: nn.Module, path: Path, head: str) -> None:
    wanted = net.state_dict()
    body = {name for name in wanted if not name.startswith(f"{head}.")}
    counters = {name for name in body if name.endswith("num_batches_tracked")}
    found = _matching(_read(path), body)
    missing = sorted(body - found.keys() - counters)
    if missing:
        raise ValueError(f"pretrained: {path} has no {missing[0]} (and {len(missing) - 1} more): another architecture")
    for name in sorted(body & found.keys()):
        if found[name].shape != wanted[name].shape:
            shapes = f"{tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
            raise ValueError(f"pretrained: {path} holds {name} of shape {shapes}: another width")
    net.load_state_dict({name: found[name] for name in body & found.keys()}, strict=False)


def _matching(weights: Mapping[str, torch.Tensor], body: set[str]) -> dict[str, torch.Tensor]:
    """`weights` without what wrappers put before the names (``net.``, ``module.``) and beside them (mean, std)."""
    found = dict(weights)
    for _ in range(4):
        if body & found.keys():
            break
        found = {name.partition(".")[2]: tensor for name, tensor in found.items() if "." in name}
    return found


def _read(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a run folder or a file; no pickle is executed."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = path / "last.pt" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"pretrained: no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(content, dict) and "format" in content and isinstance(content.get("weights"), str):
            return load_file(path.parent / content["weights"])
    except (*_DAMAGE, SafetensorError) as error:
        raise ValueError(f"pretrained: {path} is not readable: {' '.join(str(error).split())[:200]}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(one) for one in content.values()):
        raise ValueError(f"pretrained: {path} holds no state dict of tensors")
    return content
