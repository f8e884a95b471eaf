"""A station file is read: strictly, and with every mistake named by its line."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.errors import BundleError, InputError
from nut_runtime.station_file.agreement import check_agreement, check_with_bundle
from nut_runtime.station_file.config import (
    CameraConfig,
    CameraSettings,
    MqttConfig,
    OutboxConfig,
    PicturesConfig,
    PlcConfig,
    ServeConfig,
    StationConfig,
    TriggerConfig,
    ViewLimits,
    WebhookConfig,
)
from nut_runtime.station_file.document import Document, Problem
from nut_runtime.station_file.key_lines import KeyPath
from nut_runtime.station_file.keys import STATION, TableKind

__all__ = ["Examination", "check_station", "examine_station", "read_station"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a station file comes to.

    Attributes:
        config: The station; None where the file has mistakes.
        bundle: Its bundle; None where it was not opened, or could not be.
        problems: The mistakes, from the top of the file to its end.
    """

    config: StationConfig | None
    bundle: Bundle | None
    problems: tuple[Problem, ...]


def read_station(path: str | Path) -> StationConfig:
    """Read a station file (docs/station.md).

    Paths in it are relative to its folder; `~` and variables of the environment are not replaced in them.

    Args:
        path: The TOML file.

    Raises:
        InputError: If it cannot be read or has mistakes; the message names the first one's line and key.
    """
    path = Path(path)
    found = examine_station(path)
    if found.config is None:
        more = len(found.problems) - 1
        rest = f" (and {more} more: nut-runtime config check {path})" if more else ""
        raise InputError(f"{path}, {found.problems[0]}{rest}")
    return found.config


def check_station(path: str | Path) -> tuple[Problem, ...]:
    """Return all mistakes of a station file; the bundle is not opened.

    Raises:
        InputError: If the file cannot be read at all.
    """
    return examine_station(Path(path)).problems


def examine_station(path: Path, *, opens_bundle: bool = False) -> Examination:
    """Read a station file and say all that is to be said of it.

    Args:
        path: The TOML file.
        opens_bundle: Open the bundle too, and hold the cameras' regions and masks against what it takes.

    Raises:
        InputError: If the file cannot be read at all.
    """
    document = Document.read(path)
    config: StationConfig | None = None
    bundle: Bundle | None = None
    if not document.problems:
        values = _read_table(document, STATION, document.data, ())
        check_agreement(document, values)
        config = None if document.problems else _station(values)
    if config is not None and opens_bundle:
        try:
            bundle = open_bundle(config.bundle, verify_key=config.verify_key)
            check_with_bundle(document, config, bundle)
        except BundleError as error:
            document.add(("bundle",), str(error))
        except InputError as error:  # a key file that holds no key, or a package that is missing to verify with
            document.add(("engine", "verify_key"), str(error))
    problems = document.sorted_problems()
    return Examination(config=None if problems else config, bundle=bundle, problems=problems)


def _read_table(document: Document, kind: TableKind, data: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    """Return the values of a table that are as they must be, and note the mistakes of all others."""
    values: dict[str, Any] = {}
    for key, value in data.items():
        place = (*path, key)
        if key in kind.tables:
            values[key] = _read_inner(document, kind.tables[key], value, place)
        elif key in kind.keys:
            try:
                values[key] = kind.keys[key](value, document.path.parent)
            except InputError as error:
                document.add(place, str(error))
        else:
            document.add(place, f"no such key{_suggestion(key, kind, value)}")
    for key in kind.required:
        if key not in data:
            document.add((*path, key), f"a table [[{key}]] is missing" if key in kind.tables else "is missing")
    return values


def _read_inner(document: Document, kind: TableKind, value: Any, path: KeyPath) -> Any:
    """Read a table inside another, or all tables of an array."""
    name = ".".join(part for part in path if isinstance(part, str))
    if kind.is_array:
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            document.add(path, f"expected tables [[{name}]], with two brackets, one for each")
            return []
        return [_read_table(document, kind, one, (*path, number)) for number, one in enumerate(value)]
    if not isinstance(value, dict):
        document.add(path, f"expected one table [{name}]")
        return {}
    return _read_table(document, kind, value, path)


def _suggestion(key: str, kind: TableKind, value: Any) -> str:
    """Say which key was probably meant, and never what was written: it may be a password."""
    for table, keys in _tables(STATION, ""):
        if key in keys and (key in STATION.tables) == isinstance(value, dict | list):
            return f"; it belongs {f'under {table}' if table else 'to the top of the file, before any table'}"
    known = [*kind.keys, *kind.tables]
    near = difflib.get_close_matches(key, known, n=1)
    return f", did you mean {near[0]}" if near else f"; there are {', '.join(known)}"


def _tables(kind: TableKind, name: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return each table's name and the keys and tables in it, the outer ones first."""
    shown = f"[[{name}]]" if kind.is_array else f"[{name}]" if name else ""
    found = [(shown, (*kind.keys, *kind.tables))]
    for inner, inner_kind in kind.tables.items():
        found += _tables(inner_kind, f"{name}.{inner}" if name else inner)
    return found


def _station(values: Mapping[str, Any]) -> StationConfig:
    """Return the station that values without mistakes describe."""
    engine, part, outputs = (values.get(name, {}) for name in ("engine", "part", "outputs"))
    kinds: dict[str, tuple[Mapping[str, Any], Any]] = {
        "pictures": (outputs, PicturesConfig),
        "mqtt": (outputs, MqttConfig),
        "webhook": (outputs, WebhookConfig),
        "outbox": (values, OutboxConfig),
        "plc": (values, PlcConfig),
        "serve": (values, ServeConfig),
        "trigger": (values, TriggerConfig),
    }
    return StationConfig(
        **{key: values[key] for key in ("bundle", "name", "locate") if key in values},
        cameras=tuple(_camera(one, values.get("every_camera", {})) for one in values["camera"]),
        engine=engine.get("name"),
        **{key: value for key, value in engine.items() if key != "name"},
        **part,
        **{key: outputs[key] for key in ("jsonl", "csv", "sqlite") if key in outputs},
        **{name: make(**table[name]) for name, (table, make) in kinds.items() if name in table},
    )


def _camera(values: Mapping[str, Any], every: Mapping[str, Any]) -> CameraConfig:
    """Return a camera; what it does not say itself, `[every_camera]` does."""
    parts = {
        name: make(**{**every.get(name, {}), **values.get(name, {})})
        for name, make in (("settings", CameraSettings), ("limits", ViewLimits))
    }
    return CameraConfig(**{**values, **parts})
