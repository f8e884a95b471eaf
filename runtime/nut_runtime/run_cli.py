"""`nut-runtime run`: the station, from options or from a station file."""

import signal
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nut_runtime.build_station import Station, build_station
from nut_runtime.cameras.address import parse_address
from nut_runtime.cameras_cli import camera_settings_options, settings_of
from nut_runtime.cli_options import engine_options, key_option, model_option, read_review_from
from nut_runtime.errors import InputError
from nut_runtime.pipeline import Summary
from nut_runtime.run_screen import print_summary, run_on_screen
from nut_runtime.station_file.config import (
    CameraConfig,
    PicturesConfig,
    SavePolicy,
    ServeConfig,
    StationConfig,
    TriggerConfig,
    TriggerKind,
    WhenBusy,
)

__all__ = ["run"]

EXIT_FAILURES = 1
EXIT_UNUSABLE = 2
EXIT_DEFECT = 3
EXIT_STOPPED = 130

CACHE_VARIABLE = "NUT_CACHE"

_ALSO_WITH_CONFIG = {"config", "model", "limit", "strict", "quiet", "fail_on_defect"}


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE | DIR | VIDEO]...")
@click.option(
    "--camera",
    "cameras",
    multiple=True,
    metavar="N|URL",
    help="Read this camera instead of files: a number, rtsp://, http://, ...; may be given again.",
)
@click.option(
    "--watch",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Judge pictures as they appear in DIR.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="STATION.toml",
    help="Run the station that this file describes; nut-runtime config example prints one.",
)
@model_option
@key_option
@engine_options
@camera_settings_options
@click.option(
    "--trigger",
    type=click.Choice(["free", "stdin", "http"]),
    default="free",
    show_default=True,
    help="What announces a part: each frame, a line on standard input, or POST /trigger with --serve.",
)
@click.option("--every-ms", type=click.FloatRange(min=1), metavar="MS", help="A part each so many milliseconds.")
@click.option(
    "--when-busy",
    type=click.Choice([str(policy) for policy in WhenBusy]),
    default=str(WhenBusy.WAIT),
    show_default=True,
    help="What happens to a part that comes while the queue to the engine is full.",
)
@click.option("--output", metavar="FILE", help="Append a JSON line a part to FILE; - writes to standard output.")
@click.option("--csv", type=click.Path(path_type=Path), metavar="FILE", help="Append a line a part to a CSV file.")
@click.option("--sqlite", type=click.Path(path_type=Path), metavar="FILE", help="Add a row a part to a database.")
@click.option("--save-dir", type=click.Path(path_type=Path), metavar="DIR", help="Save heat-map overlays to DIR.")
@click.option(
    "--save",
    type=click.Choice([str(policy) for policy in SavePolicy]),
    default=str(SavePolicy.DEFECTS),
    show_default=True,
    help="Which parts' overlays to save, with --save-dir.",
)
@click.option(
    "--serve",
    metavar="[HOST:]PORT",
    help="Show the live page, health and metrics, as 127.0.0.1:8080; beyond loopback with --token-file.",
)
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Token that visitors must give.")
@click.option(
    "--review-from",
    callback=read_review_from,
    metavar="SCORE|off",
    help="Parts that are not defective but have at least this score are for review; as the bundle says by default.",
)
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=CACHE_VARIABLE,
    help=f"Keep what OpenVINO compiled in DIR, or ${CACHE_VARIABLE}, for a quicker start.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Judge N frames at a time: more parts a second, each of them later.",
)
@click.option(
    "--locate/--no-locate",
    default=None,
    help="Find the parts of a tray and judge each; done where the bundle has a locator.",
)
@click.option("--fail-on-defect", is_flag=True, help="Exit with code 3 when a part was defective.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N parts.")
@click.option("--strict", is_flag=True, help="Run the self-test first and refuse to judge if it fails.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar and no summary.")
@click.pass_context
def run(ctx: click.Context, **options: Any) -> None:
    """Judge pictures, folders of pictures, videos, a watched folder or cameras.

    \b
    Exit codes: 0 ran to its end (cameras: or stopped with SIGTERM), 1 ran with failures,
    2 usage or unusable bundle, 3 --fail-on-defect saw a defect, 130 stopped with Ctrl-C.

    \b
    nut-runtime run --camera 0
    nut-runtime run trays/ --locate --save-dir out --save all
    nut-runtime run --camera 0 --sqlite verdicts.sqlite --save-dir rejects --serve 8080
    nut-runtime run --config station.toml
    nut-runtime run parts/ --model bundle --save-dir out --save all
    nut-runtime run parts/ --output - --quiet | jq -r '[.source, .label] | @tsv'
    """
    config = _config(ctx, options)
    with build_station(
        config,
        files=options["files"],
        watch=options["watch"],
        limit=options["limit"],
        is_strict=options["strict"],
    ) as station:
        stopped = _stop_on_signals(station)
        summary = run_on_screen(
            station.pipeline,
            count=station.count,
            is_listed=not options["quiet"] and not _tells_elsewhere(config),
            has_bar=not options["quiet"],
            is_station=station.is_station,
        )
        inspector = station.inspector
    if not options["quiet"]:
        print_summary(summary, inspector)
    ctx.exit(_exit_code(summary, stopped, fail_on_defect=options["fail_on_defect"], is_station=station.is_station))


def _config(ctx: click.Context, options: dict[str, Any]) -> StationConfig:
    """Return the station that a file or the options describe.

    Raises:
        click.UsageError: If nothing says where parts come from, or two things do.
    """
    ways = [name for name in ("files", "cameras", "watch", "config") if options[name]]
    if len(ways) != 1:
        raise click.UsageError(
            "name pictures, folders or videos to judge, or a camera with --camera N, a folder with --watch DIR or a "
            f"station with --config FILE{', not several of them' if ways else ''}"
        )
    if options["config"] is not None:
        return _from_file(ctx, options)
    if options["every_ms"] is not None and options["trigger"] != "free":
        raise click.UsageError("--every-ms and --trigger exclude each other")
    if not options["cameras"] and (options["every_ms"] is not None or options["trigger"] != "free"):
        raise click.UsageError("only cameras are triggered; give --camera")
    trigger = TriggerConfig(kind=TriggerKind(options["trigger"]))
    if options["every_ms"] is not None:
        trigger = TriggerConfig(kind=TriggerKind.EVERY, every_ms=options["every_ms"])
    serve = None if options["serve"] is None else _address(options["serve"], options["token_file"])
    if trigger.kind is TriggerKind.HTTP and serve is None:
        raise click.UsageError("--trigger http needs --serve")
    return StationConfig(
        bundle=options["model"],
        cameras=tuple(_camera(address, options) for address in options["cameras"]),
        trigger=trigger,
        when_busy=WhenBusy(options["when_busy"]),
        streams=options["streams"],
        engine=options["engine"],
        threads=options["threads"],
        cache=options["cache"],
        verify_key=options["verify_key"],
        locate=options["locate"],
        review_from=options["review_from"],
        jsonl=options["output"],
        csv=options["csv"],
        sqlite=options["sqlite"],
        pictures=None
        if options["save_dir"] is None
        else PicturesConfig(
            folder=options["save_dir"],
            save=SavePolicy(options["save"]),
            # Who judges files wants every picture; a camera that runs for months must not fill the disk.
            keep=10_000 if options["cameras"] or options["watch"] else None,
            least_free_mb=500.0 if options["cameras"] or options["watch"] else 0.0,
        ),
        serve=serve,
    )


def _from_file(ctx: click.Context, options: dict[str, Any]) -> StationConfig:
    from dataclasses import replace

    from nut_runtime.station_file.parse import read_station

    given = [name for name in options if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    others = sorted(set(given) - _ALSO_WITH_CONFIG)
    if others:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise click.UsageError(f"{names} cannot be given with --config; write it into the station file")
    config = read_station(options["config"])
    # $NUT_VERIFY_KEY and $NUT_CACHE of a service count too, where the file does not say otherwise.
    config = replace(
        config,
        verify_key=options["verify_key"] if config.verify_key is None else config.verify_key,
        cache=options["cache"] if config.cache is None else config.cache,
    )
    return replace(config, bundle=options["model"]) if "model" in given else config


def _camera(address: str, options: dict[str, Any]) -> CameraConfig:
    names = ("width", "height", "fps", "exposure", "gain", "white_balance", "focus", "warm_up")
    settings = settings_of(**{name: options[name] for name in names})
    shown = parse_address(address).shown  # the name goes into records, pages and files, where no password belongs
    return CameraConfig(name=f"camera {shown}" if shown.isdecimal() else shown, address=address, settings=settings)


def _address(text: str, token_file: Path | None) -> ServeConfig:
    """Return where to serve: `8080` or `127.0.0.1:8080`.

    Raises:
        InputError: If it is neither.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65_535:  # noqa: PLR2004 - TCP's largest
        raise InputError(f"--serve {text}: expected a port such as 8080, or an address such as 127.0.0.1:8080")
    return ServeConfig(host=host, port=int(port), token_file=token_file)


def _tells_elsewhere(config: StationConfig) -> bool:
    """Whether verdicts go anywhere but to the screen."""
    return any(one is not None for one in (config.jsonl, config.csv, config.sqlite, config.outbox, config.plc))


def _stop_on_signals(station: Station) -> dict[str, int]:
    """Let the first SIGTERM or Ctrl-C drain the station, a second one end it; return which one came."""
    came: dict[str, int] = {}

    def stop(number: int, _frame: object) -> None:
        if came:
            signal.default_int_handler(number, None)
        came["signal"] = number
        station.pipeline.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if hasattr(signal, "SIGHUP") and station.is_station:
        signal.signal(signal.SIGHUP, lambda *_: station.look_for_model())
    return came


def _exit_code(summary: Summary, stopped: dict[str, int], *, fail_on_defect: bool, is_station: bool) -> int:
    """Return the process's exit code.

    Input of which nothing at all could be judged is a mistake of usage, not a run with failures. A station that is told
    to stop ends well whatever its cameras did meanwhile, unless records were lost.
    """
    if stopped.get("signal") == signal.SIGINT:
        return EXIT_STOPPED
    if stopped and is_station:
        return EXIT_FAILURES if summary.unkept else 0
    if stopped:
        return EXIT_STOPPED
    if summary.failed:
        return EXIT_FAILURES if summary.parts or is_station else EXIT_UNUSABLE
    return EXIT_DEFECT if fail_on_defect and summary.rejects else 0
