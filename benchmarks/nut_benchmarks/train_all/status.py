"""What came of a part: a file in its folder that is whole at every moment."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from nut_benchmarks.train_all.job import Job
from nut_runtime.atomic import write_json
from nut_runtime.errors import OutputError

__all__ = [
    "STATUS",
    "State",
    "Status",
    "finished_status",
    "is_of_forced_pass",
    "read_status",
    "write_failure",
    "write_status",
]

STATUS = "part.json"
_SCHEMA = 1


class State(StrEnum):
    """How far a part is."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a part is.

    Attributes:
        name: The part.
        state: How far.
        pass_id: Which call of the command did it.
        attempt: How often that call began it, from 1.
        arguments: `Job.arguments`.
        host: Name of the machine.
        pid: Number of the process.
        began: When it was begun for the last time, UTC.
        seconds: How long that took.
        forced_pass: `Job.forced_pass`.
        fingerprint: Of the data set it was done with.
        checkpoint: SHA-256 and size in bytes of the run's checkpoint, and its operating point, once it was trained.
        bundle_id: The bundle's.
        figures: What the summary shows.
        reason: Why it failed; one line.
        bundle_aside: Name of the folder that a changed bundle was moved to, beside the new one.
    """

    name: str
    state: State
    pass_id: str
    attempt: int
    arguments: Mapping[str, Any]
    host: str
    pid: int
    began: str
    seconds: float | None = None
    forced_pass: str | None = None
    fingerprint: str | None = None
    checkpoint: Mapping[str, Any] | None = None
    bundle_id: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    bundle_aside: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {"schema": _SCHEMA} | asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the status that `to_json` gave.

        Raises:
            ValueError: If it is none of this version.
        """
        plain = dict(data)
        if plain.pop("schema", None) != _SCHEMA:
            raise ValueError("another schema")
        return cls(**{**plain, "state": State(plain["state"])})


def read_status(folder: Path) -> Status | None:
    """Return how far the part in a folder is; None where that is not known, so that it is done anew."""
    try:
        return Status.from_json(json.loads((folder / STATUS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def finished_status(job: Job) -> Status | None:
    """Return what came of a part, where its worker has said so in this pass, however it ended itself; else None."""
    status = read_status(job.out)
    is_said = status is not None and status.pass_id == job.pass_id and status.state is not State.STARTED
    return status if is_said else None


def is_of_forced_pass(job: Job, status: Status | None) -> bool:
    """Return whether a status was written in the pass with `--force` that a job belongs to."""
    return status is not None and job.forced_pass is not None and status.forced_pass == job.forced_pass


def write_status(folder: Path, status: Status) -> Status:
    """Write how far a part is, and return it.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(folder / STATUS, status.to_json())
    return status


def write_failure(job: Job, reason: str) -> Status:
    """Return that a part failed whose worker can no longer say so, and write it, if its folder can be written."""
    status = read_status(job.out)
    if status is None or status.pass_id != job.pass_id:  # it died before it could begin
        status = Status(
            name=job.name,
            state=State.STARTED,
            pass_id=job.pass_id,
            attempt=job.attempts,
            arguments=job.arguments,
            host="",
            pid=0,
            began="",
            forced_pass=job.forced_pass,
        )
    status = replace(status, state=State.FAILED, reason=" ".join(reason.split()))
    with suppress(OSError, OutputError):  # often the very reason
        job.out.mkdir(parents=True, exist_ok=True)
        write_status(job.out, status)
    return status
