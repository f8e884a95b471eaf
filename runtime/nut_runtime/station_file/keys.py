"""Which tables and keys a station file has, and what each may be. The names are those of `config`'s attributes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nut_runtime.engines import ENGINES
from nut_runtime.review import NEVER
from nut_runtime.station_file import places, values
from nut_runtime.station_file.config import Combine, SavePolicy, TriggerKind, WhenBusy
from nut_runtime.station_file.values import Reader, number, one_of, or_off, whole

__all__ = ["STATION", "TableKind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKind:
    """A kind of table.

    Attributes:
        keys: Reads each of its values.
        required: Keys and tables that must be there.
        tables: Tables inside.
        is_array: Whether it may stand more than once, as `[[name]]`.
    """

    keys: Mapping[str, Reader] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    tables: Mapping[str, "TableKind"] = field(default_factory=dict)
    is_array: bool = False


_side_px, _port, _seconds = whole(8, 65_535), whole(0, 65_535), number(0, 86_400, is_above=True)

_OF_A_CAMERA = {
    "settings": TableKind(
        keys={
            "width_px": _side_px,
            "height_px": _side_px,
            "fps": number(0, 10_000, is_above=True),
            "exposure": number(),
            "gain": number(),
            "white_balance_k": number(0, 100_000, is_above=True),
            "focus": number(),
            "warm_up_frames": whole(0, 10_000),
        }
    ),
    "limits": TableKind(
        keys={
            "frozen_after_s": or_off(_seconds),
            "least_brightness": or_off(number(0, 255)),
            "least_sharpness": or_off(number(0)),
            "timeout_s": _seconds,
        }
    ),
}

STATION = TableKind(
    keys={"bundle": places.existing_folder, "name": values.plain_name, "locate": values.yes_or_no},
    required=("bundle", "camera"),
    tables={
        "engine": TableKind(
            keys={
                "name": one_of(ENGINES),
                "threads": whole(1, 1024),
                "streams": whole(1, 64),
                "cache": places.output_folder,
                "verify_key": places.existing_file,
            }
        ),
        "every_camera": TableKind(tables=_OF_A_CAMERA),
        "camera": TableKind(
            keys={
                "name": values.plain_name,
                "address": places.address,
                "group": whole(1, 1000),
                "region_px": values.region,
                "ignore": places.existing_file,
            },
            required=("name", "address"),
            tables=_OF_A_CAMERA,
            is_array=True,
        ),
        "trigger": TableKind(
            keys={"kind": one_of(TriggerKind), "every_ms": number(1, 86_400_000)},
            required=("kind",),
        ),
        "part": TableKind(
            keys={
                "combine": one_of(Combine),
                "at_least": whole(1, 1000),
                "review_from": or_off(number(0, 0.5, is_below=True), off=NEVER),
                "when_busy": one_of(WhenBusy),
                "queue": whole(1, 10_000),
            }
        ),
        "outputs": TableKind(
            keys={"jsonl": places.records_file, "csv": places.output_file, "sqlite": places.output_file},
            tables={
                "pictures": TableKind(
                    keys={
                        "folder": places.output_folder,
                        "save": one_of(SavePolicy),
                        "keep": or_off(whole(1, 1_000_000_000)),
                        "keep_days": or_off(number(0, is_above=True)),
                        "least_free_mb": number(0),
                    },
                    required=("folder",),
                ),
                "mqtt": TableKind(
                    keys={
                        "host": values.host,
                        "port": whole(1, 65_535),
                        "topic": values.topic,
                        "qos": whole(0, 2),
                        "username": values.text,
                        "password_file": places.secret_file,
                        "ca_file": places.existing_file,
                        "cert_file": places.existing_file,
                        "key_file": places.existing_file,
                    },
                    required=("host",),
                ),
                "webhook": TableKind(
                    keys={"url": values.web_address, "timeout_s": _seconds, "token_file": places.secret_file},
                    required=("url",),
                ),
            },
        ),
        "outbox": TableKind(
            keys={"path": places.output_file, "keep": whole(1, 1_000_000_000)},
            required=("path",),
        ),
        "plc": TableKind(keys={"host": values.host, "port": _port, "answer_within_s": _seconds}),
        "serve": TableKind(keys={"host": values.host, "port": _port, "token_file": places.secret_file}),
    },
)
"""The whole file."""
