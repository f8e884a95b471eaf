"""The fast search in the graph: rank the bank coarsely, then measure the best again exactly.

1. Patches are projected to the bank's first principal components (`plan.Projection`) and compared with every bank
   vector there, in int8 or float32; the norms are the full ones.
2. Each group of bank rows passes on its best; of these the best few are the candidates.
3. The candidates' distances are computed again in float32, by difference, at full width.
4. The whole bank is searched again, exactly, for the few patches that are farthest.

So a distance is exact wherever the true nearest vector was among the candidates, and never too small; and the image
score, which is the farthest patch's, is that of the exact search on the same embeddings.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_export.builder import GraphBuilder
from nut_export.plan import PATCH_LEVELS, GroupedBank, Projection, SearchPlan, project
from nut_export.search import CHUNK_ROWS, Nearest, add_distance

__all__ = ["CoarseBank", "add_candidates_search", "prepare_coarse"]

_GATHER_BYTES = 8 << 20  # bank vectors looked up at a time: they stay in the cache, and memory stays small
_MOST_BLOCKS = 16
_TOP = 16  # patches the whole bank is searched again for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoarseBank:
    """The bank as the fast search holds it.

    Attributes:
        plan: How it is searched.
        grouped: Its rows in groups.
        projection: The same rows projected.
    """

    plan: SearchPlan
    grouped: GroupedBank
    projection: Projection


def prepare_coarse(grouped: GroupedBank, plan: SearchPlan, patches: NDArray[np.float32]) -> CoarseBank:
    """Project the bank as a plan says.

    Args:
        grouped: The bank in its groups.
        plan: From `plan.choose_plan`.
        patches: The embeddings the plan was chosen with, float32 (N, D); they fix the range of int8.
    """
    projection = project(grouped, patches - grouped.bank.mean, plan.components, plan.arithmetic)
    return CoarseBank(plan=plan, grouped=grouped, projection=projection)


def add_candidates_search(
    graph: GraphBuilder, embedding: str, coarse: CoarseBank, *, patches: int, engine: str, name: str, pictures: int = 1
) -> Nearest:
    """Add the distance of each patch to its nearest bank vector, by way of candidates.

    Args:
        graph: Takes the nodes.
        embedding: Patch embeddings, float32 (N * P, D), picture after picture.
        coarse: The bank and its projection.
        patches: P, of one picture.
        engine: The engine the file is for: each has its own way to multiply in int8.
        name: Name of the distances, float32 (N * P,).
        pictures: N.
    """
    graph.scope = "coarse"
    plan = coarse.plan
    centred = graph.op("Sub", embedding, graph.constant(coarse.grouped.bank.mean, name="search/mean"))
    projected = graph.op("MatMul", centred, graph.constant(coarse.projection.matrix, name="coarse/projection"))
    total = pictures * patches
    numbers = _add_candidates(graph, projected, coarse, patches=total, engine=engine)  # (N * P, c)

    graph.scope = "exact"
    rows = graph.constant(coarse.grouped.bank.rows, name="search/bank")
    width = coarse.grouped.bank.rows.shape[1]
    wanted = -(-total * plan.candidates * width * 4 // _GATHER_BYTES)
    block = -(-total // min(wanted, _MOST_BLOCKS * pictures))
    squared = []
    for start in range(0, total, block):
        few, theirs = centred, numbers
        if block < total:
            bounds = (graph.constant([start]), graph.constant([min(start + block, total)]), graph.constant([0]))
            few, theirs = graph.op("Slice", centred, *bounds), graph.op("Slice", numbers, *bounds)
        near = graph.op("Gather", rows, theirs, axis=0)  # (block, c, D)
        squared.append(add_distance(graph, near, graph.op("Unsqueeze", few, graph.constant([1]))))
    together = graph.op("Concat", *squared, axis=0) if len(squared) > 1 else squared[0]  # (N * P, c)
    best, place = graph.smallest(together, 1)  # (N * P, 1) each
    number = graph.op("GatherElements", numbers, place, axis=1)  # (N * P, 1)
    best, number = _add_exact_for_top(graph, centred, best, number, rows, coarse, patches, pictures)
    graph.op("Reshape", graph.op("Sqrt", best), graph.constant([-1]), name=name)
    return Nearest(
        centred=centred,
        numbers=graph.op("Reshape", number, graph.constant([-1])),
        rows=lambda some: graph.op("Gather", rows, some, axis=0),
    )


def _add_exact_for_top(
    graph: GraphBuilder,
    centred: str,
    best: str,
    number: str,
    rows: str,
    coarse: CoarseBank,
    patches: int,
    pictures: int,
) -> tuple[str, str]:
    """Search the whole bank again for the farthest patches of each picture, since its score is the farthest one's.

    A distance by way of candidates is never too small. So the patch that is truly the farthest is among the first of
    them, unless as many as `_TOP` patches lost their true neighbour and came out farther than it; and of those that are
    searched again, each has its true distance.

    Args:
        graph: Takes the nodes.
        centred: Centred embeddings, float32 (N * P, D).
        best: Squared distances, float32 (N * P, 1).
        number: Nearest rows, int64 (N * P, 1).
        rows: The bank, float32 (rows, D).
        coarse: Its norms.
        patches: P.
        pictures: N.

    Returns:
        Squared distances and nearest rows, (N * P, 1) each, exact for the farthest patches of each picture.
    """
    count = min(_TOP, patches)  # T = N * count below
    farthest = graph.op("Neg", best)
    tops = []
    for place, own in enumerate(graph.cut(farthest, pictures, patches)):
        _, top = graph.smallest(own, count, axis=0)  # (count, 1)
        tops.append(graph.op("Add", top, graph.constant([place * patches])) if place else top)
    top = graph.join(tops)  # (T, 1)
    few = graph.op("Gather", centred, graph.op("Reshape", top, graph.constant([-1])), axis=0)  # (T, D)
    # The bank on the left: a constant on the right would be packed, and held twice.
    products = graph.op("MatMul", rows, graph.op("Transpose", few, perm=[1, 0]))  # (rows, T)
    norms = graph.constant(coarse.grouped.half_norms[:, None], name="exact/half_norms")
    half = graph.op("Transpose", graph.op("Sub", norms, products), perm=[1, 0])  # (T, rows)
    _, nearest = graph.smallest(half, 1)  # (T, 1)
    squared = add_distance(
        graph, graph.op("Gather", rows, graph.op("Reshape", nearest, graph.constant([-1])), axis=0), few
    )
    squared = graph.op("Reshape", squared, graph.constant([-1, 1]))  # (T, 1)
    return (
        graph.op("ScatterElements", best, top, squared, axis=0),
        graph.op("ScatterElements", number, top, nearest, axis=0),
    )


def _add_candidates(graph: GraphBuilder, projected: str, coarse: CoarseBank, *, patches: int, engine: str) -> str:
    """Add the numbers of the bank rows to measure again, int64 (P, c)."""
    plan = coarse.plan
    compare = _Comparison(graph, projected, coarse, engine)
    chunk_rows = max(CHUNK_ROWS // plan.group_rows, 1) * plan.group_rows
    values, places = [], []
    for start in range(0, len(coarse.grouped.half_norms), chunk_rows):
        half = compare.chunk(start, min(start + chunk_rows, len(coarse.grouped.half_norms)))  # (P, chunk)
        grouped = graph.op("Reshape", half, graph.constant([patches, -1, plan.group_rows]))
        value, place = graph.smallest(grouped, 1, axis=2)  # (P, groups, 1) each
        values.append(value)
        places.append(place)
    flat = graph.constant([patches, -1])
    value = graph.op("Reshape", graph.op("Concat", *values, axis=1) if len(values) > 1 else values[0], flat)  # (P, G)
    place = graph.op("Reshape", graph.op("Concat", *places, axis=1) if len(places) > 1 else places[0], flat)
    firsts = np.arange(0, len(coarse.grouped.half_norms), plan.group_rows)
    number = graph.op("Add", place, graph.constant(firsts, name="coarse/first_rows"))  # (P, G)
    _, group = graph.smallest(value, plan.candidates)  # (P, c)
    return graph.op("GatherElements", number, group, axis=1)


class _Comparison:
    """Adds half of the squared distances to a chunk of the projected bank."""

    def __init__(self, graph: GraphBuilder, projected: str, coarse: CoarseBank, engine: str) -> None:
        self.graph, self.coarse = graph, coarse
        self.chunk = {"fp32": self._float}.get(coarse.plan.arithmetic, self._integer)
        self.patches = projected
        step = coarse.projection.patch_step
        if step is None:
            return
        scale = graph.constant(np.float32(step), name="coarse/patch_step")
        if engine == "onnxruntime":
            # ONNX Runtime multiplies unsigned by signed integers fast, and pairs of signed ones slowly.
            self.middle = graph.constant(np.array(PATCH_LEVELS + 1, np.uint8))
            self.patches = graph.op("QuantizeLinear", projected, scale, self.middle)
            return
        # OpenVINO makes an integer product of a float one whose two sides come from integers.
        self.chunk = self._dequantised
        middle = graph.constant(np.array(0, np.int8))
        levels = graph.op("QuantizeLinear", projected, scale, middle)
        self.patches = graph.op("DequantizeLinear", levels, scale, middle)

    def _half_norms(self, start: int, stop: int) -> str:
        return self.graph.constant(self.coarse.grouped.half_norms[start:stop], name=f"coarse/half_norms_{start}")

    def _levels(self, start: int, stop: int) -> str:
        steps = self.coarse.projection.row_steps
        levels = np.round(self.coarse.projection.rows[start:stop] / steps[start:stop, None])  # type: ignore[index]
        return self.graph.constant(np.ascontiguousarray(levels.T.astype(np.int8)), name=f"coarse/levels_{start}")

    def _float(self, start: int, stop: int) -> str:
        rows = self.graph.constant(self.coarse.projection.rows[start:stop], name=f"coarse/bank_{start}")
        return self.graph.op("Gemm", self.patches, rows, self._half_norms(start, stop), alpha=-1.0, transB=1)

    def _integer(self, start: int, stop: int) -> str:
        projection = self.coarse.projection
        product = self.graph.op("MatMulInteger", self.patches, self._levels(start, stop), self.middle)
        steps = -projection.row_steps[start:stop] * np.float32(projection.patch_step)  # type: ignore[index]
        step = self.graph.constant(steps, name=f"coarse/steps_{start}")
        product = self.graph.op("Mul", self.graph.op("Cast", product, to=1), step)
        return self.graph.op("Add", product, self._half_norms(start, stop))

    def _dequantised(self, start: int, stop: int) -> str:
        projection = self.coarse.projection
        steps = -projection.row_steps[start:stop]  # type: ignore[index]
        step = self.graph.constant(steps, name=f"coarse/steps_{start}")
        middles = self.graph.constant(np.zeros(stop - start, np.int8), name=f"coarse/middles_{start}")
        rows = self.graph.op("DequantizeLinear", self._levels(start, stop), step, middles, axis=1)
        return self.graph.op("Add", self.graph.op("MatMul", self.patches, rows), self._half_norms(start, stop))
