"""`nut bench`: every engine in its own process, figures that add up, files that are written."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from nut_benchmarks.bench import BenchConfig, run_bench
from nut_benchmarks.cli import main
from nut_benchmarks.report import COLUMNS, bench_markdown, bench_rows
from nut_runtime.errors import InputError, OutputError


@pytest.fixture(scope="module")
def bench_folder(bundle_folder: Path, run_folder: Path, nuts: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("bench") / "bench"
    config = BenchConfig(threads=1, warm_up=1, repeats=5, pictures=4)
    return folder, run_bench(bundle_folder, nuts, folder, run_folder=run_folder, config=config)


def test_all_three_engines_are_measured_with_parity(bench_folder):
    _, bench = bench_folder
    assert list(bench.timings) == ["pytorch", "onnxruntime", "openvino"]
    for name, parity in bench.parity.items():
        assert parity.engine == name
        assert parity.pictures == 4
        assert parity.flips == ()
        # DESIGN.md's fp32 tolerance
        assert parity.max_d_score <= 1e-3


def test_pytorch_outside_the_engine_equals_the_prediction(bench_folder):
    _, bench = bench_folder
    # The same modules on the same tensors; only thread counts differ, which reorders float32 sums.
    assert bench.parity["pytorch"].max_d_score <= 1e-5


def test_percentiles_rise_and_memory_is_each_engines_own(bench_folder):
    _, bench = bench_folder
    for timing in bench.timings.values():
        assert 0 < timing.p50_ms <= timing.p95_ms <= timing.p99_ms
        assert timing.load_s > 0
        assert timing.frames_per_s > 0
    # anomalib's process holds torch; the engines' hold a few hundred MB less
    assert bench.timings["openvino"].peak_mb < bench.timings["pytorch"].peak_mb - 100
    assert bench.timings["onnxruntime"].peak_mb < bench.timings["pytorch"].peak_mb - 100


def test_results_json_markdown_and_figure_are_written(bench_folder):
    folder, bench = bench_folder
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["timings"]["openvino"]["p50_ms"] == bench.timings["openvino"].p50_ms
    assert results["machine"]["cpu"]
    assert results["threads"] == 1
    assert (folder / "bench.md").read_text(encoding="utf-8") == bench_markdown(bench)
    assert (folder / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_has_a_cell_for_every_column(bench_folder):
    _, bench = bench_folder
    assert {len(row) for row in bench_rows(bench)} == {len(COLUMNS)}


def test_every_row_of_the_markdown_table_has_as_many_cells_as_engines(bench_folder):
    _, bench = bench_folder
    rows = [line for line in bench_markdown(bench).splitlines() if line.startswith("| ")]
    assert len(rows) == len(COLUMNS)  # the header stands for the column of names
    assert {line.replace("\\|", "").count("|") for line in rows} == {len(bench.timings) + 2}


def test_markdown_names_machine_threads_and_command(bench_folder):
    _, bench = bench_folder
    text = bench_markdown(bench)
    assert bench.machine.cpu in text
    assert "1 threads for every engine" in " ".join(text.split())
    assert bench.command in text


def test_a_bundle_of_another_run_is_refused(bundle_folder: Path, run_folder: Path, nuts: Path, tmp_path: Path):
    other = tmp_path / "run"
    other.mkdir()
    record = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    (other / "run.json").write_text(json.dumps({**record, "created": "2000-01-01T00:00:00+00:00"}), encoding="utf-8")
    with pytest.raises(InputError, match="was not exported from"):
        run_bench(bundle_folder, nuts, tmp_path / "out", run_folder=other)
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_a_checkpoint_has_no_run_to_compare_with(
    bundle_folder: Path, run_folder: Path, nuts: Path, tmp_path: Path
):
    bundle = Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["provenance"] |= {"trained": None, "checkpoint": {"file": "model.ckpt", "sha256": "0" * 64}}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match=r"came from a checkpoint of anomalib's, model\.ckpt, .* leave --run out"):
        run_bench(bundle, nuts, tmp_path / "out", run_folder=run_folder)
    assert not (tmp_path / "out").exists()


def test_an_existing_output_is_not_overwritten(bundle_folder: Path, nuts: Path, tmp_path: Path):
    (tmp_path / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="--force"):
        run_bench(bundle_folder, nuts, tmp_path)
    assert (tmp_path / "kept").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("options", [{"repeats": 0}, {"threads": -1}, {"pictures": 0}, {"warm_up": -1}])
def test_numbers_out_of_range_are_refused(options: dict[str, int]):
    with pytest.raises(InputError, match="expected at least"):
        BenchConfig(**options)


def test_the_command_without_a_run_says_that_parity_is_left_out(bundle_folder: Path, nuts: Path, tmp_path: Path):
    arguments = ["bench", "--bundle", str(bundle_folder), "--dataset", str(nuts), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*arguments, "--repeats", "2", "--warm-up", "0", "--pictures", "2"])
    assert result.exit_code == 0, result.output
    assert "parity are left out" in result.stderr
    assert "openvino" in result.stdout
    assert "pytorch" not in result.stdout


def test_help_of_every_command_shows_an_example():
    for name in ("dataset", "train", "evaluate", "export", "plan", "bench", "demo"):
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        assert name == "dataset" or f"nut {name}" in result.stdout


def test_an_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(main, ["tarin"])
    assert result.exit_code == 2
    assert "tarin" in result.stderr
