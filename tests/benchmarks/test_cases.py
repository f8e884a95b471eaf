"""Cases known by name: our graph against the one that anomalib exports."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from nut_benchmarks.cases import CASES, run_case
from nut_benchmarks.cli import main
from nut_benchmarks.commands import CASE_NAMES
from nut_runtime.errors import InputError


def test_the_command_offers_exactly_the_cases_there_are():
    assert tuple(CASES) == CASE_NAMES


def test_an_unknown_case_is_refused():
    with pytest.raises(InputError, match="unknown case 'wrn'"):
        run_case("wrn")


def test_without_bundle_or_case_one_line_says_what_to_give(tmp_path: Path):
    result = CliRunner().invoke(main, ["bench", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: give a bundle and a data set")


@pytest.mark.slow
def test_a_case_times_both_graphs_in_both_engines(tmp_path: Path):
    out = tmp_path / "out"
    arguments = ["bench", "--case", "lite0", "--bank-percent", "1", "--repeats", "3", "--warm-up", "1", "-o", str(out)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for engine in ("pytorch", "onnxruntime", "openvino", "anomalib-onnxruntime", "anomalib-openvino"):
        assert engine in result.stdout
    assert "lite0: bank 1966 x 152" in result.stdout
    assert (out / "cases.json").is_file()
    assert "than anomalib's own export" in (out / "cases.md").read_text(encoding="utf-8")
