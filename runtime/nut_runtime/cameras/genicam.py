"""Industrial cameras (GigE Vision, USB3 Vision, ...) through their maker's GenTL producer, by `harvesters`."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.faults import BrokenFrameError
from nut_runtime.errors import InputError, SourceError
from nut_runtime.opencv import quiet_opencv
from nut_runtime.station_file.config import CameraSettings

__all__ = ["GenicamDevice"]

PRODUCERS_VARIABLE = "GENICAM_GENTL64_PATH"

# Waiting in the producer holds Python's lock, and with it every other camera; so it is asked, and not waited for.
_ASK_S, _REST_S = 2e-5, 2e-3
_LOOK_MS = 1000
_TOLERANCE = 0.01

_CONVERSIONS = {
    "Mono8": "COLOR_GRAY2BGR",
    "BGR8": None,
    "RGB8": "COLOR_RGB2BGR",
    "RGBa8": "COLOR_RGBA2BGR",
    "BGRa8": "COLOR_BGRA2BGR",
    "BayerRG8": "COLOR_BayerRGGB2BGR",
    "BayerGR8": "COLOR_BayerGRBG2BGR",
    "BayerGB8": "COLOR_BayerGBRG2BGR",
    "BayerBG8": "COLOR_BayerBGGR2BGR",
}

_harvesters: dict[str, Any] = {}  # by producer, which a process may load once
_lock = threading.Lock()  # guards them; their methods are not for several threads


class GenicamDevice:
    """A camera behind a GenTL producer.

    Args:
        target: `PRODUCER.cti#ID`. Without the producer, those in the folders of `$GENICAM_GENTL64_PATH`; without the ID
            (id, serial number or user-defined name), the first camera.
        settings: What is asked of it, by the standard's names (SFNC): exposure in microseconds, gain in its own unit.
        timeout_s: How long a frame may take.

    Attributes:
        notes: What it refused or changed.

    Raises:
        InputError: If `harvesters` or the producer is missing.
        SourceError: If the camera is not there or in use.
    """

    def __init__(self, target: str, settings: CameraSettings, *, timeout_s: float) -> None:
        producer, _, self._id = target.partition("#")
        self._shown = f"camera genicam: {target}"
        self._timeout_s = timeout_s
        self._closed = threading.Event()
        self._in_use = threading.Lock()
        self._acquirer: Any = None
        try:
            from genicam import genapi, gentl
        except ImportError as error:
            raise InputError('harvesters is not installed; run: pip install "nut-runtime[genicam]"') from error

        self._errors: tuple[type[Exception], ...] = (gentl.GenericException, genapi.GenericException, AttributeError)
        with _lock:
            self._acquirer = self._open(_harvester(_producer(producer)))
        try:
            nodes = self._acquirer.remote_device.node_map
            self.notes = tuple(_apply(nodes, settings, self._errors))
            self._acquirer.timeout_period_on_update_event_data_call = 0
            self._acquirer.start()
        except self._errors as error:
            self._let_go()
            raise SourceError(f"{self._shown} cannot be set up: {error}") from error

    def read(self) -> NDArray[np.uint8]:
        """Wait for the next frame and return it: uint8 `[H, W, 3]`, BGR.

        Raises:
            BrokenFrameError: If its pixels are of a kind that is not judged.
            SourceError: If the camera is gone.
        """
        deadline = time.monotonic() + self._timeout_s
        with self._in_use:
            try:
                while not self._closed.wait(_REST_S):
                    buffer = self._acquirer.try_fetch(timeout=_ASK_S)
                    if buffer is not None:
                        try:
                            return self._picture(buffer.payload.components[0])
                        finally:
                            buffer.queue()
                    if time.monotonic() > deadline:
                        raise SourceError(f"{self._shown} gives no frame within {self._timeout_s:g} s")
            except self._errors as error:
                raise SourceError(f"{self._shown} cannot be read: {error}") from error
            finally:
                if self._closed.is_set():
                    self._let_go()
        raise SourceError(f"{self._shown} is closed")

    def close(self) -> None:
        """Let go; safe to call twice and from another thread, whose `read` it ends."""
        self._closed.set()
        if self._in_use.acquire(timeout=0.5):
            try:
                self._let_go()
            finally:
                self._in_use.release()

    def _let_go(self) -> None:
        acquirer, self._acquirer = self._acquirer, None
        if acquirer is not None:
            with _lock, suppress(*self._errors):  # a camera that is gone cannot be told to stop
                acquirer.destroy()
                # It holds itself alive by a method of its own, and with it the camera's description.
                acquirer._finalizer.detach()  # noqa: SLF001 - the version is bounded for it

    def _open(self, harvester: Any) -> Any:
        """Return the acquirer of the camera that is meant."""
        try:
            found = _look_again(harvester)
            for number, info in enumerate(found):
                names = (info.get("id_"), info.get("serial_number"), info.get("user_defined_name"))
                if not self._id or self._id in names:
                    return _create(harvester, number)
        except self._errors as error:
            raise SourceError(f"{self._shown} does not open: {error}") from error
        there = ", ".join(str(info.get("id_")) for info in found) or "none"
        raise SourceError(f"{self._shown} is not there (the producer sees {there}); check its power, cable and ID")

    def _picture(self, component: Any) -> NDArray[np.uint8]:
        kind = str(component.data_format)
        if kind not in _CONVERSIONS:
            known = ", ".join(_CONVERSIONS)
            raise BrokenFrameError(f"{self._shown} gives {kind} pixels; set its PixelFormat to one of {known}")
        height, width, channels = component.height, component.width, int(component.num_components_per_pixel)
        rows = component.data.reshape(height, -1)[:, : width * channels]  # they may be padded
        raw = np.ascontiguousarray(rows).reshape(height, width, channels)
        conversion = _CONVERSIONS[kind]
        if conversion is None:
            return raw.copy()  # the buffer goes back to the camera
        cv2 = quiet_opencv()
        picture: NDArray[np.uint8] = cv2.cvtColor(raw, getattr(cv2, conversion))
        return picture


def _producer(path: str) -> str:
    """Return the producer's file."""
    given = path.strip()
    if not given:
        folders = [Path(folder) for folder in os.environ.get(PRODUCERS_VARIABLE, "").split(os.pathsep) if folder]
        found = sorted(file for folder in folders for file in folder.glob("*.cti"))
        if len(found) != 1:
            raise InputError(
                f"${PRODUCERS_VARIABLE} holds {len(found)} GenTL producers; name one, as in genicam: /opt/maker.cti"
            )
        given = str(found[0])
    if not Path(given).is_file():
        raise InputError(f"the GenTL producer {given} does not exist; install the camera maker's driver")
    return os.path.realpath(given)


def _harvester(producer: str) -> Any:
    from harvesters.core import Harvester

    if producer not in _harvesters:
        harvester = Harvester()
        harvester.add_file(producer)
        harvester.update()
        _harvesters[producer] = harvester
    return _harvesters[producer]


def _look_again(harvester: Any) -> list[dict[str, Any]]:
    """Return what the cameras that are there now say of themselves, in the order of `Harvester.create`.

    `Harvester.update` would look too, but closes those that are open; so each interface is asked by itself.
    """
    from harvesters.core import DeviceInfo

    infos = harvester.device_info_list
    infos.clear()
    for interface in harvester._ifaces:  # noqa: SLF001 - see above; the version is bounded for it
        interface.module.update_device_info_list(_LOOK_MS)
        infos += [DeviceInfo(module=info, parent=interface) for info in interface.module.device_info_list]
    return [info.property_dict for info in infos]


def _create(harvester: Any, number: int) -> Any:
    """Open a camera, and undo that harvesters takes Ctrl-C for itself in the main thread."""
    before = signal.getsignal(signal.SIGINT)
    try:
        return harvester.create(number)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _apply(nodes: Any, settings: CameraSettings, errors: tuple[type[Exception], ...]) -> Iterator[str]:
    """Set a camera's features by the names of the standard (SFNC); give a note for each that it refused or changed."""
    wanted: tuple[tuple[str, tuple[str, ...], float | None, tuple[tuple[str, Any], ...]], ...] = (
        ("width", ("Width",), settings.width_px, ()),
        ("height", ("Height",), settings.height_px, ()),
        ("fps", ("AcquisitionFrameRate",), settings.fps, (("AcquisitionFrameRateEnable", True),)),
        ("exposure", ("ExposureTime", "ExposureTimeAbs"), settings.exposure, (("ExposureAuto", "Off"),)),
        ("gain", ("Gain", "GainRaw"), settings.gain, (("GainAuto", "Off"),)),
    )
    for name, features, asked, switches in wanted:
        if asked is None:
            continue
        for switch, value in switches:
            with suppress(*errors):  # most cameras lack one or the other
                getattr(nodes, switch).value = value
        feature = next((one for one in features if nodes.has_node(one)), None)
        if feature is None:
            yield f"{name} {asked:g} refused, it has none"
            continue
        node = getattr(nodes, feature)
        try:
            node.value = asked if isinstance(node.value, float) else int(asked)
        except errors as error:
            yield f"{name} {asked:g} refused, it is {node.value:g} ({error})"
            continue
        if abs(node.value - asked) > _TOLERANCE * max(1.0, abs(asked)):
            yield f"{name} {asked:g} asked, {node.value:g} set"
    for name, asked in (("white balance", settings.white_balance_k), ("focus", settings.focus)):
        if asked is not None:
            yield f"{name} cannot be set through GenICam; set it in the camera itself"
