"""OpenVINO Model API, the real package, loads what we export and comes to our numbers."""

from typing import Any

import cv2
import numpy as np
import pytest

from nut_runtime.engines.import_openvino import import_openvino
from nut_runtime.pictures import read_picture

import_openvino()  # before the tool does, so that nothing is reported to Intel
pytest.importorskip("model_api", reason="pip install --no-deps openvino-model-api==0.4.7 (make install does it)")

PINNED = {"INFERENCE_PRECISION_HINT": "f32"}


def _load(path: Any) -> Any:
    from model_api.adapters import OpenvinoAdapter, create_core
    from model_api.models import AnomalyDetection

    adapter = OpenvinoAdapter(create_core(), str(path), device="CPU", plugin_config=PINNED)
    return AnomalyDetection.create_model(adapter)


@pytest.fixture(scope="module")
def tool(tools_bundle):
    return _load(tools_bundle.folder / "compat" / "model-api" / "model.xml")


def test_its_anomaly_wrapper_comes_to_our_score_verdict_map_and_mask(tool, our_engine, pictures):
    for path in pictures:
        found, wanted = tool(cv2.imread(str(path))), our_engine.infer(read_picture(path))
        # the same graph in the same engine, compiled twice: float32 rounding of sums in another order
        assert found.pred_score == pytest.approx(wanted.pred_score, abs=1e-6)
        assert found.pred_label == str(wanted.pred_label)
        height, width = read_picture(path).shape[:2]
        levels = np.round(wanted.anomaly_map * 255).astype(np.uint8)
        enlarged = cv2.resize(levels, (width, height)).astype(int)
        assert np.abs(found.anomaly_map.astype(int) - enlarged).max() <= 1  # a level that was rounded the other way
        assert np.array_equal(found.pred_mask, cv2.resize(wanted.pred_mask.astype(np.uint8), (width, height)))


def test_it_finds_its_wrapper_in_the_file_itself(tools_bundle):
    from model_api.models import AnomalyDetection, Model

    path = tools_bundle.folder / "compat" / "model-api" / "model.xml"
    model = Model.create_model(str(path), device="CPU", preload=False)
    assert type(model) is AnomalyDetection
    assert model.get_param("labels") == ["Normal", "Anomaly"]
    assert model.get_param("image_threshold") == pytest.approx(tools_bundle.manifest.point.image.threshold)


def test_the_example_in_the_docs_prints_our_verdict_and_score(run_documented, our_engine, pictures):
    label, score = run_documented("model_api").split()
    wanted = our_engine.infer(read_picture(pictures[2]))
    assert label == ("defect" if wanted.pred_label else "good")
    assert float(score) == pytest.approx(wanted.pred_score, abs=1e-6)


def test_it_refuses_the_main_model_for_its_fifth_output(tools_bundle):
    """Why there is a variant at all: when this fails, it may not be needed any more."""
    from model_api.models.model import WrapperError

    with pytest.raises(WrapperError, match="Expected 1 or 4 output blobs, but 5 found"):
        _load(tools_bundle.folder / "model.xml")


def test_the_anomalib_variant_would_take_its_bgr_for_rgb(tools_bundle, our_engine, pictures):
    """Why it is not the same variant as anomalib's: it loads, and what `cv2.imread` gives is judged wrongly."""
    tool = _load(tools_bundle.folder / "compat" / "anomalib" / "model.xml")
    wanted = our_engine.infer(read_picture(pictures[0])).pred_score
    bgr = cv2.imread(str(pictures[0]))
    assert tool(bgr[..., ::-1]).pred_score == pytest.approx(wanted, abs=1e-6)
    assert abs(tool(bgr).pred_score - wanted) > 1e-3
