"""A whole export: the bundle is complete, or it is not there."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nut_dataset.layout import fingerprint, open_dataset
from nut_export.export import ExportConfig, export_bundle
from nut_runtime.bundle import open_bundle
from nut_runtime.cli import main as runtime
from nut_runtime.errors import InputError, OutputError, ParityError
from nut_runtime.pictures import read_picture
from nut_train.run import RECORD, open_run

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.fixture(scope="module")
def run(run_folder):
    return open_run(run_folder)


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    return open_bundle(bundle_folder)


def test_a_bundle_holds_these_files_and_no_others(bundle_folder):
    found = {path.relative_to(bundle_folder).as_posix() for path in bundle_folder.rglob("*") if path.is_file()}
    golden = {f"golden/{number:02}.{ending}" for number in range(3) for ending in ("png", "npz")}
    models = {"model.onnx", "model.xml", "model.bin"}
    assert found == {"manifest.json", "parity.json", "parity.html"} | models | golden


def test_the_manifest_lists_every_other_file_with_its_digest_and_size(bundle, bundle_folder):
    paths = [path for path in bundle_folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert {name: (entry.sha256, entry.size_bytes) for name, entry in bundle.manifest.files.items()} == {
        path.relative_to(bundle_folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_size,
        )
        for path in paths
    }


def test_the_manifest_states_the_runs_operating_point_and_data(bundle, run, nuts):
    manifest = bundle.manifest
    assert manifest.point == run.point
    assert (manifest.input_height_px, manifest.input_width_px) == (128, 96)
    assert manifest.provenance["dataset_fingerprint"] == fingerprint(open_dataset(nuts))
    assert manifest.provenance["proof_fingerprint"] == manifest.provenance["dataset_fingerprint"]
    assert manifest.provenance["calibration"]["held_out"] == 5
    assert manifest.name == "nuts"


def test_the_manifest_says_what_good_views_were_like(bundle, run, nuts):
    calibration = bundle.manifest.calibration
    held_out = [item["raw_score"] for item in run.record["held_out_scores"]]
    assert calibration.brightness.count == calibration.sharpness.count == 12
    assert calibration.raw_score.count == len(held_out) == 5
    # the exported model's scores of what anomalib held out; DESIGN.md's fp32 tolerance on a range of 2 x threshold
    assert np.allclose(
        calibration.raw_score.values, sorted(held_out), atol=2e-3 * bundle.manifest.point.image.threshold
    )
    levels = sorted(float(read_picture(path).mean()) for path in (nuts / "train" / "good").iterdir())
    assert np.allclose(calibration.brightness.values, levels, atol=10)  # the mean of the channels is not quite the grey


def test_the_proof_covers_test_and_held_out_pictures_in_both_engines(bundle, bundle_folder):
    proof = json.loads((bundle_folder / "parity.json").read_text())
    assert set(proof) == set(bundle.manifest.parity) == {"onnxruntime", "openvino"}
    for figures in bundle.manifest.parity.values():
        assert figures["pictures"] == 3 + 6 + 5
        assert figures["flips"] == 0
    page = (bundle_folder / "parity.html").read_text()
    assert "no verdict changed on 14 pictures" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_self_test_of_the_edge_passes_on_the_bundle(bundle_folder):
    result = CliRunner().invoke(runtime, ["doctor", "--model", str(bundle_folder)])
    assert result.exit_code == 0, result.output
    assert result.output.count("this device judges as the reference did") == 2


def test_a_tolerance_that_no_engine_meets_writes_nothing(run, tmp_path):
    config = ExportConfig(pictures=2, tolerance=1e-12)
    with pytest.raises(ParityError, match="no bundle was written"):
        export_bundle(run, tmp_path / "bundle", config)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_older_bundle(run, tmp_path):
    old = tmp_path / "bundle"
    old.mkdir()
    (old / "manifest.json").touch()
    with pytest.raises(ParityError):
        export_bundle(run, old, ExportConfig(pictures=2, tolerance=1e-12), overwrite=True)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["bundle", "bundle/manifest.json"]


@pytest.mark.parametrize("step", ["building the graph", "judging with anomalib", "comparing onnxruntime"])
def test_an_interrupted_export_leaves_nothing_behind(run, tmp_path, step):
    def progress(what: str, done: int, total: int) -> None:
        if what == step:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        export_bundle(run, tmp_path / "bundle", ExportConfig(pictures=2), progress=progress)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def moved_run(run_folder, tmp_path) -> Path:
    """A copy of the run whose threshold was moved by hand, and whose data set is gone."""
    folder = Path(shutil.copytree(run_folder, tmp_path / "moved"))
    record = json.loads((folder / RECORD).read_text())
    record["calibration"]["point"]["image"]["threshold"] *= 1.25
    record["dataset"]["path"] = str(tmp_path / "gone")
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def test_a_data_set_that_is_gone_says_how_to_give_another(moved_run, tmp_path):
    with pytest.raises(InputError, match=r"gone, which the run was trained on, is not there; give .* --dataset"):
        export_bundle(open_run(moved_run), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_another_threshold_is_another_bundle_id(moved_run, bundle, nuts, tmp_path):
    config = ExportConfig(pictures=2, name="nuts")
    moved = export_bundle(open_run(moved_run), tmp_path / "bundle", config, dataset_root=nuts).bundle
    assert moved.manifest.bundle_id.startswith("nuts-")
    assert moved.manifest.bundle_id != bundle.manifest.bundle_id


def test_the_same_run_has_the_same_bundle_id_and_a_name_that_is_safe_in_a_path(run, bundle, tmp_path):
    config = ExportConfig(pictures=2, name="../M8 nut / left")
    named = export_bundle(run, tmp_path / "bundle", config).bundle
    assert named.manifest.name == "M8-nut-left"
    again = export_bundle(run, tmp_path / "again", ExportConfig(pictures=2)).bundle
    assert again.manifest.bundle_id == bundle.manifest.bundle_id


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"tolerance": 0.0}, "tolerance 0.0", id="no-tolerance"),
        pytest.param({"tolerance": float("nan")}, "tolerance nan", id="tolerance-not-a-number"),
        pytest.param({"pictures": 0}, "0 pictures for the proof", id="no-pictures"),
    ],
)
def test_a_value_out_of_range_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        ExportConfig(**options)


def test_an_output_that_exists_is_refused_before_any_work(run, tmp_path):
    (tmp_path / "keep.txt").touch()
    with pytest.raises(OutputError, match="give --force"):
        export_bundle(run, tmp_path, progress=lambda *_: pytest.fail("work was begun"))
