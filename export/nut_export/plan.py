"""What the coarse search does: its arithmetic, its projection and how many candidates it keeps, and how they are found.

The coarse search only ranks; whatever it keeps is measured again exactly in float32. So it may be as crude as it likes
while the true nearest bank vector is among the candidates. How often it is, is measured, never assumed.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_export.search import SearchBank
from nut_runtime.errors import InputError

__all__ = [
    "LEAST_RECALL",
    "PATCH_LEVELS",
    "GroupedBank",
    "Projection",
    "SearchPlan",
    "choose_plan",
    "group_bank",
    "measure_recall",
    "project",
]

LEAST_RECALL = 0.999
"""Share of patches whose true nearest bank vector must be among the candidates (issue 3's floor)."""

_PLANNED_RECALL = 0.9995  # asked of the plan, so that other pictures still hold the floor
_CANDIDATES = (4, 8, 16, 32)
_COMPONENTS = (32, 48, 64, 96, 128, 192, 256, 384, 512)
_GROUPS = 64  # groups to have at least: each gives one candidate, and up to 32 are chosen from them
_LEAST_GROUP, _LARGEST_GROUP = 16, 512
_LEAF_ROWS = 64
_SAMPLED = 4096  # patches that a plan is tried on, at most
_LARGEST_TRIAL = 4e8  # distances computed to try a plan: 1.6 GB
# In multiplications of one float32 component, from timings of both engines on two data sets (docs/performance.md):
# what an int8 multiplication takes, what selecting each group's best takes a row, and what a patch takes besides.
_INT8_COST, _RERANK_COST = 0.25, 35.0
_SELECT_COST = {
    ("openvino", "int8"): 18.0,
    ("openvino", "fp32"): 26.0,
    ("onnxruntime", "int8"): 78.0,  # the integers become floats in passes of their own
    ("onnxruntime", "fp32"): 50.0,
}
_FIXED_COST = {"openvino": 80e3, "onnxruntime": 200e3}
# 7 bits for the bank: the sum of two products of 8 and 7 bits fits the 16 bits that CPUs without VNNI add them up in
# (vpmaddubsw saturates), so the same file is right on them. Patches keep 8 bits.
BANK_LEVELS, PATCH_LEVELS = 63, 127
_FAR = np.float32(1e30)  # half squared distance of rows that only fill up a group


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How the bank is searched.

    Attributes:
        arithmetic: `int8` or `fp32`, of the coarse search.
        components: Width K that patches and bank are projected to.
        candidates: Bank vectors that are measured again exactly, for each patch.
        group_rows: Rows of a group; each group's best is a candidate to be one.
        recall: Share of the tried patches whose true nearest vector was kept.
        patches: How many were tried.
    """

    arithmetic: str
    components: int
    candidates: int
    group_rows: int
    recall: float
    patches: int

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupedBank:
    """The bank's rows, dealt out to groups so that similar ones are in different groups.

    Attributes:
        bank: The bank, group after group: (G * group_rows, D), zeros where a group is short; the neighbour table is in
            the same order and numbers.
        half_norms: Half of each row's squared norm, float32; huge for rows that only fill up.
        axes: The bank's principal axes, the widest first, float32 (D, D).
        group_rows: Rows of a group.
    """

    bank: SearchBank
    half_norms: NDArray[np.float32]
    axes: NDArray[np.float32]
    group_rows: int

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.half_norms) // self.group_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Patches and bank as the coarse search sees them.

    Attributes:
        matrix: Brings centred vectors to K components, float32 (D, K).
        rows: The grouped bank's rows projected, float32 (rows, K); rounded to `row_steps` for int8.
        row_steps: Size of one int8 level of each row, float32 (rows,); None for fp32.
        patch_step: Size of one level of a patch; None for fp32.
    """

    matrix: NDArray[np.float32]
    rows: NDArray[np.float32]
    row_steps: NDArray[np.float32] | None
    patch_step: float | None


def choose_plan(
    grouped: GroupedBank,
    patches: NDArray[np.float32],
    *,
    engine: str,
    extremes: NDArray[np.float32] | None = None,
    components: int | None = None,
    candidates: int | None = None,
) -> SearchPlan | None:
    """Choose the cheapest plan that keeps the true nearest vector of 99.95% of patches.

    Args:
        grouped: The bank in its groups.
        patches: Embeddings of pictures that are not in the bank, float32 (N, D); some 4,000 of them are tried.
        engine: The engine it is for; what is cheap in one is dear in the other.
        extremes: Embeddings of spoiled pictures, float32 (N, D), that the range of int8 is to cover too; a patch beyond
            it would lose its neighbours.
        components: Fixes the width of the projection.
        candidates: Fixes the number of candidates.

    Returns:
        The plan; None where the exact search is cheaper than any that holds.

    Raises:
        InputError: If a number that was asked for is not possible, or cannot hold the recall of 99.9%.
    """
    rows, width = grouped.bank.rows.shape
    if components is not None and not 1 <= components <= width:
        raise InputError(f"{components} components, expected 1 to {width}, the width of a patch")
    if candidates is not None and not 1 <= candidates <= grouped.groups:
        raise InputError(f"{candidates} candidates, expected 1 to {grouped.groups} for this bank")
    count = min(_SAMPLED, int(_LARGEST_TRIAL // rows))
    places = np.random.default_rng(0).permutation(len(patches))[:count]
    centred: NDArray[np.float32] = patches[places] - grouped.bank.mean
    truth = grouped.half_norms - centred @ grouped.bank.rows.T  # (N, rows)
    ranged = centred if extremes is None else np.concatenate([centred, extremes - grouped.bank.mean])
    is_free = components is None and candidates is None
    floor = _PLANNED_RECALL if is_free else LEAST_RECALL
    counts = (candidates,) if candidates else tuple(sorted({min(count, grouped.groups) for count in _CANDIDATES}))
    best, best_cost = None, rows * (width + _SELECT_COST[engine, "fp32"]) if is_free else np.inf
    found = 0.0
    for arithmetic, kept in _widths(width, components):
        costs = [_cost(engine, rows, width, arithmetic, kept, count) for count in counts]
        if min(costs, default=np.inf) >= best_cost:
            continue
        recalls = _recalls(grouped, centred, truth, project(grouped, ranged, kept, arithmetic), counts)
        found = max(found, *recalls)
        for count, cost, recall in zip(counts, costs, recalls, strict=True):
            if recall >= floor and cost < best_cost:
                best_cost = cost
                best = SearchPlan(
                    arithmetic=arithmetic,
                    components=kept,
                    candidates=count,
                    group_rows=grouped.group_rows,
                    recall=recall,
                    patches=len(places),
                )
    if best is None and not is_free:
        raise InputError(
            f"{candidates or 'any number of'} candidates in {components or 'any number of'} components keep the true "
            f"nearest vector of {100 * found:.2f}% of patches at most, {100 * LEAST_RECALL:.1f}% are needed; give more "
            "of either, or leave both out"
        )
    return best


def group_bank(bank: SearchBank) -> GroupedBank:
    """Deal the bank's rows out to groups, neighbours to different ones.

    Each group passes on one row only, so two rows that are both near to a patch must not share a group. Rows are
    sorted by halving them along one principal axis after another, until neighbours in the order are alike, and then
    dealt out like cards.
    """
    rows = len(bank.rows)
    group_rows = int(np.clip(2 ** int(np.log2(max(rows // _GROUPS, 1))), _LEAST_GROUP, _LARGEST_GROUP))
    _, axes = np.linalg.eigh(bank.rows.T.astype(np.float64) @ bank.rows.astype(np.float64))
    axes = axes[:, ::-1].astype(np.float32)
    alike = _halve(np.arange(rows), bank.rows @ axes[:, :16], 0)
    groups = -(-rows // group_rows)
    dealt = np.full((groups, group_rows), -1, np.int64)
    for group in range(groups):
        own = alike[group::groups]
        dealt[group, : len(own)] = own
    order = dealt.ravel()
    is_row, source = order >= 0, np.maximum(order, 0)
    new_number = np.empty(rows, np.int64)
    new_number[order[is_row]] = np.flatnonzero(is_row)
    ordered = np.where(is_row[:, None], bank.rows[source], np.float32(0))
    return GroupedBank(
        bank=SearchBank(
            mean=bank.mean,
            rows=ordered,
            neighbours=new_number[bank.neighbours[source]],
            is_weighed=bank.is_weighed,
        ),
        half_norms=np.where(is_row, _half_norms(ordered), _FAR),
        axes=axes,
        group_rows=group_rows,
    )


def project(grouped: GroupedBank, patches: NDArray[np.float32], components: int, arithmetic: str) -> Projection:
    """Project to the bank's principal axes, and round to int8 where the arithmetic asks for it.

    For int8 the components are rotated at random: then all of them spread alike, where unrotated the first one alone
    would set the step of all.

    Args:
        grouped: The bank.
        patches: Centred patches that fix the range of int8, float32 (N, D).
        components: Width K.
        arithmetic: `int8` or `fp32`.
    """
    matrix = np.ascontiguousarray(grouped.axes[:, :components])
    if arithmetic == "fp32":
        return Projection(matrix=matrix, rows=grouped.bank.rows @ matrix, row_steps=None, patch_step=None)
    generator = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(generator.standard_normal((components, components)))
    matrix = (matrix @ rotation.astype(np.float32)).astype(np.float32)
    rows = grouped.bank.rows @ matrix
    steps = np.maximum(np.abs(rows).max(axis=1), 1e-12) / BANK_LEVELS  # (rows,)
    peak = max(float(np.abs(rows).max()), float(np.abs(patches @ matrix).max(initial=0.0)), 1e-12)
    return Projection(
        matrix=matrix,
        rows=(np.round(rows / steps[:, None]) * steps[:, None]).astype(np.float32),
        row_steps=steps.astype(np.float32),
        patch_step=peak / PATCH_LEVELS,
    )


def measure_recall(bank: SearchBank, embeddings: NDArray[np.float32], distances: NDArray[np.float32]) -> int:
    """Count the patches whose distance is that of their true nearest bank vector.

    Args:
        bank: The bank.
        embeddings: Patches as an engine computed them, float32 (P, D).
        distances: What that engine found, float32 (P,).
    """
    centred = embeddings - bank.mean
    nearest = (_half_norms(bank.rows) - centred @ bank.rows.T).argmin(axis=1)
    # by difference, so that nothing cancels: float32 is off by 1e-7 of the values, a second neighbour by far more
    true = np.sqrt(((centred - bank.rows[nearest]).astype(np.float64) ** 2).sum(axis=1))
    return int((distances <= true * (1 + 1e-4) + 1e-6 * np.abs(centred).max()).sum())


def _widths(width: int, fixed: int | None) -> Iterator[tuple[str, int]]:
    """Yield the arithmetics and widths to try, the cheapest first."""
    widths = [fixed] if fixed else [kept for kept in (*_COMPONENTS, width) if kept <= width]
    tried = {("int8", kept): kept * _INT8_COST for kept in widths} | {("fp32", kept): float(kept) for kept in widths}
    yield from sorted(tried, key=lambda one: tried[one])


def _cost(engine: str, rows: int, width: int, arithmetic: str, components: int, candidates: int) -> float:
    """Return what one patch costs, in multiplications of float32."""
    product = components * (_INT8_COST if arithmetic == "int8" else 1.0)
    compared = rows * (product + _SELECT_COST[engine, arithmetic])
    return compared + width * components + candidates * width * _RERANK_COST + _FIXED_COST[engine]


def _half_norms(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return half of each row's squared norm, float32 (M,)."""
    return ((rows.astype(np.float64) ** 2).sum(axis=1) / 2).astype(np.float32)


def _recalls(
    grouped: GroupedBank,
    centred: NDArray[np.float32],
    truth: NDArray[np.float32],
    projection: Projection,
    counts: tuple[int, ...],
) -> list[float]:
    """Return the recall at each number of candidates, computed as the graph will."""
    patches = centred @ projection.matrix
    if projection.patch_step is not None:
        levels = np.round(patches / np.float32(projection.patch_step))
        patches = np.clip(levels, -PATCH_LEVELS - 1, PATCH_LEVELS) * np.float32(projection.patch_step)
    coarse = grouped.half_norms - patches @ projection.rows.T
    coarse = coarse.reshape(len(patches), grouped.groups, grouped.group_rows)
    winners = coarse.argmin(axis=2)  # (N, G)
    values = np.take_along_axis(coarse, winners[:, :, None], axis=2)[:, :, 0]
    numbers = winners + np.arange(grouped.groups) * grouped.group_rows
    ranked = np.take_along_axis(numbers, np.argsort(values, axis=1, kind="stable")[:, : max(counts)], axis=1)
    best = truth.min(axis=1)
    kept = np.take_along_axis(truth, ranked, axis=1)
    # equal up to float32's rounding of the two norms
    slack = 1e-6 * (np.abs(best) + (centred**2).sum(axis=1))
    return [float(np.mean(kept[:, :count].min(axis=1) <= best + slack)) for count in counts]


def _halve(numbers: NDArray[np.int64], along: NDArray[np.float32], axis: int) -> NDArray[np.int64]:
    """Sort rows by halving them along one axis after another."""
    if len(numbers) <= _LEAF_ROWS:
        return numbers
    ranked = numbers[np.argsort(along[numbers, axis], kind="stable")]
    middle, following = len(ranked) // 2, (axis + 1) % along.shape[1]
    return np.concatenate([_halve(ranked[:middle], along, following), _halve(ranked[middle:], along, following)])
