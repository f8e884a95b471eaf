"""Opens a camera, whatever its address."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nut_runtime.cameras.address import Kind, parse_address
from nut_runtime.cameras.base import Device
from nut_runtime.cameras.camera_settings import apply_settings, unsettable
from nut_runtime.cameras.mjpeg import MjpegDevice
from nut_runtime.cameras.opencv_device import OpenCvDevice
from nut_runtime.cameras.played import DEFAULT_FPS, PlayedDevice
from nut_runtime.station_file.config import CameraSettings

__all__ = ["OpenDevice", "Opener", "open_device"]

_LEAST_TIMEOUT_S = 2.0
_FRAMES_TO_WAIT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDevice:
    """A device and what is to know of it.

    Attributes:
        device: The device. It may have attributes besides: `taken_at`, when its last frame was taken, in seconds of
            `time.monotonic` or None; `source`, the file that it is from; `passed_over`, frames that it gave to nobody.
        notes: What the camera refused or changed, one line each.
        is_played: Whether it plays files: then the same picture twice means nothing, and pictures have many sizes.
    """

    device: Device
    notes: tuple[str, ...] = ()
    is_played: bool = False


Opener = Callable[[str, CameraSettings], OpenDevice]


def open_device(address: str, settings: CameraSettings) -> OpenDevice:
    """Open a camera and set it up.

    Args:
        address: As in `CameraConfig.address`.
        settings: What is asked of it. `fps` also says how long a frame may take: three of its periods, at least 2 s.

    Raises:
        InputError: If the address can never be opened here.
        SourceError: If the camera is not there, or another program has it. An MJPEG stream says so in its first `read`.
    """
    parsed = parse_address(address)
    timeout_s = max(_LEAST_TIMEOUT_S, _FRAMES_TO_WAIT / settings.fps if settings.fps else 0.0)
    if parsed.kind is Kind.FILES:
        played = PlayedDevice(Path(parsed.target), fps=settings.fps or DEFAULT_FPS)
        return OpenDevice(device=played, is_played=True)
    if parsed.kind is Kind.MJPEG:
        device = MjpegDevice(parsed.target, timeout_s=timeout_s)
        return OpenDevice(device=device, notes=unsettable(settings, where="over http"))
    if parsed.kind is Kind.GENICAM:
        from nut_runtime.cameras.genicam import GenicamDevice

        industrial = GenicamDevice(parsed.target, settings, timeout_s=timeout_s)
        return OpenDevice(device=industrial, notes=industrial.notes)
    opened = OpenCvDevice(parsed, timeout_s=timeout_s)
    if parsed.kind is Kind.USB:
        return OpenDevice(device=opened, notes=apply_settings(opened.capture, settings))
    where = "over rtsp" if parsed.kind is Kind.RTSP else "beside a GStreamer pipeline"
    return OpenDevice(device=opened, notes=unsettable(settings, where=where))
