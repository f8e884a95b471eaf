"""An HTTP server that each record is posted to."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from nut_runtime.errors import InputError, OutputError
from nut_runtime.sinks.delivery import RefusedError
from nut_runtime.sinks.outbox_store import StoredRecord
from nut_runtime.sinks.secret_file import read_secret
from nut_runtime.station_file.config import WebhookConfig

__all__ = ["WebhookDestination"]

_LARGEST_ANSWER = 65_536  # bytes that are read, so that the connection can be used again; a longer answer ends it
# What a server says of this very record: no good request, too large, not understood. Everything else (a wrong token, a
# wrong path, a redirect, too many requests, a server's own trouble) can be mended without changing the record.
_REFUSED_FOR_GOOD = {400, 413, 422}
_TAKEN, _REDIRECTED = 2, 3  # hundreds of the status


class WebhookDestination:
    """A `Destination` that posts each record as JSON, with its id as `Idempotency-Key`.

    The connection is kept from record to record. Only an answer with a 2xx status that arrived whole, in time, counts
    as taken. Redirects are not followed, for a token would go wherever they lead; proxies are not asked. Messages name
    the server, never path, query or token.

    Args:
        config: The server.

    Raises:
        InputError: If the address is not one, holds a password, or the token cannot be read.
    """

    name = "webhook"
    batch = 1
    """Each record is noted as taken before the next one is posted."""

    def __init__(self, config: WebhookConfig) -> None:
        try:
            url = urlsplit(config.url)
            port = url.port
        except ValueError as error:
            raise InputError(f"the webhook's URL is not valid: {error}") from None
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise InputError("the webhook's URL must begin with http:// or https:// and name a server")
        if url.username is not None or url.password is not None:
            raise InputError("the webhook's URL holds a password; write a token into a file and name it as token_file")
        if not config.url.isascii() or not config.url.isprintable() or " " in config.url:
            raise InputError("the webhook's URL holds spaces or letters that are not ASCII; write them as %XX")
        self._config = config
        self._is_tls = url.scheme == "https"
        self._host, self._port = url.hostname, port
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._where = f"{url.scheme}://{url.hostname}" + (f":{port}" if port else "")
        self._context = ssl.create_default_context() if self._is_tls else None
        self._connection: http.client.HTTPConnection | None = None
        self._headers()

    def deliver(self, records: Sequence[StoredRecord]) -> int:
        """Post records until one is not taken; return how many were.

        Raises:
            RefusedError: If the server will never take the first one.
            OutputError: If the first one was not taken.
        """
        taken = 0
        for record in records:
            try:
                self._post(record)
            except (RefusedError, OutputError):
                if not taken:
                    raise
                break
            taken += 1
        return taken

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, record: StoredRecord) -> None:
        headers = self._headers() | {"Idempotency-Key": record.id}
        is_used = self._connection is not None
        try:
            status, reason = self._exchange(record.body.encode(), headers)
        except _EndedError:
            if not is_used:
                raise
            # A server closes a connection that was idle for long; that is no failure. The id makes the second try safe.
            status, reason = self._exchange(record.body.encode(), headers)
        if status in _REFUSED_FOR_GOOD:
            raise RefusedError(f"{self._where} answered {status} {reason}")
        if status // 100 == _REDIRECTED:
            raise OutputError(
                f"{self._where} answered {status} {reason}; redirects are not followed, give the last URL"
            )
        if status // 100 != _TAKEN:
            raise OutputError(f"{self._where} answered {status} {reason}")

    def _exchange(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Send one request and read all of its answer; return its status and reason."""
        if self._connection is None:
            self._connection = self._new_connection()
        connection = self._connection
        is_answering = False
        with self._deadline(connection) as is_late:
            try:
                connection.request("POST", self._path, body, headers)
                answer = connection.getresponse()
                is_answering = True
                text = answer.read(_LARGEST_ANSWER + 1)
                is_cut = len(text) <= _LARGEST_ANSWER and bool(answer.length)  # what was announced did not come
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if is_late.is_set() or isinstance(error, TimeoutError):
                    raise self._late() from error
                reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__
                if isinstance(error, ConnectionError) and not is_answering:
                    raise _EndedError(f"cannot reach {self._where}: {reason}") from error
                raise OutputError(f"cannot get an answer from {self._where}: {reason}") from error
        if is_cut or is_late.is_set():
            self.close()
            raise self._late() if is_late.is_set() else OutputError(f"{self._where} broke its answer off")
        if answer.will_close or len(text) > _LARGEST_ANSWER:
            self.close()
        return answer.status, _plain(answer.reason)

    def _late(self) -> OutputError:
        return OutputError(f"{self._where} did not answer within {self._config.timeout_s:g} s")

    def _new_connection(self) -> http.client.HTTPConnection:
        if self._context is not None:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._config.timeout_s, context=self._context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._config.timeout_s)

    @contextmanager
    def _deadline(self, connection: http.client.HTTPConnection) -> Iterator[threading.Event]:
        """End the exchange in the block when its time is over, even where bytes keep dripping in; set the event then.

        The socket's own timeout is one of each wait for bytes, not of all of them.
        """
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            if connection.sock is not None:
                with suppress(OSError):
                    # Not the method of a TLS socket, which would first wait for the other side.
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

        timer = threading.Timer(self._config.timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            yield is_late
        finally:
            timer.cancel()

    def _headers(self) -> dict[str, str]:
        """Return the headers; the token is read for each request, for tokens are renewed."""
        headers = {"Content-Type": "application/json", "User-Agent": "nut-runtime"}
        if self._config.token_file is not None:
            headers["Authorization"] = f"Bearer {read_secret(self._config.token_file)}"
        return headers


class _EndedError(OutputError):
    """The other side closed the connection before it answered."""


def _plain(reason: str) -> str:
    """Return a server's words as one short printable line."""
    return "".join(letter for letter in reason if letter.isprintable())[:80]
