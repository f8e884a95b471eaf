"""Connections, bounded: whoever opens hundreds, or opens one and says nothing, takes no descriptor from a camera."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from nut_runtime.errors import InputError

__all__ = ["BoundedProtocol", "listen"]

_MOST = 64
_PATIENCE_S = 15.0
_UNANSWERED_MS = 20_000


class BoundedProtocol(H11Protocol):
    """Uvicorn's, with at most 64 connections at a time, each with 15 seconds to say what it wants."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, or drop it."""
        if len(self.connections) >= _MOST:
            self.transport = transport  # `connection_lost` follows and uses it
            transport.abort()
            return
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self._calm()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Give what is not yet a whole request a time to become one; more bytes do not prolong it."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._calm()
        elif self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(_PATIENCE_S, self.transport.close)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        InputError: If the address is not this machine's, or taken.
    """
    name = host.strip("[]")
    try:
        family = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0][0]
        opened = socket.create_server((name, port), family=family, backlog=64)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen at {host} port {port}: {reason}; is another station running? choose another port"
        ) from error
    # A page whose cable was pulled says no goodbye: what it does not acknowledge for so long ends the connection.
    # Connections inherit this from the socket that they came through.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
    return opened
