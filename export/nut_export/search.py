"""Nearest neighbours in the memory bank, and anomalib's image score from them.

Exact, in float32. Three things differ from anomalib's own arithmetic, none of them in what is computed:

- The bank's mean is subtracted from both sides. Distances do not change, but `|p|^2 + |b|^2 - 2 p b` cancels
  far less, so float32 keeps more digits.
- The bank is searched chunk by chunk with a running minimum; the full distance matrix is never there.
- The neighbours of each bank vector, which weigh the score, are looked up in a table made at export instead of
  being searched anew in every frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_export.builder import GraphBuilder

__all__ = ["CHUNK_ROWS", "SearchBank", "add_image_score", "add_nearest", "prepare_bank"]

CHUNK_ROWS = 2048  # 1,024 patches x 2,048 rows x 4 bytes = 8 MB of distances at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBank:
    """The memory bank as the graph searches it.

    Attributes:
        mean: The bank's mean, float32 (D,).
        rows: The bank with the mean subtracted, float32 (M, D).
        neighbours: For each row the numbers of its nearest rows, itself first, int64 (M, k).
        is_weighed: Whether the image score is weighed by them; a k of 1 turns that off.
    """

    mean: NDArray[np.float32]
    rows: NDArray[np.float32]
    neighbours: NDArray[np.int64]
    is_weighed: bool


def prepare_bank(bank: NDArray[np.float32], neighbours: int) -> SearchBank:
    """Centre the bank and find each row's nearest rows.

    Args:
        bank: Memory bank, float32 (M, D).
        neighbours: k of the image score; at most M of them are taken, as anomalib does.
    """
    mean = bank.astype(np.float64).mean(axis=0)
    rows = bank.astype(np.float64) - mean
    norms = (rows**2).sum(axis=1)
    count = min(neighbours, len(bank))
    table = np.empty((len(bank), count), np.int64)
    for start in range(0, len(bank), CHUNK_ROWS):
        block = slice(start, start + CHUNK_ROWS)
        squared = norms[block, None] - 2 * rows[block] @ rows.T + norms[None, :]  # (chunk, M)
        squared[np.arange(len(squared)), np.arange(start, start + len(squared))] = -1  # itself first
        nearest = np.argpartition(squared, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(squared, nearest, axis=1), axis=1, kind="stable")
        table[block] = np.take_along_axis(nearest, order, axis=1)
    return SearchBank(
        mean=mean.astype(np.float32), rows=rows.astype(np.float32), neighbours=table, is_weighed=neighbours > 1
    )


def add_nearest(graph: GraphBuilder, embedding: str, bank: SearchBank, *, name: str) -> tuple[str, str]:
    """Add the distance of each patch to its nearest bank vector.

    Args:
        graph: Takes the nodes.
        embedding: Patch embeddings, float32 (P, D).
        bank: The bank.
        name: Name of the distances, float32 (P,).

    Returns:
        The names of the centred embeddings (P, D) and of each chunk's smallest squared distance, up to a term
        that does not depend on the chunk (P, chunks).
    """
    graph.scope = "search"
    centred = graph.op("Sub", embedding, graph.constant(bank.mean, name="search/mean"))
    rows = graph.constant(bank.rows, name="search/bank")
    smallest = []
    for start in range(0, len(bank.rows), CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, len(bank.rows))
        chunk = rows
        if stop - start < len(bank.rows):
            chunk = graph.op("Slice", rows, graph.constant([start]), graph.constant([stop]), graph.constant([0]))
        norms = (bank.rows[start:stop].astype(np.float64) ** 2).sum(axis=1) / 2
        half_norms = graph.constant(norms.astype(np.float32), name=f"search/half_norms_{start}")
        # |b|^2 / 2 - p b: half of the squared distance without the patch's own |p|^2, which is the same for all
        half = graph.op("Gemm", centred, chunk, half_norms, alpha=-1.0, transB=1)  # (P, chunk)
        smallest.append(graph.op("ReduceMin", half, graph.constant([1]), keepdims=1))
    by_chunk = graph.op("Concat", *smallest, axis=1) if len(smallest) > 1 else smallest[0]  # (P, chunks)
    best = graph.op("ReduceMin", by_chunk, graph.constant([1]), keepdims=0)  # (P,)
    own = graph.op("ReduceSumSquare", centred, graph.constant([1]), keepdims=0)  # (P,)
    squared = graph.op("Add", own, graph.op("Mul", best, graph.constant(np.float32(2))))
    graph.op("Sqrt", graph.op("Max", squared, graph.constant(np.float32(0))), name=name)
    return centred, by_chunk


def add_image_score(
    graph: GraphBuilder, distances: str, centred: str, by_chunk: str, bank: SearchBank, *, name: str
) -> str:
    """Add the image score: the largest patch distance, weighed by how alone its nearest bank vector stands.

    PatchCore (Roth et al. 2022), eq. 6 and 7, as anomalib's `compute_anomaly_score`: with m* the bank vector
    nearest to the most distant patch and N its k nearest bank vectors, m* among them, the score is
    `(1 - softmax(|patch - N|)[m*]) * |patch - m*|`. The distances of this one patch are computed by difference,
    which has no cancellation.

    Args:
        graph: Takes the nodes.
        distances: Float32 (P,).
        centred: Centred embeddings, float32 (P, D).
        by_chunk: Each chunk's smallest half squared distance, float32 (P, chunks).
        bank: The bank.
        name: Name of the score, float32 (1,).
    """
    graph.scope = "score"
    rows = graph.constant(bank.rows, name="search/bank")
    top = graph.op("ArgMax", distances, axis=0, keepdims=1)  # (1,)
    patch = graph.op("Gather", centred, top, axis=0)  # (1, D)
    if len(bank.rows) > CHUNK_ROWS:
        # Only the chunk that holds the nearest vector is looked at again.
        chunk = graph.op("ArgMin", graph.op("Gather", by_chunk, top, axis=0), axis=1, keepdims=0)  # (1,)
        first = graph.op("Mul", chunk, graph.constant([CHUNK_ROWS]))
        numbers = graph.op("Add", first, graph.constant(np.arange(CHUNK_ROWS), name="score/chunk_numbers"))
        numbers = graph.op("Min", numbers, graph.constant([len(bank.rows) - 1]))  # the last chunk is shorter
        near = graph.op("Gather", rows, numbers, axis=0)  # (chunk, D)
        place = graph.op("ArgMin", _distance(graph, near, patch), axis=0, keepdims=1)  # (1,)
        nearest = graph.op("Gather", numbers, place, axis=0)
    else:
        nearest = graph.op("ArgMin", _distance(graph, rows, patch), axis=0, keepdims=1)  # (1,)
    table = graph.constant(bank.neighbours, name="score/neighbours")
    numbers = graph.op("Reshape", graph.op("Gather", table, nearest, axis=0), graph.constant([-1]))  # (k,)
    support = graph.op("Gather", rows, numbers, axis=0)  # (k, D)
    support_distances = _distance(graph, support, patch)  # (k,), m* first
    score = graph.op("Slice", support_distances, graph.constant([0]), graph.constant([1]))
    if not bank.is_weighed:
        return graph.op("Identity", score, name=name)
    share = graph.op("Slice", graph.op("Softmax", support_distances, axis=0), graph.constant([0]), graph.constant([1]))
    weight = graph.op("Sub", graph.constant(np.float32(1)), share)
    return graph.op("Mul", weight, score, name=name)


def _distance(graph: GraphBuilder, rows: str, patch: str) -> str:
    """Add the Euclidean distance of each row (N, D) to one patch (1, D): (N,)."""
    difference = graph.op("Sub", rows, patch)
    return graph.op("Sqrt", graph.op("ReduceSumSquare", difference, graph.constant([1]), keepdims=0))
