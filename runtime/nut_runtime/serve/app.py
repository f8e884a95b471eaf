"""The routes of the page."""

import asyncio
import html
import logging
import re
from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from nut_runtime import __version__
from nut_runtime.errors import InputError, NutError
from nut_runtime.health import Health
from nut_runtime.serve.auth import Admission, Gate
from nut_runtime.serve.events import EventStreams
from nut_runtime.serve.guard import Guard, is_known, json_response, may_stay, visitor_address
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.metrics import MetricsPage
from nut_runtime.serve.page_files import page_files
from nut_runtime.serve.plain_json import plain_json
from nut_runtime.serve.shown import Kind
from nut_runtime.serve.workers import Busy, Workers

__all__ = ["Fire", "PageApp"]

Fire = Callable[[str, float], Mapping[str, Any]]
"""Triggers a part by name, waits at most so many seconds, and returns its record."""

_log = logging.getLogger("nut_runtime")

_LONGEST_BODY = 4096
_BODY_WITHIN_S = 5.0
_LONGEST_NAME = 200
_TRIGGER_S, _LONGEST_TRIGGER_S = 5.0, 60.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class PageApp:
    """Answers requests.

    Made in the server's thread, which its semaphores and events belong to.

    Args:
        live: What is shown.
        health: How the station is.
        gate: Who may look.
        facts: Tells of the bundle in use.
        fire: Triggers a part; None where requests do not.
        cookie: Name of the session's cookie.
    """

    def __init__(
        self,
        live: LiveState,
        health: Health,
        gate: Gate,
        *,
        facts: Callable[[], Mapping[str, Any]],
        fire: Fire | None,
        cookie: str,
    ) -> None:
        self._live, self._health, self._gate = live, health, gate
        self._facts, self._fire, self._cookie = facts, fire, cookie
        self._files = page_files()
        self._metrics = MetricsPage(live, health)
        self.streams = EventStreams(live, health)
        health.gauge("page_streams", lambda: self.streams.open_streams)
        # Pictures are for people: one at a time, and two thirds of the time none.
        self._pictures = Workers("page picture", most=1, waiting=32, rest=2.0)
        self._triggers = Workers("page trigger", most=4, waiting=0)
        self.asgi = self._build()

    def _build(self) -> ASGIApp:
        get, post = ["GET"], ["POST"]
        app = Starlette(
            routes=[
                Route("/", self._page, methods=get),
                Route("/static/{name}", self._static, methods=get),
                Route("/login", self._login, methods=post),
                Route("/logout", self._logout, methods=post),
                Route("/api/state", self._state, methods=get),
                Route("/api/events", self._events, methods=get),
                Route("/api/frame/{camera:path}.jpg", self._frame, methods=get),
                Route("/api/rejects", self._rejects, methods=get),
                Route("/api/reject/{name:path}.jpg", self._reject, methods=get),
                Route("/api/bundle", self._bundle, methods=get),
                Route("/healthz", self._healthz, methods=get),
                Route("/metrics", self._metrics_text, methods=get),
                Route("/trigger", self._trigger, methods=post),
            ],
            exception_handlers={HTTPException: _refused, Busy: _busy, ClientDisconnect: _gone, Exception: _bug},
        )
        app.router.redirect_slashes = False  # it would lead to wherever the Host header says
        return Guard(app, self._gate, cookie=self._cookie, front=lambda: self._login_page("", 401))

    async def _page(self, _: Request) -> Response:
        file = self._files["index.html"]
        return Response(file.content, media_type=file.media_type)

    async def _static(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None or file.media_type.startswith("text/html"):
            raise HTTPException(404, "no such file")
        return Response(file.content, media_type=file.media_type)

    def _login_page(self, message: str, status: int) -> Response:
        file = self._files["login.html"]
        content = file.content.replace(b"{{station}}", _escaped(self._live.station))
        return Response(content.replace(b"{{message}}", _escaped(message)), status, media_type=file.media_type)

    async def _login(self, request: Request) -> Response:
        fields = parse_qs((await _body(request)).decode(errors="replace"), max_num_fields=8)
        given = fields.get("token", [""])[0].strip()
        admission = self._gate.admit(given, visitor_address(request.scope))
        if admission is Admission.WAIT:
            return json_response({"error": "too many wrong tokens, wait a minute"}, 429, retry_after="60")
        if admission is Admission.WRONG:
            return json_response({"error": "this is not the token"}, 401)
        response = json_response({"ok": True})
        if self._gate.needs_token:
            self._set_cookie(response, request, self._gate.open_session(), keep=True)
        return response

    async def _logout(self, request: Request) -> Response:
        self._gate.close_session(request.cookies.get(self._cookie, ""))
        response = json_response({"ok": True})
        self._set_cookie(response, request, "", keep=False)
        return response

    def _set_cookie(self, response: Response, request: Request, value: str, *, keep: bool) -> None:
        cookie: SimpleCookie = SimpleCookie({self._cookie: value})
        for attribute, setting in (("path", "/"), ("httponly", True), ("samesite", "Strict")):
            cookie[self._cookie][attribute] = setting
        cookie[self._cookie]["secure"] = request.scope["scheme"] == "https"  # as a proxy in front says
        if not keep:
            cookie[self._cookie]["max-age"] = 0
        response.headers.append("set-cookie", cookie.output(header="").strip())

    async def _state(self, _: Request) -> Response:
        extra = {"health": self._health.to_json(), "version": __version__, "has_login": self._gate.needs_token}
        return json_response(self._live.snapshot() | extra)

    async def _events(self, request: Request) -> Response:
        return self.streams.response(request, may_stay(request.scope))

    async def _frame(self, request: Request) -> Response:
        camera, kind = request.path_params["camera"], _kind(request)
        return _jpeg(await self._pictures.run(lambda: self._live.picture(camera, kind)))

    async def _rejects(self, _: Request) -> Response:
        return json_response({"version": self._live.album.version, "rejects": self._live.album.listing()})

    async def _reject(self, request: Request) -> Response:
        return _jpeg(self._live.album.picture(request.path_params["name"], _kind(request)))

    async def _bundle(self, _: Request) -> Response:
        return json_response(dict(self._facts()))

    async def _healthz(self, request: Request) -> Response:
        is_well = self._health.is_well
        known = is_known(request.scope)
        return json_response(self._health.to_json() if known else {"ok": is_well}, 200 if is_well else 503)

    async def _metrics_text(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _trigger(self, request: Request) -> Response:
        name = request.query_params.get("name", "")
        timeout_s = _seconds(request.query_params.get("timeout_s"))
        if len(name) > _LONGEST_NAME or _CONTROL.search(name):
            raise HTTPException(400, f"a part's name is at most {_LONGEST_NAME} printable characters")
        if self._fire is None:
            raise HTTPException(409, "this station is not triggered by requests; set the trigger to http")
        fire = self._fire
        try:
            record = await self._triggers.run(lambda: fire(name, timeout_s))
        except InputError as error:
            raise HTTPException(409, str(error)) from error
        except (TimeoutError, NutError) as error:
            message = str(error) or f"the part was not judged within {timeout_s:g} s"
            raise HTTPException(504 if isinstance(error, TimeoutError) else 503, message) from error
        return json_response(dict(record))


def _kind(request: Request) -> Kind:
    try:
        return Kind(request.query_params.get("kind", Kind.OVERLAY))
    except ValueError:
        raise HTTPException(400, f"kind is one of {', '.join(Kind)}") from None


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        raise HTTPException(404, "no such picture")
    return Response(data, media_type="image/jpeg")


def _seconds(text: str | None) -> float:
    try:
        seconds = _TRIGGER_S if text is None else float(text)
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds <= _LONGEST_TRIGGER_S:
        raise HTTPException(400, f"timeout_s is a number of seconds, at most {_LONGEST_TRIGGER_S:g}")
    return seconds


async def _body(request: Request) -> bytes:
    """Return the body, which has to be short and to come soon."""
    body = b""
    try:
        async with asyncio.timeout(_BODY_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > _LONGEST_BODY:
                    raise HTTPException(413, "the body is too long")
    except TimeoutError:
        raise HTTPException(408, "the body did not come") from None
    return body


def _escaped(text: str) -> bytes:
    return html.escape(text).encode(errors="replace")


async def _refused(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    detail = error.detail if isinstance(error, HTTPException) else ""
    return Response(plain_json({"error": detail}), status_code=status, media_type="application/json")


async def _busy(_: Request, __: Exception) -> Response:
    return json_response({"error": "too many at a time, try again"}, 503, retry_after="1")


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)


async def _bug(request: Request, error: Exception) -> Response:
    _log.error("page: %s %s failed", request.method, request.scope["path"], exc_info=error)
    # The error goes on to the server, which closes the connection.
    return json_response({"error": "this is a mistake of ours; the log has it"}, 500, connection="close")
