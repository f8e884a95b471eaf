"""Who may look: the token, sessions that stand for it in a browser, and a limit on guesses."""

import hashlib
import hmac
import ipaddress
import logging
import os
import secrets
import stat
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TypeVar

from nut_runtime.errors import InputError
from nut_runtime.station_file.config import ServeConfig

__all__ = ["Admission", "Gate", "is_loopback", "read_token"]

_K = TypeVar("_K")
_V = TypeVar("_V")

_log = logging.getLogger("nut_runtime")

_SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 1024
_HOW_TO_MAKE = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"

_GUESSES, _GUESSES_IN_ALL, _GUESSES_WITHIN_S = 5, 50, 60.0
_MOST_ADDRESSES = 1_000
_MOST_SESSIONS = 64
_SESSION_IDLE_S, _SESSION_S = 24 * 3600.0, 30 * 24 * 3600.0


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens at `host`.

    Example:
        >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("line3.plant")
        (True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_token(config: ServeConfig) -> str | None:
    """Return the token that visitors must give; None where the page is for this machine alone and there is none.

    Raises:
        InputError: If there is none and others could reach the page, or the file holds no usable token.
    """
    path = config.token_file
    if path is None:
        if not is_loopback(config.host):
            raise InputError(
                f"the page at {config.host} would be open to the whole network; name a token_file, or listen at "
                f"127.0.0.1 ({_HOW_TO_MAKE})"
            )
        return None
    try:
        with path.open(encoding="utf-8") as file:
            token = file.readline(_LONGEST_TOKEN + 2).strip()
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise InputError(f"cannot read the token file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the token file {path} is not a text; {_HOW_TO_MAKE}") from error
    if not _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN or not token.isascii() or not token.isprintable():
        raise InputError(
            f"the first line of {path} must be a token of {_SHORTEST_TOKEN} to {_LONGEST_TOKEN} plain characters; "
            f"{_HOW_TO_MAKE}"
        )
    if os.name == "posix" and mode & stat.S_IROTH:
        _log.warning("the token file %s can be read by everybody on this machine; chmod 600 it", path)
    return token


class Admission(Enum):
    """What comes of a token that somebody gave."""

    ALLOWED = auto()
    WRONG = auto()
    WAIT = auto()
    """Too many wrong ones; not even compared."""


class Gate:
    """Compares tokens and remembers sessions. Used by one thread.

    Args:
        token: What is asked for; None lets everybody in.
        clock: Tells the seconds.
    """

    def __init__(self, token: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._digest = None if token is None else _digest(token)
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._wrong_in_all: deque[float] = deque(maxlen=_GUESSES_IN_ALL)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._sessions: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    @property
    def needs_token(self) -> bool:
        """Whether a token is asked for."""
        return self._digest is not None

    def admit(self, token: str, address: str) -> Admission:
        """Compare a token, in a time that tells nothing of where it differs.

        After five wrong ones within a minute an address has to wait, and after fifty from all of them every address
        that never gave the right one.

        Args:
            token: What was given.
            address: Who gave it.
        """
        if self._digest is None:
            return Admission.ALLOWED
        who, now = _network(address), self._clock()
        guesses = self._wrong.get(who, deque[float](maxlen=_GUESSES))
        if _is_full(guesses, now) or (who not in self._known and _is_full(self._wrong_in_all, now)):
            return Admission.WAIT
        if hmac.compare_digest(_digest(token), self._digest):
            self._wrong.pop(who, None)
            _remember(self._known, who, None, _MOST_ADDRESSES)
            return Admission.ALLOWED
        guesses.append(now)
        self._wrong_in_all.append(now)
        _remember(self._wrong, who, guesses, _MOST_ADDRESSES)
        return Admission.WRONG

    def open_session(self) -> str:
        """Return the id of a new session: random, and nothing to do with the token."""
        name, now = secrets.token_urlsafe(32), self._clock()
        _remember(self._sessions, _digest(name), (now, now), _MOST_SESSIONS)
        return name

    def is_session(self, name: str) -> bool:
        """Whether a session is open: used within a day, and opened within thirty."""
        key, now = _digest(name), self._clock()
        opened, used = self._sessions.get(key, (-_SESSION_S, -_SESSION_IDLE_S))
        if now - opened >= _SESSION_S or now - used >= _SESSION_IDLE_S:
            self._sessions.pop(key, None)
            return False
        _remember(self._sessions, key, (opened, now), _MOST_SESSIONS)
        return True

    def close_session(self, name: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(name), None)


def _digest(text: str) -> bytes:
    """Return what is compared and kept in place of a secret."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _is_full(guesses: deque[float], now: float) -> bool:
    return len(guesses) == guesses.maxlen and now - guesses[0] < _GUESSES_WITHIN_S


def _network(address: str) -> str:
    """Return whom guesses are counted for: an IPv4 address, or an IPv6 network, of which one person has 2**64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if parsed.version == 4:  # noqa: PLR2004 - IPv4
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))


def _remember(table: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    """Put an entry last, and let go of the first where there are too many."""
    table[key] = value
    table.move_to_end(key)
    while len(table) > most:
        table.popitem(last=False)
