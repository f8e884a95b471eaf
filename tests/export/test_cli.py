"""`nut export`: what it prints, and what a user's mistake looks like."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_runtime.bundle import open_bundle
from nut_runtime.cli import main as runtime

pytestmark = pytest.mark.usefixtures("quick_export")


def _export(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def _refused(result: Result, says: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_help_shows_examples_on_lines_of_their_own():
    result = _export("--help")
    assert result.exit_code == 0
    assert any(line.strip() == "nut export run -o bundle" for line in result.stdout.splitlines())


def test_an_export_prints_the_proof_of_each_engine_and_what_to_do_next(run_folder, tmp_path):
    bundle = tmp_path / "bundle"
    result = _export(run_folder, "-o", bundle, "--pictures", "3", "--name", "m8")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["onnxruntime", "openvino", "bundle", "proof", "next"]
    assert all("0 flips on 3 pictures of 3 sizes" in line for line in lines[:2])
    assert result.stderr == ""
    assert open_bundle(bundle).manifest.name == "m8"


def test_variants_for_other_tools_are_proved_listed_and_named_by_info(run_folder, tmp_path):
    bundle = tmp_path / "bundle"
    asked = ["--compat", "anomalib", "--compat", "model-api", "--compat", "anomalib", "--layout", "ovms"]
    result = _export(run_folder, "-o", bundle, "--pictures", "3", "--name", "m8", *asked)
    assert result.exit_code == 0, result.output
    proved = [line.split()[0] for line in result.stdout.splitlines() if "0 flips on 3 pictures" in line]
    assert proved == ["onnxruntime", "openvino", "compat/anomalib", "compat/model-api"]
    manifest = open_bundle(bundle).manifest  # compares every listed file with its SHA-256
    assert list(manifest.parity) == proved
    folders = ("compat/anomalib", "compat/model-api", "ovms/m8/1")
    wanted = {f"{folder}/model.{ending}" for folder in folders for ending in ("xml", "bin")} | {"ovms/config.json"}
    assert {path for path in manifest.files if "/" in path and not path.startswith("golden/")} == wanted
    assert "<b>compat/anomalib</b>" in (bundle / "parity.html").read_text()
    info = CliRunner().invoke(runtime, ["info", "--model", str(bundle)])
    assert "parity compat/model-api  0 of 3 verdicts flipped" in info.stdout


@pytest.mark.parametrize(
    ("option", "known"), [("--compat", "'anomalib', 'model-api'"), ("--layout", "'ovms'")], ids=["compat", "layout"]
)
def test_a_tool_that_is_not_known_says_which_are_and_nothing_is_written(run_folder, tmp_path, option, known):
    result = _export(run_folder, "-o", tmp_path / "bundle", option, "tensorrt")
    assert result.exit_code == 2
    assert known in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_tolerance_that_is_not_met_is_one_line_and_writes_nothing(run_folder, tmp_path):
    result = _export(run_folder, "-o", tmp_path / "bundle", "--pictures", "2", "--tolerance", "1e-12")
    _refused(result, "no bundle was written (--force writes it all the same)")
    assert list(tmp_path.iterdir()) == []


def test_force_writes_the_bundle_all_the_same_and_warns(run_folder, tmp_path):
    bundle = tmp_path / "bundle"
    result = _export(run_folder, "-o", bundle, "--pictures", "2", "--tolerance", "1e-12", "--force")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("(tolerance 1e-12), 0 of 2 verdicts flipped; written by force") == 2
    assert open_bundle(bundle).manifest.files
    assert "verdict bad" in (bundle / "parity.html").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--tolerance", "0"], "tolerance 0.0, expected above 0", id="tolerance"),
        pytest.param(["--pictures", "0"], "0 pictures for the proof", id="pictures"),
        pytest.param(["--dataset", "nowhere"], "nowhere is not a folder", id="dataset"),
        pytest.param(["--components", "64"], "belong to the fast search; add --precision int8 or", id="components"),
        pytest.param(["--candidates", "8"], "belong to the fast search; add --precision int8 or", id="candidates"),
        pytest.param(
            ["--precision", "int8", "--pictures", "1"],  # of the run's 12 pictures 5 are held out
            "7 pictures to calibrate int8 with, at least 8 are needed; add good pictures or export with",
            id="few-pictures",
        ),
    ],
)
def test_an_option_out_of_range_is_one_line_and_nothing_is_written(run_folder, tmp_path, options, says):
    _refused(_export(run_folder, "-o", tmp_path / "bundle", *options), says)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_says_how_to_make_one(nuts, tmp_path):
    _refused(_export(nuts, "-o", tmp_path / "bundle"), "is not a run folder (run.json is missing); make one with nut")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_checkpoint_is_one_line_and_nothing_is_written(run_folder, tmp_path):
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (run / "model.ckpt").write_bytes(b"broken")
    _refused(_export(run, "-o", tmp_path / "bundle"), "is not a PatchCore checkpoint that can be read safely")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_an_output_that_exists_is_not_replaced_unasked(run_folder, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/keep.txt").touch()
    _refused(_export(run_folder, "-o", tmp_path / "bundle"), "exists already")
    assert (tmp_path / "bundle/keep.txt").is_file()
