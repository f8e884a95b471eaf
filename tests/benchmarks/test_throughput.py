"""`nut bench --throughput`: latency mode, streams and batches beside each other."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nut_benchmarks import throughput as module
from nut_benchmarks.cli import main
from nut_benchmarks.throughput import Mode, ModeRate, Throughput, run_throughput
from nut_benchmarks.throughput_report import throughput_rows


def _rate(mode: Mode, rates: tuple[float, ...], threads: int = 1) -> ModeRate:
    return ModeRate(engine="openvino", threads=threads, mode=mode, frames_per_s=rates, p50_ms=(4.0, 5.0, 60.0))


def test_a_mode_is_held_against_latency_mode_with_as_many_threads_by_the_median_round():
    rates = (
        _rate(Mode(), (10.0, 20.0, 1.0)),
        _rate(Mode(streams=2), (15.0, 2.0, 40.0)),
        _rate(Mode(batch=8), (30.0, 30.0, 30.0)),
        _rate(Mode(), (60.0, 60.0, 60.0), threads=2),
    )
    found = Throughput(bundle_id="nut", frame_px=(48, 64), frames=100, rates=rates)
    assert [row[1:] for row in throughput_rows(found)] == [
        ["1", "latency (1 stream)", "10.0", "1.00x", "5.0"],
        ["1", "2 streams", "15.0", "1.50x", "5.0"],
        ["1", "batch of 8", "30.0", "3.00x", "5.0"],
        ["2", "latency (1 stream)", "60.0", "1.00x", "5.0"],
    ]


def test_every_engine_is_measured_in_latency_mode_in_streams_and_in_batches(batch_bundle: Path):
    found = run_throughput(batch_bundle, threads=(1,), streams=(2,), warm_up=0, frames=4, rounds=1)
    modes = [Mode(), Mode(streams=2), Mode(batch=3)]
    assert [(rate.engine, rate.mode) for rate in found.rates] == [
        (engine, mode) for engine in ("onnxruntime", "openvino") for mode in modes
    ]
    for rate in found.rates:
        assert rate.rate > 0
        assert rate.latency_ms > 0


def test_the_command_writes_the_table_and_says_where_a_bundle_has_no_models_for_batches(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_in_process", lambda job: (10.0 * job.streams * job.threads, 5.0))
    out = tmp_path / "throughput"
    result = CliRunner().invoke(main, ["bench", "--bundle", str(bundle_folder), "--throughput", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "has no models for batches; export it with --batch N" in result.stderr
    rates = json.loads((out / "throughput.json").read_text(encoding="utf-8"))["rates"]
    assert [(one["threads"], one["mode"]["streams"]) for one in rates[:6]] == [
        (threads, streams) for threads in (1, 2) for streams in (1, 2, 4)
    ]
    page = (out / "throughput.md").read_text(encoding="utf-8")
    assert "| openvino | 2 | 4 streams | 80.0 | 4.00x | 5.0 |" in page
    assert "nut bench --bundle" in page


def test_without_a_bundle_the_command_says_to_give_one(tmp_path: Path):
    result = CliRunner().invoke(main, ["bench", "--throughput", "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr == "error: no bundle to measure the throughput of was given; add --bundle DIR\n"
