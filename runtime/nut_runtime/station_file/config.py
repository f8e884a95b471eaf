"""What a station is made of: the same whether it was described in a file or by options of the command."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = [
    "CameraConfig",
    "CameraSettings",
    "Combine",
    "MqttConfig",
    "OutboxConfig",
    "PicturesConfig",
    "PlcConfig",
    "SavePolicy",
    "ServeConfig",
    "StationConfig",
    "TriggerConfig",
    "TriggerKind",
    "ViewLimits",
    "WebhookConfig",
    "WhenBusy",
]


class SavePolicy(StrEnum):
    """Which parts' pictures are saved."""

    ALL = "all"
    DEFECTS = "defects"
    """Those of defective parts, and of parts that a person should look at."""
    NONE = "none"


class WhenBusy(StrEnum):
    """What happens to a part that comes while the queue to the engine is full."""

    WAIT = "wait"
    """The source waits. What a camera gives meanwhile is skipped and counted in the next part's record."""
    DROP_OLDEST = "drop-oldest"
    """The part that has waited longest goes without a verdict, and is recorded so."""


class Combine(StrEnum):
    """How the views of one part make one verdict."""

    ANY = "any"
    """Defective where any view is."""
    ALL = "all"
    """Defective where all views are."""
    AT_LEAST = "at-least"
    """Defective where at least `StationConfig.at_least` views are."""


class TriggerKind(StrEnum):
    """What announces a part."""

    FREE = "free"
    """Every frame, as fast as they are judged."""
    EVERY = "every"
    """Every `TriggerConfig.every_ms` milliseconds."""
    STDIN = "stdin"
    """Every line on standard input; the line is the part's name."""
    HTTP = "http"
    """Every `POST /trigger` to the served page; the answer is the record."""
    PLC = "plc"
    """The Trigger bit of the Modbus server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """What is asked of a camera; None leaves the camera's own.

    Attributes:
        width_px: Width of its frames.
        height_px: Height of its frames.
        fps: Frames a second.
        exposure: In the driver's own unit; turns automatic exposure off.
        gain: In the driver's own unit.
        white_balance_k: Colour temperature in kelvin; turns automatic white balance off.
        focus: In the driver's own unit; turns autofocus off.
        warm_up_frames: Frames thrown away after opening, while exposure and white balance settle.
    """

    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    exposure: float | None = None
    gain: float | None = None
    white_balance_k: float | None = None
    focus: float | None = None
    warm_up_frames: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLimits:
    """When a frame is not worth judging; None looks at nothing.

    Attributes:
        frozen_after_s: The camera is frozen when its frames have been the same to the bit for so long.
        least_brightness: Mean grey level, 0 to 255, below which a frame is dark.
        least_sharpness: `nut_runtime.cameras.quality.sharpness` below which a frame is blurred.
        timeout_s: How long a trigger waits for a frame.
    """

    frozen_after_s: float | None = 5.0
    least_brightness: float | None = None
    least_sharpness: float | None = None
    timeout_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraConfig:
    """One camera of the station.

    Attributes:
        name: Its name in records, pictures and health.
        address: `0` (number of a USB/V4L2 camera, or `/dev/video0`), `rtsp://...`, `http://...` (MJPEG),
            `gstreamer: ... ! appsink`, `genicam: PRODUCER.cti#ID`, or a picture or video file or folder, played in a
            loop, to try a station out.
        settings: What is asked of it.
        limits: When its frames are not worth judging.
        group: Cameras of a group are exposed together; groups one after the other, in rising order.
        region_px: Left, top, width, height of the part of the frame that is judged; None takes all of it.
        ignore: A picture of the region's size: what is black in it is not looked at. None looks at everything.
    """

    name: str
    address: str
    settings: CameraSettings = field(default_factory=CameraSettings)
    limits: ViewLimits = field(default_factory=ViewLimits)
    group: int = 1
    region_px: tuple[int, int, int, int] | None = None
    ignore: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerConfig:
    """What announces a part.

    Attributes:
        kind: Which of the ways.
        every_ms: For `every`.
    """

    kind: TriggerKind = TriggerKind.FREE
    every_ms: float = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesConfig:
    """Pictures with heat map and verdict.

    Attributes:
        folder: Where they go.
        save: Of which parts.
        keep: Pictures kept at most; the oldest go first. None keeps all.
        keep_days: Days that one is kept; None keeps all.
        least_free_mb: Megabytes that stay free on the disk: older pictures go first, then no new one is written.
    """

    folder: Path
    save: SavePolicy = SavePolicy.DEFECTS
    keep: int | None = 10_000
    keep_days: float | None = None
    least_free_mb: float = 500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig:
    """Where records for the network wait until they were taken.

    Attributes:
        path: The SQLite file.
        keep: Records that wait at most for each output; the oldest go, and are counted, beyond that.
    """

    path: Path
    keep: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttConfig:
    """An MQTT broker that is told of each part.

    Attributes:
        host: The broker.
        port: Its port; 1883, or 8883 with TLS, is usual.
        topic: Records go to `TOPIC/verdict`; `TOPIC/status` says `online`, and `offline` as the last will (retained).
        qos: 0, 1 or 2. With 0 nobody acknowledges, so nothing is promised.
        username: For the broker.
        password_file: File whose first line is the password; a password never stands in a station file.
        ca_file: Certificates that the broker's is checked with; turns TLS on.
        cert_file: Our own certificate, where the broker asks for one.
        key_file: Its key.
    """

    host: str
    port: int = 1883
    topic: str = "nut"
    qos: int = 1
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """An HTTP server that each record is posted to, as JSON with the record's id as `Idempotency-Key`.

    Attributes:
        url: `http://` or `https://`.
        timeout_s: How long it may take to answer; only 2xx counts as taken.
        token_file: File whose first line is sent as `Authorization: Bearer`.
    """

    url: str
    timeout_s: float = 5.0
    token_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlcConfig:
    """The Modbus TCP server that a PLC talks to (docs/plc.md has the registers).

    Attributes:
        host: Address to listen at; anything but loopback must be said.
        port: 502 needs privileges.
        answer_within_s: A trigger that was not answered by then gets Error instead.
    """

    host: str = "127.0.0.1"
    port: int = 1502
    answer_within_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The live page, health and metrics.

    Attributes:
        host: Address to listen at; anything but loopback needs a token.
        port: Its port.
        token_file: File whose first line is the token that visitors must give.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StationConfig:
    """A station.

    Attributes:
        bundle: The bundle folder.
        name: The station's name, in records and topics.
        cameras: In the order of the views of a part; empty where files are judged.
        trigger: What announces a part.
        when_busy: What happens to a part that comes while the queue is full.
        queue: Parts that wait for the engine at most.
        streams: Frames judged at a time.
        engine: `openvino` or `onnxruntime`; None takes whichever is installed.
        threads: Threads to compute with; None leaves it to the engine.
        cache: Folder for what OpenVINO compiled.
        verify_key: Refuses a bundle that no key in this file has signed.
        locate: Whether frames show trays whose parts are found and judged one by one; None does where the bundle has a
            locator.
        combine: How the views of one part make one verdict.
        at_least: For `at-least`.
        review_from: Normalised score, below 0.5, from which a part that is not defective is REVIEW; None takes the
            bundle's, `nut_runtime.review.NEVER` none.
        jsonl: File that a JSON line a part is appended to; `-` is standard output.
        csv: File that a line a part is appended to.
        sqlite: Database that a row a part is added to.
        pictures: Pictures of parts.
        outbox: Where records for MQTT and webhook wait; needed where there is one of those.
        mqtt: Broker that is told of each part.
        webhook: Server that each record is posted to.
        plc: Modbus server for a PLC.
        serve: Live page, health and metrics.
    """

    bundle: Path
    name: str = "nut"
    cameras: tuple[CameraConfig, ...] = ()
    trigger: TriggerConfig = field(default_factory=TriggerConfig)
    when_busy: WhenBusy = WhenBusy.WAIT
    queue: int = 8
    streams: int = 1
    engine: str | None = None
    threads: int | None = None
    cache: Path | None = None
    verify_key: Path | None = None
    locate: bool | None = None
    combine: Combine = Combine.ANY
    at_least: int = 1
    review_from: float | None = None
    jsonl: str | None = None
    csv: Path | None = None
    sqlite: Path | None = None
    pictures: PicturesConfig | None = None
    outbox: OutboxConfig | None = None
    mqtt: MqttConfig | None = None
    webhook: WebhookConfig | None = None
    plc: PlcConfig | None = None
    serve: ServeConfig | None = None
