"""A checkpoint that anomalib alone trained is exported, and judges as anomalib does with that same file."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nut_dataset.layout import open_dataset
from nut_export.export import export_bundle
from nut_export.from_checkpoint.run import open_checkpoint
from nut_runtime import Inspector
from nut_runtime.cli import main as runtime
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.predict import Prediction, predict

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.fixture
def exported(nuts, tmp_path):
    """Return a function that exports a checkpoint."""

    def export(checkpoint):
        run = open_checkpoint(checkpoint)
        return run, export_bundle(run, tmp_path / "bundle", dataset_root=nuts)

    return export


def anomalibs_own(checkpoint: Path, pictures: Path) -> dict[str, tuple[float, bool]]:
    """Judge a folder with nothing but anomalib: its reader of checkpoints, of pictures, its engine."""
    from anomalib.engine import Engine
    from anomalib.models import Patchcore

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Patchcore.load_from_checkpoint(checkpoint, map_location="cpu", visualizer=False, evaluator=False)
        engine = Engine(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=checkpoint.parent)
        batches = engine.predict(model=model, data_path=pictures)
    return {
        path: (float(score), bool(label))
        for batch in batches
        for path, score, label in zip(batch.image_path, batch.pred_score, batch.pred_label, strict=True)
    }


def assert_holds(parity) -> None:
    assert set(parity) == {"onnxruntime", "openvino"}
    for figures in parity.values():
        assert figures.pictures == 9
        assert figures.sizes > 1
        assert figures.flips == ()
        # DESIGN.md's fp32 tolerance
        assert figures.max_d_score <= 1e-3
        assert figures.max_d_map <= 1e-3


@pytest.mark.parametrize(("kind", "sensitivity"), [("checkpoint", 0.5), ("sensitive", 0.3)])
def test_the_bundle_judges_as_anomalib_does_with_the_same_file(request, exported, nuts, kind, sensitivity):
    checkpoint = request.getfixturevalue(kind)
    _, done = exported(checkpoint)
    assert_holds(done.parity)
    inspectors = [Inspector(done.bundle.folder, engine=engine) for engine in done.parity]
    reference = anomalibs_own(checkpoint, nuts / "test")
    assert len(reference) == 9
    for path, (score, label) in reference.items():
        for inspector in inspectors:
            verdict = inspector.inspect(read_picture(Path(path)))
            assert verdict.is_defective == label
            if 0 < score < 1:  # what anomalib clips cannot be moved
                # DESIGN.md's fp32 tolerance
                assert verdict.pred_score == pytest.approx(np.clip(score + sensitivity - 0.5, 0, 1), abs=1e-3)


@pytest.mark.parametrize("side", [1e-6, -1e-6], ids=["just-above", "just-below"])
def test_a_threshold_on_a_pictures_score_is_moved_to_where_rounding_does_not_decide(
    checkpoint, altered, exported, nuts, side
):
    found: list[Prediction] = []
    predict(open_checkpoint(checkpoint).load(), open_dataset(nuts).defective, found.append, device="cpu")
    on = found[2].raw_score * (1 + side)
    name = "post_processor._image_threshold"
    _, done = exported(altered(lambda content: content["state_dict"].update({name: torch.tensor(on)})))
    assert_holds(done.parity)
    moved = done.bundle.manifest.provenance["checkpoint"]["threshold_moved_by"]
    # to the side that keeps anomalib's verdict: good where the threshold lies above, defective where it lies below
    assert np.sign(moved) == np.sign(side)
    assert abs(moved) >= 5e-6 * on  # float32 sums in another order are off by about 1e-6 of a score


@pytest.mark.slow
def test_a_checkpoint_by_anomalibs_defaults_is_exported(nuts, train_alone, exported, tmp_path):
    from anomalib.models import Patchcore

    def build():
        return Patchcore(backbone="resnet18", pre_trained=False, coreset_sampling_ratio=0.01)

    run, done = exported(train_alone(nuts, tmp_path / "anomalib", build))
    assert run.config.image_size == (256, 256)
    assert_holds(done.parity)


def test_the_checkpoint_of_a_run_of_ours_decides_as_the_run(run_folder):
    from nut_train.run import open_run

    run = open_run(run_folder)
    # the point goes through float32 tensors
    for part in ("image", "pixel"):
        found = getattr(open_checkpoint(run_folder / "model.ckpt").point, part)
        assert found.threshold == pytest.approx(getattr(run.point, part).threshold, rel=1e-7)


def test_the_bundle_says_where_it_came_from_and_nothing_that_it_does_not_know(checkpoint, exported, nuts):
    run, done = exported(checkpoint)
    manifest = done.bundle.manifest
    facts = manifest.provenance
    sha256 = run.record["checkpoint"]["sha256"]
    assert facts["checkpoint"]["sha256"] == facts["backbone"]["weights_sha256"] == sha256
    assert facts["checkpoint"]["anomalib"] == ">=2.7"
    assert manifest.name == nuts.name
    assert facts["calibration"] == {}
    assert facts["evaluation"] == {"image": None, "pixel": None}
    assert (facts["trained"], facts["dataset_fingerprint"]) == (None, None)
    moved = facts["checkpoint"]["threshold_moved_by"]
    assert manifest.point.image.threshold == pytest.approx(facts["checkpoint"]["image_threshold"] + moved)

    shown = CliRunner().invoke(runtime, ["info", "--model", str(done.bundle.folder)])
    assert shown.exit_code == 0, shown.output
    assert f"by anomalib alone, model.ckpt {sha256[:12]}, on data not stated" in shown.output
    assert "false-reject rate not stated" in shown.output
    page = (done.bundle.folder / "parity.html").read_text()
    assert sha256[:12] in page
    assert "It states no false-reject rate" in page
    tested = CliRunner().invoke(runtime, ["doctor", "--model", str(done.bundle.folder)])
    assert tested.output.count("this device judges as the reference did") == 2
    json.dumps(manifest.to_json(), allow_nan=False)


def test_without_a_data_set_the_export_says_what_to_give(checkpoint, tmp_path):
    with pytest.raises(InputError, match="does not say where its pictures lie; give a data set with --dataset"):
        export_bundle(open_checkpoint(checkpoint), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
