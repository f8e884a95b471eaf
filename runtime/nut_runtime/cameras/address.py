"""What a camera's address means."""

import os
import re
import sys
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from urllib.parse import urlsplit

from nut_runtime.errors import InputError

__all__ = ["Address", "Kind", "parse_address"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_GSTREAMER = "gstreamer:"
_GENICAM = "genicam:"


class Kind(Enum):
    """How a camera is reached."""

    USB = auto()
    """A number or a path below /dev, through the operating system."""
    MJPEG = auto()
    """Over HTTP, as one JPEG picture after the other."""
    RTSP = auto()
    """Over the network, compressed as video."""
    GSTREAMER = auto()
    """A GStreamer pipeline."""
    GENICAM = auto()
    """Through the GenTL producer of its maker."""
    FILES = auto()
    """Pictures or a video, played in a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address, taken apart.

    Attributes:
        kind: How the camera is reached.
        target: What is opened: a number, path, URL or pipeline.
        shown: The same for messages and logs, without a password.
    """

    kind: Kind
    target: str
    shown: str

    @property
    def claim_name(self) -> str | None:
        """What is claimed while it is open: one name for all ways to write it; None where nobody fights for it."""
        if self.kind is Kind.FILES:
            return None
        if self.kind is Kind.USB and sys.platform != "win32":
            node = f"/dev/video{self.target}" if self.target.isdecimal() else self.target
            return f"camera {os.path.realpath(node)}"
        return f"camera {self.shown}"


def parse_address(text: str) -> Address:
    """Take an address apart, without opening anything.

    Raises:
        InputError: If it can never be opened: of an unknown kind, or a file or folder that does not exist.
    """
    text = text.strip()
    if text.isdecimal() and text.isascii():
        return Address(kind=Kind.USB, target=str(int(text)), shown=str(int(text)))
    if text.startswith("/dev/"):
        return Address(kind=Kind.USB, target=text, shown=text)
    if text.lower().startswith(_GSTREAMER):
        pipeline = text[len(_GSTREAMER) :].strip()
        if "appsink" not in pipeline:
            raise InputError(f"gstreamer: {pipeline} has no appsink at its end; add `! videoconvert ! appsink`")
        return Address(kind=Kind.GSTREAMER, target=pipeline, shown=f"gstreamer: {pipeline}")
    if text.lower().startswith(_GENICAM):
        target = text[len(_GENICAM) :].strip()
        return Address(kind=Kind.GENICAM, target=target, shown=f"genicam: {target}")
    scheme = _SCHEME.match(text)
    if scheme is not None:
        return _url(text, scheme.group(1).lower())
    if not text or not Path(text).exists():
        raise InputError(
            f"camera {text or repr(text)}: expected a number, /dev/video0, rtsp://, http://, `gstreamer: ...`, "
            "`genicam: ...`, or a picture, video or folder that exists"
        )
    return Address(kind=Kind.FILES, target=text, shown=text)


def _url(text: str, scheme: str) -> Address:
    kinds = {"http": Kind.MJPEG, "https": Kind.MJPEG, "rtsp": Kind.RTSP, "rtsps": Kind.RTSP}
    without_password = re.sub(r"//[^/?#]*@", "//", text)
    if scheme not in kinds:
        raise InputError(f"camera {without_password}: expected rtsp:// or http://, got {scheme}://")
    try:
        parts = urlsplit(text)
        if parts.hostname and (parts.port is None or parts.port > 0):
            return Address(kind=kinds[scheme], target=text, shown=without_password)
    except ValueError:  # a port that is no number, a bracket that is not closed
        pass
    raise InputError(f"camera {without_password}: expected {scheme}://HOST[:PORT]/PATH")
