"""A camera that is asked for frames, whether it is there at the moment or not."""

import threading
import time
from datetime import timedelta
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from nut_runtime.cameras.address import Kind, parse_address
from nut_runtime.cameras.camera_health import CameraHealth
from nut_runtime.cameras.devices import OpenDevice, Opener, open_device
from nut_runtime.cameras.faults import reason_of
from nut_runtime.cameras.reading import ReadingThread
from nut_runtime.cameras.shots import Shot, Shots
from nut_runtime.cameras.view_limits import view_fault
from nut_runtime.claims import Claim, claim
from nut_runtime.errors import InputError, NutError, PictureError, SourceError
from nut_runtime.health import Health
from nut_runtime.sources.base import Frame, now
from nut_runtime.station_file.config import CameraConfig, CameraSettings
from nut_runtime.verdict import Reason

__all__ = ["CameraFeed"]


class CameraFeed:
    """A camera of the station (the protocol `Camera`): read by a thread of its own, and opened again when it fails.

    It is tried forever, also where it was never there, and back within 2 s of the camera's return.

    Args:
        config: The camera.
        health: Told of it as `camera NAME`, and of `camera_frames`, `camera_frames_skipped`, `camera_frames_broken` and
            `camera_reconnects`, all cameras together.
        opener: Opens it; `open_device`, unless a test has another.

    Raises:
        InputError: If its address can never be opened.
    """

    def __init__(self, config: CameraConfig, health: Health, *, opener: Opener = open_device) -> None:
        self.name = config.name
        self._config = config
        self._address = parse_address(config.address)
        self._health = health
        self._camera_health = CameraHealth(config.name, health)
        self._opener = opener
        self._thread = ReadingThread(config, self._open, self, at_end=self._release)
        self._claim: Claim | None = None
        self._is_closed = False
        self._was_open = False
        self._new = threading.Condition()  # guards what follows
        self._shots = Shots()
        self._failure: NutError | None = SourceError("it does not answer yet")  # None while frames come
        self._broken: tuple[float, NutError] | None = None  # the last frame, where it was broken, and when

    def start(self) -> None:
        """Begin to claim it, to open it and to read; returns at once.

        One that another process has is tried again until it is free, as one that is away is; `frame` and its health say
        which process has it.
        """
        if not self._thread.is_running and not self._is_closed:
            self._thread.start()

    def frame(self, *, newer_than: float, timeout_s: float) -> Frame:
        """Return the first frame that was taken after a moment; one without picture, with a reason, after the timeout.

        The last few frames are kept, so it may have been taken before the call. Where `newer_than` is the `taken_at` of
        the frame that was given last, the newest is returned, and those between count as skipped. So it is where the
        call before had the same `newer_than`, and got nothing.

        Else the first frame after `newer_than` is that of a trigger. Where it is not kept any more, the frame is STALE
        and without picture: a later one shows a later part.

        Args:
            newer_than: In seconds of `time.monotonic`: when the trigger came, or `Frame.taken_at` of the last frame.
            timeout_s: How long to wait.

        Returns:
            A frame whose `picture` is the region that is judged. What is not worth judging has a `reason`, and an
            `error` that says it in words: DARK, FROZEN and BLURRED with the picture, NO_FRAME, STALE and BROKEN
            without.
        """
        began = time.monotonic()
        skipped = 0
        with self._new:
            newest = self._shots.ask(newer_than)
            shot = self._shots.find(newer_than, newest=newest)
            is_gone = shot is not None and not newest and newer_than < self._shots.gone_at
            if shot is None:
                first = self._shots.wait_for(newer_than)
                while not first and not self._is_closed and (left := began + timeout_s - time.monotonic()) > 0:
                    self._new.wait(left)
                self._shots.wait_no_more(first)
                shot = self._shots.find(newer_than, newest=True) if newest else next(iter(first), None)
            if shot is not None and not is_gone:
                skipped = self._shots.give(shot)
        waited_ms = (time.monotonic() - began) * 1e3
        if shot is None:
            why, words = self._why(newer_than, timeout_s)
            if not self._is_closed:
                self._camera_health.failed(words)
            return self._no_frame(why, words, waited_ms)
        if is_gone:  # which is no fault of the camera
            late_s = time.monotonic() - newer_than
            words = f"the frame of this trigger is no longer kept; it was taken up {late_s:.1f} s late"
            return self._no_frame(Reason.STALE, words, waited_ms)
        self._health.count("camera_frames_skipped", skipped)
        reason, words = view_fault(shot.picture, self._config.limits, frozen_s=shot.frozen_s)
        self._camera_health.looked(words)
        return Frame(
            source=shot.source,
            name=PurePath(shot.source).stem if self._address.kind is Kind.FILES else self.name,
            timestamp=shot.timestamp,
            capture_ms=waited_ms,
            picture=shot.picture,
            error=PictureError(f"camera {self.name} {words}") if words else None,
            camera=self.name,
            taken_at=shot.taken_at,
            reason=reason,
        )

    def skipped(self) -> int:
        """Return how many frames came since the last call of this, and were handed to nobody.

        A frame is known to be skipped when a later one is handed out.
        """
        with self._new:
            return self._shots.skipped()

    def ask_to_close(self) -> None:
        """Tell it to stop and to let go, and do not wait until it has; a waiting `frame` returns.

        Safe to call twice, and from any thread. A driver that hangs may hold it up for half a second, once.
        """
        with self._new:
            self._is_closed = True
            self._new.notify_all()
        self._thread.ask()

    def close(self) -> None:
        """Stop reading and let go; returns within a second of being asked, and at once the second time.

        A driver that hangs keeps the camera and its claim until it returns.
        """
        self.ask_to_close()
        self._thread.close()
        self._camera_health.closed()

    def _no_frame(self, reason: Reason, words: str, waited_ms: float) -> Frame:
        return Frame(
            source=f"camera {self.name}",
            name=self.name,
            timestamp=now(),
            capture_ms=waited_ms,
            error=SourceError(f"camera {self.name}: {words}"),
            camera=self.name,
            reason=reason,
        )

    def _why(self, newer_than: float, timeout_s: float) -> tuple[Reason, str]:
        """Return why there is no frame, and the same in words."""
        with self._new:
            failure, broken, newest_at = self._failure, self._broken, self._shots.newest_at
        if self._is_closed:
            return Reason.NO_FRAME, "closed"
        if failure is not None:
            return reason_of(failure), str(failure)
        if broken is not None and broken[0] > newer_than:
            return reason_of(broken[1]), str(broken[1])
        age = "" if newest_at is None else f"; the newest is {time.monotonic() - newest_at:.1f} s old"
        return Reason.STALE, f"no frame after the trigger within {timeout_s:g} s{age}"

    # What follows is called in the camera's thread.

    def _open(self, address: str, settings: CameraSettings) -> OpenDevice:
        """Claim the camera, for as long as the thread runs, and open it.

        Raises:
            SourceError: If another process has it, naming that one, or if it does not open.
        """
        name = self._address.claim_name
        if name is not None and self._claim is None:
            try:
                self._claim = claim(name, what=f"its address {self._address.shown}")
            except InputError as error:
                raise SourceError(str(error)) from error
        return self._opener(address, settings)

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()

    def opened(self, size: tuple[int, int], notes: tuple[str, ...]) -> None:
        """It gives frames (again)."""
        if self._was_open:
            self._health.count("camera_reconnects")
        self._was_open = True
        self._camera_health.opened(size, notes)

    def came(
        self, picture: NDArray[np.uint8], *, at: float, source: str | None, passed_over: int, frozen_s: float
    ) -> None:
        """A frame came."""
        taken = now() - timedelta(seconds=time.monotonic() - at)
        with self._new:
            self._failure = self._broken = None
            self._shots.add(
                Shot(
                    number=self._shots.next_number(passed_over=passed_over),
                    taken_at=self._shots.next_moment(at),
                    timestamp=taken,
                    picture=picture,
                    source=source or f"camera {self.name}",
                    frozen_s=frozen_s,
                )
            )
            self._new.notify_all()
        self._health.count("camera_frames", 1 + passed_over)
        self._camera_health.came()

    def broken(self, error: NutError) -> None:
        """A frame came that is half or garbage."""
        with self._new:
            self._failure, self._broken = None, (time.monotonic(), error)
        self._health.count("camera_frames_broken")

    def failed(self, error: NutError) -> None:
        """It is gone, or gives nothing that is of use."""
        with self._new:
            self._failure = error
        self._camera_health.failed(str(error))
