"""What each part is asked for: the file of `--config`, read strictly and checked before any work.

[train]                       # for all parts; keys as of TrainConfig, with image_size = 256 or "192x320"
[export]                      # for all parts
[part."line-1/m8".train]      # for one, over the above
[part."line-1/m8".export]
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nut_benchmarks.train_all.job import export_config
from nut_runtime.errors import InputError
from nut_runtime.station_file.document import Document
from nut_runtime.station_file.places import existing_file
from nut_runtime.station_file.values import Reader, got, number, one_of, plain_name, text, whole, yes_or_no
from nut_train.config import CALIBRATIONS, DEVICES, TrainConfig, parse_image_size
from nut_train.thresholds import Rule

__all__ = ["PartConfig", "read_config"]

_LARGEST = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class PartConfig:
    """What one part is asked for.

    Attributes:
        train: As of `nut train`.
        export: As `nut_benchmarks.train_all.job.export_config` takes it.
    """

    train: TrainConfig
    export: Mapping[str, Any]


def _texts(value: Any, folder: Path) -> list[str]:
    if not isinstance(value, list):
        raise InputError(f"expected a list of texts in quotes, got {got(value)}")
    return [text(one, folder) for one in value]


def _image_size(value: Any, _folder: Path) -> tuple[int, int]:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f'expected a number of pixels, or "HEIGHTxWIDTH", got {got(value)}')
    return parse_image_size(str(value))


_TRAIN: Mapping[str, Reader] = {
    "backbone": text,
    "layers": _texts,
    "backbone_weights": lambda value, folder: str(existing_file(value, folder).resolve()),
    "image_size": _image_size,
    "coreset_ratio": number(),
    "bank_size": whole(1, _LARGEST),
    "bank_mb": number(),
    "whiten": yes_or_no,
    "neighbours": whole(1, _LARGEST),
    "batch_size": whole(1, _LARGEST),
    "workers": whole(0, 1024),
    "seed": whole(0, 2**32 - 1),
    "device": one_of(DEVICES),
    "false_reject_rate": number(),
    "holdout": number(),
    "calibration": one_of(CALIBRATIONS),
    "folds": whole(2, _LARGEST),
    "threshold": one_of(Rule),
    "threshold_value": number(),
    "review_rate": number(),
}
_EXPORT: Mapping[str, Reader] = {
    "name": plain_name,
    "precision": one_of(("fp32", "int8", "cascade")),
    "tolerance": number(),
    "components": whole(1, _LARGEST),
    "candidates": whole(1, _LARGEST),
    "pictures": whole(1, _LARGEST),
    "compat": _texts,
    "layout": text,
    "frame_size": text,
    "batch": whole(1, _LARGEST),
}
_KINDS: Mapping[str, Mapping[str, Reader]] = {"train": _TRAIN, "export": _EXPORT}
_BANK = ("coreset_ratio", "bank_size", "bank_mb")  # of these, the nearest table's counts


def read_config(path: Path | None, names: Sequence[str]) -> dict[str, PartConfig]:
    """Return what each part is asked for.

    Paths in the file are relative to its folder.

    Args:
        path: A TOML file; None takes the defaults of `nut train` and `nut export`.
        names: The parts that there are.

    Raises:
        InputError: If the file cannot be read or has a mistake, or asks one part for what cannot be; the message names
            the first one's line and key.
    """
    document = Document(path=Path()) if path is None else Document.read(path, what="configuration")
    known = {"train", "export", "part"}
    for key in document.data:
        if key not in known:
            document.add((key,), f"no such table{_near(key, known)}")
    everywhere = {kind: _table(document, kind, document.data.get(kind, {}), (kind,)) for kind in _KINDS}
    if "name" in everywhere["export"] and len(names) > 1:
        document.add(("export", "name"), "one name for all parts; put it under [part.NAME.export]")
    own = _own_tables(document, names)
    found = {}
    if not document.problems:
        for name in names:
            tables = {kind: _over(everywhere[kind], own.get(name, {}).get(kind, {})) for kind in _KINDS}
            place = ("part", name) if name in own else ()
            config = _part(document, tables, place)
            if config is not None:
                found[name] = config
    if document.problems:
        first, *more = document.sorted_problems()
        raise InputError(f"{path}, {first}" + (f" (and {len(more)} more)" if more else ""))
    return found


def _own_tables(document: Document, names: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the tables of single parts."""
    tables = document.data.get("part", {})
    if not isinstance(tables, dict):
        document.add(("part",), 'expected tables [part."NAME".train] and [part."NAME".export]')
        return {}
    own: dict[str, dict[str, dict[str, Any]]] = {}
    for name, table in tables.items():
        if name not in names:
            document.add(("part", name), f"there is no such part{_near(name, names)}")
        elif not isinstance(table, dict):
            document.add(("part", name), f'expected tables [part."{name}".train] and [part."{name}".export]')
        else:
            for key in set(table) - set(_KINDS):
                document.add(("part", name, key), f"no such table{_near(key, _KINDS)}")
            own[name] = {
                kind: _table(document, kind, table[kind], ("part", name, kind)) for kind in _KINDS if kind in table
            }
    return own


def _table(document: Document, kind: str, data: Any, place: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a table, and note the mistakes."""
    if not isinstance(data, dict):
        document.add(place, f"expected a table [{'.'.join(place)}]")
        return {}
    readers = _KINDS[kind]
    values = {}
    for key, value in data.items():
        if key not in readers:
            document.add((*place, key), f"no such key{_near(key, readers)}")
            continue
        try:
            values[key] = readers[key](value, document.path.parent)
        except InputError as error:
            document.add((*place, key), str(error))
    if len(given := [key for key in _BANK if key in values]) > 1:
        document.add(place, f"{' and '.join(given)} were given; give one of them")
    return values


def _over(everywhere: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part's values: its own over those of all."""
    left = {key: value for key, value in everywhere.items() if key not in _BANK or not set(_BANK) & set(own)}
    return {**left, **own}


def _part(document: Document, tables: Mapping[str, Mapping[str, Any]], place: tuple[str, ...]) -> PartConfig | None:
    """Check ranges, as `nut train` and `nut export` do, and note what they say."""
    values = dict(tables["train"])
    height, width = values.pop("image_size", TrainConfig().image_size)
    values["layers"] = tuple(values.get("layers", ()))
    kind = "train"
    try:
        train = TrainConfig(image_height_px=height, image_width_px=width, **values)
        kind = "export"
        export_config(tables["export"])
    except InputError as error:
        at = (*place, kind) if document.has(*place, kind) else (kind,)
        document.add(at, str(error))
        return None
    return PartConfig(train=train, export=dict(tables["export"]))


def _near(key: str, known: Sequence[str] | Mapping[str, Any] | set[str]) -> str:
    """Say which was probably meant."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return f", did you mean {near[0]}" if near else f"; there are {_some(sorted(known))}"


def _some(names: Sequence[str], most: int = 24) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
