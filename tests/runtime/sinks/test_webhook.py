"""The webhook, against a real HTTP server that takes, refuses, hangs, drips and breaks off."""

import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nut_runtime.errors import InputError, OutputError
from nut_runtime.health import Health
from nut_runtime.sinks.delivery import RefusedError
from nut_runtime.sinks.outbox import Outbox
from nut_runtime.sinks.outbox_store import StoredRecord
from nut_runtime.sinks.webhook import WebhookDestination
from nut_runtime.station_file.config import WebhookConfig


class Server(ThreadingHTTPServer):
    """Answers as `answer` says and remembers what it was sent."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answer: Callable[[BaseHTTPRequestHandler], None] = ok
        self.ends = threading.Event()
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?key=SECRET-KEY"

    def ids(self) -> list[str]:
        return [headers["Idempotency-Key"] for _, headers, _ in list(self.requests)]

    def stop(self) -> None:
        self.ends.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client went away: that is what is tested."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go in two, and would wait 40 ms for each other
    server: Server

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.answer(self)

    def log_message(self, *arguments: Any) -> None:
        """Keep the test's output clean."""


def answers(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


ok = answers(200, b"thank you")


def hangs(handler: Any) -> None:
    handler.server.ends.wait(20)


def drips(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.ends.wait(0.02):
        handler.wfile.write(b".")
        handler.wfile.flush()


def drips_headers(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.server.ends.wait(0.02):
        handler.wfile.write(b".")
        handler.wfile.flush()


def dies_in_the_body(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"half")
    handler.close_connection = True


def dies_before_the_body(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.close_connection = True


def dies_before_the_answer(handler: Any) -> None:
    handler.close_connection = True


def talks_nonsense(handler: Any) -> None:
    handler.wfile.write(b"\x00\xff nonsense\r\n\r\n")
    handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.stop()


def destination(server: Server, timeout_s: float = 0.3, **options: Any) -> WebhookDestination:
    return WebhookDestination(WebhookConfig(url=server.url, timeout_s=timeout_s, **options))


def record(number: int = 1) -> StoredRecord:
    return StoredRecord(number=number, id=f"run1-{number}", body=json.dumps({"sequence": number}))


def test_a_record_is_posted_as_json_with_its_id_and_token(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    hook = destination(server, token_file=token)
    assert hook.deliver([record(1)]) == 1
    token.write_text("second\n")  # as tokens are renewed
    assert hook.deliver([record(2)]) == 1
    hook.close()
    hook.close()
    (path, headers, body), (_, later, _) = server.requests
    assert (path, json.loads(body)) == ("/hook?key=SECRET-KEY", {"sequence": 1})
    assert (headers["Content-Type"], headers["Idempotency-Key"]) == ("application/json", "run1-1")
    assert (headers["Authorization"], later["Authorization"]) == ("Bearer first", "Bearer second")
    assert server.connections == 1


def test_nothing_to_deliver_asks_nobody(server):
    assert destination(server).deliver([]) == 0
    assert server.requests == []


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_each_2xx_counts_as_taken(server, status):
    server.answer = answers(status)
    hook = destination(server)
    assert [hook.deliver([record(number)]) for number in (1, 2)] == [1, 1]
    hook.close()
    assert server.connections == 1


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 409, 429, 500, 502, 503])
def test_what_can_be_mended_elsewhere_is_offered_again(server, status):
    server.answer = answers(status, Location=f"{server.url}/elsewhere")
    hook = destination(server)
    with pytest.raises(OutputError, match=f"answered {status}"):
        hook.deliver([record()])
    server.answer = ok
    assert hook.deliver([record()]) == 1
    hook.close()
    assert server.ids() == ["run1-1", "run1-1"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_server_will_never_take_is_refused(server, status):
    server.answer = answers(status)
    hook = destination(server)
    with pytest.raises(RefusedError, match=f"answered {status}"):
        hook.deliver([record()])
    hook.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(hangs, "did not answer within 0.3 s", id="hangs"),
        pytest.param(drips, "did not answer within 0.3 s", id="drips-its-body"),
        pytest.param(drips_headers, "did not answer within 0.3 s", id="drips-its-headers"),
        pytest.param(dies_in_the_body, "broke its answer off", id="dies-in-the-body"),
        pytest.param(dies_before_the_body, "broke its answer off", id="dies-before-the-body"),
        pytest.param(dies_before_the_answer, "cannot reach", id="dies-before-the-answer"),
        pytest.param(talks_nonsense, "cannot get an answer", id="talks-nonsense"),
    ],
)
def test_only_a_whole_answer_in_time_counts(server, answer, message):
    server.answer = answer
    hook = destination(server)
    started = time.monotonic()
    with pytest.raises(OutputError, match=message) as told:
        hook.deliver([record()])
    assert time.monotonic() - started < 3
    assert "SECRET" not in str(told.value)
    server.answer = ok
    assert hook.deliver([record()]) == 1
    hook.close()


def test_an_answer_of_a_gigabyte_is_not_read(server):
    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**9))
        handler.end_headers()
        while not handler.server.ends.is_set():
            handler.wfile.write(b"x" * 65536)

    server.answer = endless
    hook = destination(server, timeout_s=5)
    assert hook.deliver([record()]) == 1
    server.answer = ok
    assert hook.deliver([record(2)]) == 1
    hook.close()


def test_a_connection_that_the_server_closed_while_it_was_idle_is_no_failure(server):
    def last(handler: Any) -> None:
        ok(handler)
        handler.close_connection = True  # without saying so

    server.answer = last
    hook = destination(server)
    assert [hook.deliver([record(number)]) for number in (1, 2, 3)] == [1, 1, 1]
    hook.close()
    assert server.ids() == ["run1-1", "run1-2", "run1-3"]


def test_a_server_that_is_not_there_is_one_line_without_secrets():
    gone = Server()
    gone.stop()
    with pytest.raises(OutputError) as told:
        destination(gone).deliver([record()])
    assert str(told.value) == f"cannot reach http://127.0.0.1:{gone.server_port}: Connection refused"


def test_a_server_that_hangs_fails_and_dies_misses_nothing_and_order_is_kept(judged_part, tmp_path, wait_for, caplog):
    caplog.set_level(logging.DEBUG)
    server = Server()
    health = Health()
    box = Outbox(tmp_path / "outbox.sqlite", [destination(server)], health, flush_s=20)
    count = 120
    for number in range(1, count + 1):
        box.write(judged_part(number))
        if number == 20:
            wait_for(lambda: len(server.requests) >= 20)
            server.answer = hangs
        if number == 40:
            wait_for(lambda: not health.components()["output webhook"].is_well)
            server.answer = answers(500)
        if number == 60:
            server.answer = dies_in_the_body
    time.sleep(0.5)
    server.stop()
    taken = server.ids()
    server = Server(server.server_port)
    box.close()
    server.stop()
    taken += server.ids()
    assert list(dict.fromkeys(taken)) == [f"run1-{number}" for number in range(1, count + 1)]
    assert health.gauges()["outbox_waiting_webhook"] == 0
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("answer", [hangs, drips])
def test_tls_is_checked_and_has_the_same_time_limit(make_certificates, server, monkeypatch, answer):
    ours, others = make_certificates("ours"), make_certificates("others")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours["server.crt"], ours["server.key"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    config = WebhookConfig(url=server.url.replace("http:", "https:"), timeout_s=1)
    monkeypatch.setenv("SSL_CERT_FILE", str(ours["ca.crt"]))
    hook = WebhookDestination(config)
    assert [hook.deliver([record(number)]) for number in (1, 2)] == [1, 1]
    server.answer = answer
    started = time.monotonic()
    with pytest.raises(OutputError, match="did not answer within 1 s"):
        hook.deliver([record(3)])
    assert time.monotonic() - started < 5
    monkeypatch.setenv("SSL_CERT_FILE", str(others["ca.crt"]))
    with pytest.raises(OutputError, match="certificate"):
        WebhookDestination(config).deliver([record(4)])
    assert server.ids() == ["run1-1", "run1-2", "run1-3"]


def test_a_server_that_accepts_and_never_begins_tls_is_given_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = WebhookDestination(WebhookConfig(url=f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.3))
        with pytest.raises(OutputError, match=r"did not answer within 0\.3 s"):
            hook.deliver([record()])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("ftp://x/y", "must begin with http", id="scheme"),
        pytest.param("http:///y", "name a server", id="no-server"),
        pytest.param("http://u:hunter2@x/y", "holds a password", id="password"),
        pytest.param("http://x:99999/y", "not valid", id="port"),
        pytest.param("http://x/a b", "spaces", id="space"),
        pytest.param("http://x/a\r\nX: y", "spaces", id="line-end"),
        pytest.param("http://x/größe", "not ASCII", id="letters"),
    ],
)
def test_a_mistake_in_the_url_is_said_at_the_start(url, message):
    with pytest.raises(InputError, match=message) as told:
        WebhookDestination(WebhookConfig(url=url))
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"\nsecond", "empty", id="empty-line"),
        pytest.param("geheim-ß".encode(), "ASCII", id="letters"),
        pytest.param(b"a\x01b", "not printable", id="control"),
        pytest.param(None, "cannot read", id="missing"),
    ],
)
def test_a_token_that_cannot_be_sent_is_said_at_the_start(tmp_path, content, message):
    path: Path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as told:
        WebhookDestination(WebhookConfig(url="http://x/", token_file=path))
    assert "geheim" not in str(told.value)
