"""OpenCV, imported late and kept quiet."""

import os
from types import ModuleType

__all__ = ["quiet_opencv"]


def quiet_opencv() -> ModuleType:
    """Import OpenCV with its own chatter on stderr silenced; what goes wrong we say ourselves, in one line.

    The import is late because it takes a tenth of a second that `import nut_runtime` need not.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET, read when the first video opens
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
