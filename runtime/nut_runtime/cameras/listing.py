"""Which cameras there are, and what their pictures look like."""

import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nut_runtime.cameras.address import parse_address
from nut_runtime.cameras.devices import Opener, open_device
from nut_runtime.cameras.quality import measure
from nut_runtime.claims import claim
from nut_runtime.errors import NutError
from nut_runtime.station_file.config import CameraSettings

__all__ = ["SeenCamera", "list_cameras", "look_at"]

_SYSFS = Path("/sys/class/video4linux")
_PROBED = 5  # numbers, where the operating system does not say which there are
_FRAMES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCamera:
    """A camera and one look through it.

    Attributes:
        address: What `--camera` takes.
        path: Its device, where there is one.
        name: What it calls itself.
        width_px: Width of its frames.
        height_px: Height of its frames.
        fps: Frames a second, measured.
        brightness: Mean grey level of its last frame, 0 to 255.
        sharpness: Variance of the Laplacian of it.
        notes: What it refused or changed of its settings.
        error: Why there is no frame of it; empty where there is.
    """

    address: str
    path: str = ""
    name: str = ""
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    brightness: float | None = None
    sharpness: float | None = None
    notes: tuple[str, ...] = ()
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self) | {"notes": list(self.notes)}


def list_cameras(*, sysfs: Path = _SYSFS, opener: Opener = open_device) -> list[SeenCamera]:
    """Return the cameras of this computer, by number; those that give no frame with the reason.

    Args:
        sysfs: Where Linux says which there are.
        opener: Opens each.
    """
    settings = CameraSettings()
    if not sys.platform.startswith("linux"):
        seen = [look_at(str(number), settings, opener=opener) for number in range(_PROBED)]
        return [one for one in seen if not one.error]
    found = []
    for node in sorted(sysfs.glob("video*"), key=lambda node: (len(node.name), node.name)):
        one = look_at(
            node.name.removeprefix("video"),
            settings,
            path=f"/dev/{node.name}",
            name=_line_of(node / "name"),
            opener=opener,
        )
        # A camera has further nodes, for what is no picture.
        if not one.error or _line_of(node / "index") in {"", "0"}:
            found.append(one)
    return found


def look_at(
    address: str, settings: CameraSettings, *, path: str = "", name: str = "", opener: Opener = open_device
) -> SeenCamera:
    """Open a camera, throw its warm-up frames away and look at ten.

    Args:
        address: As in `CameraConfig.address`.
        settings: What is asked of it.
        path: Its device, to be shown.
        name: Its name, to be shown.
        opener: Opens it.
    """
    shown = address
    try:
        parsed = parse_address(address)
        shown = parsed.shown
        with ExitStack() as stack:
            if parsed.claim_name is not None:
                stack.enter_context(claim(parsed.claim_name, what=f"camera {parsed.shown}"))
            opened = opener(address, settings)
            stack.callback(opened.device.close)
            for _ in range(0 if opened.is_played else settings.warm_up_frames):
                opened.device.read()
            frame = opened.device.read()
            began = time.monotonic()
            for _ in range(_FRAMES):
                frame = opened.device.read()
            seconds = time.monotonic() - began
    except NutError as error:
        return SeenCamera(address=shown, path=path, name=name, error=str(error))
    quality = measure(frame)
    return SeenCamera(
        address=shown,
        path=path,
        name=name,
        width_px=frame.shape[1],
        height_px=frame.shape[0],
        fps=round(_FRAMES / max(seconds, 1e-9), 1),
        brightness=round(quality.brightness, 1),
        sharpness=round(quality.sharpness, 1),
        notes=opened.notes,
    )


def _line_of(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
