"""anomalib's own OpenVINOInferencer loads what we export and comes to our numbers."""

import numpy as np
import pytest
from PIL import Image

from nut_runtime.pictures import read_picture


@pytest.fixture(scope="module")
def tool(tools_bundle, tmp_path_factory):
    from anomalib.deploy import OpenVINOInferencer

    path = tools_bundle.folder / "compat" / "anomalib" / "model.xml"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("inferencer"))  # it makes its cache where it runs
        return OpenVINOInferencer(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def test_it_comes_to_our_score_verdict_map_and_mask(tool, our_engine, pictures):
    for path in pictures:
        found, wanted = tool.predict(path), our_engine.infer(read_picture(path))
        # the same graph in the same engine, compiled twice: float32 rounding of sums in another order
        assert found.pred_score.item() == pytest.approx(wanted.pred_score, abs=1e-6)
        assert found.pred_label.item() == wanted.pred_label
        assert np.abs(found.anomaly_map.squeeze() - wanted.anomaly_map).max() <= 1e-6
        assert np.array_equal(found.pred_mask.squeeze(), wanted.pred_mask)


def test_pixels_in_memory_give_the_score_of_the_file(tool, pictures):
    path = pictures[3]
    wanted = tool.predict(path).pred_score.item()
    assert tool.predict(Image.open(path)).pred_score.item() == wanted
    assert tool.predict(read_picture(path)[..., ::-1].copy()).pred_score.item() == wanted  # uint8 RGB


def test_the_example_in_the_docs_prints_our_verdict_and_score(run_documented, our_engine, pictures):
    label, score = run_documented("anomalib.deploy").split()
    wanted = our_engine.infer(read_picture(pictures[2]))
    assert label == ("defect" if wanted.pred_label else "good")
    assert float(score) == pytest.approx(wanted.pred_score, abs=1e-6)
