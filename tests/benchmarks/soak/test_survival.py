"""What a station must survive, done to a real process: the quick versions of `make soak`."""

import os
import platform
from pathlib import Path

import numpy as np
import pytest

from nut_benchmarks.soak.broker import find_mosquitto
from nut_benchmarks.soak.checks import Setting
from nut_benchmarks.soak.disk_scenarios import disk_full
from nut_benchmarks.soak.network_scenarios import (
    broker_away,
    camera_away,
    plc_vanishes,
    stopped_while_cameras_are_away,
    webhook_hangs,
)
from nut_benchmarks.soak.process_scenarios import full_speed, killed, model_exchanged, terminated, two_instances
from nut_runtime.bundle import open_bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.system() != "Linux", reason="it looks into /proc and sends signals"),
]


@pytest.fixture(scope="module")
def setting(bundle_folder, tmp_path_factory) -> Setting:
    bundle = open_bundle(bundle_folder)
    frames = [bundle.golden_frame(golden) for golden in bundle.manifest.golden]
    height, width = (min(frame.shape[axis] for frame in frames) for axis in (0, 1))
    return Setting(
        bundle=bundle_folder,
        pictures=[np.ascontiguousarray(frame[:height, :width]) for frame in frames],
        folder=tmp_path_factory.mktemp("soak"),
    )


def test_memory_and_descriptors_stay_as_they_are_at_full_speed(setting):
    assert full_speed(setting, 400).times >= 400


def test_kill_9_loses_no_answered_record_and_corrupts_nothing(setting):
    assert killed(setting, 5).lost == 0


def test_sigterm_drains_within_five_seconds(setting):
    assert terminated(setting, 3).lost == 0


def test_a_bundle_is_exchanged_without_losing_a_part_and_sigterm_still_ends_it_well(setting):
    assert model_exchanged(setting, 3).lost == 0


def test_a_camera_without_power_is_answered_for_and_back_within_two_seconds(setting):
    assert camera_away(setting, 2).lost == 0


def test_sigterm_ends_it_within_five_seconds_though_all_cameras_hang(setting):
    assert stopped_while_cameras_are_away(setting, 4).lost == 0


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed (Debian package mosquitto)")
def test_every_record_arrives_after_the_broker_was_away(setting):
    assert broker_away(setting, 4.0).lost == 0


def test_a_webhook_that_never_answers_holds_up_nobody(setting):
    assert webhook_hangs(setting, 4.0).lost == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_answered_for_and_nothing_is_lost(setting):
    assert disk_full(setting, 1).lost == 0


def test_a_plc_that_vanishes_in_mid_handshake_leaves_a_line_that_goes_on(setting):
    assert plc_vanishes(setting, 12).lost == 0


def test_a_second_station_on_the_same_outputs_is_refused(setting):
    assert two_instances(setting, 1).lost == 0


def test_the_scenarios_can_fail(setting, monkeypatch):
    """Checks that pass whatever is seen would show nothing."""
    from nut_benchmarks.soak.checks import LostError, check_numbers
    from nut_benchmarks.soak.station_process import StationProcess

    station = StationProcess(setting.folder / "fake", "")
    Path(station.folder / "verdicts.jsonl").write_text('{"id": "a-1", "sequence": 1}\n{"id": "a-3", "sequence": 3}\n')
    Path(station.folder / "verdicts.csv").write_text("id,sequence\n")
    with pytest.raises(LostError, match="numbers are not 1 to 2"):
        check_numbers(station)
