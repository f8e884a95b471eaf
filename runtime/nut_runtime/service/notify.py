"""What a service tells systemd: that it is ready, that it lives, how it is (sd_notify, without its library).

Each message is one datagram to the socket that `NOTIFY_SOCKET` names. Where nobody started us so, nothing is sent, so
the same program runs from a terminal and on Windows too.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

__all__ = ["Notifier", "Watchdog"]

_BEATS_PER_LIMIT = 3  # systemd advises half of the limit; a third lets one beat come late or get lost
_SEND_TIMEOUT_S = 1.0  # a manager that does not read must not hold the station up
_STATUS_CHARS = 200


class Notifier:
    """Sends a service's messages to its manager.

    Args:
        address: Path of the manager's socket, `@NAME` for an abstract one; empty where there is no manager.
        watchdog_s: A beat is expected at least so often; None where none is.
    """

    def __init__(self, address: str = "", *, watchdog_s: float | None = None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Notifier":
        """Read `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, as systemd sets them.

        Args:
            environment: Where to read them; None takes the process's own.
        """
        found = os.environ if environment is None else environment
        watchdog_s = None
        with suppress(ValueError):  # a figure that is none: no beat is expected by anyone who can write figures
            microseconds = int(found.get("WATCHDOG_USEC", "0"))
            is_ours = int(found.get("WATCHDOG_PID", os.getpid())) == os.getpid()
            watchdog_s = microseconds / 1e6 if is_ours and microseconds > 0 else None
        return cls(found.get("NOTIFY_SOCKET", ""), watchdog_s=watchdog_s)

    @property
    def is_listened_to(self) -> bool:
        """Whether there is a manager to tell."""
        return self._address[:1] in ("/", "@") and hasattr(socket, "AF_UNIX")

    def send(self, **fields: str | int) -> bool:
        """Send fields, such as `READY=1`; return whether they were taken.

        A manager that is away, or does not read, is no reason for a station to stop: nothing is raised.
        """
        if not self.is_listened_to:
            return False
        # A leading NUL is the kernel's mark of an abstract name; in the environment it is written as @.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        message = "\n".join(f"{name}={_one_line(value)}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)) as sender:
                sender.settimeout(_SEND_TIMEOUT_S)
                sender.sendto(message.encode(), address)
        except OSError:
            return False
        return True

    def ready(self, status: str = "") -> bool:
        """Say that the station judges from now on."""
        return self.send(READY=1, STATUS=status)

    def status(self, status: str) -> bool:
        """Say in one line how the station is; `systemctl status` shows it."""
        return self.send(STATUS=status)

    def stopping(self, status: str = "stopping") -> bool:
        """Say that the station ends, and is not to be taken for one that hangs."""
        return self.send(STOPPING=1, STATUS=status)

    def beat(self) -> bool:
        """Say that the station lives."""
        return self.send(WATCHDOG=1)


class Watchdog:
    """Beats for as long as the station makes progress, from a thread of its own.

    A thread that beats whatever happens would keep a station alive that judges nothing any more, so `is_alive` is asked
    before each beat. Where it says no, or does not come back, the beats stop and systemd restarts the station.

    Args:
        notifier: Where to beat; without a manager, or one that expects no beats, only the status is told.
        is_alive: Whether the station makes progress; must be quick. Waiting for a trigger is progress, too.
        status: How the station is, in one line; told whenever it has changed. None tells nothing.
        every_s: How often; None takes a third of the manager's limit, or 10 s without one.
    """

    def __init__(
        self,
        notifier: Notifier,
        is_alive: Callable[[], bool],
        *,
        status: Callable[[], str] | None = None,
        every_s: float | None = None,
    ) -> None:
        self._notifier, self._is_alive, self._status = notifier, is_alive, status
        limit = notifier.watchdog_s
        self.every_s = every_s or (10.0 if limit is None else limit / _BEATS_PER_LIMIT)
        self._told = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to beat, where anybody listens."""
        if self._notifier.is_listened_to:
            self._thread.start()

    def close(self) -> None:
        """Stop beating; safe to call twice, and before `start`."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * _SEND_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            if self._notifier.watchdog_s is not None and self._is_alive():
                self._notifier.beat()
            if self._status is not None:
                status = self._status()
                if status != self._told and self._notifier.status(status):
                    self._told = status
            if self._stopped.wait(self.every_s):
                return


def _one_line(value: str | int) -> str:
    """Keep a value from bringing fields of its own, or a datagram beyond its size."""
    return " ".join(str(value).split())[:_STATUS_CHARS]
