"""Frames to verdicts in their order, one after the other or several at a time."""

import itertools
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from nut_runtime.errors import PictureError, SourceError
from nut_runtime.inspector import Inspector
from nut_runtime.sources import Frame, Source
from nut_runtime.verdict import Verdict

__all__ = ["Judged", "judge_in_order"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A frame and what became of it.

    Attributes:
        sequence: Its number, from 1.
        frame: The frame.
        verdict: What was said of it; None where it could not be judged.
        error: Why it could not.
        milliseconds: From the frame to the verdict.
    """

    sequence: int
    frame: Frame
    verdict: Verdict | None
    error: PictureError | None
    milliseconds: float


def judge_in_order(
    source: Source, inspector: Inspector, *, streams: int = 1, limit: int | None = None
) -> Iterator[Judged]:
    """Judge the frames of a source, and hand them out in the order they came in.

    With several streams, that many frames are judged at the same time: more parts a second, each of them later.

    Args:
        source: Where frames come from.
        inspector: Judges them; loaded for as many streams.
        streams: Frames to judge at a time.
        limit: Frames to look at, at most.

    Raises:
        SourceError: If the source breaks off, after everything before it was handed out.
        EngineError: If the engine fails.
    """
    frames = itertools.islice(iter(source), limit)
    numbered = ((sequence, frame) for sequence, frame in enumerate(frames, start=1))
    warmed = _Once()
    if streams == 1:
        for sequence, frame in numbered:
            warmed.warm_up(inspector, frame)
            yield _judge(sequence, frame, inspector)
        return
    broken: SourceError | None = None
    with ThreadPoolExecutor(streams, thread_name_prefix="judge") as pool:
        pending: deque[Future[Judged]] = deque()
        try:
            for sequence, frame in numbered:
                warmed.warm_up(inspector, frame)
                pending.append(pool.submit(_judge, sequence, frame, inspector))
                if len(pending) > streams:  # one more than are judged, so that none waits for the next frame
                    yield pending.popleft().result()
        except SourceError as error:
            broken = error
        while pending:
            yield pending.popleft().result()
    if broken is not None:
        raise broken


class _Once:
    """Warms the engine up with the size of the first frame that there is."""

    def __init__(self) -> None:
        self._is_done = False

    def warm_up(self, inspector: Inspector, frame: Frame) -> None:
        if not self._is_done and frame.picture is not None:
            with suppress(PictureError):  # of a size that the bundle does not take: `_judge` is told so as well
                inspector.warm_up(*frame.picture.shape[:2])  # the engine prepares for a frame's very size
                self._is_done = True


def _judge(sequence: int, frame: Frame, inspector: Inspector) -> Judged:
    started = time.perf_counter()
    verdict, error = None, None
    if frame.picture is None:
        error = PictureError(str(frame.error))
    else:
        try:
            verdict = inspector.inspect(frame.picture)
        except PictureError as reason:
            error = reason
    spent = (time.perf_counter() - started) * 1e3
    return Judged(sequence=sequence, frame=frame, verdict=verdict, error=error, milliseconds=spent)
