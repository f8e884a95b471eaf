"""The resize in the graph is torch's antialiased one, in numpy and in both engines, at every size."""

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn.functional import interpolate

from nut_export.builder import GraphBuilder
from nut_export.resize import add_preprocessing, triangle_weights

SIZE = (128, 96)
# (height, width) of the frame: up and down, odd, one pixel, one side each way, a 1080p frame's height, a pixel more or
# less than the target, fewer pixels than a block has outputs, fewer than there are blocks, and a large picture.
FRAMES = [(128, 96), (640, 480), (97, 131), (33, 27), (1, 1), (1, 50), (300, 1), (1080, 64), (129, 95), (50, 700)]
FRAMES += [(127, 97), (8, 8), (7, 5), (15, 17), (16, 2), (3, 3000), (255, 193), (256, 192), (1080, 1920), (3000, 4000)]
# Where the size is fixed at export each frame needs a model of its own.
BAKED = [(128, 96), (129, 95), (7, 5), (1, 50), (97, 131), (480, 640), (1080, 1920)]
# (height, width) of the result: a last block that is smaller, one block only, a single pixel, the default size.
SIZES = [(100, 33), (16, 17), (15, 9), (1, 1), (256, 256)]

# Float32 sums of at most a few hundred products of numbers below 1: DESIGN.md measured 2e-7 on a 0..1 scale.
# OpenVINO fuses `(place + 0.5) * scale - place`, so that a position is rounded once less than in torch: by one
# unit in the last place of a coordinate of at most 128 px, which enters the weight as it is.
TOLERANCE = {"onnxruntime": 5e-7, "openvino": max(SIZE) * 2**-23}


def _torch(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return what torch makes of a uint8 frame: float32 `[3, h, w]`, 0..1, in the frame's own channel order."""
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].to(torch.float32) / 255
    return interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)[0].numpy()


def _frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size_in", "size_out"),
    [(640, 256), (256, 256), (100, 256), (1080, 256), (97, 131), (131, 97), (1, 256), (256, 1), (1, 1), (2, 3), (7, 5)],
)
def test_the_weights_are_torchs(size_in, size_out):
    unit = torch.eye(size_in)[None, None]  # each row holds one pixel; its responses are the weights
    wanted = (
        interpolate(unit, (size_in, size_out), mode="bilinear", antialias=True, align_corners=False)[0, 0].numpy().T
    )
    # 2^-23: the weights are below 1, and torch divides by their sum at another point
    assert np.abs(triangle_weights(size_in, size_out) - wanted).max() <= 2**-23


@pytest.mark.parametrize(("size_in", "size_out"), [(640, 256), (3, 256), (1, 7)])
def test_each_row_of_weights_sums_to_one(size_in, size_out):
    weights = triangle_weights(size_in, size_out)
    assert weights.shape == (size_out, size_in)
    assert weights.sum(axis=1) == pytest.approx(1.0, abs=1e-6)  # float32 sum of up to a few hundred


def _onnx(
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
    *,
    size: tuple[int, int] = SIZE,
    frame: Sequence[int | str] = ("H", "W"),
) -> bytes:
    graph = GraphBuilder()
    add_preprocessing(graph, "image", size=size, mean=mean, std=std, name="pixels")
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *frame, 3])]
    outputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, *size])]
    return graph.model(inputs, outputs, name="resize").SerializeToString()


def _onnxruntime(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda frame: session.run(None, {"image": frame[None]})[0][0]


def _openvino(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda frame: compiled({"image": frame[None]})[0][0]


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def engine(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def load(engine) -> Callable[[bytes], Callable[[np.ndarray], np.ndarray]]:
    return {"onnxruntime": _onnxruntime, "openvino": _openvino}[engine]


@pytest.fixture(scope="module")
def resize(load) -> Callable[[np.ndarray], np.ndarray]:
    return load(_onnx())


@pytest.mark.parametrize(("height", "width"), FRAMES, ids=[f"{height}x{width}" for height, width in FRAMES])
def test_the_graph_resizes_as_torch_does_with_antialias(resize, engine, height, width):
    frame = _frame(height, width)
    rgb = np.ascontiguousarray(frame[:, :, ::-1])
    assert np.abs(resize(frame) - _torch(rgb, SIZE)).max() <= TOLERANCE[engine]


@pytest.mark.parametrize(("height", "width"), BAKED, ids=[f"{height}x{width}" for height, width in BAKED])
def test_a_graph_for_one_frame_size_resizes_alike(load, engine, height, width):
    frame = _frame(height, width)
    rgb = np.ascontiguousarray(frame[:, :, ::-1])
    found = load(_onnx(frame=(height, width)))(frame)
    assert np.abs(found - _torch(rgb, SIZE)).max() <= TOLERANCE[engine]


@pytest.mark.parametrize("size", SIZES, ids=[f"{height}x{width}" for height, width in SIZES])
def test_a_result_of_any_size_is_torchs(load, engine, size):
    resize = load(_onnx(size=size))
    for height, width in ((64, 48), (97, 131), (9, 300), (480, 640)):
        frame = _frame(height, width)
        rgb = np.ascontiguousarray(frame[:, :, ::-1])
        tolerance = TOLERANCE[engine] * max(1, max(size) / max(SIZE))
        assert np.abs(resize(frame) - _torch(rgb, size)).max() <= tolerance


def test_one_loaded_graph_takes_sizes_in_any_order(resize):
    first = resize(_frame(300, 200))
    resize(_frame(64, 900))
    assert np.array_equal(resize(_frame(300, 200)), first)


def test_the_antialias_is_what_the_tolerance_would_notice():
    frame = _frame(640, 480)
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].to(torch.float32) / 255
    plain = interpolate(pixels, SIZE, mode="bilinear", antialias=False, align_corners=False)[0].numpy()
    assert np.abs(plain - _torch(frame, SIZE)).max() > 0.1


def test_bgr_becomes_rgb_and_each_channel_has_its_own_mean_and_std(load):
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    frame = np.zeros((128, 96, 3), np.uint8)
    frame[:] = (51, 102, 204)  # blue 0.2, green 0.4, red 0.8
    found = load(_onnx(mean, std))(frame)[:, 5, 5]
    # 1e-5: float32 rounding of (value / 255 - mean) / std as one product and one sum, at values up to 2
    assert found == pytest.approx([(0.8 - 0.1) / 0.5, (0.4 - 0.2) / 0.25, (0.2 - 0.3) / 0.125], abs=1e-5)
