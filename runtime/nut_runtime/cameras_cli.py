"""`nut-runtime cameras` and `nut-runtime capture`."""

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from nut_runtime.cli_errors import NutCommand, say
from nut_runtime.errors import InputError
from nut_runtime.station_file.config import CameraConfig, CameraSettings, ViewLimits

__all__ = ["camera_settings_options", "cameras", "capture", "settings_of"]

EXIT_FAILURES = 1
_REGION_NUMBERS = 4

_ADDRESSES = (
    "a number or /dev/video0, rtsp://..., http://... (MJPEG), `gstreamer: ... ! appsink`, `genicam: ...`, or a "
    "picture, video or folder that is played"
)


def camera_settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--width` and so on; `settings_of` takes what they give."""
    options: tuple[tuple[str, Any, str], ...] = (
        ("--warm-up", click.IntRange(min=0), "Frames thrown away after opening; 5 by default."),
        ("--focus", float, "Focus, in the driver's unit; turns autofocus off."),
        ("--white-balance", click.FloatRange(min=0), "Colour temperature in kelvin; turns the automatic off."),
        ("--gain", float, "Gain, in the driver's unit."),
        ("--exposure", float, "Exposure, in the driver's unit; turns the automatic off."),
        ("--fps", click.FloatRange(min=0, min_open=True), "Frames a second."),
        ("--height", click.IntRange(min=1), "Height of the frames in pixels."),
        ("--width", click.IntRange(min=1), "Width of the frames in pixels."),
    )
    for name, kind, words in options:
        command = click.option(name, type=kind, metavar="N", help=words)(command)
    return command


def settings_of(
    *,
    width: int | None,
    height: int | None,
    fps: float | None,
    exposure: float | None,
    gain: float | None,
    white_balance: float | None,
    focus: float | None,
    warm_up: int | None,
) -> CameraSettings:
    """Return what the options of `camera_settings_options` ask for."""
    return CameraSettings(
        width_px=width,
        height_px=height,
        fps=fps,
        exposure=exposure,
        gain=gain,
        white_balance_k=white_balance,
        focus=focus,
        warm_up_frames=CameraSettings().warm_up_frames if warm_up is None else warm_up,
    )


@click.command(cls=NutCommand)
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@camera_settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def cameras(ctx: click.Context, addresses: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """List the cameras that are there, with brightness and sharpness of what they see.

    \b
    nut-runtime cameras
    nut-runtime cameras rtsp://192.168.0.20/main 0 --exposure 120

    Without ADDRESS, those that are connected to this computer. Exit codes: 0 also where there are none, 1 where an
    ADDRESS gives no frame.
    """
    from nut_runtime.cameras.listing import list_cameras, look_at

    settings = settings_of(**options)
    seen = [look_at(address, settings) for address in addresses] if addresses else list_cameras()
    if as_json:
        import json

        say(json.dumps([one.to_json() for one in seen], indent=2))
    elif not seen:
        say("no cameras are connected to this computer; network cameras are looked at by their address")
    else:
        rows: list[tuple[str, ...]] = [("camera", "name", "resolution", "fps", "brightness", "sharpness")]
        rows += [
            (
                one.address,
                one.name,
                f"{one.width_px}x{one.height_px}",
                *map(str, (one.fps, one.brightness, one.sharpness)),
            )
            if not one.error
            else (one.address, one.name, "-", "-", "-", "-")
            for one in seen
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for one in seen:
            for words in (*one.notes, *([one.error] if one.error else [])):
                say(f"{one.address}: {words}")
    if addresses and any(one.error for one in seen):
        ctx.exit(EXIT_FAILURES)


@click.command(cls=NutCommand)
@click.option("--camera", "--address", "address", required=True, metavar="ADDRESS", help=f"Which one: {_ADDRESSES}.")
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to; made when missing.",
)
@click.option("--count", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="How many.")
@click.option(
    "--every-ms",
    type=click.FloatRange(min=0),
    default=500,
    show_default=True,
    metavar="MS",
    help="Time between two pictures.",
)
@click.option("--region", metavar="X,Y,W,H", help="Keep this part of the frame: left, top, width, height in pixels.")
@click.option("--least-brightness", type=click.FloatRange(min=0, max=255), metavar="B", help="Refuse darker ones.")
@click.option("--least-sharpness", type=click.FloatRange(min=0), metavar="S", help="Refuse more blurred ones.")
@click.option(
    "--frozen-after",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Refuse those of a camera that has given the same one for S seconds.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0, min_open=True),
    default=30,
    show_default=True,
    metavar="S",
    help="Give up after S seconds without a picture.",
)
@camera_settings_options
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def capture(
    address: str,
    folder: Path,
    count: int,
    every_ms: float,
    region: str | None,
    least_brightness: float | None,
    least_sharpness: float | None,
    frozen_after: float | None,
    patience: float,
    quiet: bool,
    **options: Any,
) -> None:
    """Collect a camera's pictures, such as those of good parts to train on.

    \b
    nut-runtime capture --camera 0 -o dataset/train/good --count 50 --every-ms 500
    nut-runtime capture --camera http://192.168.0.20/mjpg -o dataset/train/good --least-brightness 40

    Pictures are named by the time they were taken, and never replace another. A camera that is away for a moment is
    waited for. What was kept before Ctrl-C, or before the camera was given up, stays.
    """
    from nut_runtime.cameras.address import parse_address
    from nut_runtime.cameras.collecting import collect
    from nut_runtime.cameras.feed import CameraFeed
    from nut_runtime.health import Health
    from nut_runtime.sources.base import Frame

    config = CameraConfig(
        name=parse_address(address).shown,
        address=address,
        settings=settings_of(**options),
        limits=ViewLimits(
            frozen_after_s=frozen_after, least_brightness=least_brightness, least_sharpness=least_sharpness
        ),
        region_px=None if region is None else _region(region),
    )
    refused, kept, last_words = 0, 0, ""
    with (
        closing(CameraFeed(config, Health())) as feed,
        click.progressbar(length=count, label="pictures", file=sys.stderr, hidden=quiet) as bar,
    ):

        def keep(path: Path) -> None:
            nonlocal kept
            del path
            kept += 1
            bar.update(1)

        def refuse(frame: Frame) -> None:
            nonlocal refused, last_words
            refused += 1
            words = str(frame.reason)
            if words != last_words and not quiet:
                click.echo(f"\nnot kept: {frame.error}", err=True)
            last_words = words

        try:
            feed.start()
            collect(
                feed,
                folder,
                count=count,
                every_s=every_ms / 1e3,
                patience_s=patience,
                on_kept=keep,
                on_refused=refuse,
            )
        finally:
            if kept or refused:
                say(f"kept {kept} of {count} pictures in {folder}" + (f", refused {refused}" if refused else ""))


def _region(text: str) -> tuple[int, int, int, int]:
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != _REGION_NUMBERS or min(numbers) < 0:
        raise InputError(f"--region {text}: expected left,top,width,height in pixels, such as 100,0,400,400")
    left, top, width, height = numbers
    return left, top, width, height
