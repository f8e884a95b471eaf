"""ONNX Runtime, imported without its telemetry."""

import os
from types import ModuleType

__all__ = ["import_onnxruntime"]


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime so that it reports to nobody.

    Since 1.29 its Linux and macOS builds write a device identifier and a database below the user's cache folder, and
    send what they gathered to their maker from a thread of their own, which can take the process down with it (SIGSEGV,
    microsoft/onnxruntime#32173). `disable_telemetry_events` comes too late for all of that; the variable is read once,
    while the module loads. One that the user has set is left alone.

    Raises:
        ImportError: If ONNX Runtime is not installed, or does not load.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if os.environ["ORT_DISABLE_TELEMETRY"] == "1":
        onnxruntime.disable_telemetry_events()  # its Windows builds do not know the variable
    return onnxruntime
