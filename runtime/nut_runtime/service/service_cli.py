"""`nut-runtime service`: the station as a service of systemd."""

import importlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nut_runtime.atomic import write_text
from nut_runtime.cli_errors import NutGroup, say
from nut_runtime.errors import InputError, OutputError
from nut_runtime.service.systemd import MARK, UnitConfig, check_unit_name, unit_text
from nut_runtime.station_file.config import StationConfig, TriggerKind

__all__ = ["read_paths", "service", "written_folders"]

UNIT_FOLDER = "/etc/systemd/system"
DEFAULT_NAME = "nut-station"
EXIT_NOT_RUNNING = 1

_SYSTEMD_RUNS = Path("/run/systemd/system")  # as sd_booted(3) looks
_STATUS = (
    ("ActiveState", "state"),
    ("SubState", "in detail"),
    ("UnitFileState", "at boot"),
    ("ActiveEnterTimestamp", "since"),
    ("NRestarts", "restarts"),
    ("MemoryCurrent", "memory, bytes"),
)
"""What `systemctl show` calls it, and what we do."""


@click.group(cls=NutGroup)
def service() -> None:
    """Run the station as a service of systemd, which starts it again whatever happens.

    \b
    nut-runtime service install --config /etc/nut/station.toml --user nut
    nut-runtime service status
    nut-runtime service uninstall
    """


def _name_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--name", default=DEFAULT_NAME, show_default=True, help="The service's name.")(command)


def _folder_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--unit-folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=UNIT_FOLDER,
        show_default=True,
        help="Where units lie; another one when a disk image is made.",
    )(command)


@service.command()
@click.option(
    "--config", "station_file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The station file."
)
@click.option("--user", metavar="NAME", help="Unprivileged user to run as; systemd makes one up by default.")
@_name_option
@click.option(
    "--state-folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the station runs and may always write; /var/lib/NAME by default.",
)
@click.option("--memory", default="4G", show_default=True, metavar="SIZE", help="Started again beyond; `none` for any.")
@click.option("--cpu", metavar="SHARE", help="CPU time at most, such as 200% for two cores.")
@_folder_option
@click.option("--print", "only_prints", is_flag=True, help="Print the unit and write nothing.")
def install(
    station_file: Path,
    user: str | None,
    name: str,
    state_folder: Path | None,
    memory: str,
    cpu: str | None,
    unit_folder: Path,
    only_prints: bool,
) -> None:
    """Write the unit of a station, after checking its station file.

    It starts and enables nothing; the commands that do are printed.

    \b
    nut-runtime service install --config /etc/nut/station.toml --user nut
    nut-runtime service install --config station.toml --print
    """
    station_file = station_file.absolute()  # not resolved: a link may be switched later
    station = _read_station(station_file)
    if station.trigger.kind is TriggerKind.STDIN:
        raise InputError(
            f'{station_file}: trigger.kind is "{TriggerKind.STDIN}", and the standard input of a service is empty; '
            f'choose "{TriggerKind.EVERY}", "{TriggerKind.HTTP}" or "{TriggerKind.PLC}"'
        )
    check_unit_name(name)
    state_folder = state_folder or Path("/var/lib") / name
    writable = written_folders(station, station_file.parent)
    text = unit_text(
        UnitConfig(
            command=_own_command(),
            station_file=station_file,
            name=name,
            user=user,
            state_folder=state_folder,
            writable=tuple(folder for folder in writable if not folder.is_relative_to(state_folder)),
            readable=tuple(read_paths(station, station_file.parent)),
            memory=None if memory == "none" else memory,
            cpu=cpu,
            has_video=any(_is_video(camera.address) for camera in station.cameras),
        )
    )
    if only_prints:
        say(text.rstrip("\n"))
        return
    if not sys.platform.startswith("linux"):
        raise InputError("systemd is of Linux only; docs/service.md says how to run a station as a service of Windows")
    unit = _own_unit(unit_folder, name, may_be_missing=True)
    if not unit_folder.is_dir():
        raise OutputError(f"{unit_folder} is not a folder; this system has no systemd, or give --unit-folder")
    try:
        write_text(unit, text)
        unit.chmod(0o644)
    except OutputError as error:
        raise OutputError(f"{error}; run it with sudo") from error
    say(f"wrote {unit}; now type, as root:")
    for line in _next_commands(name, user, [state_folder, *writable]):
        say(f"  {line}")


@service.command()
@_name_option
@_folder_option
def uninstall(name: str, unit_folder: Path) -> None:
    """Stop the service and remove its unit; the station file, verdicts and pictures stay.

    \b
    nut-runtime service uninstall
    """
    unit = _own_unit(unit_folder, name)
    runs_here = _SYSTEMD_RUNS.is_dir() and unit_folder == Path(UNIT_FOLDER)
    if runs_here:
        _systemctl("disable", "--now", name)
    try:
        unit.unlink()
    except OSError as error:
        raise OutputError(f"cannot remove {unit}: {error.strerror or error}; run it with sudo") from error
    if runs_here:
        _systemctl("daemon-reload")
    say(f"removed {unit}")


@service.command()
@_name_option
@_folder_option
@click.pass_context
def status(ctx: click.Context, name: str, unit_folder: Path) -> None:
    """Say whether the service runs, since when, and how often it was started again.

    Exit code 0: it runs; 1: it does not.

    \b
    nut-runtime service status
    """
    unit = _own_unit(unit_folder, name)
    say(f"{'unit':<16}{unit}")
    if not _SYSTEMD_RUNS.is_dir():
        say(f"{'state':<16}unknown: systemd does not run here")
        ctx.exit(EXIT_NOT_RUNNING)
    names = ",".join(key for key, _ in _STATUS)
    found = dict(line.partition("=")[::2] for line in _systemctl("show", name, f"--property={names}").splitlines())
    for key, word in _STATUS:
        if found.get(key):
            say(f"{word:<16}{found[key]}")
    if found.get("ActiveState") != "active":
        ctx.exit(EXIT_NOT_RUNNING)


def written_folders(station: StationConfig, base: Path) -> list[Path]:
    """Return the folders that a station writes to, absolute, sorted, each once.

    Args:
        station: The station.
        base: What relative paths are relative to; absolute.
    """
    files = [
        None if station.jsonl in (None, "-") else Path(str(station.jsonl)),
        station.csv,
        station.sqlite,
        None if station.outbox is None else station.outbox.path,
    ]
    folders = [file.parent for file in files if file is not None]
    folders += [folder for folder in (station.cache, station.pictures and station.pictures.folder) if folder]
    return sorted({Path(os.path.normpath(base / folder)) for folder in folders})


def read_paths(station: StationConfig, base: Path) -> list[Path]:
    """Return the files and folders that a station reads, besides its station file: absolute, sorted, each once.

    Args:
        station: The station.
        base: What relative paths are relative to; absolute.
    """
    mqtt, webhook, serve = station.mqtt, station.webhook, station.serve
    paths = [station.bundle, station.verify_key]
    for camera in station.cameras:
        paths.append(camera.ignore)
        if camera.address.startswith("/") and not camera.address.startswith("/dev/"):  # a picture, video or folder
            paths.append(Path(camera.address))
    if mqtt is not None:
        paths += [mqtt.password_file, mqtt.ca_file, mqtt.cert_file, mqtt.key_file]
    if webhook is not None:
        paths.append(webhook.token_file)
    if serve is not None:
        paths.append(serve.token_file)
    return sorted({Path(os.path.normpath(base / path)) for path in paths if path is not None})


def _read_station(path: Path) -> StationConfig:
    """Return the checked content of a station file.

    Raises:
        InputError: If it cannot be read or does not check.
    """
    # Not at the top: the reader of station files is heavier than `uninstall` and `status` need.
    return importlib.import_module("nut_runtime.station_file.parse").read_station(path)


def _own_command() -> tuple[str, ...]:
    """Return how this very installation is called."""
    called = Path(sys.argv[0]).absolute()
    if called.name == "nut-runtime" and os.access(called, os.X_OK):
        return (str(called),)  # through a link to the version in use, if it was; the link may be switched later
    script = Path(sys.executable).with_name("nut-runtime")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "nut_runtime")


def _own_unit(folder: Path, name: str, *, may_be_missing: bool = False) -> Path:
    """Return the path of a unit that is ours to replace or remove.

    Raises:
        InputError: If the name is none, or there is no such unit.
        OutputError: If it cannot be read, or somebody else wrote it.
    """
    check_unit_name(name)
    unit = folder / f"{name}.service"
    try:
        is_ours = unit.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    except FileNotFoundError as error:
        if may_be_missing:
            return unit
        raise InputError(f"{unit} is not there; nut-runtime service install writes it") from error
    except OSError as error:
        raise OutputError(f"cannot read {unit}: {error.strerror or error}") from error
    if not is_ours:
        raise OutputError(f"{unit} was not written by nut-runtime, so it is left alone; choose another --name")
    return unit


def _is_video(address: str) -> bool:
    """Whether a camera is opened through a device file; a pipeline of GStreamer may do so too."""
    return address.isdigit() or address.startswith(("/dev/", "gstreamer:"))


def _next_commands(name: str, user: str | None, folders: list[Path]) -> list[str]:
    """Return what is to be typed to have the service run."""
    lines = []
    if user is not None:
        if not _is_user(user):
            lines.append(f"useradd -r -M -s /usr/sbin/nologin {user}")
        lines += [
            f"install -d -o {user} -g {user} {shlex.quote(str(folder))}"
            for folder in folders
            if not folder.is_dir() and folder.parent != Path("/var/lib")  # systemd makes those itself
        ]
    return [*lines, "systemctl daemon-reload", f"systemctl enable {name}", f"systemctl restart {name}"]


def _is_user(name: str) -> bool:
    import pwd  # not on Windows

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _systemctl(*arguments: str) -> str:
    """Run systemctl and return what it prints.

    Raises:
        InputError: If it is not there or fails.
    """
    program = shutil.which("systemctl")
    if program is None:
        raise InputError("systemctl is not there; is this a system with systemd?")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise InputError(f"systemctl {' '.join(arguments)}: {said}")
    return done.stdout
