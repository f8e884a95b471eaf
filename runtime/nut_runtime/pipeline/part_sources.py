"""Where parts come from: files, a camera that runs freely, or cameras that are triggered together."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from nut_runtime.cameras.base import Camera
from nut_runtime.parts import Part, Trigger
from nut_runtime.sources.base import Frame, Source
from nut_runtime.triggers.base import TriggerSource
from nut_runtime.verdict import Reason

__all__ = ["FileParts", "FreeParts", "PartSource", "TriggeredParts"]

_REPEAT_AFTER_S = 10.0
"""A camera that is away, dark or frozen is recorded so often, where nobody triggers and waits for an answer."""


class PartSource(Protocol):
    """Gives parts until it ends; numbers them 0, since the pipeline does."""

    @property
    def count(self) -> int | None:
        """How many parts will come, where that is known."""

    def __iter__(self) -> Iterator[Part]:
        """Give parts in order.

        Raises:
            SourceError: If the source breaks off.
        """

    def stop(self) -> None:
        """Make the iteration end soon; called from another thread."""

    def close(self) -> None:
        """Let go of what is open; after the iteration ended, or in its stead."""


class FileParts:
    """Each frame of files or a watched folder is a part.

    Args:
        source: The files.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stopped = threading.Event()

    @property
    def count(self) -> int | None:
        """How many frames there are."""
        return self._source.count

    def __iter__(self) -> Iterator[Part]:
        """Give each frame as a part."""
        for frame in self._source:
            if self._stopped.is_set():
                return
            yield Part(sequence=0, trigger=Trigger(at=frame.taken_at), frames=(frame,))

    def stop(self) -> None:
        """End after the frame that is being read; a watched folder at once."""
        self._stopped.set()
        if self._source.count is None:
            self._source.close()

    def close(self) -> None:
        """Close the files."""
        self._source.close()


class FreeParts:
    """Each frame of one camera is a part, as fast as they are taken from here.

    While the camera is away, frozen, dark or blurred, one part says so each ten seconds; the frames between count as
    skipped.

    Args:
        camera: The camera; started and closed here.
        timeout_s: How long to wait for a frame before saying that there is none.
    """

    count = None

    def __init__(self, camera: Camera, timeout_s: float) -> None:
        self._camera, self._timeout_s = camera, timeout_s
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[Part]:
        """Give frames as parts until stopped."""
        self._camera.start()
        newest, unsaid = time.monotonic(), 0
        said: tuple[Reason | None, float] = (None, 0.0)
        while not self._stopped.is_set():
            frame = self._camera.frame(newer_than=newest, timeout_s=self._timeout_s)
            if self._stopped.is_set():
                return
            newest = frame.taken_at if frame.picture is not None else newest
            now = time.monotonic()
            if frame.reason is not None and frame.reason is said[0] and now - said[1] < _REPEAT_AFTER_S:
                unsaid += frame.picture is not None
                continue
            said = (frame.reason, now)
            skipped, unsaid = self._camera.skipped() + unsaid, 0
            yield Part(sequence=0, trigger=Trigger(at=frame.taken_at), frames=(frame,), skipped=skipped)

    def stop(self) -> None:
        """End at once."""
        self._stopped.set()
        self._camera.ask_to_close()

    def close(self) -> None:
        """Let go of the camera."""
        self._camera.close()


class TriggeredParts:
    """Each trigger is a part, with one frame of every camera taken after it.

    Args:
        cameras: In the order of the views.
        groups: The group of each; those of one group look at the same time, group after group in rising order.
        timeouts_s: How long each may take to give a frame.
        triggers: What announces the parts.
    """

    count = None

    def __init__(
        self,
        cameras: Sequence[Camera],
        groups: Sequence[int],
        timeouts_s: Sequence[float],
        triggers: TriggerSource,
    ) -> None:
        self._cameras, self._groups, self._timeouts_s = tuple(cameras), tuple(groups), tuple(timeouts_s)
        self._triggers = triggers

    def __iter__(self) -> Iterator[Part]:
        """Give a part for each trigger."""
        for camera in self._cameras:
            camera.start()
        with ThreadPoolExecutor(len(self._cameras), thread_name_prefix="look") as pool:
            for trigger in self._triggers:
                frames: dict[int, Frame] = {}
                since = trigger.at
                for group in sorted(set(self._groups)):
                    members = [place for place, one in enumerate(self._groups) if one == group]
                    looks = [pool.submit(self._look, place, since) for place in members]
                    frames |= {place: look.result() for place, look in zip(members, looks, strict=True)}
                    since = time.monotonic()
                yield Part(
                    sequence=0,
                    trigger=trigger,
                    frames=tuple(frames[place] for place in range(len(self._cameras))),
                    skipped=0,
                )

    def _look(self, place: int, since: float) -> Frame:
        return self._cameras[place].frame(newer_than=since, timeout_s=self._timeouts_s[place])

    def stop(self) -> None:
        """Take no more triggers."""
        self._triggers.stop()

    def close(self) -> None:
        """Let go of the cameras."""
        with suppress(Exception):
            self._triggers.stop()
        for camera in self._cameras:  # all of them first: each may take most of a second
            camera.ask_to_close()
        for camera in self._cameras:
            camera.close()
