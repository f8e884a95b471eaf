"""The model file: names, types and shapes of the contract, and its facts inside it."""

import json
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest

from nut_export.writers import model_info
from nut_runtime.bundle import open_bundle
from nut_runtime.contract import INPUT, OUTPUTS, STAGES
from nut_train.run import open_run


@pytest.fixture(scope="module")
def model(bundle_folder) -> onnx.ModelProto:
    return onnx.load(bundle_folder / "model.onnx")


@pytest.fixture(scope="module")
def network(bundle_folder) -> openvino.Model:
    return openvino.Core().read_model(bundle_folder / "model.xml")


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_the_onnx_file_passes_the_full_check(model):
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_the_opset_is_18_and_no_other_domain_is_needed(model):
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]


def test_the_input_is_one_uint8_frame_of_any_height_and_width(model):
    (value,) = model.graph.input
    assert value.name == INPUT
    assert value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert _shape(value) == [1, "height", "width", 3]


def test_the_outputs_are_those_of_the_contract_in_its_order(model):
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    kinds = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.BOOL: "bool"}
    for value, text in zip(model.graph.output, OUTPUTS.values(), strict=True):
        assert text.startswith(kinds[value.type.tensor_type.elem_type])
        assert _shape(value) == ([1] if value.name in {"pred_score", "raw_score", "pred_label"} else [1, 1, 128, 96])


def test_the_tensors_of_the_self_test_are_inside_the_graph(model):
    made = {output for node in model.graph.node for output in node.output}
    assert set(STAGES) <= made


def test_no_resize_of_pixels_is_left_to_an_engines_reading_of_antialias(model):
    """The backbone's own enlarges a feature map, which needs no antialias."""
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    for node in resizes:
        assert node.name.startswith("features/")
        assert {one.name: one.i for one in node.attribute}["antialias"] == 0


def test_the_files_name_no_place_on_the_machine_that_made_them(bundle_folder, nuts):
    """The exporter of torch leaves stack traces with the workstation's paths in every node."""
    for name in ("model.onnx", "model.xml"):
        content = (bundle_folder / name).read_bytes()
        for place in (str(Path(__file__).parents[2]), str(nuts.parent), "site-packages"):
            assert place.encode() not in content


def test_the_ir_has_the_same_names_types_and_a_batch_of_one(network):
    (image,) = network.inputs
    assert (image.get_any_name(), image.element_type) == (INPUT, openvino.Type.u8)
    assert image.partial_shape == openvino.PartialShape([1, -1, -1, 3])
    assert [value.get_any_name() for value in network.outputs] == list(OUTPUTS)
    types = [value.element_type.get_type_name() for value in network.outputs]
    assert types == ["f32", "f32", "boolean", "f32", "boolean"]
    for value in network.outputs:
        assert value.partial_shape[0] == openvino.Dimension(1)


def test_the_ir_is_not_compressed_to_fp16(network):
    constants = [node for node in network.get_ops() if node.get_type_name() == "Constant"]
    kinds = {node.get_element_type().get_type_name() for node in constants}
    assert "f32" in kinds
    assert not kinds & {"f16", "bf16"}


def test_the_bank_in_the_file_is_the_trained_bank_but_for_its_mean(model, run_folder):
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    centred = onnx.numpy_helper.to_array(tensors["search/bank_0"])  # its only chunk
    mean = onnx.numpy_helper.to_array(tensors["search/mean"])
    trained = open_run(run_folder).load().model.memory_bank.numpy()
    # one float32 rounding of the difference and one of the sum, at values of up to a few tens
    assert np.abs(centred + mean - trained).max() <= 2**-22 * np.abs(trained).max()


def test_both_files_state_the_operating_point_and_where_they_come_from(model, network, bundle_folder, run_folder):
    run, manifest = open_run(run_folder), open_bundle(bundle_folder).manifest
    properties = {item.key: item.value for item in model.metadata_props}
    info = {key: network.get_rt_info(["model_info", key]).astype(str) for key in model_info(run.point, {})}
    assert {f"model_info {key}": value for key, value in info.items()} == properties
    assert float(info["image_threshold"]) == run.point.image.threshold
    assert float(info["pixel_threshold"]) == run.point.pixel.threshold
    assert float(info["normalization_scale"]) == run.point.image.maximum - run.point.image.minimum
    assert (info["model_type"], info["labels"]) == ("AnomalyDetection", "Normal Anomaly")
    assert json.loads(info["nut_manifest"]) == manifest.provenance


def test_an_engine_refuses_two_frames_at_once(bundle_folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle_folder / "model.onnx", providers=["CPUExecutionProvider"])
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="Got: 2 Expected: 1"):
        session.run(None, {INPUT: np.zeros((2, 64, 64, 3), np.uint8)})
