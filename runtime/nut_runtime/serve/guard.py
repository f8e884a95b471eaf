"""What every request passes: Host, Origin and token are checked, and every answer gets the security headers."""

import re
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nut_runtime.serve.auth import Admission, Gate, is_loopback
from nut_runtime.serve.plain_json import plain_json

__all__ = ["Guard", "is_known", "json_response", "may_stay", "visitor_address"]

_OPEN = {"/healthz", "/login"}
_OPEN_FOLDER = "/static/"  # the same files as in the package that anybody can install
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_CAME_FROM_HERE = {"", "same-origin", "none"}

_SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


def json_response(data: object, status: int = 200, **headers: str) -> Response:
    """Return plain data as a JSON response; underscores in names of `headers` stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(plain_json(data), status_code=status, headers=named, media_type="application/json")


def is_known(scope: Scope) -> bool:
    """Whether the request's visitor gave a token, or none is asked for."""
    return bool(scope["nut.is_known"])


def may_stay(scope: Scope) -> Callable[[], bool]:
    """Return what tells whether the request's visitor is still welcome."""
    check: Callable[[], bool] = scope["nut.may_stay"]
    return check


def visitor_address(scope: Scope) -> str:
    """Return the address that guesses are counted for."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


class Guard:
    """Stands before the application.

    Args:
        app: The application.
        gate: Knows token and sessions.
        cookie: Name of the session's cookie. Cookies know no port, so it should hold it.
        front: What a browser without session gets at `/`.
    """

    def __init__(self, app: ASGIApp, gate: Gate, *, cookie: str, front: Callable[[], Response]) -> None:
        self._app = app
        self._gate = gate
        self._cookie = cookie
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded_send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = _HOST.fullmatch(headers.get("host", ""))
        if host is None:
            return json_response({"error": "a Host header is needed"}, 400)
        # A page elsewhere whose name was made to point at 127.0.0.1 says its own name here. Where a token is asked
        # for, such a page does not have it, and a proxy in front may pass on any name.
        if not self._gate.needs_token and not is_loopback(host["name"]):
            return json_response({"error": "ask for this page as 127.0.0.1 or localhost"}, 421)
        if scope["method"] not in {"GET", "HEAD"} and not _is_from_here(headers):
            return json_response({"error": "this came from another page"}, 403)
        return self._admit(scope, headers)

    def _admit(self, scope: Scope, headers: Headers) -> Response | None:
        admission = self._admission(scope, headers)
        scope["nut.is_known"] = admission is Admission.ALLOWED
        path = scope["path"]
        if admission is Admission.WAIT:
            return json_response({"error": "too many wrong tokens, wait a minute"}, 429, retry_after="60")
        if admission is Admission.ALLOWED or path in _OPEN or path.startswith(_OPEN_FOLDER):
            return None
        if path == "/" and scope["method"] in {"GET", "HEAD"}:
            return self._front()
        return json_response({"error": "a token is needed"}, 401, www_authenticate="Bearer")

    def _admission(self, scope: Scope, headers: Headers) -> Admission:
        """Return what comes of the session or token that a request has; WRONG where it has none."""
        scope["nut.may_stay"] = lambda: True
        if not self._gate.needs_token:
            return Admission.ALLOWED
        session = HTTPConnection(scope).cookies.get(self._cookie, "")
        if session and self._gate.is_session(session):
            scope["nut.may_stay"] = lambda: self._gate.is_session(session)
            return Admission.ALLOWED
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return Admission.WRONG
        return self._gate.admit(token.strip(), visitor_address(scope))


def _is_from_here(headers: Headers) -> bool:
    """Whether a request that changes something came from our own page, or from no page at all."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "") in _CAME_FROM_HERE
    return origin.partition("://")[2].lower() == headers["host"].lower()
