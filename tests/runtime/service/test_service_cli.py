"""`nut-runtime service`: what it writes, prints and refuses."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nut_runtime.errors import InputError
from nut_runtime.service import service_cli
from nut_runtime.service.service_cli import read_paths, service, written_folders
from nut_runtime.service.systemd import MARK
from nut_runtime.station_file.config import (
    CameraConfig,
    MqttConfig,
    OutboxConfig,
    PicturesConfig,
    ServeConfig,
    StationConfig,
    TriggerConfig,
    TriggerKind,
    WebhookConfig,
)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is of Linux only")

STATION = StationConfig(
    bundle=Path("/srv/nut/bundle"),
    cameras=(CameraConfig(name="front", address="0"),),
    jsonl="-",
    sqlite=Path("/srv/nut/out/verdicts.sqlite"),
    pictures=PicturesConfig(folder=Path("/srv/nut/my pictures")),
)


@pytest.fixture
def station(monkeypatch):
    """The station that every station file describes, to set; for a program in /opt, wherever this checkout lies."""
    monkeypatch.setattr(service_cli, "_own_command", lambda: ("/opt/nut/bin/nut-runtime",))
    described = {"station": STATION}
    monkeypatch.setattr(service_cli, "_read_station", lambda _path: described["station"])
    return described


@pytest.fixture
def run(tmp_path):
    """Run a command with units in a folder of the test's own."""

    def invoke(command: str, *arguments: str) -> Result:
        options = ["--unit-folder", str(tmp_path), *arguments]
        return CliRunner().invoke(service, [command, *options])

    return invoke


INSTALL = ("install", "--config", "/etc/nut/station.toml")


@pytest.mark.usefixtures("station")
def test_install_writes_a_unit_and_says_what_to_type_next(run, tmp_path):
    result = run(*INSTALL, "--user", "nut-of-no-machine")
    assert result.exit_code == 0, result.output
    unit = tmp_path / "nut-station.service"
    text = unit.read_text()
    assert text.startswith(MARK)
    assert 'ReadWritePaths="/srv/nut/my pictures" /srv/nut/out\n' in text
    assert "run --strict --config /etc/nut/station.toml\n" in text
    assert unit.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["nut-station.service"]
    assert [line.strip() for line in result.output.splitlines()[1:]] == [
        "useradd -r -M -s /usr/sbin/nologin nut-of-no-machine",
        "install -d -o nut-of-no-machine -g nut-of-no-machine '/srv/nut/my pictures'",
        "install -d -o nut-of-no-machine -g nut-of-no-machine /srv/nut/out",
        "systemctl daemon-reload",
        "systemctl enable nut-station",
        "systemctl restart nut-station",
    ]


@pytest.mark.usefixtures("station")
def test_print_writes_nothing(run, tmp_path):
    result = run(*INSTALL, "--user", "nut", "--name", "line-3", "--print")
    assert result.exit_code == 0
    assert "StateDirectory=line-3" in result.output
    assert list(tmp_path.iterdir()) == []


def test_outputs_outside_the_state_folder_ask_for_a_user(run, station, tmp_path):
    result = run(*INSTALL)
    assert result.exit_code == 2
    assert "give --user NAME" in result.output
    assert list(tmp_path.iterdir()) == []
    station["station"] = StationConfig(bundle=Path("/srv/b"), sqlite=Path("/var/lib/nut-station/verdicts.sqlite"))
    assert run(*INSTALL).exit_code == 0
    text = (tmp_path / "nut-station.service").read_text()
    assert "DynamicUser=yes" in text
    assert "PrivateDevices=yes" in text  # no cameras in this station file


@pytest.mark.usefixtures("station")
def test_a_unit_that_somebody_else_wrote_is_left_alone(run, tmp_path):
    unit = tmp_path / "nut-station.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    for arguments in ((*INSTALL, "--user", "nut"), ("uninstall",)):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "was not written by nut-runtime" in result.output
    assert unit.read_text().endswith("/bin/true\n")


@pytest.mark.usefixtures("station")
def test_install_again_replaces_its_own_unit_and_uninstall_removes_it(run, tmp_path):
    assert run(*INSTALL, "--user", "nut", "--memory", "1G").exit_code == 0
    assert run(*INSTALL, "--user", "nut", "--memory", "none").exit_code == 0
    assert "MemoryMax" not in (tmp_path / "nut-station.service").read_text()
    assert run("uninstall").exit_code == 0
    assert list(tmp_path.iterdir()) == []
    result = run("uninstall")
    assert result.exit_code == 2
    assert "is not there; nut-runtime service install writes it" in result.output


@pytest.mark.usefixtures("station")
def test_a_folder_of_units_that_is_not_there_is_said_so(tmp_path):
    gone = tmp_path / "gone"
    result = CliRunner().invoke(service, [*INSTALL, "--user", "nut", "--unit-folder", str(gone)])
    assert result.exit_code == 2
    assert "this system has no systemd" in result.output


def test_a_station_file_that_does_not_check_writes_nothing(run, monkeypatch, tmp_path):
    def refuse(path: Path) -> StationConfig:
        raise InputError(f"{path}:3: unknown key 'bundel'")

    monkeypatch.setattr(service_cli, "_read_station", refuse)
    result = run(*INSTALL, "--user", "nut")
    assert result.exit_code == 2
    assert "station.toml:3: unknown key" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_unit_starts_this_very_installation():
    (program,) = service_cli._own_command()
    assert Path(program).is_file()
    assert os.access(program, os.X_OK)


@pytest.mark.usefixtures("station")
def test_a_unit_calls_it_by_its_whole_path(run):
    result = run(*INSTALL, "--user", "nut", "--print")
    assert "ExecStart=/opt/nut/bin/nut-runtime run --strict --config /etc/nut/station.toml\n" in result.output


def test_a_link_to_the_version_in_use_stays_a_link_in_the_unit(monkeypatch, tmp_path):
    program = tmp_path / "1.0" / "bin" / "nut-runtime"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    current = tmp_path / "current"
    current.symlink_to("1.0")
    monkeypatch.setattr(sys, "argv", [str(current / "bin" / "nut-runtime"), "service"])
    assert service_cli._own_command() == (str(current / "bin" / "nut-runtime"),)


@pytest.mark.skipif(shutil.which("systemctl") is None, reason="systemctl is not installed")
@pytest.mark.usefixtures("station")
def test_the_printed_commands_enable_the_unit_at_boot(tmp_path):
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    runner = CliRunner()
    assert runner.invoke(service, [*INSTALL, "--user", "nut", "--unit-folder", str(units)]).exit_code == 0
    enable = ["systemctl", f"--root={tmp_path}", "enable", "nut-station"]
    done = subprocess.run(enable, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (units / "multi-user.target.wants" / "nut-station.service").is_symlink()


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs here")
@pytest.mark.usefixtures("station")
def test_status_without_a_systemd_says_so(run):
    run(*INSTALL, "--user", "nut")
    result = run("status")
    assert result.exit_code == 1
    assert "unknown: systemd does not run here" in result.output


def test_the_folders_that_a_station_writes_to_are_found_once_each(tmp_path):
    station = StationConfig(
        bundle=Path("bundle"),
        jsonl="out/verdicts.jsonl",
        csv=Path("out/../out/verdicts.csv"),
        outbox=OutboxConfig(path=Path("/data/outbox.sqlite")),
        cache=Path("cache"),
    )
    assert written_folders(station, tmp_path) == [Path("/data"), tmp_path / "cache", tmp_path / "out"]
    assert written_folders(StationConfig(bundle=Path("bundle"), jsonl="-"), tmp_path) == []


def test_the_files_that_a_station_reads_are_found(tmp_path):
    station = StationConfig(
        bundle=Path("bundle"),
        verify_key=Path("/keys/plant.pem"),
        cameras=(
            CameraConfig(name="a", address="/dev/video0", ignore=Path("mask.png")),
            CameraConfig(name="b", address="/films/b.mp4"),
        ),
        mqtt=MqttConfig(host="h", username="u", password_file=Path("password"), ca_file=Path("/keys/ca.pem")),
        webhook=WebhookConfig(url="https://h"),
        serve=ServeConfig(token_file=Path("page.token")),
    )
    assert read_paths(station, tmp_path) == sorted(
        [
            *(Path(path) for path in ("/films/b.mp4", "/keys/ca.pem", "/keys/plant.pem")),
            *(tmp_path / name for name in ("bundle", "mask.png", "page.token", "password")),
        ]
    )


def test_a_bundle_or_token_below_tmp_which_the_service_does_not_see_is_refused(run, station, tmp_path):
    for described in (
        replace(STATION, bundle=Path("/tmp/bundle")),  # noqa: S108 (refused)
        replace(STATION, serve=ServeConfig(token_file=Path("/var/tmp/page.token"))),  # noqa: S108 (refused)
    ):
        station["station"] = described
        result = run(*INSTALL, "--user", "nut")
        assert result.exit_code == 2
        assert "lies in a temporary folder" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_station_that_is_triggered_by_standard_input_is_no_service(run, station, tmp_path):
    station["station"] = replace(STATION, trigger=TriggerConfig(kind=TriggerKind.STDIN))
    result = run(*INSTALL, "--user", "nut")
    assert result.exit_code == 2
    assert "the standard input of a service is empty; choose" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_station_file_is_read_and_checked_before_its_unit_is_written(run, bundle_folder, tmp_path):
    station_file = tmp_path / "station.toml"
    station_file.write_text(f'bundle = "{bundle_folder}"\nbundel = 1\n[[camera]]\nname = "front"\naddress = 0\n')
    result = run("install", "--config", str(station_file), "--user", "nut", "--print")
    assert result.exit_code == 2
    assert "bundel" in result.output
