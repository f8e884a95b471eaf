"""The station at work: sources, engine and outputs, each in threads of their own."""

import itertools
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from nut_runtime.errors import EngineError, SourceError
from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart, Part, View
from nut_runtime.pipeline.judge import Judge
from nut_runtime.pipeline.judge_pool import JudgePool
from nut_runtime.pipeline.keeper import Keeper
from nut_runtime.pipeline.part_queue import PartQueue, dropped
from nut_runtime.pipeline.part_sources import PartSource
from nut_runtime.pipeline.summary import Summary
from nut_runtime.pipeline.telling import Teller
from nut_runtime.records import answer_of, part_record
from nut_runtime.sinks.base import Journal, Listener
from nut_runtime.sources.base import Frame
from nut_runtime.station_file.config import WhenBusy
from nut_runtime.verdict import Label, Reason

__all__ = ["Pipeline", "Rules"]

_log = logging.getLogger("nut_runtime")

_TICK_S = 0.2
_SOURCES_S = 1.0
"""How long a source may take to end."""
_LATE_S = 0.5
"""How long to wait for what should be over."""
_DRAIN_S = 3.0
"""How long a station that is told to stop goes on judging what waits; what is left then goes without a verdict."""
_STUCK_S = 20.0

Combine = Callable[[Sequence[View]], tuple[Label, Reason | None]]


def _single(views: Sequence[View]) -> tuple[Label, Reason | None]:
    return views[0].label, views[0].reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the station decides beyond the model.

    Attributes:
        station: Its name.
        bundle: Tells the id of the model at the moment.
        combine: Makes one verdict of a part's views.
        picture: Names the picture of a part before it is written, from sequence, label and frame; None for no picture.
        watch: Looks at a judged view and returns what is not as it was when the model was calibrated.
    """

    station: str
    bundle: Callable[[], str]
    combine: Combine = _single
    picture: Callable[[int, Label, Frame], str | None] = lambda _sequence, _label, _frame: None
    watch: Callable[[View], tuple[str, ...]] = lambda _view: ()


class Pipeline:
    """Judges the parts of all sources until they end or it is told to stop.

    `run` keeps every record in all journals before it answers the trigger, and tells the listeners after that.

    Args:
        sources: Where parts come from; each has its own thread.
        judge: Judges frames.
        rules: Everything else that decides.
        journals: Keep records.
        listeners: Are told.
        when_busy: What happens to a part that comes while the queue is full.
        queue_size: Parts that wait for the engine at most.
        streams: Frames judged at a time.
        limit: Parts at most.
        is_station: Outlive failing outputs and engines, as a line needs it; otherwise they end the run.
        health: Where everything reports to.
    """

    def __init__(
        self,
        sources: Sequence[PartSource],
        judge: Judge,
        rules: Rules,
        *,
        journals: Sequence[Journal] = (),
        listeners: Sequence[Listener] = (),
        when_busy: WhenBusy = WhenBusy.WAIT,
        queue_size: int = 8,
        streams: int = 1,
        limit: int | None = None,
        is_station: bool = True,
        health: Health | None = None,
    ) -> None:
        self.health = health or Health()
        self._sources, self._judge, self._rules = tuple(sources), judge, rules
        self._journals, self._listeners = tuple(journals), tuple(listeners)
        self._queue = PartQueue(queue_size, when_busy)
        self._streams, self._limit, self._is_station = streams, limit, is_station
        self._run_id = f"{int(time.time()):x}{secrets.token_hex(3)}"
        self._numbers = itertools.count(1 + max((journal.last_sequence() for journal in journals), default=0))
        self._taken = 0
        self._numbering = threading.Lock()
        self._free = threading.Semaphore(streams + 1)  # one more than are judged, so that none waits for the next part
        self._pending: queue.SimpleQueue[tuple[Part, list[Future[View]]] | _Wake | None] = queue.SimpleQueue()
        self._capturing = len(self._sources)
        self._ended = threading.Event()  # no source has more, or enough were taken
        self._is_stopping = False
        self._is_over = False
        self._late: list[Part] = []  # taken up when the queue was closed already
        self._broken: list[SourceError] = []
        self._crash: Exception | None = None
        self._beat = time.monotonic()
        self.health.gauge("parts_waiting", lambda: float(len(self._queue)))

    def stop(self) -> None:
        """Take no more parts, judge those that wait for three seconds, and end.

        A signal handler may call it: `SimpleQueue.put` may interrupt itself, and nothing else here takes a lock.
        """
        self._is_stopping = True
        # In CPython 3.11 a signal at the very moment a timed `get` runs out makes it wait without end.
        self._pending.put(_Wake())

    @property
    def is_alive(self) -> bool:
        """Whether it makes progress; a watchdog may kill it where it does not."""
        return time.monotonic() - self._beat < _STUCK_S

    def run(
        self,
        *,
        on_part: Callable[[JudgedPart], None] | None = None,
        on_failure: Callable[[str], None] | None = None,
    ) -> Summary:
        """Judge until the sources end, the limit is reached or `stop` is called.

        Args:
            on_part: Told of each part, with a verdict or without.
            on_failure: Told of what has no verdict, of sources that broke off and records that were not kept.

        Raises:
            OutputError: If an output fails and this is no station; nothing is judged any more that could not be told.
            EngineError: If the engine fails and this is no station.
        """
        summary, started = Summary(), time.perf_counter()
        fail = on_failure or (lambda _message: None)
        keepers = [Keeper(journal, self.health, is_strict=not self._is_station) for journal in self._journals]
        tellers = [Teller(listener, self.health, is_patient=not self._is_station) for listener in self._listeners]
        pool = JudgePool(self._judge.look, self._streams)
        threads = [_thread(self._capture, source) for source in self._sources]
        threads.append(_thread(self._dispatch, pool))
        try:
            for part, looks in self._in_order(keepers, threads):
                judged = self._tell(part, _views(part, looks), keepers, tellers)
                summary.add(judged)
                if judged.label is Label.NO_VERDICT:
                    fail(judged.record["error"])
                if on_part is not None:
                    on_part(judged)
                if not self._is_station and judged.reason is Reason.FAILED:
                    raise EngineError(judged.record["error"])
            for thread in threads[:-1]:
                thread.join(_LATE_S)
            for part in self._late:
                summary.add(self._tell(part, [self._judge.look(frame) for frame in part.frames], keepers, tellers))
        finally:
            self._is_over = True
            self._queue.close(drops=True)
            self._free.release()  # the dispatcher may wait for it, where something failed
            threads[-1].join(_SOURCES_S)
            pool.close(_LATE_S)
            summary.unkept = self._close(keepers, tellers)
            summary.is_stopped = self._is_stopping
            summary.seconds = time.perf_counter() - started
        if self._crash is not None:
            raise self._crash
        for error in self._broken:
            summary.fail(str(error))
            fail(str(error))
        if summary.unkept:
            message = f"{summary.unkept} records could not be kept; see above for the output that failed"
            summary.fail(message)
            fail(message)
        return summary

    def _capture(self, source: PartSource) -> None:
        """Take parts from one source, in its thread."""
        try:
            for part in source:
                if not self._put(part):
                    break
        except SourceError as error:
            self._broken.append(error)
            self._ended.set()  # a station without one of its sources ends, so that somebody hears of it
        except Exception as error:  # noqa: BLE001 - a defect; `run` raises it after everything before it was told
            self._crash = error
            self._ended.set()
        with self._numbering:
            self._capturing -= 1
            if not self._capturing:
                self._ended.set()

    def _put(self, part: Part) -> bool:
        """Number a part and queue it; return whether there is room for another.

        The lock is held while the queue is full, so that numbers rise through it.
        """
        with self._numbering:
            if self._limit is not None and self._taken >= self._limit:
                return False
            self._taken += 1
            numbered = replace(part, sequence=next(self._numbers))
            if not self._queue.put(numbered):
                self._late.append(dropped(numbered))  # whoever triggered it is answered all the same
                return False
            if self._taken == self._limit:
                self._ended.set()
                return False
        return True

    def _dispatch(self, pool: JudgePool) -> None:
        """Hand parts from the queue to the judging threads, as many as they can take."""
        while True:
            self._free.acquire()
            part = self._queue.get()
            if part is None or self._is_over:
                self._pending.put(None)
                return
            self._pending.put((part, [pool.submit(frame) for frame in part.frames]))

    def _in_order(
        self, keepers: Sequence[Keeper], threads: Sequence[threading.Thread]
    ) -> Iterator[tuple[Part, list[Future[View]]]]:
        """Give each part once its views are judged, and see to the end of the run meanwhile."""
        ending = _Ending(self, threads)
        while True:
            self._beat = time.monotonic()
            ending.look()
            try:
                item = self._pending.get(timeout=_TICK_S)
            except queue.Empty:
                for keeper in keepers:
                    keeper.retry()
                continue
            if item is None:
                return
            if isinstance(item, _Wake):
                continue
            part, looks = item
            while wait(looks, timeout=_TICK_S).not_done:
                ending.look()
                if ending.is_overdue:  # the engine hangs
                    break
            self._free.release()
            yield part, looks

    def _tell(self, part: Part, views: list[View], keepers: Sequence[Keeper], tellers: Sequence[Teller]) -> JudgedPart:
        """Keep a part's record, answer its trigger and tell the listeners."""
        views = [replace(view, warnings=self._rules.watch(view)) for view in views]
        label, reason = self._rules.combine(views)
        spent = (time.monotonic() - part.trigger.at) * 1e3
        record = part_record(
            part,
            views,
            label,
            reason,
            run=self._run_id,
            station=self._rules.station,
            bundle=self._rules.bundle(),
            milliseconds=spent,
            picture=self._rules.picture(part.sequence, label, views[0].frame),
        )
        judged = JudgedPart(
            sequence=part.sequence,
            trigger=part.trigger,
            label=label,
            reason=reason,
            views=tuple(views),
            record=record,
            milliseconds=spent,
        )
        kept = [keeper.keep(judged) for keeper in keepers]
        judged = replace(judged, is_kept=all(kept))
        if part.trigger.answer is not None:
            _answer(part.trigger.answer, answer_of(judged))
        self.health.count(f"parts_{label.replace('-', '_')}")
        if reason is not None:
            self.health.count(f"no_verdict_{reason.replace('-', '_')}")
        for teller in tellers:
            teller.tell(judged)
        return judged

    def _close(self, keepers: Sequence[Keeper], tellers: Sequence[Teller]) -> int:
        """Close everything, whatever fails; return how many records were never kept."""
        unkept = 0
        with ExitStack() as stack:
            for source in self._sources:
                stack.callback(source.close)
            for source in self._sources:
                stack.callback(source.stop)
            for keeper in keepers:
                unkept += keeper.close()
            for teller in tellers:
                stack.callback(teller.close)
        return unkept


class _Wake:
    """Put into the queue of what is judged, to have it looked at."""


class _Ending:
    """Sees to it that a run ends: sources first, then what waits, then at once."""

    def __init__(self, pipeline: Pipeline, threads: Sequence[threading.Thread]) -> None:
        self._pipeline, self._captures = pipeline, threads[:-1]
        self._stopped_at: float | None = None
        self._is_cut_off = False

    def look(self) -> None:
        """Take the next step if it is time."""
        line = self._pipeline
        if not (line._is_stopping or line._ended.is_set()):  # noqa: SLF001 - a part of it
            return
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
            for source in line._sources:  # noqa: SLF001
                source.stop()
        is_capturing = any(thread.is_alive() for thread in self._captures)
        if is_capturing and not self._is_cut_off and now > self._stopped_at + _SOURCES_S:
            self._is_cut_off = True
            for source in line._sources:  # noqa: SLF001
                source.close()  # whoever still waits for a camera goes without its frame
        if not is_capturing or now > self._stopped_at + 2 * _SOURCES_S:
            line._queue.close(drops=line._is_stopping and now > self._stopped_at + _DRAIN_S)  # noqa: SLF001

    @property
    def is_overdue(self) -> bool:
        """Whether it was told to stop, and the time for what was begun is over."""
        if self._stopped_at is None or not self._pipeline._is_stopping:  # noqa: SLF001
            return False
        return time.monotonic() > self._stopped_at + _DRAIN_S + _LATE_S


def _thread(work: Callable[..., None], argument: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=(argument,), name=work.__name__.strip("_"), daemon=True)
    thread.start()
    return thread


def _views(part: Part, looks: Sequence[Future[View]]) -> list[View]:
    """Return a part's views; of a look that never ended, one that says so."""
    return [
        look.result()
        if look.done()
        else View(frame=frame, label=Label.NO_VERDICT, reason=Reason.FAILED, error="the engine does not come back")
        for look, frame in zip(looks, part.frames, strict=True)
    ]


def _answer(answer: Callable[[Mapping[str, Any]], None], record: Mapping[str, Any]) -> None:
    try:
        answer(record)
    except Exception:  # noqa: BLE001 - the next part must be judged, whatever a PLC's answer is wrong about
        _log.exception("a defect in the answer to trigger %r", record["trigger"])
