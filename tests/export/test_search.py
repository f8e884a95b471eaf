"""The search in the graph finds what brute force in float64 finds, however the bank is cut into chunks."""

from collections.abc import Callable

import numpy as np
import pytest

from nut_export import search as module
from nut_export.search import add_nearest, prepare_bank

CHUNK, WIDTH, PATCHES = 16, 24, 40


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", CHUNK)


def _vectors(rows: int, seed: int) -> np.ndarray:
    """Vectors about a common mean far from zero, as features after a ReLU are."""
    return (np.random.default_rng(seed).normal(0.0, 1.0, (rows, WIDTH)) + 5.0).astype(np.float32)


@pytest.fixture
def search(run_search) -> Callable[..., tuple[np.ndarray, float]]:
    """A function that gives distances and image score of the graph in an engine."""

    def search(bank: np.ndarray, neighbours: int, patches: np.ndarray, engine: str) -> tuple[np.ndarray, float]:
        prepared = prepare_bank(bank, neighbours)
        return run_search(
            lambda graph: (add_nearest(graph, "embedding", prepared, name="distances"), prepared), patches, engine
        )

    return search


def _all_distances(patches: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Return brute-force distances (P, M), in float64 and by difference."""
    return np.sqrt(((patches[:, None].astype(np.float64) - bank[None].astype(np.float64)) ** 2).sum(axis=2))


BANKS: list = [
    pytest.param(lambda: _vectors(5, 0), id="below-a-chunk"),
    pytest.param(lambda: _vectors(CHUNK, 0), id="exactly-a-chunk"),
    pytest.param(lambda: _vectors(CHUNK + 1, 0), id="one-row-more"),
    pytest.param(lambda: _vectors(4 * CHUNK, 0), id="whole-chunks"),
    pytest.param(lambda: _vectors(5 * CHUNK + 3, 0), id="last-chunk-incomplete"),
    pytest.param(lambda: np.repeat(_vectors(20, 0), 2, axis=0), id="every-row-twice"),
    pytest.param(lambda: _vectors(1, 0), id="one-row"),
]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("make", BANKS)
@pytest.mark.parametrize("neighbours", [1, 3, 9])
def test_distances_and_score_are_those_of_brute_force_and_of_anomalib(
    search, anomalib_score, make: Callable[[], np.ndarray], neighbours, engine
):
    bank, patches = make(), _vectors(PATCHES, 1)
    distances, score = search(bank, neighbours, patches, engine)
    # 1e-5: float32 sums of 24 products, about 24 x 2^-24 = 1.4e-6 of |p|^2, relative to distances of 3 and more
    assert distances == pytest.approx(_all_distances(patches, bank).min(axis=1), rel=1e-5)
    assert score == pytest.approx(anomalib_score(bank, neighbours, patches), rel=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("row", [0, CHUNK - 1, CHUNK, 2 * CHUNK + 4])
def test_the_nearest_row_is_found_wherever_it_stands(search, anomalib_score, row, engine):
    """One patch far from all rows but one, which lies in the first chunk, at its edges and in the short last one."""
    bank = _vectors(2 * CHUNK + 5, 2)
    patches = _vectors(3, 3)
    patches[1] = bank[row] + 20
    bank[row] = patches[1] - 6
    distances, score = search(bank, 9, patches, engine)
    assert int(np.argmax(distances)) == 1
    # 1e-4: the distance is sqrt(24) x 6 = 29 from vectors of length 120, squared and rounded in float32
    assert distances[1] == pytest.approx(6 * np.sqrt(WIDTH), rel=1e-4)
    assert score == pytest.approx(anomalib_score(bank, 9, patches), rel=1e-4)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_patches_that_are_in_the_bank_have_a_distance_near_zero(search, engine):
    bank = _vectors(3 * CHUNK, 4)
    distances, score = search(bank, 9, bank[:10].copy(), engine)
    # |p|^2 - |b|^2 cancels: what is left is sqrt(24 x 2^-24 x |p|^2), |p|^2 about 24 after centring
    assert distances.min() >= 0
    assert distances.max() < 2e-2
    assert 0 <= score < 2e-2


def test_subtracting_the_mean_is_what_keeps_the_digits(search):
    """Far from zero float32 cancels; the centred search still finds a small distance."""
    offset = np.float32(1000)
    bank = _vectors(20, 5) + offset
    patches = bank[:4] + np.float32(0.125)
    distances, _ = search(bank, 1, patches, "onnxruntime")
    # the inputs themselves are rounded to 2^-14 at 1,000, a part in 2,000 of 0.125
    assert distances == pytest.approx(np.full(4, 0.125 * np.sqrt(WIDTH)), rel=1e-3)


@pytest.mark.parametrize("rows", [5, CHUNK, 5 * CHUNK + 3])
def test_the_table_lists_each_row_first_and_then_its_nearest(rows):
    bank = _vectors(rows, 6)
    table = prepare_bank(bank, 4).neighbours
    assert np.array_equal(table, np.argsort(_all_distances(bank, bank), axis=1)[:, :4])
    assert np.array_equal(table[:, 0], np.arange(rows))


def test_of_two_equal_rows_each_lists_itself_first():
    bank = np.repeat(_vectors(10, 7), 2, axis=0)
    table = prepare_bank(bank, 3).neighbours
    assert np.array_equal(table[:, 0], np.arange(20))
    assert np.array_equal(table[:, 1], np.arange(20) ^ 1)


def test_more_neighbours_than_rows_take_all_rows():
    assert prepare_bank(_vectors(5, 8), 9).neighbours.shape == (5, 5)
