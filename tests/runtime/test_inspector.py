"""The verdict hangs on the manifest's operating point and on nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nut_runtime import Inspector, Label
from nut_runtime.atomic import write_json
from nut_runtime.bundle import open_bundle
from nut_runtime.engines import ENGINES
from nut_runtime.errors import BundleError, EngineError, PictureError
from nut_runtime.scoring import is_defective, normalise


@pytest.fixture(scope="module")
def inspector(bundle_folder) -> Inspector:
    return Inspector(bundle_folder)


def golden_frames(inspector: Inspector) -> list[np.ndarray]:
    return [inspector.bundle.golden_frame(golden) for golden in inspector.bundle.manifest.golden]


def move_threshold(folder: Path, threshold: float) -> None:
    """Write the manifest with another threshold of the part's score."""
    manifest = open_bundle(folder).manifest
    point = replace(manifest.point, image=replace(manifest.point.image, threshold=threshold))
    write_json(folder / "manifest.json", replace(manifest, point=point).to_json())


def test_a_verdict_is_the_references(inspector):
    for golden, frame in zip(inspector.bundle.manifest.golden, golden_frames(inspector), strict=True):
        verdict = inspector.inspect(frame)
        assert verdict.is_defective == golden.is_defective
        assert verdict.label == (Label.DEFECT if golden.is_defective else Label.GOOD)
        # See test_engines.py.
        assert verdict.pred_score == pytest.approx(golden.pred_score, abs=1e-5)


def test_the_score_is_the_raw_score_on_the_manifests_scale(inspector):
    for frame in golden_frames(inspector):
        verdict = inspector.inspect(frame)
        score = normalise(np.float32(verdict.raw_score), inspector.bundle.manifest.point.image)
        assert verdict.pred_score == float(score)
        assert verdict.is_defective == bool(is_defective(score))


@pytest.mark.parametrize("engine", list(ENGINES))
def test_moving_the_threshold_in_the_manifest_moves_the_verdict(bundle_folder, tmp_path, engine):
    folder = shutil.copytree(bundle_folder, tmp_path / "bundle")
    before = Inspector(folder, engine=engine)
    frame = golden_frames(before)[-1]
    first = before.inspect(frame)
    assert first.is_defective

    move_threshold(folder, first.raw_score * 1.01)
    higher = Inspector(folder, engine=engine).inspect(frame)
    assert (higher.label, higher.raw_score) == (Label.GOOD, first.raw_score)
    assert higher.pred_score < 0.5
    assert higher.boxes == ()

    move_threshold(folder, first.raw_score * 0.99)
    assert Inspector(folder, engine=engine).inspect(frame).label is Label.DEFECT


def test_a_defect_has_boxes_within_the_frame(inspector):
    frame = golden_frames(inspector)[-1]
    verdict = inspector.inspect(frame)
    assert verdict.is_defective
    assert bool(verdict.boxes) == bool(verdict.pred_mask.any())
    for box in verdict.boxes:
        assert 0 <= box.x < box.x + box.width <= frame.shape[1]
        assert 0 <= box.y < box.y + box.height <= frame.shape[0]


def test_a_verdict_names_the_bundle_and_what_took_how_long(inspector):
    verdict = inspector.inspect(golden_frames(inspector)[0])
    assert verdict.bundle_id == inspector.bundle.manifest.bundle_id
    assert set(verdict.milliseconds) == {"infer", "decide"}
    assert verdict.milliseconds["infer"] > 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(np.zeros((20, 20, 3), np.float32), "expected uint8 pixels, got float32", id="float"),
        pytest.param(np.zeros((20, 20, 3), np.uint16), "expected uint8 pixels, got uint16", id="16-bit"),
        pytest.param(np.zeros((20, 20), np.uint8), r"expected shape \[H, W, 3\]", id="grey"),
        pytest.param(np.zeros((1, 20, 20, 3), np.uint8), r"expected shape \[H, W, 3\]", id="batch"),
        pytest.param(np.zeros((3, 20, 20), np.uint8), r"expected shape \[H, W, 3\]", id="channels-first"),
        pytest.param(np.zeros((7, 20, 3), np.uint8), "too small", id="small"),
        pytest.param(None, "expected uint8 pixels, got NoneType", id="none"),
    ],
)
def test_what_is_no_frame_is_refused(inspector, frame, message):
    with pytest.raises(PictureError, match=message):
        inspector.inspect(frame)


def test_a_frame_is_not_changed(inspector):
    frame = golden_frames(inspector)[0]
    before = frame.copy()
    inspector.inspect(frame)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_never_called_good(bundle_folder, monkeypatch, score):
    inspector = Inspector(bundle_folder)
    frame = golden_frames(inspector)[0]
    broken = replace(inspector.engine.infer(frame), raw_score=score)
    monkeypatch.setattr(inspector.engine, "infer", lambda _: broken)
    with pytest.raises(EngineError, match=f"gave the score {score}; run nut-runtime doctor"):
        inspector.inspect(frame)


def test_warming_up_takes_the_size_of_the_frames_to_come(inspector, monkeypatch):
    shapes = []
    infer = inspector.engine.infer
    monkeypatch.setattr(inspector.engine, "infer", lambda frame: shapes.append(frame.shape) or infer(frame))
    assert inspector.warm_up() > 0
    assert inspector.warm_up(48, 64) > 0
    assert shapes == [(128, 96, 3), (48, 64, 3)]


@pytest.fixture(scope="module")
def fixed(bundle_folder) -> Inspector:
    """An inspector whose manifest says that frames are 64x48 (width x height)."""
    bundle = open_bundle(bundle_folder)
    return Inspector(replace(bundle, manifest=replace(bundle.manifest, frame_px=(48, 64))))


def test_a_frame_of_another_size_than_the_bundles_is_refused_with_both_named(fixed):
    refused = r"frame: 640x480 px, but the bundle takes only 64x48 px; set the camera .* --frame-size 640x480"
    with pytest.raises(PictureError, match=refused):
        fixed.inspect(np.zeros((480, 640, 3), np.uint8))
    with pytest.raises(PictureError, match=refused):
        fixed.warm_up(480, 640)
    assert fixed.inspect(np.zeros((48, 64, 3), np.uint8)).bundle_id == fixed.bundle.manifest.bundle_id


def test_warming_up_takes_the_bundles_own_frame_size(fixed, monkeypatch):
    shapes = []
    infer = fixed.engine.infer
    monkeypatch.setattr(fixed.engine, "infer", lambda frame: shapes.append(frame.shape) or infer(frame))
    assert fixed.warm_up() > 0
    assert shapes == [(48, 64, 3)]


def test_a_bundle_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle folder"):
        Inspector(tmp_path / "none")
