"""`nut bench --frames`: what larger frames cost, engine by engine."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_benchmarks.frames import FrameSizes, FrameTiming, run_frames
from nut_benchmarks.frames_report import frame_rows
from nut_runtime.atomic import write_json
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError


def _timing(height: int, width: int, ms: float) -> FrameTiming:
    return FrameTiming(
        height_px=height,
        width_px=width,
        first_ms=9,
        min_ms=ms,
        p50_ms=ms + 1,
        p95_ms=ms + 2,
        cpu_ms=2 * ms,
        peak_mb=100,
    )


def test_extra_is_over_the_same_engines_frame_of_the_models_own_size():
    timings = {
        "openvino": [_timing(480, 640, 7.5), _timing(256, 256, 6.0)],
        "onnxruntime": [_timing(480, 640, 5.0)],  # its own size was not measured
    }
    found = FrameSizes(bundle_id="nut", own_px=(256, 256), threads=1, timings=timings)
    assert [row[:6] for row in frame_rows(found)] == [
        ["openvino", "640x480", "8.50", "+1.50", "15.00", "+3.00"],
        ["openvino", "256x256", "7.00", "-", "12.00", "-"],
        ["onnxruntime", "640x480", "6.00", "-", "10.00", "-"],
    ]


def test_the_command_measures_both_engines_at_each_size_the_models_own_first(bundle_folder: Path, tmp_path: Path):
    out = tmp_path / "frames"
    arguments = ["bench", "--bundle", str(bundle_folder), "--frames", "320x240,96x128", "-o", str(out)]
    result = CliRunner().invoke(main, [*arguments, "--repeats", "7", "--warm-up", "1", "--threads", "1"])
    assert result.exit_code == 0, result.output
    found = json.loads((out / "frames.json").read_text(encoding="utf-8"))
    assert list(found["timings"]) == ["onnxruntime", "openvino"]
    for timings in found["timings"].values():
        assert [(one["width_px"], one["height_px"]) for one in timings] == [(96, 128), (320, 240)]
        for one in timings:
            assert 0 < one["min_ms"] <= one["p50_ms"] <= one["p95_ms"]
            assert one["cpu_ms"] > 0
        assert timings[0]["peak_mb"] <= timings[1]["peak_mb"]
    assert "320x240" in result.stdout
    page = (out / "frames.md").read_text(encoding="utf-8")
    assert "Extra: over a frame of 96x128" in page
    assert "--frames 320x240,96x128" in page


def test_a_bundle_for_one_frame_size_names_both_sizes(bundle_folder: Path, tmp_path: Path):
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
    manifest = replace(open_bundle(folder).manifest, frame_px=(480, 640))
    write_json(folder / "manifest.json", manifest.to_json())
    with pytest.raises(InputError, match=r"takes only frames of 640x480, 320x240 was asked for"):
        run_frames(folder, [(240, 320)], threads=1, warm_up=0, repeats=1)


def test_without_a_bundle_one_line_says_to_give_one(tmp_path: Path):
    result = CliRunner().invoke(main, ["bench", "--frames", "640x480", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr == "error: no bundle to measure frames with was given; add --bundle DIR\n"


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        pytest.param("640", "frame size '640', expected WIDTHxHEIGHT", id="no-size"),
        pytest.param("640x480,", "frame size '', expected WIDTHxHEIGHT", id="trailing-comma"),
        pytest.param("640x4", "at least 8 px a side", id="small"),
    ],
)
def test_what_is_no_list_of_sizes_is_one_line_and_nothing_is_written(bundle_folder, tmp_path, sizes, says):
    result = CliRunner().invoke(
        main, ["bench", "--bundle", str(bundle_folder), "--frames", sizes, "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 2
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []
