"""Who may look, and what nobody may."""

import os

import httpx
import pytest

from nut_runtime.errors import InputError
from nut_runtime.health import Health
from nut_runtime.serve.auth import Admission, Gate, read_token
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.server import PageServer
from nut_runtime.station_file.config import ServeConfig

GOOD = "0123456789abcdef-token"


@pytest.fixture(scope="module")
def open_page(serve_once):
    return serve_once()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "line3.plant"])  # noqa: S104 - refused
def test_a_page_open_to_the_network_is_refused_without_a_token(host):
    with pytest.raises(InputError, match="token_file") as raised:
        PageServer(ServeConfig(host=host, port=0), LiveState(), Health(), facts=dict)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "16 to 1024", id="empty"),
        pytest.param(b"short\n", "16 to 1024", id="short"),
        pytest.param(b"x" * 2000, "16 to 1024", id="long"),
        pytest.param("ä".encode() * 20, "plain characters", id="not-ascii"),
        pytest.param(b"\xff\xfe" * 20, "not a text", id="not-a-text"),
    ],
)
def test_a_token_file_without_a_usable_token_is_refused(tmp_path, content, words):
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_token(ServeConfig(token_file=path))


def test_a_missing_token_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="cannot read the token file"):
        read_token(ServeConfig(token_file=tmp_path / "none"))


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_token_that_everybody_can_read_is_warned_of(tmp_path, caplog):
    path = tmp_path / "token"
    path.write_text(GOOD)
    path.chmod(0o644)
    assert read_token(ServeConfig(token_file=path)) == GOOD
    assert "chmod 600" in caplog.text
    assert GOOD not in caplog.text


def test_after_five_wrong_tokens_an_address_waits_a_minute():
    clock = Clock()
    gate = Gate(GOOD, clock=clock)
    assert [gate.admit("wrong", "10.0.0.1") for _ in range(5)] == [Admission.WRONG] * 5
    assert gate.admit(GOOD, "10.0.0.1") is Admission.WAIT
    assert gate.admit(GOOD, "10.0.0.2") is Admission.ALLOWED
    clock.now += 61
    assert gate.admit(GOOD, "10.0.0.1") is Admission.ALLOWED


def test_guesses_from_many_addresses_are_limited_in_all_but_known_ones_go_on():
    gate = Gate(GOOD, clock=Clock())
    assert gate.admit(GOOD, "10.0.0.1") is Admission.ALLOWED
    for number in range(50):
        assert gate.admit("wrong", f"10.1.0.{number}") is Admission.WRONG
    assert gate.admit(GOOD, "10.2.0.1") is Admission.WAIT
    assert gate.admit(GOOD, "10.0.0.1") is Admission.ALLOWED


def test_an_ipv6_network_counts_as_one_address():
    gate = Gate(GOOD, clock=Clock())
    for number in range(5):
        gate.admit("wrong", f"2001:db8::{number}")
    assert gate.admit(GOOD, "2001:db8::99") is Admission.WAIT


def test_a_session_ends_when_it_is_not_used_for_a_day_or_is_closed():
    clock = Clock()
    gate = Gate(GOOD, clock=clock)
    first, second = gate.open_session(), gate.open_session()
    clock.now += 23 * 3600
    assert gate.is_session(first)
    clock.now += 2 * 3600
    assert gate.is_session(first)
    assert not gate.is_session(second)
    gate.close_session(first)
    assert not gate.is_session(first)


def test_sessions_and_addresses_are_bounded():
    gate = Gate(GOOD, clock=Clock())
    names = [gate.open_session() for _ in range(100)]
    assert sum(gate.is_session(name) for name in names) == 64
    for number in range(3_000):
        gate.admit("wrong", f"10.{number // 250}.{number % 250}.1")
    assert len(gate._wrong) <= 1_000


def test_without_a_token_nothing_is_shown_but_whether_all_is_well(serve):
    served = serve(with_token=True)
    for path in ("api/state", "api/events", "api/frame/front.jpg", "api/rejects", "api/bundle", "metrics", "nothing"):
        answer = served.client.get(path)
        assert (path, answer.status_code) == (path, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert served.client.post("trigger").status_code == 401
    served.health.report("camera front", is_well=False, message="gone")
    answer = served.client.get("healthz")
    assert (answer.status_code, answer.json()) == (503, {"ok": False})
    front = served.client.get("/")
    assert front.status_code == 401
    assert 'type="password"' in front.text


def test_a_machine_shows_its_token_and_sees_everything(serve):
    served = serve(with_token=True)
    headers = {"authorization": f"Bearer {served.token}"}
    assert served.client.get("metrics", headers=headers).status_code == 200
    assert "components" in served.client.get("healthz", headers=headers).json()
    assert served.client.get("metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert served.client.get(f"metrics?token={served.token}").status_code == 401


def test_a_browser_logs_in_and_out_with_a_cookie_that_is_not_the_token(serve):
    served = serve(with_token=True)
    origin = {"origin": served.url.rstrip("/")}
    assert served.client.post("login", data={"token": "wrong"}, headers=origin).status_code == 401
    answer = served.client.post("login", data={"token": served.token}, headers=origin)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert served.token not in cookie
    assert served.client.get("api/state").json()["has_login"] is True
    assert served.client.get("/").status_code == 200
    kept = dict(served.client.cookies)
    assert served.client.post("logout", headers=origin).status_code == 200
    assert served.client.get("api/state").status_code == 401
    with httpx.Client(base_url=served.url, cookies=kept) as thief:
        assert thief.get("api/state").status_code == 401, "the session outlives its end"


def test_a_sixth_guess_is_not_even_compared(serve):
    served = serve(with_token=True)
    for _ in range(5):
        assert served.client.post("login", data={"token": "wrong"}).status_code == 401
    answer = served.client.post("login", data={"token": served.token})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"


def test_a_stream_ends_with_its_session(serve, until):
    served = serve(with_token=True)
    served.client.post("login", data={"token": served.token})
    with served.client.stream("GET", "api/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: health"
        served.client.post("logout")
        for _ in lines:
            pass
    assert served.client.get("api/events").status_code == 401


def test_a_page_elsewhere_can_neither_trigger_nor_read(served):
    fire = served.client.post
    own = served.url.rstrip("/")
    assert fire("trigger", headers={"origin": own}).status_code == 409  # let through, but there is nothing to trigger
    for origin in ("http://evil.example", "null", f"{own}.evil.example", own.replace("127.0.0.1", "127.0.0.2")):
        assert fire("trigger", headers={"origin": origin}).status_code == 403
    assert fire("trigger", headers={"sec-fetch-site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("192.168.0.7", 421),
        ("a b", 400),
        ("", 400),
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(open_page, host, status):
    assert open_page.client.get("api/state", headers={"host": host}).status_code == status


def test_every_answer_has_the_security_headers(serve):
    served = serve(with_token=True)
    for path in ("/", "static/page.css", "healthz", "api/state", "nothing"):
        headers = served.client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_neither_token_nor_requests_are_logged(serve, caplog):
    caplog.set_level("DEBUG")
    served = serve(with_token=True)
    served.client.post("login", data={"token": served.token})
    served.client.get("api/state?secret=1")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not [line for line in ours if served.token in line or "secret" in line]
