"""OpenVINO, imported without its telemetry and with a bound on what it keeps."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from nut_runtime.engines.signal_stack import kept_signal_stack

__all__ = ["hidden_telemetry", "import_openvino", "new_core"]

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO so that it reports to nobody.

    `import openvino` by itself sends an event to Google Analytics from a child process, and waits for it up to
    three seconds where the network swallows packets, as a plant's does. Without its telemetry package OpenVINO
    falls back to a stub that does nothing; so the package is hidden while OpenVINO is imported.

    Its CPU library keeps up to 1,024 prepared operations, of every frame size it has seen: 430 MB after 400 sizes, 670
    after 900. Bounded to 64 it stays at 200 to 380 MB, and a frame of one size takes as long as before. The variable is
    oneDNN's, is read once, and one that the user has set is left alone.

    Raises:
        ImportError: If OpenVINO is not installed, or does not load.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    with hidden_telemetry():
        import openvino
    return openvino


def new_core() -> Any:
    """Return an `openvino.Core` that has its CPU library loaded, and has left this thread's signal stack alone.

    Raises:
        ImportError: If OpenVINO is not installed, or does not load.
    """
    core = import_openvino().Core()
    with kept_signal_stack():
        core.get_property("CPU", "FULL_DEVICE_NAME")  # loads it; `compile_model` would
    return core


@contextmanager
def hidden_telemetry() -> Iterator[None]:
    """Make `import openvino_telemetry` fail for the length of a `with` block, unless somebody has imported it already.

    For packages of the OpenVINO family, which do without it then.
    """
    if _TELEMETRY in sys.modules:  # somebody else's choice, made before us
        yield
        return
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
