"""The resize to a size that the graph computes, in both engines."""

import numpy as np
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper

from nut_export.builder import GraphBuilder
from nut_export.locator.resize import add_locator_pixels
from nut_runtime.errors import InputError
from nut_runtime.locate.network_size import network_size
from nut_train.backbone import Backbone
from nut_train.locator.pixels import pixels_of

ENCODER = Backbone(name="any", layers=("a",), mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))
LONG_SIDE_PX = 96
SIZES = [(480, 640), (641, 479), (20, 31), (8, 900), (97, 311), (300, 8), (1, 1), (240, 96)]


@pytest.fixture(scope="module")
def engines():
    graph = GraphBuilder()
    add_locator_pixels(graph, "image", long_side_px=LONG_SIDE_PX, mean=ENCODER.mean, std=ENCODER.std, name="pixels")
    model = graph.model(
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, "h", "w"])],
        name="resize",
    ).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {
        "onnxruntime": lambda frame: session.run(None, {"image": frame[None]})[0],
        "openvino": lambda frame: np.array(compiled({"image": frame[None]})["pixels"]),
    }


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_equal_torch_for_any_frame_larger_or_smaller_than_the_network(engines, engine, size):
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    expected = pixels_of(frame, ENCODER, long_side_px=LONG_SIDE_PX).numpy()
    found = engines[engine](frame)
    assert found.shape == expected.shape == (1, 3, *network_size(*size, long_side_px=LONG_SIDE_PX))
    # a position near 100 is rounded by 4e-6, which the weights take over, and a deviation of 0.2 makes 2e-5 of it
    assert np.abs(found - expected).max() < 5e-5


def test_the_size_rule_rounds_halves_upwards_and_never_to_nothing():
    assert network_size(1, 1000, long_side_px=64) == (32, 64)
    assert network_size(240, 160, long_side_px=96) == (96, 64)
    assert network_size(96, 240, long_side_px=200 // 32 * 32) == (64, 192)  # 76.8 px
    assert network_size(48, 64, long_side_px=64) == (64, 64)  # 48 px is half way from 32 to 64
    assert all(side % 32 == 0 for height in range(1, 60) for side in network_size(height, 59, long_side_px=416))


@pytest.mark.parametrize("long_side_px", [0, 33, -32])
def test_a_side_that_a_u_net_cannot_halve_five_times_is_refused(long_side_px):
    with pytest.raises(InputError, match="multiple of 32"):
        network_size(480, 640, long_side_px=long_side_px)
