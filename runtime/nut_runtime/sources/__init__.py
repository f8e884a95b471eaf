"""Where frames come from: pictures, videos and cameras behind one interface."""

from nut_runtime.sources.base import Frame, Source
from nut_runtime.sources.pictures import PictureSource
from nut_runtime.sources.video import VIDEO_EXTENSIONS, VideoSource, open_files
from nut_runtime.sources.watch import WatchSource

__all__ = [
    "VIDEO_EXTENSIONS",
    "Frame",
    "PictureSource",
    "Source",
    "VideoSource",
    "WatchSource",
    "open_files",
]
