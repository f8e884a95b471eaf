"""A disk that is full."""

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from nut_benchmarks.soak.broker import free_port
from nut_benchmarks.soak.checks import Finding, Setting, check, check_numbers, played, running, station_with
from nut_benchmarks.soak.station_process import StationProcess, wait_for

__all__ = ["disk_full"]


def disk_full(setting: Setting, times: int) -> Finding:
    """Fill the disk of the outputs, a small tmpfs, and make room again; needs root."""
    place = setting.folder / "full"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], check=True, capture_output=True)
    try:
        inner = Setting(bundle=setting.bundle, pictures=setting.pictures, folder=place)
        address, settings = played(setting, fps=30.0)
        port = free_port()
        more = f'{settings}[trigger]\nkind = "http"\n[serve]\nport = {port}\n'
        station = station_with(inner, "station", address, more, pictures=False)
        refused = answered = 0
        with running(station):
            wait_for(lambda: station.trigger(port, "first"), within_s=60, why="no answer at its start")
            for _ in range(times):
                _fill(place / "ballast")
                record = wait_for(lambda: _refusal(station, port), within_s=60, why="a full disk is not noticed")
                refused += 1
                check(holds=record["label"] == "no-verdict", what="a part that cannot be recorded was told to be good")
                (place / "ballast").unlink()
                wait_for(lambda: _accepted(station, port), within_s=20, why="it does not go on when there is room")
                answered += 1
            station.terminate()
        judged = check_numbers(station)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)
    return Finding(
        what="disk full under JSONL, CSV and SQLite, and room again",
        times=times,
        outcome=(
            f"the answer was no-verdict (not-kept) while it was full, never good; all {judged} records are "
            "there afterwards, also those that had to wait, without a gap"
        ),
    )


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def _refusal(station: StationProcess, port: int) -> dict[str, Any] | None:
    record = station.trigger(port, "part")
    return record if record is not None and record["reason"] == "not-kept" else None


def _accepted(station: StationProcess, port: int) -> bool:
    record = station.trigger(port, "part")
    return record is not None and record["reason"] != "not-kept"
