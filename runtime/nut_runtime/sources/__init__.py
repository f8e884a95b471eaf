"""Where frames come from: pictures, videos and cameras behind one interface."""

from nut_runtime.sources.base import Frame, Source
from nut_runtime.sources.camera import CameraSource
from nut_runtime.sources.pictures import PictureSource
from nut_runtime.sources.video import VIDEO_EXTENSIONS, VideoSource, open_files
from nut_runtime.sources.watch import WatchSource

__all__ = [
    "VIDEO_EXTENSIONS",
    "CameraSource",
    "Frame",
    "PictureSource",
    "Source",
    "VideoSource",
    "WatchSource",
    "open_files",
]
