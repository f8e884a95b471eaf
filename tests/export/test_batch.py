"""`nut export --batch N`: models for several frames, and the proof that none tells of the one beside it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest

from nut_dataset.layout import open_dataset
from nut_export import batch as module
from nut_export.batch import batch_failure, check_batch, prove_batch
from nut_export.builder import GraphBuilder
from nut_export.export import ExportConfig
from nut_runtime import Inspector
from nut_runtime.batch_models import BatchModels
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.contract import OUTPUTS
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.errors import InputError, ParityError
from nut_train.predict import Prediction


@pytest.fixture(scope="module")
def bundle(batch_bundle) -> Bundle:
    return open_bundle(batch_bundle)


@pytest.fixture(scope="module")
def predictions(nuts) -> list[Prediction]:
    """Good and defective nuts; only their paths and the order of their scores are asked for."""
    dataset = open_dataset(nuts)
    paths = [*dataset.test_good[:2], *dataset.defective[:2]]
    empty = np.zeros((1, 1), np.float32)
    nothing = {"raw_map": empty, "anomaly_map": empty, "pred_mask": empty > 0, "pred_score": 0.0, "pred_label": False}
    return [Prediction(path=path, raw_score=float(place), **nothing) for place, path in enumerate(paths)]


def test_the_manifest_names_the_models_and_their_proof_holds(bundle):
    batch = bundle.manifest.batch
    assert batch is not None
    assert (batch.size, batch.models) == (3, {"onnxruntime": "batch/model.onnx", "openvino": "batch/model.xml"})
    for figures in batch.proof.values():
        assert figures["pictures"] == bundle.manifest.parity["openvino"]["pictures"]  # each once
        assert batch_failure(figures) is None


def test_the_file_takes_three_frames_of_any_one_size_and_gives_three_of_each_output(bundle):
    model = onnx.load(bundle.folder / "batch/model.onnx")
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"image": [3, "height", "width", 3]} | {
        name: [3, 1, 128, 96] if name in {"anomaly_map", "pred_mask"} else [3] for name in OUTPUTS
    }
    network = openvino.Core().read_model(bundle.folder / "batch/model.xml")
    assert [tuple(output.shape) for output in network.outputs] == [tuple(shapes[name]) for name in OUTPUTS]
    info = next(one.value for one in model.metadata_props if one.key == "model_info nut_manifest")
    assert "uint8 [3, H, W, 3]" in info
    assert "float32 [3, 1, h, w]" in info


@pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
def test_weights_and_bank_are_in_the_file_once(bundle, name):
    """The nodes of two more frames take a little; the weights of the backbone would take another time the file."""
    one, three = ((bundle.folder / place / name).stat().st_size for place in ("", "batch"))
    assert three < 1.1 * one


def test_the_models_for_one_frame_and_the_bundles_name_are_those_without_a_batch(bundle, bundle_folder):
    plain = open_bundle(bundle_folder)
    assert bundle.manifest.bundle_id == plain.manifest.bundle_id
    assert bundle.manifest.files["model.onnx"] == plain.manifest.files["model.onnx"]
    assert plain.manifest.batch is None


def test_of_one_picture_cutting_and_joining_leave_nothing_behind():
    graph = GraphBuilder()
    assert graph.cut("all", 1, 7) == ["all"]
    assert graph.join(["one"], name="other") == "one"
    assert (graph.nodes, graph.initializers) == ([], {})


@pytest.mark.parametrize("precision", ["int8", "cascade"])
def test_int8_and_cascade_judge_batches_with_their_fast_model(export_fast, precision):
    """A backbone in int8, a coarse search, and the exact one for the farthest patches of each picture."""
    export = export_fast(precision)
    batch = export.bundle.manifest.batch
    assert batch is not None
    assert set(batch.models) == set(ENGINES)
    for engine, figures in batch.proof.items():
        assert batch_failure(figures) is None
        assert (
            f"{engine}, 2 frames at once against one: max |d score| {figures['max_d_score']:.1e}"
            in export.result.stdout
        )
    nodes = [node.op_type for node in onnx.load(export.bundle.folder / "batch/model.onnx").graph.node]
    # the projected patches of both pictures are multiplied with each chunk of the bank once
    assert "MatMulInteger" in nodes
    frame = export.bundle.golden_frame(export.bundle.manifest.golden[0])
    inspector = Inspector(export.bundle, engine="openvino")
    found = inspector.inspect_batch([frame, frame[:, ::-1]])
    for one, verdict in zip((frame, frame[:, ::-1]), found, strict=True):
        alone = inspector.inspect(one)
        assert verdict.label is alone.label
        assert verdict.raw_score == pytest.approx(alone.raw_score, rel=1e-4)  # see `nut_export.batch`


def _swap_frames(model: onnx.ModelProto) -> None:
    """Give the first picture the second frame, and the other way round."""
    frames = next(node for node in model.graph.node if node.op_type == "Split" and node.input[0] == "image").output
    frames[0], frames[1] = frames[1], frames[0]


def _look_up_in_the_first(model: onnx.ModelProto) -> None:
    """Look the second picture's most distant patch up among the first one's."""
    adds = [node for node in model.graph.node if node.name.startswith("node/score/Add") and node.op_type == "Add"]
    node = adds[0]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "broken/none"))
    node.input[1] = "broken/none"


@pytest.mark.parametrize(
    "damage",
    [pytest.param(_swap_frames, id="frames-swapped"), pytest.param(_look_up_in_the_first, id="patch-of-other")],
)
def test_frames_that_tell_of_the_one_beside_them_are_refused(bundle, predictions, tmp_path, damage):
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))
    model = onnx.load(folder / "batch/model.onnx")
    damage(model)
    onnx.save(model, folder / "batch/model.onnx")
    batch = BatchModels(size=3, models={"onnxruntime": "batch/model.onnx"})
    engines = {"onnxruntime": load_engine(bundle, "onnxruntime")}
    found = prove_batch(replace(bundle, folder=folder), batch, engines, predictions)
    with pytest.raises(ParityError, match=r"onnxruntime judges 3 frames together otherwise .*--batch"):
        check_batch(found)


def test_a_proof_of_fewer_pictures_than_a_batch_still_has_another_frame_in_each_place(bundle, predictions):
    engines = {name: load_engine(bundle, name) for name in ENGINES}
    batch = bundle.manifest.batch
    assert batch is not None
    proof = prove_batch(bundle, batch, engines, predictions[:1]).proof
    for figures in proof.values():
        assert figures["pictures"] == 1
        assert batch_failure(figures) is None
    frames = module._different([np.arange(48, dtype=np.uint8).reshape(4, 4, 3)], 3)
    assert len({frame.tobytes() for frame in frames}) == 3


@pytest.mark.parametrize("size", [-1, 0, 1, 65])
def test_a_batch_that_is_none_is_refused(size):
    with pytest.raises(InputError, match=f"batch {size}, expected 2 to 64 frames"):
        ExportConfig(batch=size)


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"flips": 1, "max_d_score": 0.0, "mean_d_map": 0.0}, "1 verdicts flipped"),
        ({"flips": 0, "max_d_score": 2e-4, "mean_d_map": 0.0}, "max |d score| 2.00e-04"),
        ({"flips": 0, "max_d_score": 0.0, "mean_d_map": 2e-3}, "mean |d map| 2.00e-03"),
    ],
)
def test_whatever_differs_is_named(figures, reason):
    found = batch_failure(figures)
    assert found is not None
    assert found.startswith(reason)
