"""The coarse search in the graph: exact where it finds the nearest, never too small where it does not."""

from collections.abc import Callable

import numpy as np
import onnx
import openvino
import pytest

from nut_export import coarse as module
from nut_export.builder import GraphBuilder
from nut_export.coarse import CoarseBank, add_candidates_search, prepare_coarse
from nut_export.plan import SearchPlan, group_bank, measure_recall
from nut_export.search import SearchBank, prepare_bank

WIDTH, PATCHES, NEIGHBOURS = 24, 41, 9  # 41 patches, which no block divides
ENGINES = ["onnxruntime", "openvino"]
ARITHMETICS = ["fp32", "int8"]


@pytest.fixture(autouse=True)
def _small_chunks_and_blocks(monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 32)  # two groups of 16
    monkeypatch.setattr(module, "_GATHER_BYTES", 4 * WIDTH * 5 * 9)  # nine patches of five candidates


def _vectors(rows: int, seed: int) -> np.ndarray:
    """Vectors about a common mean far from zero, as features after a ReLU are."""
    return (np.random.default_rng(seed).normal(0.0, 1.0, (rows, WIDTH)) + 5.0).astype(np.float32)


def _all_distances(patches: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Return brute-force distances (P, M), in float64 and by difference."""
    return np.sqrt(((patches[:, None].astype(np.float64) - bank[None].astype(np.float64)) ** 2).sum(axis=2))


def _coarse(
    prepared: SearchBank, patches: np.ndarray, arithmetic: str, *, candidates: int = 0, components: int = WIDTH
) -> CoarseBank:
    """Return the bank with a plan; without a number of candidates each group's best is one."""
    grouped = group_bank(prepared)
    plan = SearchPlan(
        arithmetic=arithmetic,
        components=components,
        candidates=candidates or grouped.groups,
        group_rows=grouped.group_rows,
        recall=1.0,
        patches=len(patches),
    )
    return prepare_coarse(grouped, plan, patches)


@pytest.fixture
def search(run_search) -> Callable[..., tuple[np.ndarray, float]]:
    """A function that gives distances and image score of the coarse graph in an engine."""

    def search(coarse: CoarseBank, patches: np.ndarray, engine: str) -> tuple[np.ndarray, float]:
        def add(graph: GraphBuilder):
            count = len(patches)
            nearest = add_candidates_search(graph, "embedding", coarse, patches=count, engine=engine, name="distances")
            return nearest, coarse.grouped.bank

        return run_search(add, patches, engine)

    return search


def _is_near_one_of(distances: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return for each patch whether its distance is that to one of the bank's rows; 1e-6 is float32's rounding."""
    return (np.abs(distances[:, None] - allowed) <= 1e-6 * np.maximum(allowed, 1)).any(axis=1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("neighbours", [1, NEIGHBOURS])
@pytest.mark.parametrize("rows", [1, 5, 16, 17, 64, 70, 131])
def test_with_every_group_a_candidate_and_nothing_rounded_it_is_the_exact_search(
    search, anomalib_score, rows, neighbours, engine
):
    bank, patches = _vectors(rows, 0), _vectors(PATCHES, 1)
    distances, score = search(_coarse(prepare_bank(bank, neighbours), patches, "fp32"), patches, engine)
    # by difference nothing cancels: a float32 sum of 24 squares
    assert distances == pytest.approx(_all_distances(patches, bank).min(axis=1), rel=1e-6)
    assert score == pytest.approx(anomalib_score(bank, neighbours, patches), rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize(("components", "candidates"), [(WIDTH, 0), (WIDTH, 2), (5, 3), (1, 1)])
def test_a_distance_is_always_one_to_a_bank_row_so_never_too_small(search, components, candidates, arithmetic, engine):
    bank, patches = _vectors(131, 0), _vectors(PATCHES, 1)
    coarse = _coarse(prepare_bank(bank, 3), patches, arithmetic, candidates=candidates, components=components)
    distances, score = search(coarse, patches, engine)
    everything = _all_distances(patches, bank)
    assert _is_near_one_of(distances, everything).all()
    assert (distances >= everything.min(axis=1) * (1 - 1e-6)).all()
    assert np.isfinite(score)
    if components < WIDTH:  # so that the test is seen to look at searches that miss
        assert (distances > everything.min(axis=1) * (1 + 1e-3)).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_in_int8_the_true_nearest_is_among_the_candidates_of_nearly_all_patches(search, engine):
    bank, patches = _vectors(131, 0), _vectors(400, 1)
    prepared = prepare_bank(bank, NEIGHBOURS)
    distances, _ = search(_coarse(prepared, patches, "int8"), patches, engine)
    # 63 levels each way on normal vectors: the step is 5% of their spread, what ranks rows apart is mostly more
    assert measure_recall(prepared, patches, distances) >= 0.95 * len(patches)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_both_engines_find_the_same(search, arithmetic):
    """Their int8 is written in two ways: unsigned with a middle, and signed."""
    bank, patches = _vectors(131, 0), _vectors(400, 1)
    coarse = _coarse(prepare_bank(bank, NEIGHBOURS), patches, arithmetic, candidates=3, components=10)
    first, second = (search(coarse, patches, engine) for engine in ENGINES)
    # a tie between two rows, or a patch between two levels, may be rounded either way
    assert np.mean(np.abs(first[0] - second[0]) <= 1e-5 * first[0]) >= 0.99
    assert first[1] == pytest.approx(second[1], rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_the_blocks_and_chunks_that_it_is_cut_into_change_nothing(search, monkeypatch, arithmetic, engine):
    bank, patches = _vectors(131, 0), _vectors(PATCHES, 1)
    coarse = _coarse(prepare_bank(bank, 3), patches, arithmetic, candidates=5, components=12)
    cut = search(coarse, patches, engine)
    monkeypatch.setattr(module, "CHUNK_ROWS", 2048)
    monkeypatch.setattr(module, "_GATHER_BYTES", 8 << 20)
    whole = search(coarse, patches, engine)
    assert np.array_equal(cut[0], whole[0])
    assert cut[1] == whole[1]


def _nodes(coarse: CoarseBank, patches: int, engine: str) -> list[onnx.NodeProto]:
    graph = GraphBuilder()
    add_candidates_search(graph, "embedding", coarse, patches=patches, engine=engine, name="distances")
    return graph.nodes


@pytest.mark.parametrize(
    ("gathered", "blocks"),
    [
        pytest.param(10**9, 1, id="all-at-once"),
        pytest.param(4 * WIDTH * 5 * 9, 5, id="nine-patches-each"),
        pytest.param(1, 14, id="never-more-than-16"),  # three patches each
    ],
)
def test_bank_rows_are_looked_up_in_blocks(monkeypatch, gathered, blocks):
    monkeypatch.setattr(module, "_GATHER_BYTES", gathered)
    patches = _vectors(PATCHES, 1)
    coarse = _coarse(prepare_bank(_vectors(131, 0), 3), patches, "fp32", candidates=5)
    nodes = _nodes(coarse, PATCHES, "openvino")
    # once more for the few patches that the whole bank was searched again for
    reads = [node for node in nodes if node.op_type == "Gather" and node.input[0] == "search/bank"]
    assert len(reads) == blocks + 1


@pytest.mark.parametrize("engine", ENGINES)
def test_the_score_is_the_exact_searchs_even_where_candidates_are_lost(search, anomalib_score, engine, monkeypatch):
    """One candidate in two components loses most true neighbours; the farthest patch finds its own all the same."""
    monkeypatch.setattr(module, "_TOP", PATCHES - 5)  # 16 are too few where nearly every patch has lost its own
    bank, patches = _vectors(131, 0), _vectors(PATCHES, 1)
    coarse = _coarse(prepare_bank(bank, 3), patches, "fp32", candidates=1, components=2)
    distances, score = search(coarse, patches, engine)
    true = np.sqrt(((patches[:, None].astype(np.float64) - bank[None]) ** 2).sum(axis=2)).min(axis=1)
    assert (distances > true * 1.01).any()
    # by difference in float32
    assert distances.max() == pytest.approx(true.max(), rel=1e-5)
    assert score == pytest.approx(anomalib_score(bank, 3, patches), rel=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_a_row_that_only_fills_up_a_group_is_never_found(search, anomalib_score, arithmetic, engine):
    """Filling rows are zeros, which is the bank's mean: a patch that lies there would be at distance zero."""
    bank = _vectors(17, 0)  # two groups of 16
    bank[::2] += 8
    patches = np.repeat(bank.mean(axis=0, dtype=np.float64)[None].astype(np.float32), 5, axis=0)
    distances, score = search(_coarse(prepare_bank(bank, NEIGHBOURS), patches, arithmetic), patches, engine)
    everything = _all_distances(patches, bank)
    assert everything.min() > 10
    assert _is_near_one_of(distances, everything).all()
    if arithmetic == "fp32":
        assert score == pytest.approx(anomalib_score(bank, NEIGHBOURS, patches), rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_patches_outside_the_range_that_int8_was_set_for_are_never_too_near(search, engine):
    bank, seen = _vectors(131, 0), _vectors(PATCHES, 1)
    far = 5 + (seen - 5) * np.float32(40)  # forty times what the levels reach to
    far[::2] = seen[::2]
    distances, _ = search(_coarse(prepare_bank(bank, 3), seen, "int8", candidates=2), far, engine)
    everything = _all_distances(far, bank)
    assert _is_near_one_of(distances, everything).all()
    assert (distances >= everything.min(axis=1) * (1 - 1e-6)).all()
    # the others, and what such a patch says of a part, do not suffer
    alone, _ = search(_coarse(prepare_bank(bank, 3), seen, "int8", candidates=2), seen, engine)
    assert distances[::2] == pytest.approx(alone[::2], rel=1e-6)
    assert distances[1::2].min() > 10 * alone.max()


@pytest.mark.parametrize("engine", ENGINES)
def test_patches_that_are_in_the_bank_have_distance_zero(search, engine):
    bank = _vectors(131, 4)
    distances, score = search(_coarse(prepare_bank(bank, 3), bank[:10], "fp32"), bank[:10].copy(), engine)
    # by difference: only the rounding of the mean's subtraction is left
    assert distances.max() <= 1e-5
    assert score <= 1e-5


def _levels(model_nodes: list[onnx.NodeProto], graph: GraphBuilder) -> list[np.ndarray]:
    """Return the integers that a graph multiplies with: weights of integer products and of dequantised ones."""
    found = []
    for node in model_nodes:
        if node.op_type in {"MatMulInteger", "DequantizeLinear"}:
            found += [
                onnx.numpy_helper.to_array(graph.initializers[name])
                for name in node.input
                if name.startswith("coarse/levels") and name in graph.initializers
            ]
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sum_of_two_products_fits_in_16_bits(engine):
    """CPUs without VNNI add pairs of products of 8 unsigned and 8 signed bits up in int16, and saturate."""
    patches = _vectors(PATCHES, 1)
    coarse = _coarse(prepare_bank(_vectors(131, 0) * 7, 3), patches, "int8")
    graph = GraphBuilder()
    add_candidates_search(graph, "embedding", coarse, patches=PATCHES, engine=engine, name="distances")
    levels = _levels(graph.nodes, graph)
    assert sum(part.shape[1] for part in levels) == 144  # every row of every group, in chunks
    largest = max(int(np.abs(part.astype(np.int32)).max()) for part in levels)
    assert largest == 63
    assert 2 * 255 * largest <= np.iinfo(np.int16).max


def test_openvino_really_multiplies_integers():
    """It does so only where it recognises the pattern; else the levels would be multiplied as floats."""
    patches = _vectors(PATCHES, 1)
    coarse = _coarse(prepare_bank(_vectors(131, 0), 3), patches, "int8")
    kinds = {}
    for arithmetic in ARITHMETICS:
        coarse = _coarse(prepare_bank(_vectors(131, 0), 3), patches, arithmetic)
        graph = GraphBuilder()
        add_candidates_search(graph, "embedding", coarse, patches=PATCHES, engine="openvino", name="distances")
        make = onnx.helper.make_tensor_value_info
        model = graph.model(
            [make("embedding", onnx.TensorProto.FLOAT, [PATCHES, WIDTH])],
            [make("distances", onnx.TensorProto.FLOAT, [PATCHES])],
            name="search",
        )
        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        operations = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
        kinds[arithmetic] = [
            str(info["primitiveType"].astype(str)).rpartition("_")[2]
            for info in operations
            if info["layerType"].astype(str) in {"FullyConnected", "MatMul"}
        ]
    chunks = -(-coarse.grouped.groups // 2)
    assert [kind.upper() for kind in kinds["int8"]].count("I8") == chunks, kinds
    assert "I8" not in [kind.upper() for kind in kinds["fp32"]]
