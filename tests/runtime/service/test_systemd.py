"""The unit: what it says, how paths are quoted, and what systemd itself thinks of it."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nut_runtime.errors import InputError
from nut_runtime.service.systemd import MARK, UnitConfig, quoted, unit_text

CONFIG = UnitConfig(command=("/opt/nut/bin/nut-runtime",), station_file=Path("/etc/nut/station.toml"))


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_a_unit_waits_for_the_station_watches_it_and_never_gives_it_up():
    found = settings(unit_text(CONFIG))
    assert found["Type"] == "notify"
    assert found["WatchdogSec"] == "30"
    assert found["Restart"] == "always"
    assert found["StartLimitIntervalSec"] == "0"
    assert (found["KillSignal"], found["TimeoutStopSec"]) == ("SIGTERM", "10")
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert found["ExecStart"] == "/opt/nut/bin/nut-runtime run --strict --config /etc/nut/station.toml"
    assert unit_text(CONFIG).startswith(MARK + "\n")


def test_a_unit_holds_no_privilege_and_may_write_its_own_folder_only():
    found = settings(unit_text(CONFIG))
    assert found["DynamicUser"] == "yes"
    assert found["StateDirectory"] == "nut-station"
    assert found["NoNewPrivileges"] == "yes"
    assert found["CapabilityBoundingSet"] == ""
    assert found["ProtectSystem"] == "strict"
    assert found["ProtectHome"] == "yes"
    assert found["PrivateTmp"] == "yes"
    assert "ReadWritePaths" not in found


def test_the_folders_of_the_outputs_are_writable_for_a_user_with_a_name():
    found = settings(unit_text(replace(CONFIG, user="nut", writable=(Path("/srv/out put"), Path("/data/100%")))))
    assert found["User"] == "nut"
    assert "DynamicUser" not in found
    assert found["ReadWritePaths"] == '/data/100%% "/srv/out put"'


def test_a_state_folder_that_systemd_does_not_make_is_writable_too():
    found = settings(unit_text(replace(CONFIG, user="nut", state_folder=Path("/srv/nut"))))
    assert found["ReadWritePaths"] == "/srv/nut"
    assert found["WorkingDirectory"] == "/srv/nut"
    assert "StateDirectory" not in found


def test_cameras_are_in_reach_where_there_are_any_and_no_device_otherwise():
    with_cameras, without = settings(unit_text(CONFIG)), settings(unit_text(replace(CONFIG, has_video=False)))
    assert with_cameras["DeviceAllow"] == "char-video4linux rw"
    assert with_cameras["SupplementaryGroups"] == "video"
    assert without["PrivateDevices"] == "yes"
    assert "DeviceAllow" not in without


def test_an_installation_in_a_home_stays_in_sight_but_cannot_be_written():
    config = replace(CONFIG, command=("/home/ann/venv/bin/python", "-m", "nut_runtime"))
    assert settings(unit_text(config))["ProtectHome"] == "read-only"


def test_a_bundle_in_a_home_stays_in_sight():
    config = replace(CONFIG, readable=(Path("/home/ann/bundle"),))
    found = settings(unit_text(config))
    assert found["ProtectHome"] == "read-only"
    assert "ReadWritePaths" not in found


def test_limits_are_set_where_they_are_asked_for():
    found = settings(unit_text(replace(CONFIG, memory="1500M", cpu="150%")))
    assert (found["MemoryMax"], found["CPUQuota"]) == ("1500M", "150%")
    assert "MemoryMax" not in settings(unit_text(replace(CONFIG, memory=None)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("/plain/path", "/plain/path", id="plain"),
        pytest.param("/two words", '"/two words"', id="space"),
        pytest.param("/100%", "/100%%", id="percent"),
        pytest.param('/a"b\\c', '"/a\\"b\\\\c"', id="quote-and-backslash"),
        pytest.param("/Prüfung 1", '"/Prüfung 1"', id="umlaut"),
        pytest.param("/semi;colon", '"/semi;colon"', id="semicolon"),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(text, expected):
    assert quoted(text) == expected


def test_a_path_with_a_line_break_cannot_bring_settings_of_its_own():
    config = replace(CONFIG, station_file=Path("/etc/a\nExecStartPre=/bin/rm"))
    with pytest.raises(InputError, match="control character"):
        unit_text(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"user": "root"}, "unprivileged user", id="root"),
        pytest.param({"user": "nobody"}, "unprivileged user of its own", id="nobody"),
        pytest.param({"user": "a b"}, "unprivileged user", id="no-user-name"),
        pytest.param({"name": "../nut"}, "service name", id="leads-out"),
        pytest.param({"name": "nut.service"}, "without the ending", id="ending"),
        pytest.param({"name": "nut@1"}, "service name", id="template"),
        pytest.param({"memory": "lots"}, "expected an amount", id="memory"),
        pytest.param({"cpu": "2"}, "expected a share", id="cpu"),
        pytest.param({"station_file": Path("station.toml")}, "not an absolute path", id="relative"),
        pytest.param({"station_file": Path("/var/tmp/station.toml")}, "temporary folder", id="private-tmp"),  # noqa: S108 (refused)
        pytest.param({"readable": (Path("/tmp/bundle"),)}, "temporary folder", id="bundle-in-tmp"),  # noqa: S108 (refused)
        pytest.param({"writable": (Path("/srv/out"),)}, "give --user NAME", id="dynamic-user-elsewhere"),
        pytest.param({"command": ('/opt/"nut"/nut-runtime',)}, "quote or backslash", id="quote-in-program"),
        pytest.param({"state_folder": Path("/srv/nut\\")}, "ends in a space or backslash", id="continued-line"),
    ],
)
def test_what_systemd_would_not_take_or_not_do_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **changes)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"has_video": False, "cpu": "150%", "memory": None}, id="no-cameras"),
        pytest.param({"user": "daemon", "state_folder": Path("/srv/nut 100%"), "watchdog_s": 5}, id="user"),
    ],
)
def test_systemd_itself_finds_nothing_wrong_with_a_unit(tmp_path, changes):
    program = tmp_path / "bin 100%$x" / "nut-runtime"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "nut-station.service"
    text = unit_text(replace(CONFIG, station_file=Path("/etc/nut 100%/$HOME station;.toml"), **changes))
    unit.write_text(text.replace("ExecStart=/opt/nut/bin/nut-runtime", f"ExecStart={quoted(str(program))}"))
    verify = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_counts_little_exposure(tmp_path):
    unit = tmp_path / "nut-station.service"
    unit.write_text(unit_text(replace(CONFIG, command=("/bin/true",), user="daemon")))
    # A plain service has 9.6 of 10; the limit is 3, as "OK" ends at 4.
    rate = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)]
    done = subprocess.run(rate, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-400:] + done.stderr
