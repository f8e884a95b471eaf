"""The page's server, in a thread of its own beside the station."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nut_runtime.errors import InputError
from nut_runtime.health import Health
from nut_runtime.serve.auth import Gate, is_loopback, read_token
from nut_runtime.serve.live_state import LiveState
from nut_runtime.station_file.config import ServeConfig

if TYPE_CHECKING:
    from uvicorn import Server

    from nut_runtime.serve.app import Fire, PageApp

__all__ = ["PageServer"]

_log = logging.getLogger("nut_runtime")

_STARTS_WITHIN_S = 10.0
_ENDS_WITHIN_S = 0.7


class PageServer:
    """Serves the page from its making to `close`.

    It listens as soon as it is made. `live` is to be given to the station as a listener besides.

    Args:
        config: Where to listen, and the token.
        live: What is shown.
        health: How the station is; also told where the page stops.
        facts: Tells of the bundle in use (`nut_runtime.serve.facts.bundle_facts`); called when somebody looks.
        fire: Triggers a part by name and returns its record within a time, for `POST /trigger`; raises InputError
            where the station is not triggered so, TimeoutError where no record came. None refuses all.

    Raises:
        InputError: If the extra `serve` is missing, the address is taken or open to others without a token, or the
            token cannot be read.
    """

    def __init__(
        self,
        config: ServeConfig,
        live: LiveState,
        health: Health,
        *,
        facts: Callable[[], Mapping[str, Any]],
        fire: "Fire | None" = None,
    ) -> None:
        try:
            from nut_runtime.serve import app, connections
        except ModuleNotFoundError as error:
            raise InputError(
                f'the page needs {error.name}, which is not installed; run: pip install "nut-runtime[serve]"'
            ) from error
        token = read_token(config)
        self._socket = connections.listen(config.host, config.port)
        self.host, self.port = config.host, int(self._socket.getsockname()[1])
        self._health = health
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._app: PageApp | None = None
        self._is_closing = False
        self._ready = threading.Event()

        def make_app() -> "PageApp":
            cookie = f"nut_session_{self.port}"
            return app.PageApp(live, health, Gate(token), facts=facts, fire=fire, cookie=cookie)

        self._thread = threading.Thread(target=self._run, args=(make_app,), name="page server", daemon=True)
        self._thread.start()
        if not self._ready.wait(_STARTS_WITHIN_S):
            _log.warning("page: has not started within %g s", _STARTS_WITHIN_S)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        host = self.host.strip("[]")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened at
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def close(self) -> None:
        """End all connections and stop, within a second; safe to call twice."""
        self._is_closing = True
        if self._loop is not None and self._server is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(_ENDS_WITHIN_S)
        if self._thread.is_alive() and self._server is not None:
            self._server.force_exit = True
            self._thread.join(1.0 - _ENDS_WITHIN_S)
        self._socket.close()

    def _stop(self) -> None:
        if self._app is not None:
            self._app.streams.close()
        if self._server is not None:
            self._server.should_exit = True

    def _run(self, make_app: Callable[[], "PageApp"]) -> None:
        try:
            asyncio.run(self._serve(make_app))
        finally:
            self._ready.set()
            if not self._is_closing:
                self._health.report("page", is_well=False, message="the page's server has stopped")

    async def _serve(self, make_app: Callable[[], "PageApp"]) -> None:
        self._loop = asyncio.get_running_loop()
        self._app = make_app()
        self._server = _uvicorn(self._app, behind_proxy=is_loopback(self.host))
        self._loop.call_soon(self._ready.set)
        await self._server.serve(sockets=[self._socket])


def _uvicorn(app: "PageApp", *, behind_proxy: bool) -> "Server":
    """Return a server with nothing that the page does not need."""
    from uvicorn import Config, Server

    from nut_runtime.serve.connections import BoundedProtocol

    return Server(
        Config(
            app.asgi,
            http=BoundedProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # mistakes are logged by the application, once
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=16 * 1024,
            limit_concurrency=None,  # connections are bounded before they say anything
            timeout_keep_alive=5,
            backlog=64,
            # A proxy on this machine says whom it asks for, so that guesses are counted for each.
            proxy_headers=behind_proxy,
            forwarded_allow_ips="127.0.0.1,::1",
        )
    )
