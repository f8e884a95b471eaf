"""The whole way on few pictures, through the command that a newcomer runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main


@pytest.mark.slow
def test_the_demo_ends_with_a_table_without_flips(tmp_path: Path):
    out = tmp_path / "demo"
    arguments = ["demo", "-o", str(out), "--train", "14", "--good", "3", "--defects", "6"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    results = json.loads((out / "bench" / "results.json").read_text(encoding="utf-8"))
    for engine in ("onnxruntime", "openvino"):
        parity = results["parity"][engine]
        assert parity["flips"] == []
        # DESIGN.md's fp32 tolerance
        assert parity["max_d_score"] <= 1e-3
        # the drawn nuts are about 320 px wide, each of its own size; the model takes 256x256
        assert parity["sizes"] > 1
    verdicts = [json.loads(line) for line in (out / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(verdicts) == 9
    assert len(list((out / "overlays").glob("*.png"))) == 9
    for made in ("run/report.html", "bundle/parity.html", "bench/bench.md"):
        assert (out / made).is_file()
        assert str(out / made) in result.stdout


@pytest.mark.slow
@pytest.mark.data
def test_real_nuts_of_many_sizes_keep_their_verdicts(real_data: Path, tmp_path: Path):
    from nut_export.export import ExportConfig, export_bundle
    from nut_train.config import TrainConfig
    from nut_train.train import train

    run = train(real_data / "nuts", tmp_path / "run", TrainConfig(coreset_ratio=0.002, device="cpu"))
    exported = export_bundle(run, tmp_path / "bundle", ExportConfig(pictures=30))
    assert len(run.record["evaluation"]["leaked"]) == 20
    for parity in exported.parity.values():
        assert parity.sizes > 5
        assert parity.flips == ()
        # DESIGN.md's fp32 tolerance
        assert parity.max_d_score <= 1e-3


def test_a_data_set_that_cannot_be_trained_on_stops_the_demo_with_one_line(tmp_path: Path):
    (tmp_path / "parts" / "train" / "good").mkdir(parents=True)
    (tmp_path / "parts" / "train" / "good" / "a.png").write_text("no picture", encoding="utf-8")
    result = CliRunner().invoke(main, ["demo", "--data", str(tmp_path / "parts"), "-o", str(tmp_path / "demo")])
    assert result.exit_code == 2
    assert [line for line in result.stderr.splitlines() if line.startswith("error: ")] == [
        result.stderr.splitlines()[-1]
    ]
