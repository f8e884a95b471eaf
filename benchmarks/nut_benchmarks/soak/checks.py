"""What all scenarios share: their setting, the station they run, and what must hold afterwards."""

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_benchmarks.soak.station_process import StationProcess
from nut_runtime.errors import NutError
from nut_runtime.pictures import write_picture

__all__ = ["STOPS_S", "Finding", "LostError", "Setting", "check", "check_numbers", "played", "running", "station_with"]

STOPS_S = 5.0
"""How long a station may take to stop; docs/service.md promises it."""


class LostError(NutError, AssertionError):
    """Something was lost, corrupted, late or grew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the scenarios run with.

    Attributes:
        bundle: The bundle.
        pictures: Pictures that the camera shows, uint8 BGR, all of one size.
        folder: Scratch folder; each scenario has one of its own in it.
    """

    bundle: Path
    pictures: Sequence[NDArray[np.uint8]]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a scenario came to.

    Attributes:
        what: What was done.
        times: How often.
        outcome: What was seen, with figures.
        lost: Records or answers that were lost.
    """

    what: str
    times: int
    outcome: str
    lost: int = 0


def check(*, holds: bool, what: str) -> None:
    """Raise what is wrong, unless something holds.

    Raises:
        LostError: If it does not.
    """
    if not holds:
        raise LostError(what)


def station_with(setting: Setting, name: str, camera: str, more: str, *, pictures: bool = True) -> StationProcess:
    """Return a station with one camera and every file output, in a new folder.

    Args:
        setting: The setting.
        name: Of the folder.
        camera: Its camera's address.
        more: Added to the station file.
        pictures: Whether it saves pictures.
    """
    folder = setting.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    saved = '[outputs.pictures]\nfolder = "pictures"\nleast_free_mb = 0.0\nkeep = 500\n' if pictures else ""
    return StationProcess(
        folder,
        f'bundle = "{setting.bundle}"\nname = "soak"\n[engine]\nthreads = 1\n[[camera]]\nname = "front"\n'
        f'address = "{camera}"\n[outputs]\njsonl = "verdicts.jsonl"\ncsv = "verdicts.csv"\n'
        f'sqlite = "verdicts.sqlite"\n{saved}{more}',
    )


def played(setting: Setting, fps: float = 10_000.0) -> tuple[str, str]:
    """Write the pictures to a folder that is played as a camera; return its address and the setting of its speed."""
    folder = setting.folder / "played"
    if not folder.exists():
        folder.mkdir(parents=True)
        for number, picture in enumerate(setting.pictures):
            write_picture(folder / f"{number:03}.png", picture)
    return str(folder), f"[every_camera.settings]\nfps = {fps}\n"


@contextmanager
def running(station: StationProcess) -> Iterator[StationProcess]:
    """Start a station, and see to it that it is gone afterwards."""
    station.start()
    try:
        yield station
    finally:
        if station.is_running:
            station.kill()


def check_numbers(station: StationProcess) -> int:
    """Check that nothing is corrupt, numbered twice, out of order or missing; return how many records there are.

    A kill between two journals leaves a part, which was not acknowledged then, in the first of them only.
    """
    lines = (station.folder / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    kept = {
        "database": [(row["id"], row["sequence"]) for row in station.rows()],
        "JSON lines": [(one["id"], one["sequence"]) for one in map(json.loads, lines)],
    }
    with (station.folder / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        kept["CSV file"] = [(line["id"], int(line["sequence"])) for line in csv.DictReader(file)]
    for name, records in kept.items():
        numbers = [number for _, number in records]
        check(holds=numbers == sorted(set(numbers)), what=f"the {name} has numbers twice or out of order")
    names: dict[int, set[str]] = {}
    for one, number in (record for records in kept.values() for record in records):
        names.setdefault(number, set()).add(one)
    check(holds=sorted(names) == list(range(1, len(names) + 1)), what=f"numbers are not 1 to {len(names)}")
    check(holds=all(len(ids) == 1 for ids in names.values()), what="a number has two records")
    check(holds=station.integrity() == "ok", what="the database is damaged")
    return len(names)
