"""From a description to a station that runs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nut_runtime.cameras.feed import CameraFeed
from nut_runtime.drift import DriftWatch
from nut_runtime.errors import EngineError, InputError
from nut_runtime.health import Health
from nut_runtime.ignore_mask import IgnoreMask
from nut_runtime.inspector import Inspector
from nut_runtime.model_slot import ModelSlot
from nut_runtime.parts import View
from nut_runtime.pipeline import Pipeline
from nut_runtime.pipeline.judge import Judge
from nut_runtime.pipeline.part_sources import FileParts, FreeParts, PartSource, TriggeredParts
from nut_runtime.pipeline.pipeline import Rules
from nut_runtime.review import effective_review
from nut_runtime.selftest import run_selftest
from nut_runtime.service.notify import Notifier, Watchdog
from nut_runtime.sinks.base import Journal, Listener
from nut_runtime.sinks.csv_file import CsvJournal
from nut_runtime.sinks.delivery import Destination
from nut_runtime.sinks.jsonl import JsonlJournal
from nut_runtime.sinks.outbox import Outbox
from nut_runtime.sinks.pictures import PictureSink, picture_path
from nut_runtime.sinks.sqlite import SqliteJournal
from nut_runtime.sources import open_files
from nut_runtime.sources.base import Frame
from nut_runtime.sources.watch import WatchSource
from nut_runtime.station_file.config import CameraConfig, StationConfig, TriggerKind, WhenBusy
from nut_runtime.triggers.base import TriggerSource
from nut_runtime.triggers.every import EveryTriggers
from nut_runtime.triggers.http_request import HttpTriggers
from nut_runtime.triggers.stdin_lines import LineTriggers
from nut_runtime.verdict import Label, Reason, Verdict
from nut_runtime.view_combination import combine

if TYPE_CHECKING:
    from nut_runtime.plc.server import PlcServer
    from nut_runtime.serve.live_state import LiveState
    from nut_runtime.serve.server import PageServer

__all__ = ["Station", "build_station"]

_PLC_LINGER_S = 0.5
"""How long a PLC may take to read the last result."""
_DRIFT_EVERY_S = 1.0


@dataclass(kw_only=True)
class Station:
    """A station that is put together; to be closed, best as a context manager.

    Attributes:
        pipeline: Runs it.
        health: How it is.
        model: What judges.
        page: Its page, where there is one.
        plc: Its Modbus server, where there is one.
        count: Parts that will come; None where nobody knows.
        is_station: Whether it outlives failures: with cameras and watched folders, not with files.
    """

    pipeline: Pipeline
    health: Health
    model: "ModelSlot | _FixedModel"
    page: "PageServer | None"
    plc: "PlcServer | None"
    count: int | None
    is_station: bool
    _stack: ExitStack

    @property
    def inspector(self) -> Inspector:
        """What judges at the moment."""
        return self.model.inspector

    def look_for_model(self) -> None:
        """Take in a bundle that was replaced, now; a signal handler may call this."""
        if isinstance(self.model, ModelSlot):
            self.model.request()

    def close(self) -> None:
        """Let go of everything that the pipeline does not close itself; safe to call twice."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


@dataclass(frozen=True)
class _FixedModel:
    """Files are judged with one model to the end."""

    inspector: Inspector

    def saw(self, height: int, width: int) -> None:
        """Do nothing: no other model comes."""


def build_station(
    config: StationConfig,
    *,
    files: Sequence[Path] = (),
    watch: Path | None = None,
    limit: int | None = None,
    is_strict: bool = False,
) -> Station:
    """Open the bundle, the outputs and the sources of a station.

    Args:
        config: The station.
        files: Pictures, folders and videos to judge in place of its cameras.
        watch: Folder to judge new pictures of in place of its cameras.
        limit: Parts at most.
        is_strict: Run the self-test first, before any output is opened, and refuse a model that does not pass.

    Raises:
        NutError: If any of it cannot be used; whatever was opened before is closed again.
    """
    with ExitStack() as stack:
        station = _build(config, files, watch, limit, is_strict, stack)
        station._stack = stack.pop_all()  # noqa: SLF001 - handed over whole
        return station


def _build(
    config: StationConfig,
    files: Sequence[Path],
    watch: Path | None,
    limit: int | None,
    is_strict: bool,  # noqa: FBT001 - handed on by position, as all of them
    stack: ExitStack,
) -> Station:
    is_station = not files
    health = Health()
    model = _model(config, health, is_station=is_station)
    if isinstance(model, ModelSlot):
        stack.callback(model.close)
    if is_strict:
        _refuse_drift(model.inspector)
    count = None
    triggers: TriggerSource | None = None
    line: list[Pipeline] = []  # the pipeline, once there is one
    plc = _plc(config, health, line)
    if plc is not None:
        stack.callback(plc.close, linger_s=_PLC_LINGER_S)
    if config.cameras:
        triggers = _triggers(config, health, plc)
        sources = _camera_parts(config.cameras, triggers, health)
    else:
        files_or_folder = WatchSource(watch) if watch is not None else open_files(files)
        count = files_or_folder.count
        sources = [FileParts(files_or_folder)]
    for source in sources:
        stack.callback(source.close)
    journals = _journals(config, health, stack, has_trays=model.inspector.locator is not None)
    listeners: list[Listener] = []
    if config.pictures is not None:
        listeners.append(PictureSink(config.pictures))
    if plc is not None:
        listeners.append(plc.listener)
    page, live = _page(config, health, model, triggers)
    if page is not None and live is not None:
        stack.callback(page.close)
        listeners.append(live)
    pipeline = Pipeline(
        sources,
        Judge(
            lambda: model.inspector,
            saw=model.saw,
            review_from=config.review_from,
            masks=_masks(config.cameras, model.inspector),
            health=health,
        ),
        _rules(config, model, health, is_station=is_station),
        journals=journals,
        listeners=listeners,
        when_busy=config.when_busy,
        queue_size=_queue_size(config, triggers),
        streams=config.streams,
        limit=min(limit, count) if limit is not None and count is not None else limit,
        is_station=is_station,
        health=health,
    )
    line.append(pipeline)
    if is_station:
        _keep_up(pipeline, model, stack)
    return Station(
        pipeline=pipeline,
        health=health,
        model=model,
        page=page,
        plc=plc,
        count=count if limit is None else min(limit, count or limit),
        is_station=is_station,
        _stack=stack,
    )


def _model(config: StationConfig, health: Health, *, is_station: bool) -> ModelSlot | _FixedModel:
    if is_station:
        return ModelSlot(
            config.bundle,
            engine=config.engine,
            threads=config.threads,
            streams=config.streams,
            cache=config.cache,
            verify_key=config.verify_key,
            locate=config.locate,
            is_tested=False,  # the first one, which `is_strict` asks for
            health=health,
        )
    inspector = Inspector(
        config.bundle,
        engine=config.engine,
        threads=config.threads,
        streams=config.streams,
        cache=config.cache,
        verify_key=config.verify_key,
        locate=config.locate,
    )
    return _FixedModel(inspector)


def _plc(config: StationConfig, health: Health, line: Sequence[Pipeline]) -> "PlcServer | None":
    if config.plc is None:
        return None
    from nut_runtime.plc.server import PlcServer

    return PlcServer(config.plc, is_alive=lambda: all(pipeline.is_alive for pipeline in line), health=health)


def _triggers(config: StationConfig, health: Health, plc: "PlcServer | None") -> TriggerSource | None:
    """Return what announces parts; None where each frame is one.

    Raises:
        InputError: If the PLC triggers and there is none.
    """
    kind = config.trigger.kind
    if kind is TriggerKind.EVERY:
        return EveryTriggers(config.trigger.every_ms, health)
    if kind is TriggerKind.STDIN:
        return LineTriggers()
    if kind is TriggerKind.HTTP:
        return HttpTriggers(health=health)
    if kind is TriggerKind.PLC:
        if plc is None:
            raise InputError("the PLC triggers, but the station has none; add [plc] to the station file")
        return plc.triggers
    return None


def _camera_parts(
    cameras: Sequence[CameraConfig], triggers: TriggerSource | None, health: Health
) -> Sequence[PartSource]:
    """Return one source for each free camera, or one for all that are triggered together."""
    feeds = [CameraFeed(camera, health) for camera in cameras]
    timeouts = [camera.limits.timeout_s for camera in cameras]
    if triggers is None:
        return [FreeParts(feed, timeout) for feed, timeout in zip(feeds, timeouts, strict=True)]
    return [TriggeredParts(feeds, [camera.group for camera in cameras], timeouts, triggers)]


def _journals(config: StationConfig, health: Health, stack: ExitStack, *, has_trays: bool) -> Sequence[Journal]:
    """Open the files and databases that keep records."""
    journals: list[Journal] = []

    def opened(journal: Journal) -> None:
        stack.callback(journal.close)
        journals.append(journal)

    if config.jsonl is not None:
        opened(JsonlJournal(config.jsonl))
    if config.csv is not None:
        opened(CsvJournal(config.csv, has_counts=has_trays))
    if config.sqlite is not None:
        opened(SqliteJournal(config.sqlite, health=health))
    if config.outbox is not None:
        opened(Outbox(config.outbox.path, _destinations(config), health, keep=config.outbox.keep))
    elif config.mqtt is not None or config.webhook is not None:
        raise InputError("MQTT and webhook need an outbox, where records wait while the network is away; add [outbox]")
    return journals


def _destinations(config: StationConfig) -> Sequence[Destination]:
    found: list[Destination] = []
    if config.mqtt is not None:
        from nut_runtime.sinks.mqtt import MqttDestination

        found.append(MqttDestination(config.mqtt))
    if config.webhook is not None:
        from nut_runtime.sinks.webhook import WebhookDestination

        found.append(WebhookDestination(config.webhook))
    return found


def _page(
    config: StationConfig, health: Health, model: ModelSlot | _FixedModel, triggers: TriggerSource | None
) -> "tuple[PageServer | None, LiveState | None]":
    if config.serve is None:
        return None, None
    from nut_runtime.serve.facts import bundle_facts
    from nut_runtime.serve.live_state import LiveState
    from nut_runtime.serve.server import PageServer

    def facts() -> Mapping[str, object]:
        inspector = model.inspector
        return bundle_facts(inspector.bundle.manifest, engine=inspector.engine.name)

    def review_from() -> float | None:
        return effective_review(config.review_from, model.inspector.bundle.manifest.point.review_score)

    live = LiveState(station=config.name, cameras=[camera.name for camera in config.cameras], review_from=review_from)
    fire = triggers.fire if isinstance(triggers, HttpTriggers) else None
    return PageServer(config.serve, live, health, facts=facts, fire=fire), live


def _masks(cameras: Sequence[CameraConfig], inspector: Inspector) -> Mapping[str, Callable[[Verdict, Frame], Verdict]]:
    """Return what leaves the ignored areas out of a camera's verdicts.

    Raises:
        InputError: If a mask cannot be read, or leaves nothing to judge, or frames show trays.
    """
    manifest = inspector.bundle.manifest

    def applies(mask: IgnoreMask) -> Callable[[Verdict, Frame], Verdict]:
        def apply(verdict: Verdict, frame: Frame) -> Verdict:
            if frame.picture is None:
                return verdict
            masked, is_masked = mask.apply(verdict, (frame.picture.shape[0], frame.picture.shape[1]))
            return replace(masked, is_masked=is_masked)

        return apply

    for camera in cameras:
        if camera.ignore is not None and inspector.locator is not None:
            raise InputError(
                f"{camera.name}: an ignored area goes with one part in a frame, not with trays; give the camera a "
                "region_px instead, or set locate = false"
            )
    masks = {camera.name: IgnoreMask.read(camera.ignore) for camera in cameras if camera.ignore is not None}
    for mask in masks.values():
        mask.areas((manifest.input_height_px, manifest.input_width_px))  # refuses one that hides everything
    return {name: applies(mask) for name, mask in masks.items()}


class _Drift:
    """Watches the views against the bundle in use; anew after it was exchanged."""

    def __init__(self, model: ModelSlot, health: Health, *, every_s: float) -> None:
        self._model, self._health, self._every_s = model, health, every_s
        self._manifest = model.inspector.bundle.manifest
        self._watch = DriftWatch.of(self._manifest, every_s=every_s, health=health)

    def __call__(self, view: View) -> tuple[str, ...]:
        if self._model.inspector.locator is not None:
            return ()  # what is known is what one part looked like, not a tray of them
        manifest = self._model.inspector.bundle.manifest
        if manifest is not self._manifest:
            self._manifest = manifest
            self._watch = DriftWatch.of(manifest, every_s=self._every_s, health=self._health)
        return self._watch.look(view.frame.camera, view.frame.picture, view.verdict)


def _rules(config: StationConfig, model: ModelSlot | _FixedModel, health: Health, *, is_station: bool) -> Rules:
    """Return what the station decides beyond the model."""

    def picture(sequence: int, label: Label, frame: Frame) -> str | None:
        path = picture_path(config.pictures, frame.timestamp, sequence, label, frame.name)
        return None if path is None or (frame.picture is None and label is Label.NO_VERDICT) else str(path)

    def combined(views: Sequence[View]) -> tuple[Label, Reason | None]:
        if len(views) == 1:
            return views[0].label, views[0].reason
        return combine(views, config.combine, config.at_least)

    rules = Rules(
        station=config.name,
        bundle=lambda: model.inspector.bundle.manifest.bundle_id,
        combine=combined,
        picture=picture,
    )
    if is_station and config.cameras and isinstance(model, ModelSlot):
        # A camera that runs freely shows one part many times, which would count as often.
        every_s = _DRIFT_EVERY_S if config.trigger.kind is TriggerKind.FREE else 0.0
        rules = replace(rules, watch=_Drift(model, health, every_s=every_s))
    return rules


def _queue_size(config: StationConfig, triggers: TriggerSource | None) -> int:
    """Return how many parts wait at most.

    Where sources wait, a longer queue would only make pictures older and memory fuller: a file is read in no time, and
    a free camera has a newer frame.
    """
    return config.queue if triggers is not None or config.when_busy is WhenBusy.DROP_OLDEST else 1


def _keep_up(pipeline: Pipeline, model: ModelSlot | _FixedModel, stack: ExitStack) -> None:
    """Watch for a new bundle, and tell the service manager that the station lives."""
    if isinstance(model, ModelSlot):
        model.start()
    notifier = Notifier.from_environment()
    watchdog = Watchdog(notifier, lambda: pipeline.is_alive)
    watchdog.start()
    stack.callback(watchdog.close)
    notifier.ready()
    stack.callback(notifier.stopping)


def _refuse_drift(inspector: Inspector) -> None:
    """Stop before the first part where this device does not judge as the reference did.

    Raises:
        EngineError: If the self-test fails.
    """
    drift = run_selftest(inspector.bundle, inspector.engine, inspector.locator).first_drift
    if drift is not None:
        raise EngineError(
            f"the self-test fails at {drift.stage} on {inspector.engine.name} (off by {drift.deviation:.1e}, tolerance "
            f"{drift.tolerance:.1e}); run nut-runtime doctor, and try the other engine"
        )
