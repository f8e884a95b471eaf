"""The feature extractor: which timm models and blocks there are, and how their pixels are normalised."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from nut_runtime.errors import InputError
from nut_train.weights import Weights

__all__ = ["Backbone", "describe_backbone", "load_weights"]

_STRIDES = (8, 16)  # PatchCore takes the second and third quarter of a ResNet, which have these strides


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A feature extractor, described but not built.

    Attributes:
        name: Name of the timm model.
        layers: Names of the feature blocks that make the patch embedding, finest first.
        mean: Per-channel mean of the training pixels in RGB order, on a 0..1 scale.
        std: Per-channel standard deviation of them.
    """

    name: str
    layers: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def describe_backbone(name: str, layers: Sequence[str] = (), *, image_size: tuple[int, int] = (256, 256)) -> Backbone:
    """Look up a timm model, its feature blocks and the normalisation it was trained with.

    The Lite networks were trained on pixels with mean = std = 0.5, not with ImageNet's mean and std, which
    anomalib's default pre-processor would use for all; timm's `pretrained_cfg` knows each one's own.

    Args:
        name: Name of a timm model.
        layers: Names of feature blocks; empty takes those of strides 8 and 16.
        image_size: Height and width of the model's input; a black picture of it is passed through once.

    Raises:
        InputError: If timm has no such model, it has no such blocks (the message lists near ones), or it gives no
            feature maps of that size.
    """
    if not timm.is_model(name):
        raise InputError(f"unknown backbone {name!r}{_near(name, timm.list_models())}; any timm model name works")
    try:
        network = timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = _first_line(error)
        raise InputError(f"backbone {name} gives no feature maps ({reason}); choose a convolutional one") from error
    blocks = {block["module"]: int(block["reduction"]) for block in network.feature_info.get_dicts()}
    chosen = tuple(layers) or tuple(block for block, stride in blocks.items() if stride in _STRIDES)
    for layer in chosen:
        if layer not in blocks:
            raise InputError(
                f"backbone {name} has no layer {layer!r}{_near(layer, blocks)}; it has {', '.join(blocks)}"
            )
    if not chosen:
        raise InputError(f"backbone {name} has no layers of strides 8 and 16; name some of {', '.join(blocks)}")
    if len(set(chosen)) != len(chosen):
        raise InputError(f"layers {', '.join(chosen)}: each may be named once")
    _try_out(name, network, image_size)
    cfg = network.pretrained_cfg
    return Backbone(
        name=name,
        # anomalib brings every block to the size of the first, so the finest must lead.
        layers=tuple(sorted(chosen, key=lambda layer: blocks[layer])),
        mean=_three(cfg["mean"]),
        std=_three(cfg["std"]),
    )


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    """Return one number a channel, RGB."""
    red, green, blue = values
    return float(red), float(green), float(blue)


def _try_out(name: str, network: Any, image_size: tuple[int, int]) -> None:
    """Pass a black picture through a feature extractor, to refuse what anomalib would fail on or mix up.

    Transformers take one size of picture only, or put the channels last, which anomalib would read as rows.

    Raises:
        InputError: If the network fails on that size, or a feature map is not channels first.
    """
    size = "x".join(map(str, image_size))
    try:
        with torch.no_grad():
            maps = network.eval()(torch.zeros(1, 3, *image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = _first_line(error)
        raise InputError(
            f"backbone {name} does not take pictures of {size} px ({reason}); choose a convolutional one"
        ) from error
    for values, channels in zip(maps, network.feature_info.channels(), strict=True):
        if values.ndim != 4 or values.shape[1] != channels:  # noqa: PLR2004
            raise InputError(
                f"backbone {name} gives features of shape {list(values.shape)}, expected {channels} channels first; "
                "choose a convolutional one"
            )


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Copy `weights` into a feature extractor; every tensor it has must be there with its shape.

    Tensors of the classification head, which a feature extractor lacks, are left over.

    Raises:
        InputError: If a tensor is missing or has another shape; the message names the first.
    """
    state: dict[str, Tensor] = network.state_dict()
    for name, tensor in state.items():
        given = weights.tensors.get(name)
        if given is None:
            near = _near(name, weights.tensors)
            raise InputError(f"weights from {weights.source} lack tensor {name}{near}; they are of another backbone")
        if given.shape != tensor.shape:
            raise InputError(
                f"weights from {weights.source} have {name} of shape {list(given.shape)}, "
                f"expected {list(tensor.shape)}; they are of another backbone"
            )
    with torch.no_grad():
        network.load_state_dict({name: weights.tensors[name] for name in state}, strict=True)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _near(name: str, names: Iterable[str]) -> str:
    """Return `, did you mean ...` with up to three near names, or nothing."""
    found = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f", did you mean {' or '.join(found)}" if found else ""
