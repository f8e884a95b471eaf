"""A run with whitened features, exported: the whitening is in the graph, and no verdict changes."""

from pathlib import Path

import pytest

from nut_dataset.layout import open_dataset
from nut_export.export import export_bundle
from nut_export.fast import pixels_of
from nut_export.features import export_features
from nut_export.quantise import quantise_features
from nut_runtime.pictures import read_picture
from nut_train.config import TrainConfig
from nut_train.run import Run, open_run
from nut_train.train import train


@pytest.fixture(scope="module")
def run(nuts, tmp_path_factory) -> Run:
    """A run with whitened features."""
    folder = tmp_path_factory.mktemp("whitened") / "run"
    train(
        nuts, folder, TrainConfig(image_height_px=64, image_width_px=96, coreset_ratio=0.05, device="cpu", whiten=True)
    )
    return open_run(folder)


def test_the_exported_model_scores_as_anomalib_with_the_whitening(run, tmp_path):
    exported = export_bundle(run, tmp_path / "bundle")
    assert set(exported.parity) == {"onnxruntime", "openvino"}
    for parity in exported.parity.values():
        # float32 sums in another order, as of plain features (tests/export/test_parity.py)
        assert parity.summary()["max_d_score"] < 1e-5
        assert parity.summary()["flips"] == 0
    assert exported.bundle.manifest.provenance["whitened"] is True


def test_int8_leaves_the_whitening_in_float32(run):
    model = run.load()
    features, _ = export_features(model.model, size=run.config.image_size, source="pixels", target="embedding")
    whitening = [node for node in features.graph.node if node.op_type in {"MatMul", "Gemm"}]
    assert len(whitening) == 1
    pictures = open_dataset(Path(run.record["dataset"]["path"])).train_good
    pixels = [pixels_of(model, read_picture(path)) for path in pictures[:8]]
    quantised = quantise_features(features, pixels, error=10.0)  # whatever comes first is let pass
    assert quantised.scope == "everything"
    makers = {output: node.op_type for node in quantised.model.graph.node for output in node.output}
    kept = next(node for node in quantised.model.graph.node if node.name == whitening[0].name)
    assert all(makers.get(source) != "DequantizeLinear" for source in kept.input)
    assert any(kind == "DequantizeLinear" for kind in makers.values())
