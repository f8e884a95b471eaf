"""Where a station file's values lead: files, folders and cameras. Paths start from the station file's folder."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nut_runtime.errors import InputError
from nut_runtime.station_file.values import check_url, got, text

__all__ = [
    "address",
    "existing_file",
    "existing_folder",
    "output_file",
    "output_folder",
    "records_file",
    "secret_file",
]

_STREAMS = ("rtsp", "rtsps", "http", "https")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]|%[A-Za-z_]+%")


def address(value: Any, folder: Path) -> str:
    """Read a camera's address; a picture, video or folder of that name must be there."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    name = text(value, folder)
    if name.isascii() and name.isdigit():
        return str(int(name))
    if name.startswith("gstreamer:"):
        if "appsink" not in name:
            raise InputError(f"expected a pipeline that ends in appsink, got {got(value)}")
        return name
    if "://" in name:
        check_url(name, _STREAMS)
        return name
    if name.startswith(("/dev/", "genicam:")):
        return name
    path = _path(name, folder)
    if not _look(path.exists):
        streams = ", ".join(f"{scheme}://" for scheme in _STREAMS)
        raise InputError(
            f"{path} is not there; expected a camera's number, /dev/videoN, {streams}, gstreamer: with a pipeline, "
            "genicam: with a camera, or a picture, video or folder"
        )
    return str(path)


def existing_folder(value: Any, folder: Path) -> Path:
    """Read the path of a folder that is there."""
    path = _path(value, folder)
    if not _look(path.is_dir):
        raise InputError(f"{path} is {'not a folder' if _look(path.exists) else 'not there'}; expected a folder")
    return path


def existing_file(value: Any, folder: Path) -> Path:
    """Read the path of a file that is there and can be read."""
    path = _path(value, folder)
    _read_start(path)
    return path


def secret_file(value: Any, folder: Path) -> Path:
    """Read the path of a file whose first line is a password or token."""
    path = _path(value, folder)
    if not _read_start(path).split(b"\n", 1)[0].strip():
        raise InputError(f"the first line of {path} is empty; expected the password or token there")
    return path


def output_folder(value: Any, folder: Path) -> Path:
    """Read the path of a folder that is there or can be made."""
    path = _path(value, folder)
    nearest = next(place for place in (path, *path.parents) if _look(place.exists) or place == place.parent)
    if not _look(nearest.is_dir):
        raise InputError(f"{nearest} is a file; expected a folder, or a place where one can be made")
    return path


def output_file(value: Any, folder: Path) -> Path:
    """Read the path of a file that is there or can be made, with its folder."""
    path = _path(value, folder)
    if _look(path.is_dir):
        raise InputError(f"{path} is a folder; name a file in it")
    output_folder(str(path.parent), folder)
    return path


def records_file(value: Any, folder: Path) -> str:
    """Read the path of a file as `output_file` does, or `-` for standard output."""
    return value if value == "-" else str(output_file(value, folder))


def _path(value: Any, folder: Path) -> Path:
    """Return a path, from the station file's folder on; what a shell would replace is refused, not made a folder of."""
    name = text(value, folder)
    if name.startswith("~") or _VARIABLE.search(name):
        raise InputError(f"~ and variables of the environment are not replaced in {got(value)}; write the whole path")
    return folder / name


def _look(question: Callable[[], bool]) -> bool:
    """Ask a path; one that may not be looked at counts as not there."""
    try:
        return question()
    except OSError:
        return False


def _read_start(path: Path) -> bytes:
    """Return the first bytes of a file."""
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
