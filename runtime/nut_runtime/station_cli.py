"""`nut-runtime config`: is a station file right, and what one looks like."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nut_runtime.cli_errors import NutGroup, say
from nut_runtime.review import NEVER
from nut_runtime.station_file.config import CameraConfig, Combine, StationConfig, TriggerKind, WhenBusy
from nut_runtime.station_file.values import without_secrets

__all__ = ["config"]

_EXIT_MISTAKES = 2


@click.group(cls=NutGroup)
def config() -> None:
    """Check a station file, or print one to begin with.

    \b
    nut-runtime config example > station.toml
    nut-runtime config check station.toml
    """


@config.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print mistakes and station as JSON.")
@click.pass_context
def check(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Say what a station file would do, or all that is wrong with it; exit code 2 where something is.

    The bundle is opened and compared with its SHA-256. No camera is opened, nothing is sent and nothing written.

    \b
    nut-runtime config check station.toml
    nut-runtime config check station.toml --json | jq .problems
    """
    from nut_runtime.station_file.parse import examine_station

    found = examine_station(file, opens_bundle=True)
    if as_json:
        problems = [dataclasses.asdict(problem) for problem in found.problems]
        bundle_id = None if found.bundle is None else found.bundle.manifest.bundle_id
        station = None if found.config is None else _plain(dataclasses.asdict(found.config))
        say(json.dumps({"problems": problems, "bundle_id": bundle_id, "station": station}, indent=2))
    for problem in () if as_json else found.problems:
        click.echo(f"{file}, {problem}", err=True)
    if found.config is None or found.bundle is None:
        ctx.exit(_EXIT_MISTAKES)
    if not as_json:
        for name, value in _rows(found.config, found.bundle.manifest.bundle_id):
            say(f"{name:<12}{value}")


@config.command()
@click.option("--rig", is_flag=True, help="Nine cameras in two groups, triggered by a PLC.")
def example(rig: bool) -> None:
    """Print a station file with comments: one camera and every option, or a rig.

    \b
    nut-runtime config example > station.toml
    nut-runtime config example --rig > rig.toml
    """
    from nut_runtime.station_file.example import ONE_CAMERA, RIG

    say((RIG if rig else ONE_CAMERA).rstrip("\n"))


def _plain(value: Any) -> Any:
    """Return a station's values as JSON has them, without the passwords of addresses."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return without_secrets(str(value)) if isinstance(value, str | Path) else value


def _rows(station: StationConfig, bundle_id: str) -> list[tuple[str, str]]:
    """Return what a station would do, as names and values."""
    streams = f"{station.streams} frame{'s' * (station.streams > 1)} at a time"
    threads = f", {station.threads} threads" if station.threads is not None else ""
    groups = len({camera.group for camera in station.cameras})
    longest = max(len(camera.name) for camera in station.cameras)
    rows = [
        ("station", station.name),
        ("bundle", f"{station.bundle}: {bundle_id}"),
        ("engine", f"{station.engine or 'whichever is installed'}, {streams}{threads}"),
        ("cameras", f"{len(station.cameras)} in {groups} group{'s' * (groups > 1)}"),
        *(("", _camera_row(camera, longest)) for camera in station.cameras),
        ("trigger", _trigger(station)),
        ("part", _part(station)),
        ("when busy", _when_busy(station)),
    ]
    outputs = _outputs(station)
    return [*rows, *((("outputs" if number == 0 else ""), one) for number, one in enumerate(outputs or ["none"]))]


def _camera_row(camera: CameraConfig, longest: int) -> str:
    """Return one line on a camera."""
    from nut_runtime.ignore_mask import IgnoreMask

    words = [f"{camera.name:<{longest}}  group {camera.group}  {without_secrets(camera.address)}"]
    if camera.settings.width_px is not None:
        words.append(f"{camera.settings.width_px}x{camera.settings.height_px} px")
    if camera.region_px is not None:
        left, top, width, height = camera.region_px
        words.append(f"of it {width}x{height} px at {left},{top}")
    if camera.ignore is not None:
        words.append(f"{IgnoreMask.read(camera.ignore).share:.1%} ignored")
    return ", ".join(words)


def _trigger(station: StationConfig) -> str:
    trigger = station.trigger
    return {
        TriggerKind.FREE: "every frame",
        TriggerKind.EVERY: f"every {trigger.every_ms:g} ms",
        TriggerKind.STDIN: "a line on standard input",
        TriggerKind.HTTP: "POST /trigger",
        TriggerKind.PLC: "the PLC's Trigger bit",
    }[trigger.kind]


def _part(station: StationConfig) -> str:
    views = {
        Combine.ANY: "any view is",
        Combine.ALL: "all views are",
        Combine.AT_LEAST: f"at least {station.at_least} of {len(station.cameras)} views are",
    }[station.combine]
    review = ""
    if station.review_from is not None:
        none = station.review_from == NEVER
        review = ", none is for review" if none else f", for review from a score of {station.review_from:g}"
    return f"defective where {views}{review}"


def _when_busy(station: StationConfig) -> str:
    what = {
        WhenBusy.WAIT: "the cameras wait",
        WhenBusy.DROP_OLDEST: "the part that waited longest goes without a verdict",
    }[station.when_busy]
    return f"{what}; {station.queue} parts wait at most"


def _outputs(station: StationConfig) -> list[str]:
    """Return one line for each output."""
    lines = [
        f"{name}: {file}"
        for name, file in (("jsonl", station.jsonl), ("csv", station.csv), ("sqlite", station.sqlite))
        if file is not None
    ]
    if station.pictures is not None:
        lines.append(f"pictures: {station.pictures.save} to {station.pictures.folder}")
    if station.mqtt is not None:
        tls = " with TLS" if station.mqtt.ca_file is not None else ""
        lines.append(f"mqtt: {station.mqtt.topic} at {station.mqtt.host}:{station.mqtt.port}{tls}")
    if station.webhook is not None:
        lines.append(f"webhook: {without_secrets(station.webhook.url)}")
    if station.plc is not None:
        lines.append(f"plc: Modbus TCP at {station.plc.host}:{station.plc.port}")
    if station.serve is not None:
        lines.append(f"page: http://{station.serve.host}:{station.serve.port}")
    return lines
