"""The bookkeeping over all parts: what is to be done, what came of it, and the table."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from nut_benchmarks.train_all.config import PartConfig
from nut_benchmarks.train_all.job import Job
from nut_benchmarks.train_all.parts import Part
from nut_benchmarks.train_all.processes import Workers
from nut_benchmarks.train_all.standing import Standing, standing_of
from nut_benchmarks.train_all.status import Status
from nut_benchmarks.train_all.summary import Row, Summary, row_line, write_summary
from nut_dataset.progress import Progress, no_progress
from nut_runtime import __version__
from nut_runtime.atomic import write_json
from nut_runtime.claims import claim
from nut_runtime.errors import InputError, OutputError

__all__ = ["MARKER", "check_output", "do_parts", "forced_pass_of", "look_at_parts", "make_jobs", "own_output"]

MARKER = "train-all.json"
"""Shows that a folder is an output of ours, and of which data sets."""
_FORCED = "forced_pass"  # in the marker, as long as that pass has not ended
_READERS = 4  # threads that read pictures to compare them; the disk is the limit


def check_output(root: Path, out: Path, *, is_forced: bool = False) -> None:
    """Refuse an output folder that is in the way, before any work is done.

    Raises:
        OutputError: If it is a file, holds the data sets, is not one of ours, or is of other data sets and not forced.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file, expected a folder to write to; choose another output")
    if root.resolve().is_relative_to(out.resolve()):
        raise OutputError(f"{out} holds the data sets; choose another output")
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        made_of = json.loads((out / MARKER).read_text(encoding="utf-8"))["root"]
    except FileNotFoundError:
        raise OutputError(
            f"{out} is not an output of nut train-all ({MARKER} is missing), so it is not written to; choose another"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{out / MARKER} cannot be read ({error}); choose another output") from error
    if made_of != str(root.resolve()) and not is_forced:
        raise OutputError(f"{out} was made of {made_of}; choose another output, or give --force to use it")


def forced_pass_of(root: Path, out: Path) -> str | None:
    """Return the pass with `--force` that was interrupted in an output, and is to be gone on with; None without one."""
    try:
        made_of = json.loads((out / MARKER).read_text(encoding="utf-8"))
        found = made_of[_FORCED] if made_of["root"] == str(root.resolve()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


@contextmanager
def own_output(root: Path, out: Path, *, is_forced: bool = False) -> Iterator[str | None]:
    """Make the output folder ours, and keep it to this process for as long as the block lasts.

    Args:
        root: The data sets.
        out: The output.
        is_forced: Whether the block is a pass with `--force`: the one that was interrupted, else a new one. It has
            ended when the block ends without an error.

    Yields:
        `Job.forced_pass` of the block's jobs.

    Raises:
        InputError: If another process is at work in it.
        OutputError: If it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise OutputError(f"cannot write to {out}; choose an output folder elsewhere")
    except FileExistsError as error:
        raise OutputError(f"cannot write {out}: something else has its name or that of a folder above it") from error
    except PermissionError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    with claim(out):
        pending = forced_pass_of(root, out)
        forced_pass = (pending or uuid.uuid4().hex) if is_forced else None
        _mark(root, out, forced_pass or pending)
        yield forced_pass
        if is_forced:
            _mark(root, out, None)


def _mark(root: Path, out: Path, forced_pass: str | None) -> None:
    """Write the marker."""
    made_of = {"schema": 1, "root": str(root.resolve()), "version": __version__}
    write_json(out / MARKER, made_of | ({} if forced_pass is None else {_FORCED: forced_pass}))


def make_jobs(parts: Sequence[Part], configs: Mapping[str, PartConfig], out: Path, *, attempts: int) -> list[Job]:
    """Return what is to be done for each part, without `--force`.

    Raises:
        InputError: If `attempts` is under one, or a weights file cannot be read.
    """
    if attempts < 1:
        raise InputError(f"{attempts - 1} retries, expected at least 0")
    pass_id = uuid.uuid4().hex
    files = {config.train.backbone_weights for config in configs.values()} - {None}
    digests = {name: _digest(name) for name in files if name is not None}
    return [
        Job(
            name=part.name,
            data=part.data.resolve(),
            out=out.resolve() / part.name,
            train=configs[part.name].train.to_json(),
            export=configs[part.name].export,
            weights_sha256=digests.get(configs[part.name].train.backbone_weights or ""),
            attempts=attempts,
            pass_id=pass_id,
        )
        for part in parts
    ]


def _digest(name: str) -> str:
    try:
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read weights {name}: {error.strerror or error}") from error


def look_at_parts(jobs: Sequence[Job], progress: Progress = no_progress) -> list[Standing]:
    """Return of each part whether it is to be done; the pictures of those that were done are read."""
    found = []
    with ThreadPoolExecutor(_READERS) as pool:
        for standing in pool.map(standing_of, jobs):
            found.append(standing)
            progress("looking what is done", len(found), len(jobs))
    return found


def do_parts(
    root: Path,
    out: Path,
    standings: Sequence[Standing],
    workers: Workers,
    *,
    command: str = "",
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Do the parts that are to be done; the summary is written after each of them.

    One part that fails does not stop the others.

    Args:
        root: The data sets.
        out: The output, held by `own_output`.
        standings: From `look_at_parts`.
        workers: Do the parts.
        command: What repeats it, for the summary.
        progress: Told of each part.
        say: Told a line for each part that was finished.

    Returns:
        The summary as it was written last.

    Raises:
        OutputError: If the output cannot be written.
    """
    statuses: dict[str, Status | None] = {standing.job.name: standing.status for standing in standings}
    to_do = [standing.job for standing in standings if standing.why is not None]
    pass_id = standings[0].job.pass_id if standings else ""
    redone = {job.name for job in to_do}
    changed = {standing.job.name for standing in standings if standing.is_changed}

    def write() -> Summary:
        rows = [
            Row.of(name, None if name in redone else status, out, pass_id=pass_id, is_changed=name in changed)
            for name, status in statuses.items()
        ]
        summary = Summary(
            root=root.resolve(),
            rows=rows,
            command=command,
            version=__version__,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_summary(out, summary)
        return summary

    summary = write()
    progress("parts", len(standings) - len(to_do), len(standings))
    with closing(workers.finished(to_do)) as finished:
        for status in finished:
            statuses[status.name] = status
            redone.discard(status.name)
            summary = write()
            say(row_line(next(row for row in summary.rows if row.name == status.name)))
            progress("parts", len(standings) - len(redone), len(standings))
    return summary
