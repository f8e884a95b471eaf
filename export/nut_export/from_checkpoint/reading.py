"""A Lightning checkpoint, read without running anything that is in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from nut_runtime.errors import InputError
from nut_train.digests import digest

__all__ = ["BANK", "Contents", "read_checkpoint"]

BANK = "model.memory_bank"
_BACKBONE = "model.feature_extractor.feature_extractor."
_BLUR = "model.anomaly_map_generator."
_LEAST_ROWS = 2  # of a single vector anomalib's weight makes every score zero
_NAMED = 3  # pickled classes that a message names at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a PatchCore checkpoint holds: tensors, and settings that are plain data.

    Attributes:
        path: The file.
        sha256: Its digest.
        state: Tensors by name, on the CPU.
        settings: Everything else, by Lightning's and anomalib's keys.
    """

    path: Path
    sha256: str
    state: dict[str, Tensor]
    settings: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """What the model was built with, as Lightning keeps it."""
        return self.table("hyper_parameters") or {}

    def table(self, key: str) -> dict[str, Any] | None:
        """Return the settings below `key`; None where the checkpoint has none, as older ones do.

        Raises:
            InputError: If there is something else.
        """
        value = self.settings.get(key)
        if value is not None and not isinstance(value, dict):
            raise InputError(f"{self.path} has {type(value).__name__} for {key}, expected a table; save it anew")
        return value


def read_checkpoint(path: Path) -> Contents:
    """Read a checkpoint of anomalib's PatchCore.

    Besides tensors and plain data one class is let through, `anomalib.PrecisionType`, which every checkpoint of
    anomalib 2 holds among its arguments. It is an enumeration of two texts: all that unpickling can do with it is to
    look one of them up and to hang plain data on it, neither of which runs code. torch refuses every other global
    before anything is built from it.

    Raises:
        InputError: If the file is missing, broken, holds other objects, or is of another model.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the .ckpt that anomalib's Engine wrote")
    sha256 = digest(path)
    from anomalib import PrecisionType

    with safe_globals([PrecisionType]):
        try:
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch's own message would advise to unpickle it all the same
            raise InputError(_why_unreadable(path)) from error
    state = content.pop("state_dict", None) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path} is not a Lightning checkpoint (state_dict is missing); give the .ckpt of anomalib's")
    contents = Contents(path=path, sha256=sha256, state=dict(state), settings=content)
    _check_state(contents)
    return contents


def _why_unreadable(path: Path) -> str:
    """Return what keeps a file from being read; its pickle is scanned for names, not run."""
    try:
        found = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no checkpoint
        found = []
    if not found:
        return f"{path} is broken, or no checkpoint; copy the .ckpt of anomalib's once more"
    named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
    return (
        f"{path} holds pickled objects ({named}), which are not read since they can run code; "
        "where you trust it, load it with anomalib 2.7 and save it anew"
    )


def _check_state(contents: Contents) -> None:
    """Refuse the tensors of another model, and a memory bank that nothing can be found in."""
    path, state = contents.path, contents.state
    known = (BANK, _BACKBONE, _BLUR)
    foreign = [name for name in state if name.startswith("model.") and not name.startswith(known)]
    if foreign or BANK not in state or not any(name.startswith(_BACKBONE) for name in state):
        reason = f"it has {foreign[0]}" if foreign else "it has no memory bank and backbone"
        raise InputError(f"{path} is of another model than PatchCore ({reason}); only PatchCore can be exported")
    bank = state[BANK]
    if bank.ndim != 2 or len(bank) < _LEAST_ROWS:  # noqa: PLR2004
        raise InputError(
            f"{path} has a memory bank of shape {list(bank.shape)}, expected at least {_LEAST_ROWS} rows; "
            "its training did not finish, train it again"
        )
    for name, tensor in state.items():
        if not name.startswith("model.") or not tensor.is_floating_point():
            continue
        if tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{path} was trained in {kind}, only float32 can be exported exactly; train it in float32")
        if not tensor.isfinite().all():
            raise InputError(f"{path} has values in {name} that are no numbers; train it again")
