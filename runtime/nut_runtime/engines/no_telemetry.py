"""OpenVINO, imported without its telemetry."""

import sys
from types import ModuleType

__all__ = ["import_openvino"]

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO so that it reports to nobody.

    `import openvino` by itself sends an event to Google Analytics from a child process, and waits for it up to
    three seconds where the network swallows packets, as a plant's does. Without its telemetry package OpenVINO
    falls back to a stub that does nothing; so the package is hidden while OpenVINO is imported.

    Raises:
        ImportError: If OpenVINO is not installed, or does not load.
    """
    if _TELEMETRY in sys.modules:  # somebody else's choice, made before us
        import openvino

        return openvino
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # makes `import openvino_telemetry` fail
    try:
        import openvino
    finally:
        del sys.modules[_TELEMETRY]
    return openvino
