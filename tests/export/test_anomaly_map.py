"""The map's two matrices do what anomalib's `AnomalyMapGenerator` does."""

import numpy as np
import onnxruntime
import pytest
import torch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from onnx import TensorProto, helper

from nut_export.anomaly_map import add_anomaly_map, spread_matrix
from nut_export.builder import GraphBuilder

CASES = [
    pytest.param((16, 12), (128, 96), id="not-square"),
    pytest.param((32, 32), (256, 256), id="default"),
    pytest.param((8, 20), (64, 160), id="wide"),
    pytest.param((13, 9), (100, 70), id="not-a-multiple"),
    pytest.param((2, 3), (17, 18), id="smallest-that-the-blur-takes"),
]

# As a share of the largest value: anomalib sums 33 x 33 products in float32, each off by up to 2^-24, so by
# sqrt(1089) x 2^-24 = 2e-6 together; a map shifted by one pixel differs by 1e-2.
TOLERANCE = 5e-6


def _anomalib(distances: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    generator = AnomalyMapGenerator(sigma=4)
    return generator(torch.from_numpy(distances)[None, None], torch.Size(size))[0, 0].numpy()


@pytest.mark.parametrize(("grid", "size"), CASES)
def test_two_matrices_enlarge_and_blur_as_anomalib_does(grid, size):
    distances = np.random.default_rng(0).random(grid, np.float32) * 40
    found = spread_matrix(grid[0], size[0]) @ distances @ spread_matrix(grid[1], size[1]).T
    assert np.abs(found - _anomalib(distances, size)).max() <= TOLERANCE * 40


@pytest.mark.parametrize(("patches", "pixels"), [(16, 128), (13, 100), (2, 17)])
def test_a_flat_map_stays_flat_up_to_the_border(patches, pixels):
    # 2^-22: a float32 sum of a few weights, each rounded once
    assert spread_matrix(patches, pixels).sum(axis=1) == pytest.approx(1.0, abs=2**-22)


@pytest.mark.parametrize(("grid", "size"), CASES[:3])
def test_the_nodes_give_the_same_map(grid, size):
    graph = GraphBuilder()
    add_anomaly_map(graph, "distances", grid=grid, size=size, name="map")
    model = graph.model(
        [helper.make_tensor_value_info("distances", TensorProto.FLOAT, [grid[0] * grid[1]])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, *size])],
        name="map",
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    distances = np.random.default_rng(1).random(grid, np.float32) * 40
    found = session.run(None, {"distances": distances.ravel()})[0]
    assert found.shape == (1, 1, *size)
    assert np.abs(found[0, 0] - _anomalib(distances, size)).max() <= TOLERANCE * 40
