"""What `run.json` says of how a run was grown (`extended`), and where the pictures lie that it was grown with.

`extended` is the latest step; its `chain` has the earlier ones, the oldest first. The pictures of step K are named
`extended-K/...`, relative to the folder that it was given, in the split, in the kept scores and in the origin of the
bank's rows. The base's own names have no such beginning: in the origin they start with `train/good/`, elsewhere they
are bare file names.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nut_dataset.layout import GOOD
from nut_runtime.errors import InputError

__all__ = [
    "digests_by_name",
    "extension_pictures",
    "extension_prefix",
    "first_base_rows",
    "grown_digests",
    "locate",
    "steps_of",
]

_PREFIX = "extended-"


def steps_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the steps by which a run was grown, the oldest first; none of a run that was trained."""
    latest = record.get("extended")
    return [] if latest is None else [*latest.get("chain", ()), latest]


def digests_by_name(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the pictures that a run was trained and grown with, by their names in the split.

    Empty but for the grown ones in a record from before there were digests by name.
    """
    return {**record.get("split", {}).get("sha256", {}), **grown_digests(record)}


def grown_digests(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the pictures that a run was grown with, by their names in the split."""
    return {one["name"]: one["sha256"] for step in steps_of(record) for one in step["pictures"]}


def extension_prefix(step: int) -> str:
    """Return how the names of a step's pictures begin; steps count from 1.

    Example:
        >>> extension_prefix(2)
        'extended-2/'
    """
    return f"{_PREFIX}{step}/"


def first_base_rows(record: Mapping[str, Any]) -> int | None:
    """Return how many rows of the bank were trained, before it was grown at all; None of a run that never was."""
    steps = steps_of(record)
    return int(steps[0]["base"]["rows"]) if steps else None


def locate(record: Mapping[str, Any], name: str, root: Path) -> Path:
    """Return where a picture of a run lies.

    Args:
        record: The content of `run.json`.
        name: As in the split, the kept scores or the bank's origin.
        root: Where the data set lies that the run's first base was trained on.

    Raises:
        InputError: If the name would lead out of its folder, or is of a step that the record does not know.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        raise InputError(f"the run names a picture {name!r}, which is no place in its data set; train again")
    if len(parts) == 1:
        return root / "train" / GOOD / name
    step = parts[0].removeprefix(_PREFIX)
    if parts[0] == step:
        return root / name
    steps = steps_of(record)
    if not step.isdecimal() or not 1 <= int(step) <= len(steps):
        raise InputError(f"the run names a picture {name!r}, and was not grown so often; train again")
    return Path(steps[int(step) - 1]["dataset"]["path"], *parts[1:])


def extension_pictures(record: Mapping[str, Any], role: str) -> list[Path]:
    """Return the pictures that a run was grown with.

    Args:
        record: The content of `run.json`.
        role: `bank` or `held_out`.

    Raises:
        InputError: If a picture is gone.
    """
    names = [name for name in record.get("split", {}).get(role, ()) if "/" in name]
    found = [locate(record, name, Path()) for name in names]
    for path in found:
        if not path.is_file():
            raise InputError(f"{path}, which the run was grown with, is not there; put it back, or train again")
    return found
