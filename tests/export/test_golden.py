"""Golden frames: spread over the scores, lossless, with the reference's own tensors."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nut_dataset.layout import open_dataset
from nut_export.golden import choose_golden, reference_stages, selftest_tolerances
from nut_runtime.bundle import open_bundle
from nut_runtime.contract import STAGE_DISTANCES, STAGE_EMBEDDING, STAGE_PIXELS
from nut_runtime.pictures import read_picture, write_picture
from nut_runtime.selftest import sample_stage
from nut_train.predict import Prediction, predict
from nut_train.run import open_run


@pytest.fixture(scope="module")
def model(run_folder):
    return open_run(run_folder).load()


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    return open_bundle(bundle_folder)


def _prediction(path: Path, score: float) -> Prediction:
    empty = np.zeros((2, 2), np.float32)
    return Prediction(
        path=path,
        raw_score=score,
        raw_map=empty,
        pred_score=score,
        pred_label=False,
        anomaly_map=empty,
        pred_mask=empty > 0,
    )


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        pytest.param([3, 1, 2, 5, 4], [1, 3, 5], id="lowest-middle-highest"),
        pytest.param([2, 1], [1, 2], id="fewer-than-asked-for"),
        pytest.param([1], [1], id="one"),
    ],
)
def test_golden_frames_spread_from_the_lowest_to_the_highest_score(tmp_path, scores, chosen):
    path = tmp_path / "x.png"
    write_picture(path, np.zeros((16, 16, 3), np.uint8))
    found = choose_golden([_prediction(path, score) for score in scores])
    assert [one.raw_score for one in found] == chosen


def test_an_int8_models_frames_keep_away_from_the_threshold_where_a_verdict_may_flip(tmp_path):
    path = tmp_path / "x.png"
    write_picture(path, np.zeros((16, 16, 3), np.uint8))
    near, far = [_prediction(path, score) for score in (0.49, 0.51)], [_prediction(path, score) for score in (0.1, 0.9)]
    assert [one.raw_score for one in choose_golden([*near, *far], avoids_threshold=True)] == [0.1, 0.9]
    assert choose_golden(near, avoids_threshold=True) == near  # rather these than none


def test_a_frame_that_would_outweigh_the_model_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr("nut_export.golden._LARGEST_PIXELS", 400)
    for side in (16, 24):
        write_picture(tmp_path / f"{side}.png", np.zeros((side, side, 3), np.uint8))
    predictions = [_prediction(tmp_path / "24.png", 9.0), _prediction(tmp_path / "16.png", 1.0)]
    assert [one.path.name for one in choose_golden(predictions)] == ["16.png"]
    assert [one.path.name for one in choose_golden(predictions[:1])] == ["24.png"]  # better one than none


def test_the_frames_in_the_bundle_are_pictures_of_the_data_set_to_the_bit(bundle, nuts):
    frames = [read_picture(path) for path in open_dataset(nuts).files]
    assert len(bundle.manifest.golden) == 3
    for golden in bundle.manifest.golden:
        found = bundle.golden_frame(golden)
        assert any(np.array_equal(found, frame) for frame in frames)


def test_the_scores_in_the_manifest_are_anomalibs_for_those_frames(bundle, model):
    found: list[Prediction] = []
    predict(model, [bundle.folder / one.picture for one in bundle.manifest.golden], found.append, device="cpu")
    for golden, prediction in zip(bundle.manifest.golden, found, strict=True):
        assert golden.raw_score == prediction.raw_score
        assert golden.pred_score == prediction.pred_score
        assert golden.is_defective == prediction.pred_label


def test_the_stages_are_those_that_anomalib_goes_through(model, nuts):
    frame = read_picture(open_dataset(nuts).test_good[0])
    stages = reference_stages(model, frame)
    assert stages[STAGE_PIXELS].shape == (1, 3, 128, 96)
    assert stages[STAGE_EMBEDDING].shape == (16 * 12, 152)
    with torch.no_grad():
        whole = model.model(torch.from_numpy(stages[STAGE_PIXELS]))
    spread = model.model.anomaly_map_generator(
        torch.from_numpy(stages[STAGE_DISTANCES]).reshape(1, 1, 16, 12), torch.Size((128, 96))
    )
    # The reference distances are float64; anomalib's float32 ones cancel, by up to 1e-3 of the largest.
    assert torch.allclose(spread, whole.anomaly_map, rtol=0, atol=2e-3 * float(whole.anomaly_map.max()))


def test_the_tensors_kept_are_samples_of_those_stages(bundle, model):
    for golden in bundle.manifest.golden:
        kept = bundle.golden_stages(golden)
        for name, tensor in reference_stages(model, bundle.golden_frame(golden)).items():
            assert np.array_equal(kept[name], sample_stage(tensor))


@pytest.mark.parametrize(
    ("precision", "stage", "seen", "passes"),
    [
        pytest.param("fp32", "stage/embedding", 1e-7, 1e-4, id="never-less-than-1e-4"),
        pytest.param("fp32", "stage/embedding", 5e-5, 5e-4, id="ten-times-what-was-seen"),
        pytest.param("fp32", "stage/embedding", 4e-3, 3e-3, id="never-what-bf16-needs"),
        pytest.param("int8", "stage/embedding", 0.1, 0.2, id="int8-twice-what-was-seen"),
        pytest.param("int8", "stage/embedding", 0.4, 0.5, id="int8-never-more-than-half"),
        pytest.param("int8", "stage/pixels", 1e-7, 1e-4, id="int8-never-less-than-1e-4"),
        pytest.param("cascade", "stage/embedding", 4e-3, 3e-3, id="the-exact-model-of-a-cascade-as-fp32"),
        pytest.param("cascade", "fast/stage/embedding", 0.1, 0.2, id="the-fast-one-as-int8"),
        pytest.param("cascade", "fast/raw_score", 1e-7, 1e-4, id="never-less-than-1e-4-either"),
    ],
)
def test_a_device_may_be_off_by_so_much_of_what_was_seen_here(
    bundle, model, monkeypatch, precision, stage, seen, passes
):
    """The worst of all frames counts, of float32 that of all engines too; int8 differs between engines."""
    engines = [SimpleNamespace(name="one"), SimpleNamespace(name="two")]
    shares = iter([seen / 3, seen / 2, seen, seen / 5, 0.0, seen / 4])

    def deviations(*_: object) -> dict[str, float]:
        return {stage: next(shares)}

    monkeypatch.setattr("nut_export.golden.stage_deviations", deviations)
    asked = replace(bundle, manifest=replace(bundle.manifest, precision=precision))
    found = selftest_tolerances(asked, model, engines)
    if precision == "int8" or stage.startswith("fast/"):
        assert found[f"one/{stage}"] == pytest.approx(passes)  # it has the worst frame
        assert found[f"two/{stage}"] <= passes
        assert len(found) == 2
    else:
        assert found == {stage: pytest.approx(passes)}


def test_a_neighbour_missed_on_another_device_alone_is_no_drift(bundle, model, monkeypatch):
    """The distances agreed here to the last digit; elsewhere the search may miss one patch in a thousand."""
    monkeypatch.setattr(
        "nut_export.golden.stage_deviations", lambda *_: {STAGE_EMBEDDING: 0.05, STAGE_DISTANCES: 0.0, "raw_score": 0.0}
    )
    asked = replace(bundle, manifest=replace(bundle.manifest, precision="int8"))
    found = selftest_tolerances(asked, model, [SimpleNamespace(name="openvino")])
    assert found[f"openvino/{STAGE_DISTANCES}"] == found[f"openvino/{STAGE_EMBEDDING}"] == pytest.approx(0.1)
    assert found["openvino/raw_score"] == pytest.approx(1e-4)
