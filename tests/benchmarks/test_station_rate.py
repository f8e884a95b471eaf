"""A station with its outputs on, against the engine alone."""

import functools
import re

import pytest
from click.testing import CliRunner

from nut_benchmarks import station_rate as module
from nut_benchmarks.cli import main
from nut_benchmarks.station_rate import station_rate
from nut_runtime.engines import ENGINES
from nut_runtime.errors import InputError


def test_both_are_measured_in_turns_over_the_same_parts(bundle_folder, nuts):
    found = station_rate(bundle_folder, nuts, engine="onnxruntime", threads=1, parts=12, rounds=3)
    assert (found.engine, found.parts) == ("onnxruntime", 12)
    assert len(found.alone) == len(found.station) == 3
    assert min(*found.alone, *found.station) > 0
    low, middle, high = found.quartiles
    assert low <= middle == found.ratio <= high
    assert 0 < found.rejects < 1  # good and defective nuts are judged, and the pictures of the latter saved


def test_a_data_set_without_test_pictures_is_refused(bundle_folder, nuts, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "good").symlink_to(nuts / "train" / "good")
    with pytest.raises(InputError, match="no test pictures"):
        station_rate(bundle_folder, tmp_path, parts=1, rounds=2)


def test_the_command_prints_a_line_for_each_engine(bundle_folder, nuts, monkeypatch):
    monkeypatch.setattr(module, "station_rate", functools.partial(station_rate, parts=6, rounds=2))
    result = CliRunner().invoke(main, ["bench", "--station", "--bundle", str(bundle_folder), "--dataset", str(nuts)])
    assert result.exit_code == 0, result.output
    for engine in ENGINES:
        assert re.search(rf"^{engine} +[\d.]+ +[\d.]+ +[\d.]+% \(", result.output, re.MULTILINE)


def test_without_a_bundle_the_command_says_what_to_give():
    result = CliRunner().invoke(main, ["bench", "--station"])
    assert result.exit_code == 2
    assert "give a bundle and a data set to measure a station with" in result.output
