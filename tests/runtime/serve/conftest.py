"""A page on loopback."""

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from nut_runtime.health import Health
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.server import PageServer
from nut_runtime.station_file.config import ServeConfig

TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made once: by default each client reads all certificates


def wait_until(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Wait for a condition, and fail where it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@dataclass
class Served:
    """A page and what it shows."""

    page: PageServer
    live: LiveState
    health: Health
    client: httpx.Client
    token: str = TOKEN

    @property
    def url(self) -> str:
        return self.page.url


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """A function that serves a page: `serve(with_token=, fire=, station=, cameras=)`."""
    yield from _serve(tmp_path)


@pytest.fixture(scope="module")
def serve_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """The same for pages that all tests of a module ask, and none alters."""
    yield from _serve(tmp_path_factory.mktemp("served"))


def _serve(folder: Path) -> Iterator[Callable[..., Served]]:
    opened: list[Served] = []

    def start(*, with_token: bool = False, fire: Any = None, **live_settings: Any) -> Served:
        token_file = None
        if with_token:
            token_file = folder / "token"
            token_file.write_text(f"{TOKEN}\n")
            token_file.chmod(0o600)
        live, health = LiveState(**live_settings), Health()
        facts = {"id": "nuts-0123456789ab", "precision": "fp32", "raw_threshold": 43.9}
        page = PageServer(ServeConfig(port=0, token_file=token_file), live, health, facts=lambda: facts, fire=fire)
        served = Served(page, live, health, httpx.Client(base_url=page.url, timeout=10, verify=NO_TLS))
        page._app.streams._beat_s = 0.3  # so that nobody waits for the usual two seconds
        opened.append(served)
        return served

    yield start
    for served in opened:
        served.client.close()
        served.page.close()
        served.live.close()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    """A page for this machine alone, without a token."""
    return serve(station="line 3", cameras=("front",))
