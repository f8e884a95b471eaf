"""The text of a systemd unit: what keeps the station running, and what it may not do."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nut_runtime.errors import InputError

__all__ = ["MARK", "UnitConfig", "check_unit_name", "quoted", "unit_text"]

MARK = "# Written by nut-runtime service install."
"""First line of a unit of ours; one without it is never replaced or removed."""

_UNIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")
_NOT_OWN_USERS = frozenset({"root", "nobody"})  # all of the machine, and what everyone without a user shares
_AMOUNT = re.compile(r"[1-9][0-9]*[KMGT]?")
_SHARE = re.compile(r"[1-9][0-9]*%")
_HOMES = tuple(PurePosixPath(place) for place in ("/home", "/root", "/run/user"))
_TEMPORARY = tuple(PurePosixPath(place) for place in ("/tmp", "/var/tmp"))  # noqa: S108 (named to be refused)
_STATE = PurePosixPath("/var/lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitConfig:
    """What a unit is made of.

    Attributes:
        command: Absolute path of the program, and its arguments.
        station_file: Absolute path of the station file, which the service reads.
        name: The unit's name without `.service`.
        user: Unprivileged user to run as; None has systemd make one up for as long as the service runs, who may write
            to the state folder only.
        state_folder: Where the service runs, and may write. Below `/var/lib` systemd makes it.
        writable: Further folders that it may write to, absolute; they must exist.
        readable: Further files and folders that it reads, absolute.
        memory: More than that, as `2G`, and the service is ended and started again; None sets no limit.
        cpu: Time of the CPUs, as `200%` for two of them; None sets no limit.
        has_video: Whether it may use the cameras at `/dev/video*`.
        watchdog_s: The service is started again when it was not heard of for so long.
    """

    command: tuple[str, ...]
    station_file: Path
    name: str = "nut-station"
    user: str | None = None
    state_folder: Path = Path("/var/lib/nut-station")
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    memory: str | None = "4G"
    cpu: str | None = None
    has_video: bool = True
    watchdog_s: int = 30

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is not one that systemd takes, or would not do what it looks like.
        """
        check_unit_name(self.name)
        if self.user is not None and (_USER_NAME.fullmatch(self.user) is None or self.user in _NOT_OWN_USERS):
            raise InputError(f"user {self.user!r}, expected the name of an unprivileged user of its own")
        if self.memory is not None and _AMOUNT.fullmatch(self.memory) is None:
            raise InputError(f"memory {self.memory!r}, expected an amount such as 2G or 800M")
        if self.cpu is not None and _SHARE.fullmatch(self.cpu) is None:
            raise InputError(f"cpu {self.cpu!r}, expected a share such as 150%, where 100% is one core")
        if not self.command or self.watchdog_s < 1:
            raise InputError("a unit needs a command, and a watchdog of at least one second")
        _check_paths(self)


def check_unit_name(name: str) -> None:
    """Refuse a name that is none, or that leads out of the folder of units.

    Raises:
        InputError: If it has other characters than letters, digits and `-_.`.
    """
    if _UNIT_NAME.fullmatch(name) is None or name.endswith(".service"):
        raise InputError(f"service name {name!r}, expected letters, digits and -_. without the ending .service")


def _check_paths(config: UnitConfig) -> None:
    """Refuse paths that a unit cannot say, or that the service would not see as we do."""
    if any(character in config.command[0] for character in "\"'\\"):
        raise InputError(f"{config.command[0]} holds a quote or backslash, which systemd takes in no program's path")
    if str(config.state_folder).endswith(("\\", " ")):
        raise InputError(f"{config.state_folder} ends in a space or backslash, which a unit cannot say; rename it")
    for path in (
        Path(config.command[0]),
        config.station_file,
        config.state_folder,
        *config.writable,
        *config.readable,
    ):
        if not path.is_absolute():
            raise InputError(f"{path} is not an absolute path, which a unit needs")
        if _is_below(path, _TEMPORARY):
            raise InputError(f"{path} lies in a temporary folder, and a service has its own; choose another place")
    if config.user is None:
        for folder in config.writable:
            if not folder.is_relative_to(config.state_folder):
                raise InputError(
                    f"{folder} is written to, but lies outside {config.state_folder}, and only a user with a name "
                    f"can own it; give --user NAME"
                )


def unit_text(config: UnitConfig) -> str:
    """Return the text of the unit.

    Args:
        config: What it is made of.

    Raises:
        InputError: If a path holds a control character, which no unit can say.
    """
    program, *arguments = config.command
    command = [*arguments, "run", "--strict", "--config", str(config.station_file)]
    # Only in the arguments does systemd replace $: in the program's own path it stands for itself.
    start = " ".join([quoted(program), *(quoted(argument).replace("$", "$$") for argument in command)])
    paths = [Path(program), config.station_file, config.state_folder, *config.writable, *config.readable]
    lines = [
        MARK,
        "# Changes: systemctl edit NAME makes a drop-in that stays when this file is written again.",
        "",
        "[Unit]",
        f"Description=Visual inspection ({config.name})",
        "After=network.target time-sync.target",
        "# Never give up: what it waits for, a camera, a disk, a bundle, may come back on Sunday night.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "# The station says when it judges, and then that it makes progress; a hanging one is started again.",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={start}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=always",
        "RestartSec=2",
        f"WatchdogSec={config.watchdog_s}",
        "# With --strict a bundle is verified, compiled and tested before the station is ready.",
        "TimeoutStartSec=180",
        "KillSignal=SIGTERM",
        "TimeoutStopSec=10",
        "Environment=PYTHONUNBUFFERED=1",
        *_user(config),
        *_folders(config, paths),
        *_limits(config),
        *_devices(config),
        *_HARDENING,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return one word as a unit writes it: in quotes where it needs them, and `%` doubled.

    Raises:
        InputError: If it holds a control character.
    """
    if any(ord(character) < ord(" ") or character == "\x7f" for character in text):
        raise InputError(f"{text!r} holds a control character, which a systemd unit cannot say; rename it")
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if re.search(r"[^\w@%+=:,./-]", text) else text


_HARDENING = (
    "",
    "# It may read what anyone may read, write where said above, use the network, and nothing else.",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "ProtectProc=invisible",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0027",
    "# Not MemoryDenyWriteExecute: the engines write machine code for this very CPU.",
)


def _user(config: UnitConfig) -> list[str]:
    return ["DynamicUser=yes"] if config.user is None else [f"User={config.user}"]


def _folders(config: UnitConfig, paths: list[Path]) -> list[str]:
    """Return where it runs and may write, and whether homes are in sight."""
    lines = []
    state = PurePosixPath(config.state_folder)
    if state != _STATE and state.is_relative_to(_STATE):
        lines.append(f"StateDirectory={quoted(str(state.relative_to(_STATE)))}")
        lines.append("StateDirectoryMode=0750")
        writable = list(config.writable)
    else:
        writable = [config.state_folder, *config.writable]
    lines.append(f"WorkingDirectory={_unquoted(str(config.state_folder))}")
    further = sorted({str(path) for path in writable if path == config.state_folder or not _is_state(path, config)})
    if further:
        lines.append(f"ReadWritePaths={' '.join(quoted(path) for path in further)}")
    # An installation or bundle in somebody's home would be out of sight with `yes`.
    lines.append(f"ProtectHome={'read-only' if any(_is_below(path, _HOMES) for path in paths) else 'yes'}")
    return lines


def _is_state(path: Path, config: UnitConfig) -> bool:
    return path.is_relative_to(config.state_folder)


def _is_below(path: Path, places: tuple[PurePosixPath, ...]) -> bool:
    return any(PurePosixPath(path).is_relative_to(place) for place in places)


def _unquoted(text: str) -> str:
    """Return a path for a setting that takes the rest of its line as it stands."""
    return text.replace("%", "%%") if quoted(text) else ""  # which refuses control characters


def _limits(config: UnitConfig) -> list[str]:
    lines = []
    if config.memory is not None:
        lines += [f"MemoryMax={config.memory}", "MemorySwapMax=0"]
    if config.cpu is not None:
        lines.append(f"CPUQuota={config.cpu}")
    return lines


def _devices(config: UnitConfig) -> list[str]:
    if not config.has_video:
        return ["PrivateDevices=yes"]
    return ["SupplementaryGroups=video", "DevicePolicy=closed", "DeviceAllow=char-video4linux rw"]
