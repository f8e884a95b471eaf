"""Nearest neighbours in the memory bank, and anomalib's image score from them.

Exact, in float32. Three things differ from anomalib's own arithmetic, none of them in what is computed:

- The bank's mean is subtracted from both sides. Distances do not change, but `|p|^2 + |b|^2 - 2 p b` cancels
  far less, so float32 keeps more digits.
- The bank is searched chunk by chunk with a running minimum; the full distance matrix is never there.
- The neighbours of each bank vector, which weigh the score, are looked up in a table made at export instead of
  being searched anew in every frame.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_export.builder import GraphBuilder

__all__ = ["CHUNK_ROWS", "Nearest", "SearchBank", "add_distance", "add_image_score", "add_nearest", "prepare_bank"]

CHUNK_ROWS = 2048  # 1,024 patches x 2,048 rows x 4 bytes = 8 MB of distances at a time
_SPARE = 8  # candidates beyond k that float32 may have put in the wrong order


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBank:
    """The memory bank as the graph searches it.

    Attributes:
        mean: The mean of the bank, or of the rows that it grew from, float32 (D,).
        rows: The bank with the mean subtracted, float32 (M, D).
        neighbours: For each row the numbers of its nearest rows, itself first, int64 (M, k).
        is_weighed: Whether the image score is weighed by them; a k of 1 turns that off.
    """

    mean: NDArray[np.float32]
    rows: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    is_weighed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """Names of what a search leaves for the image score.

    Attributes:
        centred: Patch embeddings without the bank's mean, float32 (P, D).
        numbers: The bank row nearest to each patch, int64 (P,).
        rows: Adds the bank rows of some numbers, (k,) to (k, D).
    """

    centred: str
    numbers: str
    rows: Callable[[str], str]


def prepare_bank(bank: NDArray[np.float32], neighbours: int, *, centred_on: int | None = None) -> SearchBank:
    """Centre the bank and find each row's nearest rows.

    Args:
        bank: Memory bank, float32 (M, D).
        neighbours: k of the image score; at most M of them are taken, as anomalib does.
        centred_on: How many rows, from the first, the subtracted mean is of; None takes all. Distances are the same
            from any centre. A bank that was grown is centred on the rows that it had at first, so that these are to the
            bit what they are in the model of the bank that it grew from.
    """
    mean = bank[:centred_on].astype(np.float64).mean(axis=0)
    rows = bank.astype(np.float64) - mean
    single = rows.astype(np.float32)
    half_norms = ((rows**2).sum(axis=1) / 2).astype(np.float32)
    count = min(neighbours, len(bank))
    spare = min(count + _SPARE, len(bank))
    table = np.empty((len(bank), count), np.int64)
    for start in range(0, len(bank), CHUNK_ROWS):
        own = np.arange(start, min(start + CHUNK_ROWS, len(bank)))
        half = half_norms - single[own] @ single.T  # (chunk, M); float32 is fast and finds them, float64 sorts them
        half[np.arange(len(own)), own] = -np.inf  # itself first
        near = np.argpartition(half, spare - 1, axis=1)[:, :spare]
        for row, candidates in zip(own, near, strict=True):
            squared = ((rows[candidates] - rows[row]) ** 2).sum(axis=1)
            squared[candidates == row] = -1
            table[row] = candidates[np.argsort(squared, kind="stable")[:count]]
    return SearchBank(mean=mean.astype(np.float32), rows=single, neighbours=table, is_weighed=neighbours > 1)


def add_nearest(graph: GraphBuilder, embedding: str, bank: SearchBank, *, name: str) -> Nearest:
    """Add the distance of each patch to its nearest bank vector.

    The bank is held as one constant a chunk: cut out of a whole one, both engines would keep the cuts as copies.

    Args:
        graph: Takes the nodes.
        embedding: Patch embeddings, float32 (P, D).
        bank: The bank.
        name: Name of the distances, float32 (P,).
    """
    graph.scope = "search"
    centred = graph.op("Sub", embedding, graph.constant(bank.mean, name="search/mean"))
    chunks, smallest, places = [], [], []
    for start in range(0, len(bank.rows), CHUNK_ROWS):
        rows = bank.rows[start : start + CHUNK_ROWS]
        chunks.append(graph.constant(rows, name=f"search/bank_{start}"))
        norms = (rows.astype(np.float64) ** 2).sum(axis=1) / 2
        half_norms = graph.constant(norms.astype(np.float32), name=f"search/half_norms_{start}")
        # |b|^2 / 2 - p b: half of the squared distance without the patch's own |p|^2, which is the same for all
        half = graph.op("Gemm", centred, chunks[-1], half_norms, alpha=-1.0, transB=1)  # (P, chunk)
        value, place = graph.smallest(half, 1)  # (P, 1) each
        smallest.append(value)
        places.append(graph.op("Add", place, graph.constant(np.int64(start))) if start else place)
    if len(chunks) > 1:
        best, which = graph.smallest(graph.op("Concat", *smallest, axis=1), 1)  # (P, 1) each
        numbers = graph.op("GatherElements", graph.op("Concat", *places, axis=1), which, axis=1)  # (P, 1)
    else:
        best, numbers = smallest[0], places[0]
    own = graph.op("ReduceSumSquare", centred, graph.constant([1]), keepdims=1)  # (P, 1)
    squared = graph.op("Add", own, graph.op("Mul", best, graph.constant(np.float32(2))))
    flat = graph.constant([-1])
    distance = graph.op("Sqrt", graph.op("Max", squared, graph.constant(np.float32(0))))
    graph.op("Reshape", distance, flat, name=name)
    return Nearest(
        centred=centred,
        numbers=graph.op("Reshape", numbers, flat),
        rows=lambda wanted: _rows_of_chunks(graph, chunks, wanted, len(bank.rows)),
    )


def add_image_score(
    graph: GraphBuilder,
    distances: str,
    nearest: Nearest,
    bank: SearchBank,
    *,
    name: str,
    pictures: int = 1,
    patches: int = 0,
) -> str:
    """Add the image score: the largest patch distance, weighed by how alone its nearest bank vector stands.

    PatchCore (Roth et al. 2022), eq. 6 and 7, as anomalib's `compute_anomaly_score`: with m* the bank vector
    nearest to the most distant patch and N its k nearest bank vectors, m* among them, the score is
    `(1 - softmax(|patch - N|)[m*]) * |patch - m*|`. The distances of this one patch are computed by difference,
    which has no cancellation.

    Args:
        graph: Takes the nodes.
        distances: Float32 (N * P,), picture after picture.
        nearest: What the search left, of all pictures.
        bank: The bank.
        name: Name of the score, float32 (N,).
        pictures: N.
        patches: P; of one picture it need not be known.
    """
    graph.scope = "score"
    tops = []
    for place, own in enumerate(graph.cut(distances, pictures, patches)):
        top = graph.op("ArgMax", own, axis=0, keepdims=1)  # (1,)
        tops.append(graph.op("Add", top, graph.constant([place * patches])) if place else top)
    top = graph.join(tops)  # (N,)
    patch = graph.op("Gather", nearest.centred, top, axis=0)  # (N, D)
    number = graph.op("Gather", nearest.numbers, top, axis=0)  # (N,)
    table = graph.constant(bank.neighbours, name="score/neighbours")
    numbers = graph.op("Reshape", graph.op("Gather", table, number, axis=0), graph.constant([-1]))  # (N * k,)
    rows = graph.cut(nearest.rows(numbers), pictures, bank.neighbours.shape[1])
    own_name = name if pictures == 1 else None
    scores = [
        _weighed(graph, near, own, bank, own_name)
        for near, own in zip(rows, graph.cut(patch, pictures, 1), strict=True)
    ]
    return graph.join(scores, name=name)


def _weighed(graph: GraphBuilder, rows: str, patch: str, bank: SearchBank, name: str | None) -> str:
    """Add one picture's score from its most distant patch (1, D) and that one's bank vectors (k, D): (1,)."""
    squared = add_distance(graph, rows, patch)
    support = graph.op("Sqrt", squared)  # (k,), m* first
    score = graph.op("Slice", support, graph.constant([0]), graph.constant([1]))
    if not bank.is_weighed:
        return graph.op("Identity", score, name=name)
    share = graph.op("Slice", graph.op("Softmax", support, axis=0), graph.constant([0]), graph.constant([1]))
    weight = graph.op("Sub", graph.constant(np.float32(1)), share)
    return graph.op("Mul", weight, score, name=name)


def add_distance(graph: GraphBuilder, rows: str, patches: str) -> str:
    """Add squared Euclidean distances along the last axis, by difference: (..., D) and (..., D) to (...)."""
    return graph.op("ReduceSumSquare", graph.op("Sub", rows, patches), graph.constant([-1]), keepdims=0)


def _rows_of_chunks(graph: GraphBuilder, chunks: list[str], numbers: str, rows: int) -> str:
    """Add the bank rows of some numbers (k,), from whichever chunk each is in: (k, D)."""
    if len(chunks) == 1:
        return graph.op("Gather", chunks[0], numbers, axis=0)
    found = []
    zero = graph.constant(np.float32(0))
    for place, chunk in enumerate(chunks):
        start = place * CHUNK_ROWS
        last = min(CHUNK_ROWS, rows - start) - 1
        local = graph.op("Sub", numbers, graph.constant(np.int64(start)))
        inside = graph.op("Clip", local, graph.constant(np.int64(0)), graph.constant(np.int64(last)))
        is_here = graph.op("Unsqueeze", graph.op("Equal", local, inside), graph.constant([1]))  # (k, 1)
        found.append(graph.op("Where", is_here, graph.op("Gather", chunk, inside, axis=0), zero))
    return graph.op("Sum", *found)
