"""The U-Net: an encoder of timm, a slim decoder of segmentation_models_pytorch, a map at half the input's size."""

from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn

from nut_runtime.errors import InputError
from nut_train.backbone import Backbone, describe_backbone, load_weights
from nut_train.weights import Weights

if TYPE_CHECKING:
    from segmentation_models_pytorch import Unet

__all__ = ["DECODER_CHANNELS", "MAP_STRIDE", "LocatorNetwork", "build_network", "describe_encoder"]

DECODER_CHANNELS = (128, 64, 32, 16)
"""Widths of the decoder's stages, from 1/16 of the input's size to 1/2."""
MAP_STRIDE = 2
"""Pixels of the network's input a pixel of the distance map: the last doubling would cost as much as all the others."""
_STAGES = 5
_FROZEN_BLOCKS = 2
_TRIED_PX = 64
# Means and variances of the decoder start from nothing; at torch's 0.1 a small set's first epochs would be judged by
# what is left of that.
_MOMENTUM = 0.3
# The logit before anything is learned: no part. From 0, features that tell background apart were all that was learned,
# and as rectified features are 0 where they see none, no place of a part could come to more than half.
_NOTHING = -3.0


class LocatorNetwork(nn.Module):
    """Normalised pixels to distance maps.

    Args:
        unet: From segmentation_models_pytorch, whose last decoder stage is cut off here, and whose head is ours.
    """

    def __init__(self, unet: "Unet") -> None:
        super().__init__()
        self._frozen: tuple[nn.Module, ...] = ()
        self.encoder = unet.encoder
        self.decoder = unet.decoder
        self.decoder.blocks = self.decoder.blocks[: len(DECODER_CHANNELS)]
        for module in self.decoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _MOMENTUM
        self.head = nn.Conv2d(DECODER_CHANNELS[-1], 1, kernel_size=3, padding=1)
        nn.init.constant_(cast("Tensor", self.head.bias), _NOTHING)
        _fix_padding(self)

    def freeze_first_stages(self) -> None:
        """Leave the encoder's first stages, down to a quarter of the size, as the weights have them.

        What they see, edges and textures, is the same in trays as elsewhere, and as they are the largest maps, learning
        them took a third of a step's time. Encoders that do not call their stages as EfficientNets do learn throughout.
        """
        model = self.encoder.model
        stages = [getattr(model, name) for name in ("conv_stem", "bn1") if hasattr(model, name)]
        stages += list(getattr(model, "blocks", ()))[:_FROZEN_BLOCKS]
        self._frozen = tuple(stages)
        for stage in stages:
            stage.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Switch to training or evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits of the distance map `[B, 1, h / 2, w / 2]` of pixels `[B, 3, h, w]`, multiples of 32."""
        return self.head(self.decoder(self.encoder(pixels)))


def describe_encoder(name: str) -> Backbone:
    """Look up an encoder and the normalisation it was trained with.

    Args:
        name: Name of a timm model.

    Raises:
        InputError: If timm has no such model, or it is none that halves the picture five times.
    """
    return describe_backbone(name, image_size=(_TRIED_PX, _TRIED_PX))


def build_network(encoder: str, weights: Weights | None = None) -> LocatorNetwork:
    """Build the network.

    Args:
        encoder: Name of a timm model.
        weights: Of the encoder; None leaves it as it is initialised, for weights of the whole network to come.

    Raises:
        InputError: If the encoder does not fit a U-Net, or the weights do not fit the encoder.
    """
    from segmentation_models_pytorch import Unet

    try:
        unet: Any = Unet(
            f"tu-{encoder}",
            encoder_weights=None,
            encoder_depth=_STAGES,
            decoder_channels=(*DECODER_CHANNELS, DECODER_CHANNELS[-1]),
        )
        network = LocatorNetwork(unet)
        with torch.no_grad():
            found = network.eval()(torch.zeros(1, 3, _TRIED_PX, _TRIED_PX)).shape
    except (RuntimeError, ValueError, AttributeError, TypeError, IndexError, KeyError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InputError(f"encoder {encoder} does not fit a U-Net ({reason}); choose a convolutional one") from error
    if tuple(found) != (1, 1, _TRIED_PX // MAP_STRIDE, _TRIED_PX // MAP_STRIDE):
        raise InputError(f"encoder {encoder} does not halve the picture five times; choose another one")
    if weights is not None:
        load_weights(network.encoder.model, weights)
    return network


def _fix_padding(module: nn.Module) -> None:
    """Replace TensorFlow's padding, computed for each picture's size, by that of even sizes; ours are always even.

    An exported graph then has no arithmetic on shapes in every second layer.
    """
    from timm.layers import Conv2dSame

    for name, child in module.named_children():
        if isinstance(child, Conv2dSame):
            setattr(module, name, _EvenConvolution(child))
        else:
            _fix_padding(child)


class _EvenConvolution(nn.Conv2d):
    """`timm.layers.Conv2dSame` for inputs of even sizes: more padding to the right and below where it is uneven.

    Args:
        convolution: What is replaced; its weight is kept under its name.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            _square(convolution.kernel_size),
            _square(convolution.stride),
            groups=convolution.groups,
            dilation=_square(convolution.dilation),
            bias=convolution.bias is not None,
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        total = (self.kernel_size[0] - 1) * self.dilation[0] + 1 - self.stride[0]
        self.before, self.after = total // 2, total - total // 2

    def forward(self, values: Tensor) -> Tensor:
        """Pad and convolve."""
        return super().forward(nn.functional.pad(values, (self.before, self.after, self.before, self.after)))


def _square(pair: tuple[int, ...]) -> tuple[int, int]:
    return int(pair[0]), int(pair[1])
