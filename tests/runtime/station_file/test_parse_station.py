"""A station file is taken as it is meant, or every mistake in it is named with its line."""

import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nut_runtime.errors import InputError
from nut_runtime.pictures import write_picture
from nut_runtime.station_file.config import (
    CameraConfig,
    CameraSettings,
    Combine,
    MqttConfig,
    OutboxConfig,
    PicturesConfig,
    PlcConfig,
    SavePolicy,
    ServeConfig,
    StationConfig,
    TriggerConfig,
    TriggerKind,
    ViewLimits,
    WebhookConfig,
    WhenBusy,
)
from nut_runtime.station_file.example import ONE_CAMERA, RIG
from nut_runtime.station_file.keys import STATION, TableKind
from nut_runtime.station_file.parse import check_station, read_station

LEAST = 'bundle = "bundle"\n[[camera]]\nname = "a"\naddress = 0\n'
EVERY = '[trigger]\nkind = "every"\n'
GENICAM = LEAST.replace("= 0", '= "genicam: producer.cti#ID"')


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with all that the examples name."""
    (tmp_path / "bundle").mkdir()
    for name in ("plant.pub.pem", "ca.pem", "line3.pem", "line3.key.pem"):
        (tmp_path / name).write_text("key")
    for name in ("mqtt.password", "webhook.token", "page.token"):
        (tmp_path / name).write_text("secret\n")
    mask = np.full((480, 640), 255, np.uint8)
    mask[:40, :40] = 0
    write_picture(tmp_path / "ignore.png", mask)
    (tmp_path / "film.mp4").write_bytes(b"")
    return tmp_path


def write(place: Path, text: str) -> Path:
    path = place / "station.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(place: Path, text: str) -> list[str]:
    return [str(problem) for problem in check_station(write(place, text))]


def with_all_options(text: str) -> str:
    return re.sub(r"(?m)^#(?=[a-z_]+ = |\[)", "", text)


def test_the_shortest_file_is_a_station_with_all_defaults(place):
    assert read_station(write(place, LEAST)) == StationConfig(
        bundle=place / "bundle", cameras=(CameraConfig(name="a", address="0"),)
    )


def test_the_example_of_one_camera_is_a_station(place):
    station = read_station(write(place, ONE_CAMERA))
    assert [camera.name for camera in station.cameras] == ["front"]
    assert station.jsonl == str(place / "verdicts.jsonl")


def test_the_example_of_the_rig_has_five_cameras_above_and_four_below_in_two_groups(place):
    station = read_station(write(place, RIG))
    assert [(camera.name.partition("-")[0], camera.group) for camera in station.cameras] == (
        [("top", 1)] * 5 + [("bottom", 2)] * 4
    )
    assert {camera.settings for camera in station.cameras} == {
        CameraSettings(width_px=1920, height_px=1080, exposure=150.0, white_balance_k=4600.0)
    }
    assert station.trigger.kind is TriggerKind.PLC


def test_the_example_with_all_its_options_sets_every_attribute(place):
    text = with_all_options(ONE_CAMERA).replace('kind = "free"', 'kind = "every"')
    station = read_station(write(place, text.replace('combine = "any"', 'combine = "at-least"')))
    assert station == StationConfig(
        bundle=place / "bundle",
        name="nut",
        locate=True,
        cameras=(
            CameraConfig(
                name="front",
                address="0",
                settings=CameraSettings(
                    width_px=640,
                    height_px=480,
                    fps=30.0,
                    exposure=150.0,
                    gain=10.0,
                    white_balance_k=4600.0,
                    focus=30.0,
                    warm_up_frames=5,
                ),
                limits=ViewLimits(frozen_after_s=5.0, least_brightness=20.0, least_sharpness=10.0, timeout_s=2.0),
                group=1,
                region_px=(0, 0, 640, 480),
                ignore=place / "ignore.png",
            ),
        ),
        trigger=TriggerConfig(kind=TriggerKind.EVERY, every_ms=1000.0),
        when_busy=WhenBusy.WAIT,
        queue=8,
        streams=1,
        engine="openvino",
        threads=4,
        cache=place / "cache",
        verify_key=place / "plant.pub.pem",
        combine=Combine.AT_LEAST,
        at_least=1,
        review_from=0.45,
        jsonl=str(place / "verdicts.jsonl"),
        csv=place / "verdicts.csv",
        sqlite=place / "verdicts.sqlite",
        pictures=PicturesConfig(
            folder=place / "pictures", save=SavePolicy.DEFECTS, keep=10_000, keep_days=30.0, least_free_mb=500.0
        ),
        outbox=OutboxConfig(path=place / "outbox.sqlite", keep=1_000_000),
        mqtt=MqttConfig(
            host="broker.plant",
            port=1883,
            topic="nut",
            qos=1,
            username="line3",
            password_file=place / "mqtt.password",
            ca_file=place / "ca.pem",
            cert_file=place / "line3.pem",
            key_file=place / "line3.key.pem",
        ),
        webhook=WebhookConfig(url="https://mes.plant/verdicts", timeout_s=5.0, token_file=place / "webhook.token"),
        plc=PlcConfig(host="127.0.0.1", port=1502, answer_within_s=5.0),
        serve=ServeConfig(host="127.0.0.1", port=8080, token_file=place / "page.token"),
    )


def keys_of(kind: TableKind) -> set[str]:
    return set(kind.keys) | set(kind.tables) | {key for inner in kind.tables.values() for key in keys_of(inner)}


def test_every_key_there_is_stands_in_the_example():
    for key in keys_of(STATION):
        assert re.search(rf"(?m)^#?(\[\[?([a-z_]+\.)*{key}\b|{key} = )", ONE_CAMERA), key


def test_the_usual_values_in_the_example_are_the_defaults(place):
    usual = {
        (kind.__name__, one.name): one.default
        for kind in (CameraSettings, ViewLimits, CameraConfig, TriggerConfig, PicturesConfig, OutboxConfig, MqttConfig)
        for one in fields(kind)
    }
    text = with_all_options(ONE_CAMERA).replace('kind = "free"', 'kind = "every"')
    station = read_station(write(place, text.replace('combine = "any"', 'combine = "at-least"')))
    shown: dict[tuple[str, str], Any] = {}

    def collect(value: Any) -> None:
        if is_dataclass(value):
            for one in fields(value):
                inner = getattr(value, one.name)
                shown[type(value).__name__, one.name] = inner
                for each in inner if isinstance(inner, tuple) else (inner,):
                    collect(each)

    collect(station)
    assert shown["StationConfig", "queue"] == StationConfig(bundle=place).queue
    for name, default in usual.items():
        is_shown_as_usual = isinstance(default, int | float | str) and name != ("TriggerConfig", "kind")
        assert not is_shown_as_usual or shown[name] == default, name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name = "x"\n[[camera]]\nname = "a"\naddress = 0', "line 1: bundle: is missing"),
        ('bundle = "bundle"', "line 1: camera: a table [[camera]] is missing"),
        ('bundle = "bundle"\n[[camera]]\nname = "a"', "line 2: camera.address: is missing"),
        ('bundle = "bundle"\n[camera]\nname = "a"', "line 2: camera: expected tables [[camera]], with two brackets"),
        (LEAST + '[[trigger]]\nkind = "free"', "line 5: trigger: expected one table [trigger]"),
        (LEAST + "trigger = 3", "line 5: camera.trigger: no such key"),
        (LEAST + '[parts]\ncombine = "any"', "line 5: parts: no such key, did you mean part"),
        (LEAST + "[camera.settings]\nwidth = 640", "line 6: camera.settings.width: no such key, did you mean width_px"),
        (LEAST + "queue = 3", "line 5: camera.queue: no such key; it belongs under [part]"),
        (LEAST + '[part]\nname = "x"', "line 6: part.name: no such key; it belongs to the top of the file"),
        (LEAST + "[plc]\nzzz = 1", "line 6: plc.zzz: no such key; there are host, port, answer_within_s"),
        (LEAST + "[part]\nqueue = 8.0", "line 6: part.queue: expected a whole number from 1 to 10000, got 8.0"),
        (LEAST + "[part]\nqueue = true", "line 6: part.queue: expected a whole number from 1 to 10000, got true"),
        (LEAST + "[part]\nqueue = 0", "line 6: part.queue: expected a whole number from 1 to 10000, got 0"),
        (LEAST + "[part]\nreview_from = 0.5", "part.review_from: expected a number of at least 0 and below 0.5"),
        (LEAST + "[part]\nreview_from = nan", "line 6: part.review_from: expected a number"),
        (LEAST + '[part]\ncombine = "most"', 'line 6: part.combine: expected one of "any", "all", "at-least", got'),
        (LEAST + "[part]\ncombine = [1]", "line 6: part.combine: expected one of"),
        (LEAST + "[camera.limits]\nfrozen_after_s = 0", "(false turns it off)"),
        (LEAST + "[camera.limits]\ntimeout_s = false", "line 6: camera.limits.timeout_s: expected a number above 0"),
        (LEAST + "[camera.limits]\ntimeout_s = 1979-05-27", "line 6: camera.limits.timeout_s: expected a number"),
        (LEAST + "region_px = [0, 0, 640]", "line 5: camera.region_px: expected four whole numbers"),
        (LEAST + "region_px = [0, 0, 640.5, 2]", "line 5: camera.region_px: expected four whole numbers"),
        (LEAST + "region_px = [-1, 0, 64, 64]", "lies outside any frame"),
        (LEAST + "region_px = [0, 0, 64, 0]", "line 5: camera.region_px: 64x0 px is too small"),
        (
            LEAST + "region_px = [600, 0, 64, 64]\nsettings = { width_px = 640, height_px = 480 }",
            "line 5: camera.region_px: reaches to 664, 64 px, beyond the frame of 640x480 px",
        ),
        (LEAST + "settings = { width_px = 640 }", "line 5: camera.settings.width_px: give width_px and height_px"),
        (LEAST + 'ignore = "none.png"', "line 5: camera.ignore: cannot read"),
        (LEAST + 'ignore = "film.mp4"', "line 5: camera.ignore:"),
        (LEAST + 'region_px = [0, 0, 64, 64]\nignore = "ignore.png"', "has 640x480 px, but the view has 64x64 px"),
        (LEAST.replace("= 0", '= "cam.png"'), "cam.png is not there; expected a camera's number"),
        (LEAST.replace("= 0", '= "ftp://host/x"'), "line 4: camera.address: expected rtsp://HOST"),
        (LEAST.replace("= 0", '= "rtsp://"'), "line 4: camera.address: expected rtsp://HOST"),
        (LEAST.replace("= 0", '= "gstreamer: videotestsrc"'), "ends in appsink"),
        (LEAST.replace("= 0", "= -1"), "line 4: camera.address: expected text in quotes, got -1"),
        (LEAST.replace('"a"', '"../a"'), "line 3: camera.name: expected a name"),
        (LEAST.replace('"a"', '""'), "line 3: camera.name: expected text in quotes, got ''"),
        (LEAST.replace('"bundle"', '"nowhere"'), "nowhere is not there; expected a folder"),
        (LEAST.replace('"bundle"', '"film.mp4"'), "film.mp4 is not a folder"),
        (LEAST.replace('"bundle"', '"~/bundle"'), "line 1: bundle: ~ and variables of the environment are"),
        (LEAST + '[outputs]\ncsv = "${HOME}/x"', "line 6: outputs.csv: ~ and variables of the environment"),
        (LEAST + '[outputs]\ncsv = "bundle"', "bundle is a folder; name a file in it"),
        (LEAST + '[outputs]\ncsv = "film.mp4/x.csv"', "film.mp4 is a file; expected a folder"),
        (LEAST + '[outputs]\njsonl = "x"\ncsv = "./x"', "line 7: outputs.csv: outputs.jsonl writes to"),
        (LEAST + '[outputs]\nsqlite = "x"\n[outbox]\npath = "x"', "line 8: outbox.path: outputs.sqlite writes to"),
        (LEAST + EVERY + '[part]\ncombine = "at-least"', 'line 8: part.combine: "at-least" needs at_least'),
        (LEAST + "[part]\nat_least = 1", 'line 6: part.at_least: goes with combine = "at-least" only'),
        (LEAST + EVERY + '[part]\ncombine = "at-least"\nat_least = 2', "line 9: part.at_least: 2 views of only 1"),
        (
            LEAST + '[part]\ncombine = "at-least"\nat_least = 1',
            'line 6: part.combine: "at-least" has no effect with trigger.kind = "free", where each frame',
        ),
        (LEAST + '[trigger]\nkind = "free"\n[part]\ncombine = "all"', 'choose a trigger such as "every"'),
        (LEAST + '[trigger]\nkind = "plc"', 'line 6: trigger.kind: "plc" needs a table [plc]'),
        (LEAST + '[trigger]\nkind = "http"', 'line 6: trigger.kind: "http" needs a table [serve]'),
        (LEAST + '[trigger]\nkind = "free"\nevery_ms = 5', 'line 7: trigger.every_ms: goes with kind = "every" only'),
        (LEAST + "[trigger]\nevery_ms = 5", "line 5: trigger.kind: is missing"),
        (
            LEAST + '[camera.limits]\ntimeout_s = 7\n[trigger]\nkind = "plc"\n[plc]',
            "line 9: plc.answer_within_s: cameras that are away are waited for 7 s",
        ),
        (LEAST + '[outputs.mqtt]\nhost = "b"', "line 5: outputs.mqtt: needs a table [outbox]"),
        (LEAST + '[outputs.webhook]\nurl = "http://b"', "line 5: outputs.webhook: needs a table [outbox]"),
        (LEAST + '[outbox]\npath = "o"\n[outputs.mqtt]\nhost = "b"\npassword_file = "mqtt.password"', "needs username"),
        (LEAST + '[outbox]\npath = "o"\n[outputs.mqtt]\nhost = "b"\ncert_file = "ca.pem"', "needs key_file"),
        (LEAST + '[outbox]\npath = "o"\n[outputs.mqtt]\nhost = "b"\ntopic = "a/#"', "expected a topic without"),
        (LEAST + '[outbox]\npath = "o"\n[outputs.mqtt]\nhost = "b:1883/x"', "expected the name or address of a host"),
        (LEAST + '[outbox]\npath = "o"\n[outputs.webhook]\nurl = "ws://b"', "expected http://HOST"),
        (LEAST + '[outbox]\npath = "o"\n[outputs.webhook]\nurl = "http://u:pass@b"', "use token_file"),
        (LEAST + '[serve]\nhost = "0.0.0.0"', "line 6: serve.host: others can reach 0.0.0.0, so token_file is needed"),
        (LEAST + '[serve]\nhost = "panel.plant"', "so token_file is needed"),
        (LEAST + '[serve]\nhost = "::"', "so token_file is needed"),
        (LEAST + '[serve]\ntoken_file = "film.mp4"', "the first line of"),
        (LEAST + "[plc]\n[serve]\nport = 1502", "line 7: serve.port: [plc] listens at 1502 already"),
        (LEAST + '[[camera]]\nname = "A"\naddress = 1', "line 6: camera.name: the camera in line 3 has this name"),
        (LEAST + '[[camera]]\nname = "b"\naddress = "/dev/video0"', "line 7: camera.address: the camera in line 4"),
        (
            GENICAM + '[[camera]]\nname = "b"\naddress = "genicam: producer.cti#ID"',
            "line 7: camera.address: the camera in line 4 reads 'genicam: producer.cti#ID' already",
        ),
        ("bundle = ", "line 1: not TOML: invalid value"),
        ("\n\n[camera\n", "line 3: not TOML: expected ']'"),
        ('bundle = "C:\\nut\\bundle"', "line 1: bundle: expected text without control characters"),
        ('x = 1\nbundle = "C:\\data\\nut"', "line 2: not TOML: unescaped '\\' in a string; write paths of Windows in"),
        ("a = 1\na = 2\nb = 1", "line 2: not TOML: cannot overwrite a value; the key stands there twice"),
        ("a = " + "[" * 3000 + "]" * 3000, "line 1: not TOML: too many brackets"),
        ("a = " + "9" * 5000, "line 1: not TOML: exceeds the limit"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_key(place, text, expected):
    found = problems(place, text)
    assert any(expected in one for one in found), found
    assert all("\n" not in one for one in found)
    with pytest.raises(
        InputError, match=re.escape(f"station.toml, line {check_station(place / 'station.toml')[0].line}")
    ):
        read_station(place / "station.toml")


@pytest.mark.parametrize(
    "text",
    [
        LEAST + '[[camera]]\nname = "b"\naddress = 1',
        LEAST.replace("= 0", '= "film.mp4"') + '[[camera]]\nname = "b"\naddress = "film.mp4"',
        LEAST.replace("= 0", '= "rtsp://user:pass@camera:554/1?x=y"'),
        LEAST.replace("= 0", '= "gstreamer: videotestsrc ! appsink"'),
        GENICAM,
        GENICAM + '[[camera]]\nname = "b"\naddress = "genicam: producer.cti#OTHER"',
        LEAST + EVERY + '[part]\ncombine = "all"',
        LEAST + '[trigger]\nkind = "free"\n[part]\ncombine = "any"',
        LEAST + '[serve]\nhost = "localhost"',
        LEAST + '[serve]\nhost = "::1"\nport = 0\n[plc]\nport = 0',
        LEAST + '[serve]\nhost = "0.0.0.0"\ntoken_file = "page.token"',
        LEAST + '[outputs]\njsonl = "-"\ncsv = "new/folder/x.csv"',
        LEAST + "[part]\nreview_from = 0",
        "\ufeff" + LEAST,
        LEAST.replace("\n", "\r\n"),
    ],
)
def test_what_is_right_is_taken(place, text):
    assert problems(place, text) == []


def test_all_mistakes_are_told_from_the_top_to_the_end(place):
    found = problems(place, "[part]\nqueue = 0\nat_least = 0\n[[camera]]\nname = 3\n[engine]\nname = 'x'\nthread = 1")
    lines = [int(one.split(":")[0].split()[1]) for one in found]
    assert lines == sorted(lines)
    keys = {one.split(": ")[1] for one in found}
    assert keys == {
        "bundle", "part.queue", "part.at_least", "camera.name", "camera.address", "engine.name", "engine.thread",
    }  # fmt: skip


def test_the_error_says_how_many_more_there_are(place):
    with pytest.raises(InputError, match=r"line 2: .* \(and 1 more: nut-runtime config check .*station.toml\)$"):
        read_station(write(place, 'bundle = "bundle"\nname = 3\n[[camera]]\nname = "a"'))


def test_one_mistake_is_told_once(place):
    text = LEAST + '[trigger]\nkind = "plk"\nevery_ms = 5\n[part]\ncombine = "atleast"\nat_least = 3\n[serve]\nhost = 3'
    assert [one.split(": ")[1] for one in problems(place, text)] == ["trigger.kind", "part.combine", "serve.host"]


def test_what_every_camera_has_is_what_a_camera_says_itself(place):
    text = LEAST + (
        "settings = { fps = 10 }\n[camera.limits]\nfrozen_after_s = false\n"
        '[[camera]]\nname = "b"\naddress = 1\n'
        "[every_camera.settings]\nfps = 30\nexposure = 5\n[every_camera.limits]\nfrozen_after_s = 9\n"
    )
    first, second = read_station(write(place, text)).cameras
    assert (first.settings.fps, first.settings.exposure, first.limits.frozen_after_s) == (10, 5, None)
    assert (second.settings.fps, second.settings.exposure, second.limits.frozen_after_s) == (30, 5, 9)
    assert second == replace(
        CameraConfig(name="b", address="1"),
        settings=CameraSettings(fps=30, exposure=5),
        limits=ViewLimits(frozen_after_s=9),
    )


def test_a_mistake_that_all_cameras_share_is_told_once(place):
    found = problems(place, RIG.replace("height_px = 1080\n", ""))
    assert [one.split(": ", 1)[1] for one in found] == [
        "every_camera.settings.width_px: give width_px and height_px, or neither"
    ]


ODD = [
    "0",
    "-1",
    "1e400",
    "nan",
    "true",
    "''",
    "'x'",
    "'/'",
    "'\\u0000'",
    "[]",
    "[[1], {a = 1}]",
    "{}",
    "{x = 1}",
    "07:32:00",
]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_in_a_station_file_there_is_an_answer_with_lines(place, data):
    lines = with_all_options(data.draw(st.sampled_from([ONE_CAMERA, RIG]))).splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(0, len(lines) - 1))
        key, equals, _value = lines[number].partition("=")
        odd = data.draw(st.sampled_from(ODD))
        lines[number] = data.draw(st.sampled_from([f"{key}= {odd}" if equals else odd, "", f"{lines[number]}]", "[x]"]))
    found = check_station(write(place, "\n".join(lines)))
    assert all(1 <= problem.line <= len(lines) and "\n" not in problem.message for problem in found)
    if not found:
        read_station(place / "station.toml")


def test_no_message_shows_a_password(place):
    text = LEAST.replace("= 0", '= "rtsp://user:hunter2@"') + '[[camera]]\nname = "b"\npassword = "hunter2"\n' + (
        'address = "ftp://user:hunter2@host"\n[outputs.mqtt]\nhost = "mqtt://user:hunter2@b"\npassword = "hunter2"\n'
    )  # fmt: skip
    found = problems(place, text)
    assert len(found) >= 5
    assert "hunter2" not in " ".join(found)


def test_a_file_that_is_not_utf_8_is_named_by_the_line(place):
    path = place / "station.toml"
    path.write_bytes(b'bundle = "b"\n# M\xfcller\n')
    assert [str(one) for one in check_station(path)] == ["line 2: not UTF-8; save the file as UTF-8"]


def test_a_file_that_cannot_be_read_is_named(place):
    with pytest.raises(InputError, match=r"cannot read the station file .*none\.toml: No such file"):
        check_station(place / "none.toml")
    with pytest.raises(InputError, match="cannot read the station file"):
        read_station(place)


def test_paths_start_from_the_station_files_folder(place, tmp_path_factory, monkeypatch):
    path = write(place, LEAST.replace("= 0", '= "film.mp4"') + '[outputs]\njsonl = "v.jsonl"\n')
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    station = read_station(path)
    assert station.bundle == place / "bundle"
    assert station.cameras[0].address == str(place / "film.mp4")
    assert station.jsonl == str(place / "v.jsonl")
