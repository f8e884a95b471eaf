"""What a tray costs: the command and its table."""

import json

import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_benchmarks.trays import draw_bench_tray
from nut_dataset.coco.trays import read_trays


def test_the_drawn_tray_is_as_large_as_the_target_says():
    assert draw_bench_tray().shape == (480, 640, 3)


@pytest.mark.slow
def test_each_engine_is_timed_at_each_step(tray_bundle_folder, trays, tmp_path):
    picture = read_trays(trays, "test")[0].path
    command = ["bench", "--trays", "--bundle", str(tray_bundle_folder), "--dataset", str(picture)]
    command += ["-o", str(tmp_path / "out"), "--repeats", "2", "--warm-up", "1", "--threads", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "trays-bench.json").read_text())
    assert [one["engine"] for one in found["timings"]] == ["onnxruntime", "openvino"]
    for one in found["timings"]:
        steps = {step["name"]: step for step in one["steps"]}
        assert list(steps) == ["map", "locate", "judge", "tray"]
        assert all(step["min_ms"] <= step["p50_ms"] <= step["p95_ms"] for step in steps.values())
    assert "nut bench --trays" in (tmp_path / "out" / "trays.md").read_text()


def test_a_bundle_without_a_locator_is_refused_in_one_line(bundle_folder, tmp_path):
    command = ["bench", "--trays", "--bundle", str(bundle_folder), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "has no locator" in result.output
