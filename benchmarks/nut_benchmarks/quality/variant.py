"""A way to set PatchCore up, and the ones that were tried."""

from dataclasses import dataclass, replace

from nut_train.config import DEFAULT_BACKBONE

__all__ = ["TRIED", "Variant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to set PatchCore up.

    Attributes:
        name: What differs, for the table.
        option: How `nut train` is asked for it; empty where it is not offered.
        backbone: A timm model.
        side_px: Side of the square input.
        layers: Its feature maps, numbered as timm does, finest first; 2 and 3 have strides 8 and 16.
        pool: Side of the neighbourhood whose features are averaged, odd.
        scale: What is done with features before they are compared: `none`, `standardise` (each channel by its spread),
            `balance` (each layer by its spread), `whiten-layers` or `whiten`.
        shrinkage: Of whitening, as `nut_train.whitening`.
        ratio: Share of patches in the bank.
        turns: Quarter turns of each picture in the bank, 1 or 4.
        also_px: Side of a second input with a bank of its own, whose scores are added; 0 for none.
    """

    name: str
    option: str = ""
    backbone: str = DEFAULT_BACKBONE
    side_px: int = 256
    layers: tuple[int, ...] = (2, 3)
    pool: int = 3
    scale: str = "none"
    shrinkage: float = 0.01
    ratio: float = 0.01
    turns: int = 1
    also_px: int = 0


_PLAIN = Variant(name="as anomalib does", option="(default)")
_WHITE = replace(_PLAIN, name="whitened", option="--whiten", scale="whiten")

TRIED: tuple[Variant, ...] = (
    _PLAIN,
    replace(_PLAIN, name="channels standardised", option="", scale="standardise"),
    replace(_PLAIN, name="layers balanced", option="", scale="balance"),
    replace(_PLAIN, name="each layer whitened", option="", scale="whiten-layers"),
    _WHITE,
    replace(_WHITE, name="whitened, shrinkage 0.001", option="", shrinkage=0.001),
    replace(_WHITE, name="whitened, shrinkage 0.1", option="", shrinkage=0.1),
    replace(_WHITE, name="whitened, neighbourhood 1", option="", pool=1),
    replace(_WHITE, name="whitened, neighbourhood 5", option="", pool=5),
    replace(_WHITE, name="whitened, stride 8 alone", option="--whiten --layers blocks.2", layers=(2,)),
    replace(_WHITE, name="whitened, stride 16 alone", option="--whiten --layers blocks.4", layers=(3,)),
    replace(
        _WHITE,
        name="whitened, strides 8 to 32",
        option="--whiten --layers blocks.2,blocks.4,blocks.6",
        layers=(2, 3, 4),
    ),
    replace(_WHITE, name="whitened, 5% bank", option="--whiten --coreset-ratio 0.05", ratio=0.05),
    replace(_WHITE, name="whitened, quarter turns in the bank", option="", turns=4),
    replace(_PLAIN, name="320 px", option="--image-size 320", side_px=320),
    replace(_WHITE, name="whitened, 320 px", option="--whiten --image-size 320", side_px=320),
    replace(_WHITE, name="whitened, 384 px", option="--whiten --image-size 384", side_px=384),
    replace(_WHITE, name="whitened, 256 px and 384 px together", option="", also_px=384),
    replace(_WHITE, name="whitened, 512 px", option="--whiten --image-size 512", side_px=512),
    replace(_PLAIN, name="MobileNetV2", option="--backbone mobilenetv2_100", backbone="mobilenetv2_100"),
    replace(
        _WHITE, name="MobileNetV2, whitened", option="--backbone mobilenetv2_100 --whiten", backbone="mobilenetv2_100"
    ),
    replace(
        _WHITE,
        name="Lite2, whitened",
        option="--backbone tf_efficientnet_lite2 --whiten",
        backbone="tf_efficientnet_lite2",
    ),
)
"""What was tried, in the order of the table."""
