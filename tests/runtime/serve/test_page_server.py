"""The page's server, asked over loopback as browsers, machines and worse do."""

import http.client
import json
import re
import socket
import ssl
import threading
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nut_runtime.errors import EngineError, InputError
from nut_runtime.health import Health
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.page_files import page_files
from nut_runtime.serve.server import PageServer
from nut_runtime.station_file.config import ServeConfig
from nut_runtime.verdict import Label, Reason


def read_event(lines):
    name = next(line for line in lines if line.startswith("event: "))
    return name.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


def test_the_page_brings_its_own_files_and_names_no_other_place(served):
    front = served.client.get("/")
    assert front.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="(/static/[^"#]+)"', front.text)
    assert named
    for path in named:
        assert served.client.get(path).status_code == 200
    for name, file in page_files().items():
        text = file.content.decode()
        assert "://" not in text.replace("http://www.w3.org/", ""), name
        assert not re.search(
            r"<script(?![^>]*src=)|\son\w+=|\sstyle=|innerHTML|insertAdjacentHTML|document\.write", text
        )


def test_state_is_json_of_what_was_heard(served, judged_part):
    served.live.hear(judged_part(7, Label.DEFECT, trigger="PLC 7"))
    state = served.client.get("api/state").json()
    assert state["station"] == "line 3"
    assert state["part"]["label"] == "defect"
    assert state["part"]["trigger"] == "PLC 7"
    assert state["has_login"] is False


def test_what_json_cannot_say_does_not_break_the_page(served, judged_part):
    part = judged_part(1, Label.DEFECT, score=float("nan"))
    part.record["source"] = "part\udce4\x00.png"
    served.live.hear(part)
    served.health.gauge("queue", lambda: float("inf"))
    state = served.client.get("api/state")
    assert state.status_code == 200
    assert state.json()["part"]["score"] is None
    assert served.client.get("metrics").status_code == 200
    assert served.client.get("healthz").status_code == 200


def test_pictures_are_looked_up_by_name(served, judged_part):
    served.live.hear(judged_part(1, camera="a/b ä"))
    assert served.client.get("api/frame/a%2Fb%20%C3%A4.jpg?kind=plain").headers["content-type"] == "image/jpeg"
    assert served.client.get("api/frame/front.jpg").status_code == 404
    assert served.client.get("api/frame/a%2Fb%20%C3%A4.jpg?kind=x").status_code == 400


def test_rejects_are_listed_with_pictures(served, judged_part, until):
    served.live.hear(judged_part(5, Label.DEFECT))
    until(lambda: served.client.get("api/rejects").json()["rejects"][0]["picture"] == "ready")
    (reject,) = served.client.get("api/rejects").json()["rejects"]
    assert reject["id"] == "run1-5"
    for kind in ("plain", "overlay", "thumbnail"):
        assert served.client.get(f"api/reject/run1-5.jpg?kind={kind}").content.startswith(b"\xff\xd8")


def test_healthz_is_503_while_something_does_not_work(served):
    assert served.client.get("healthz").status_code == 200
    served.health.report("camera front", is_well=False, message="gone")
    answer = served.client.get("healthz")
    assert answer.status_code == 503
    assert answer.json()["components"]["camera front"]["message"] == "gone"


def test_metrics_are_read_by_prometheus_own_parser(served, judged_part):
    for number in range(1, 4):
        served.live.hear(judged_part(number))
    served.live.hear(judged_part(4, Label.NO_VERDICT, reason=Reason.DROPPED))
    served.health.report("output mqtt", is_well=False, message="away")
    served.health.count("parts_dropped")
    served.health.gauge("queue_parts", lambda: 3.0)
    answer = served.client.get("metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["nut_verdicts_total", (("label", "good"), ("reason", ""))] == 3
    assert samples["nut_verdicts_total", (("label", "no-verdict"), ("reason", "dropped"))] == 1
    assert samples["nut_component_ok", (("name", "output mqtt"),)] == 0
    assert samples["nut_parts_dropped_total", ()] == 1
    assert samples["nut_queue_parts", ()] == 3
    assert samples["nut_latency_seconds_count", ()] == 4
    assert samples["nut_latency_seconds_bucket", (("le", "0.01"),)] == 4
    assert samples["nut_latency_seconds_sum", ()] == pytest.approx(0.026)


def test_a_stream_tells_of_parts_and_of_health(served, judged_part):
    with served.client.stream("GET", "api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert read_event(lines)[0] == "health"
        served.live.hear(judged_part(1))
        name, news = read_event(lines)
        assert (name, news["n"], news["part"]["label"]) == ("part", 1, "good")
        served.health.report("camera front", is_well=False, message="gone")
        name, health = read_event(lines)
        assert (name, health["ok"]) == ("health", False)
        assert read_event(lines)[0] == "beat"


def test_a_fast_line_is_told_ten_times_a_second_and_no_part_is_missed(served, judged_part):
    part = judged_part(1)
    with served.client.stream("GET", "api/events") as stream:
        lines = stream.iter_lines()
        read_event(lines)

        def run() -> None:
            for _ in range(400):
                served.live.hear(part)
                time.sleep(0.0025)

        feeder = threading.Thread(target=run)
        feeder.start()
        seen, events = [], 0
        while not seen or seen[-1] < 400:
            name, news = read_event(lines)
            if name == "part":
                events += 1
                seen += [point[0] for point in news["points"]]
        feeder.join()
    assert seen == list(range(1, 401))
    assert events <= 16  # 400 parts take a second, or somewhat longer on a busy machine


def test_pages_that_vanish_are_forgotten(served, judged_part, until):
    port = served.page.port
    streams = served.page._app.streams
    sockets = []
    for _ in range(10):
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 200")
        sockets.append(one)
    assert streams.open_streams == 10
    for one in sockets[:5]:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # as if the process was killed
    for one in sockets:
        one.close()
    served.live.hear(judged_part(1))
    until(lambda: streams.open_streams == 0)
    until(lambda: not [c for c in served.page._server.server_state.connections if c.cycle is not None])
    assert served.client.get("healthz").json()["gauges"]["page_streams"] == 0


def test_the_seventeenth_page_is_told_to_wait(served, until):
    streams = [httpx.Client(base_url=served.url, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) for _ in range(16)]
    entered = [client.stream("GET", "api/events") for client in streams]
    for context in entered:
        assert context.__enter__().status_code == 200
    answer = served.client.get("api/events")
    assert answer.status_code == 503
    assert served.client.get("api/state").status_code == 200
    for context, client in zip(entered, streams, strict=True):
        context.__exit__(None, None, None)
        client.close()
    until(lambda: served.page._app.streams.open_streams == 0)


def test_connections_by_the_hundred_are_dropped_and_the_rest_goes_on(served, until):
    opened = [socket.create_connection(("127.0.0.1", served.page.port)) for _ in range(150)]
    until(lambda: len(served.page._server.server_state.connections) == 64)
    for one in opened:
        one.close()
    until(lambda: not served.page._server.server_state.connections)
    assert httpx.get(f"{served.url}healthz").status_code == 200


def test_a_client_that_says_nothing_is_shown_out(served, until, monkeypatch):
    monkeypatch.setattr("nut_runtime.serve.connections._PATIENCE_S", 0.2)
    with socket.create_connection(("127.0.0.1", served.page.port)) as one:
        one.settimeout(5)
        one.sendall(b"GET / HTT")
        assert one.recv(10) == b""


def test_a_trigger_is_answered_with_the_record(serve):
    calls = []

    def fire(name: str, timeout_s: float) -> dict[str, object]:
        calls.append((name, timeout_s, threading.current_thread().name))
        return {"id": "run-1", "label": "good", "pred_score": float("nan")}

    served = serve(fire=fire)
    answer = served.client.post("trigger?name=part 7&timeout_s=1.5")
    assert answer.json() == {"id": "run-1", "label": "good", "pred_score": None}
    assert calls == [("part 7", 1.5, "page trigger")]


@pytest.mark.parametrize(
    ("error", "status"),
    [(InputError("not triggered so"), 409), (TimeoutError(), 504), (EngineError("broken"), 503)],
    ids=["wrong-kind", "late", "failed"],
)
def test_a_trigger_that_comes_to_nothing_says_why(serve, error, status):
    def fire(name: str, timeout_s: float) -> dict[str, object]:
        raise error

    answer = serve(fire=fire).client.post("trigger")
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_trigger_with_a_bad_name_or_time_is_refused(serve):
    served = serve(fire=lambda _name, _timeout_s: {})
    long = f"name={'x' * 201}"
    for query in ("timeout_s=0", "timeout_s=nan", "timeout_s=61", "timeout_s=x", "name=a%0Ab", long):
        assert (query, served.client.post(f"trigger?{query}").status_code) == (query, 400)


def test_triggers_that_hang_leave_the_page_alive_and_are_bounded(serve, until):
    release = threading.Event()
    inside = []

    def fire(name: str, timeout_s: float) -> dict[str, object]:
        inside.append(name)
        release.wait(20)
        return {}

    served = serve(fire=fire)
    callers = [threading.Thread(target=lambda: httpx.post(f"{served.url}trigger", timeout=20)) for _ in range(4)]
    for caller in callers:
        caller.start()
    until(lambda: len(inside) == 4)
    assert served.client.post("trigger").status_code == 503
    assert served.client.get("api/state").status_code == 200
    release.set()
    for caller in callers:
        caller.join(10)
    assert served.client.post("trigger").status_code == 200


def test_a_body_that_is_long_or_never_ends_is_refused(serve):
    served = serve(with_token=True)
    assert served.client.post("login", content=b"x" * 5000).status_code == 413


def test_closing_takes_less_than_a_second_with_streams_and_triggers_open(serve, until):
    inside = threading.Event()
    release = threading.Event()

    def fire(name: str, timeout_s: float) -> dict[str, object]:
        inside.set()
        release.wait(10)
        return {}

    served = serve(fire=fire)
    caller = http.client.HTTPConnection("127.0.0.1", served.page.port, timeout=10)
    caller.request("POST", "/trigger")
    assert inside.wait(5)
    streams = [socket.create_connection(("127.0.0.1", served.page.port)) for _ in range(5)]
    for one in streams:
        one.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: served.page._app.streams.open_streams == 5)
    started = time.monotonic()
    served.page.close()
    assert time.monotonic() - started < 1.1
    assert not served.page._thread.is_alive()
    served.page.close()
    release.set()
    caller.close()
    for one in streams:
        one.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(served.url)


def test_an_address_that_is_taken_is_said_in_one_line(served):
    with pytest.raises(InputError, match=r"cannot listen at 127\.0\.0\.1 port") as raised:
        PageServer(ServeConfig(port=served.page.port), LiveState(), Health(), facts=dict)
    assert "\n" not in str(raised.value)


def test_a_mistake_of_ours_is_500_and_logged_once(serve, caplog):
    def fire(name: str, timeout_s: float) -> dict[str, object]:
        raise ZeroDivisionError

    served = serve(fire=fire)
    assert served.client.post("trigger").status_code == 500
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]
    assert served.client.get("healthz").status_code == 200
