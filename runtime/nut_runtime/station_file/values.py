"""What one value of a station file may be: each reader returns it as the station takes it, or says what is wrong."""

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nut_runtime.errors import InputError
from nut_runtime.pictures import MIN_SIDE_PX

__all__ = [
    "Reader",
    "check_url",
    "got",
    "host",
    "number",
    "one_of",
    "or_off",
    "plain_name",
    "region",
    "text",
    "topic",
    "web_address",
    "whole",
    "without_secrets",
    "yes_or_no",
]

Reader = Callable[[Any, Path], Any]
"""Takes a value and the station file's folder; raises InputError with a message without file, line and key."""

_LONGEST_SHOWN = 60
_LONGEST_NAME = 64
_LARGEST_SIDE_PX = 65_535
_NAME = re.compile(rf"\w[\w .-]{{0,{_LONGEST_NAME - 1}}}")
_SECRET = re.compile(r"(?<=://)[^/\s]*@|(?i:(?<=pass=)|(?<=password=)|(?<=passwd=)|(?<=pwd=)|(?<=token=))[^&\s]+")


def without_secrets(words: str) -> str:
    """Return words, such as a camera's address, with `***` where they hold a name and password."""
    return _SECRET.sub(lambda found: "***@" if found[0].endswith("@") else "***", words)


def got(value: Any) -> str:
    """Return a value for a message: short, on one line, and without the password of an address."""
    kinds: dict[type, str] = {bool: str(value).lower(), dict: "a table", list: "a list"}
    if type(value) in kinds:
        return kinds[type(value)]
    if isinstance(value, str):
        shown = repr(without_secrets(value))
        return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
    return str(value)


def whole(least: int, most: int) -> Reader:
    """Return a reader of whole numbers from `least` to `most`."""

    def read(value: Any, _folder: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InputError(f"expected a whole number from {least} to {most}, got {got(value)}")
        return value

    return read


def number(
    least: float = -math.inf, most: float = math.inf, *, is_above: bool = False, is_below: bool = False
) -> Reader:
    """Return a reader of finite numbers from `least` to `most`; `is_above` and `is_below` leave out the ends."""
    parts = [
        "" if math.isinf(least) else f" above {least:g}" if is_above else f" of at least {least:g}",
        "" if math.isinf(most) else f" below {most:g}" if is_below else f" of at most {most:g}",
    ]
    expected = f"a number{' and'.join(part for part in parts if part)}"

    def read(value: Any, _folder: Path) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if (
            not is_number
            or not math.isfinite(value)
            or not least <= value <= most
            or (is_above and value == least)
            or (is_below and value == most)
        ):
            raise InputError(f"expected {expected}, got {got(value)}")
        return float(value)

    return read


def or_off(reader: Reader, *, off: float | None = None) -> Reader:
    """Return a reader that takes `false` too, for a limit that is turned off: `off`."""

    def read(value: Any, folder: Path) -> Any:
        if value is False:
            return off
        try:
            return reader(value, folder)
        except InputError as error:
            raise InputError(f"{error} (false turns it off)") from error

    return read


def one_of(words: Iterable[str]) -> Reader:
    """Return a reader of one of these words, such as an enumeration's; it gives the word that was listed."""
    known = {str(word): word for word in words}

    def read(value: Any, _folder: Path) -> str:
        if not isinstance(value, str) or value not in known:
            choices = ", ".join(f'"{word}"' for word in known)
            raise InputError(f"expected one of {choices}, got {got(value)}")
        return known[value]

    return read


def text(value: Any, _folder: Path) -> str:
    """Read text that is not empty and has no control characters."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"expected text in quotes, got {got(value)}")
    if not value.isprintable():
        raise InputError(
            f"expected text without control characters, got {got(value)}; paths of Windows go in 'single quotes'"
        )
    return value


def yes_or_no(value: Any, _folder: Path) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise InputError(f"expected true or false, got {got(value)}")
    return value


def plain_name(value: Any, folder: Path) -> str:
    """Read a name that can stand in records, topics, addresses and names of files."""
    name = text(value, folder)
    if not _NAME.fullmatch(name) or name != name.strip():
        raise InputError(
            f"expected a name of at most {_LONGEST_NAME} letters, digits, blanks and _ . - that begins with a letter "
            f"or digit, got {got(value)}"
        )
    return name


def topic(value: Any, folder: Path) -> str:
    """Read an MQTT topic that can be published to."""
    name = text(value, folder)
    if set(name) & set("+#") or name.startswith(("$", "/")) or name.endswith("/"):
        raise InputError(
            f"expected a topic without + and #, without $ or / at its start or / at its end, got {got(value)}"
        )
    return name


def host(value: Any, folder: Path) -> str:
    """Read a host's name or address."""
    name = text(value, folder)
    if re.search(r"[\s/@]", name):
        raise InputError(f"expected the name or address of a host alone, without port or path, got {got(value)}")
    return name


def web_address(value: Any, folder: Path) -> str:
    """Read an http or https address that holds no password."""
    url = text(value, folder)
    check_url(url, ("http", "https"))
    if urlsplit(url).username is not None:
        raise InputError("a password never stands in a station file; take it out of the address and use token_file")
    return url


def region(value: Any, _folder: Path) -> tuple[int, int, int, int]:
    """Read left, top, width and height of a part of the frame, in pixels."""
    is_four = isinstance(value, list) and len(value) == 4  # noqa: PLR2004 - the four that the message names
    if not is_four or any(not isinstance(one, int) or isinstance(one, bool) for one in value):
        raise InputError("expected four whole numbers [left, top, width, height] in pixels")
    left, top, width, height = value
    if min(left, top) < 0 or max(value) > _LARGEST_SIDE_PX:
        raise InputError(f"{value} lies outside any frame; expected [left, top, width, height] in pixels")
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(f"{width}x{height} px is too small, at least {MIN_SIDE_PX} px a side are needed")
    return left, top, width, height


def check_url(url: str, schemes: tuple[str, ...]) -> None:
    """Refuse an address that names no host, or is of none of these kinds.

    Raises:
        InputError: If it is.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:  # of a port or an IPv6 address
        is_one = False
    if not is_one:
        raise InputError(f"expected {' or '.join(f'{scheme}://HOST...' for scheme in schemes)}, got {got(url)}")
