"""A station that is killed, stopped, started twice, given other models, or never stops."""

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from nut_benchmarks.soak.broker import free_port
from nut_benchmarks.soak.checks import STOPS_S, Finding, Setting, check, check_numbers, played, running, station_with
from nut_benchmarks.soak.station_process import StationProcess, wait_for
from nut_runtime.manifest import MANIFEST

__all__ = ["full_speed", "killed", "model_exchanged", "terminated", "two_instances"]

_MEMORY_MB = 20.0


def full_speed(setting: Setting, parts: int) -> Finding:
    """Judge so many parts as fast as it goes, with every output on; memory and descriptors must stay as they were."""
    address, settings = played(setting)
    serve = f"[serve]\nport = {free_port()}\n"
    station = station_with(setting, "full-speed", address, settings + serve)
    with running(station):
        station.wait_for_parts(parts // 10, within_s=parts)
        seen = []
        started, first = time.monotonic(), station.count()
        for share in (0.1, 0.55, 1.0):
            station.wait_for_parts(int(share * parts), within_s=parts)
            seen.append((station.memory_mb(), station.descriptors(), station.threads()))
        rate = (station.count() - first) / (time.monotonic() - started)
        seconds = station.terminate()
    judged = check_numbers(station)
    memory = [one[0] for one in seen]
    # Allocators round, and SQLite's cache fills; a leak goes on.
    check(holds=memory[-1] - memory[0] < _MEMORY_MB, what=f"memory grew: {memory}")
    check(holds=seen[-1][1] <= seen[0][1] + 2, what=f"descriptors grew: {[one[1] for one in seen]}")
    check(holds=seconds < STOPS_S, what=f"it took {seconds:.1f} s to stop")
    return Finding(
        what="parts at full speed with JSONL, CSV, SQLite, pictures and the page",
        times=judged,
        outcome=(
            f"{rate:.0f} parts/s; memory at start, middle and end {', '.join(f'{one:.0f}' for one in memory)} MB; "
            f"descriptors {', '.join(str(one[1]) for one in seen)}; threads {', '.join(str(one[2]) for one in seen)}"
        ),
    )


def killed(setting: Setting, times: int, *, seed: int = 1) -> Finding:
    """Kill it with SIGKILL at random moments while parts are triggered; what was answered must be there."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    address, settings = played(setting, fps=200.0)
    port = free_port()
    more = f'{settings}[trigger]\nkind = "http"\n[serve]\nport = {port}\n'
    station = station_with(setting, "killed", address, more)
    answered: dict[str, str] = {}
    asked = 0
    for _ in range(times):
        with running(station):
            wait_for(
                lambda: _keep_answer(station, port, answered, "first"),
                within_s=60,
                why=f"no answer: {station.log[-500:]}",
            )
            timer = threading.Timer(chance.uniform(0.0, 0.4), station.kill)
            timer.start()
            while station.is_running:
                asked += 1
                _keep_answer(station, port, answered, f"part-{asked}")
            timer.join()
    with running(station):
        _keep_answer(station, port, answered, "last")
        wait_for(lambda: _keep_answer(station, port, answered, "last"), within_s=60, why="no answer after the kills")
        station.terminate()
    judged = check_numbers(station)
    kept = {row["id"]: row["label"] for row in station.rows()}
    lost = [one for one, label in answered.items() if kept.get(one) != label]
    check(holds=not lost, what=f"{len(lost)} answered records are missing: {lost[:3]}")
    return Finding(
        what="kill -9 at a random moment while parts are triggered and answered",
        times=times,
        outcome=f"{len(answered)} answers, all of them kept; {judged} records numbered without a gap; nothing corrupt",
    )


def _keep_answer(station: StationProcess, port: int, answered: dict[str, str], name: str) -> bool:
    record = station.trigger(port, name)
    if record is None:
        return False
    answered[record["id"]] = record["label"]
    return True


def terminated(setting: Setting, times: int) -> Finding:
    """Stop it with SIGTERM under full load; it must end well within five seconds, with everything kept."""
    address, settings = played(setting)
    station = station_with(setting, "terminated", address, settings)
    seconds = []
    for _ in range(times):
        with running(station):
            station.wait_for_parts(station.count() + 5)
            seconds.append(station.terminate())
            check(holds=station.exit_code == 0, what=f"exit code {station.exit_code}: {station.log[-300:]}")
    check(holds=max(seconds) < STOPS_S, what=f"it took {max(seconds):.1f} s to stop")
    judged = check_numbers(station)
    return Finding(
        what="SIGTERM under full load",
        times=times,
        outcome=f"exit code 0 within {max(seconds):.1f} s; {judged} records numbered without a gap over all runs",
    )


def model_exchanged(setting: Setting, times: int) -> Finding:
    """Put another bundle into the place of the one it judges with, again and again, and stop it after each third.

    What is seen is that it goes over to the new one without losing a part, that memory does not grow, and that a signal
    still finds a process whose libraries were loaded and let go many times.
    """
    address, settings = played(setting)
    folder = setting.folder / "bundles"
    shutil.rmtree(folder, ignore_errors=True)
    names = ("soak-one", "soak-two")
    for name in names:
        shutil.copytree(setting.bundle, folder / name)
        told = json.loads((folder / name / MANIFEST).read_text(encoding="utf-8"))
        (folder / name / MANIFEST).write_text(json.dumps(told | {"bundle_id": name}), encoding="utf-8")
    in_use = folder / "in-use"
    in_use.symlink_to(names[0])
    station = station_with(replace(setting, bundle=in_use), "exchanged", address, settings)
    memory: list[float] = []
    done = 0
    while done < times:
        with running(station):
            station.wait_for_parts(station.count() + 5)
            for _ in range(min(3, times - done)):
                done += 1
                name = names[done % 2]
                _link(in_use, name)
                _wait_for_bundle(station, name)
            memory.append(station.memory_mb())
            seconds = station.terminate()
            check(holds=station.exit_code == 0, what=f"exit code {station.exit_code}: {station.log[-300:]}")
            check(holds=seconds < STOPS_S, what=f"it took {seconds:.1f} s to stop")
    judged = check_numbers(station)
    unjudged = [row for row in station.rows() if row["label"] == "no-verdict"]
    check(holds=not unjudged, what=f"{len(unjudged)} parts have no verdict: {unjudged[:1]}")
    return Finding(
        what="another bundle in the place of the one in use, under full load, and SIGTERM after each third",
        times=times,
        outcome=(
            f"{judged} records numbered without a gap, each with a verdict; exit code 0 each time; memory before it "
            f"{min(memory):.0f} to {max(memory):.0f} MB"
        ),
    )


def _wait_for_bundle(station: StationProcess, name: str) -> None:
    why = f"{name} does not judge: {station.log[-300:]}"
    wait_for(lambda: station.rows()[-1]["bundle"] == name, within_s=60, why=why)


def _link(link: Path, target: str) -> None:
    """Let a link lead elsewhere, in one step."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.rename(link)


def two_instances(setting: Setting, times: int) -> Finding:
    """Start a second station on the same outputs; it must go, and the first must go on."""
    address, settings = played(setting, fps=20.0)
    station = station_with(setting, "two", address, settings)
    with running(station):
        station.wait_for_parts(3)
        for _ in range(times):
            second = subprocess.run(
                [sys.executable, "-m", "nut_runtime", "run", "--config", str(station.folder / "station.toml")],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            check(holds=second.returncode == 2, what=f"the second one ended with {second.returncode}: {second.stderr}")  # noqa: PLR2004
            check(holds="is in use by" in second.stderr, what=f"it does not say what is wrong: {second.stderr}")
        station.wait_for_parts(station.count() + 1)
        station.terminate()
    check_numbers(station)
    return Finding(
        what="second station on the same outputs",
        times=times,
        outcome="refused with exit code 2 and one line; the first went on",
    )
