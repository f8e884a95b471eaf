"""Whatever is asked: never a 500, never a file, never a hang."""

import socket
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECRET = b"import" + b" logging"  # what a source file of the package would show

PIECES = st.sampled_from(
    ["..", "%2e%2e", "%2E%2E%2F", "%252e", "..%5c", "static", "api", "frame", "reject", "app.py", "index.html", "etc",
     "passwd", "front.jpg", "%00", "%ff", "run1-1.jpg", ".jpg", "", "*", "%0d%0aX:y", "C:", "~root", "login", "trigger"]
)  # fmt: skip
TEXT = st.text(alphabet=string.printable.replace("\r", "").replace("\n", "") + "äß€\x7f", max_size=40)
PATHS = st.lists(st.one_of(PIECES, TEXT), max_size=6).map("/".join)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Cookie", "Authorization", "Origin", "X-Forwarded-For", "X-Forwarded-Proto", "Range", "Accept",
                         "Content-Type", "Connection", "Upgrade", "If-Modified-Since", "Sec-Fetch-Site", "Expect"]),
        TEXT,
    ),
    max_size=4,
)  # fmt: skip


def ask(port: int, request: bytes, *, is_all: bool = False) -> bytes:
    """Return the answer, of an event stream its first event; `is_all` says that nothing more will come from us."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.sendall(request)
        if is_all:
            one.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := one.recv(65536):
            answer += piece
            if len(answer) > 1_000_000 or b"event: health" in answer:
                break
        return answer


@pytest.fixture(scope="module", params=[False, True], ids=["open", "with-token"])
def target(request, serve_once):
    return serve_once(with_token=request.param, cameras=("front",))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "TRACE", "BREW"]),
    path=PATHS,
    query=TEXT,
    headers=HEADERS,
    body=st.binary(max_size=30),
)
def test_no_request_is_answered_with_a_500_or_a_file(target, caplog, method, path, query, headers, body):
    lines = [
        f"{method} /{path}?{query} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    lines += [f"{name}: {value}" for name, value in headers]
    answer = ask(target.page.port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 ")
    assert not answer.startswith(b"HTTP/1.1 500")
    assert SECRET not in answer
    assert b"root:" not in answer
    assert not [record for record in caplog.records if record.exc_info]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_request_do_no_harm(target, garbage):
    answer = ask(target.page.port, garbage + b"\r\n\r\n", is_all=True)
    assert not answer.startswith(b"HTTP/1.1 500")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2f%2e%2e%2f__init__.py",
        "/static//etc/passwd",
        "/static/index.html",
        "/static/login.html",
        "/api/frame/../../../../etc/passwd.jpg",
        "/api/reject/..%2f..%2fsecret.jpg",
        "//evil.example/",
        "http://evil.example/api/state/",
    ],
)
def test_no_path_leads_out_of_the_page(target, path):
    answer = ask(target.page.port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 401"))
