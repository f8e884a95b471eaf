"""The plan of the coarse search: groups that separate what is alike, and a recall that brute force finds too."""

from typing import Any

import numpy as np
import pytest

from nut_export import plan as module
from nut_export.plan import LEAST_RECALL, GroupedBank, choose_plan, group_bank, measure_recall, project
from nut_export.search import SearchBank, prepare_bank
from nut_runtime.errors import InputError

WIDTH = 24


def _vectors(rows: int, seed: int, *, width: int = WIDTH, rank: int = 6, noise: float = 0.2) -> np.ndarray:
    """Vectors that spread over a few directions mostly, as features do, about a common mean far from zero."""
    generator = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(0.0, 1.0, (rank, width))
    vectors = generator.normal(0, 1, (rows, rank)) @ directions + generator.normal(0, noise, (rows, width))
    return (vectors + 5).astype(np.float32)


def _grouped(rows: int, *, neighbours: int = 3, **options: Any) -> GroupedBank:
    return group_bank(prepare_bank(_vectors(rows, 0, **options), neighbours))


def _new_numbers(bank: SearchBank, grouped: GroupedBank) -> np.ndarray:
    """Return where each row of the bank is in its groups; rows are told apart by their bytes."""
    places = {row.tobytes(): number for number, row in enumerate(grouped.bank.rows) if grouped.half_norms[number] < 1e9}
    return np.array([places[row.tobytes()] for row in bank.rows])


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 70, 1024, 3000])
def test_each_row_is_in_one_group_and_the_rest_only_fills_up(rows):
    bank = prepare_bank(_vectors(rows, 0), 3)
    grouped = group_bank(bank)
    new = _new_numbers(bank, grouped)
    assert len(set(new)) == rows
    assert len(grouped.half_norms) == grouped.groups * grouped.group_rows
    filling = np.setdiff1d(np.arange(len(grouped.half_norms)), new)
    assert not grouped.bank.rows[filling].any()
    norms = (bank.rows.astype(np.float64) ** 2).sum(axis=1) / 2
    assert grouped.half_norms[new] == pytest.approx(norms, rel=1e-6)  # rounded to float32 once
    # A million times any distance here, so that no patch takes one for its nearest.
    assert filling.size == 0 or grouped.half_norms[filling].min() > 1e6 * norms.max()
    assert len(set(new // grouped.group_rows)) == grouped.groups, "a group without a row would offer a filling one"


@pytest.mark.parametrize("rows", [17, 70, 1500])
def test_the_neighbour_table_speaks_of_the_same_vectors_as_before(rows):
    bank = prepare_bank(_vectors(rows, 0), 5)
    grouped = group_bank(bank)
    new = _new_numbers(bank, grouped)
    assert np.array_equal(grouped.bank.rows[grouped.bank.neighbours[new]], bank.rows[bank.neighbours])
    assert np.array_equal(grouped.bank.neighbours[new], new[bank.neighbours])  # and never of a filling row
    assert np.array_equal(grouped.bank.neighbours[new, 0], new)


@pytest.mark.parametrize("rows", [40, 200, 1000])
def test_two_rows_that_are_nearly_the_same_are_in_different_groups(rows):
    half = _vectors(rows // 2, 0)
    twins = half + np.random.default_rng(1).normal(0, 1e-4, half.shape).astype(np.float32)
    bank = prepare_bank(np.concatenate([half, twins]), 3)
    grouped = group_bank(bank)
    group = _new_numbers(bank, grouped) // grouped.group_rows
    assert not (group[: rows // 2] == group[rows // 2 :]).any()


def test_the_axes_are_the_banks_own_the_widest_first():
    grouped = _grouped(500)
    spread = (grouped.bank.rows @ grouped.axes).std(axis=0)
    assert np.all(np.diff(spread) <= 1e-5)  # float32
    assert grouped.axes.T @ grouped.axes == pytest.approx(np.eye(WIDTH), abs=1e-5)


def test_grouping_and_planning_twice_gives_the_same():
    grouped, again = _grouped(3000, width=64), _grouped(3000, width=64)
    assert np.array_equal(grouped.bank.rows, again.bank.rows)
    assert np.array_equal(grouped.bank.neighbours, again.bank.neighbours)
    patches = _vectors(300, 1, width=64)
    first, second = (choose_plan(one, patches, engine="openvino") for one in (grouped, again))
    assert first == second
    assert first is not None


@pytest.mark.parametrize("components", [1, 8, WIDTH])
def test_int8_rows_have_63_levels_either_way_and_patches_127(components):
    grouped = _grouped(200)
    patches = _vectors(50, 1) - grouped.bank.mean
    projection = project(grouped, patches, components, "int8")
    assert projection.row_steps is not None
    assert projection.patch_step is not None
    levels = projection.rows / projection.row_steps[:, None]
    assert levels == pytest.approx(np.round(levels), abs=1e-4)  # float32: the rows are whole steps
    assert np.abs(np.round(levels)).max() == 63
    largest = np.abs(np.concatenate([patches, grouped.bank.rows]) @ projection.matrix).max()
    assert largest / projection.patch_step == pytest.approx(127, rel=1e-5)
    # the rotation leaves lengths, and so the sums, as they are
    plain = project(grouped, patches, components, "fp32")
    assert np.linalg.norm(patches @ projection.matrix, axis=1) == pytest.approx(
        np.linalg.norm(patches @ plain.matrix, axis=1), rel=1e-4
    )


def _brute_recall(bank: SearchBank, grouped: GroupedBank, patches: np.ndarray, plan: Any) -> float:
    """Return the recall patch by patch, group by group, in float64 but for the rounding to levels."""
    centred = patches - bank.mean
    projection = project(grouped, centred, plan.components, plan.arithmetic)
    seen = centred.astype(np.float64) @ projection.matrix
    if projection.patch_step is not None:
        seen = np.clip(np.round(seen / projection.patch_step), -128, 127) * projection.patch_step
    hits = 0
    for patch, coarse_patch in zip(centred.astype(np.float64), seen, strict=True):
        coarse = grouped.half_norms - projection.rows.astype(np.float64) @ coarse_patch
        winners = []
        for start in range(0, len(coarse), plan.group_rows):
            place = start + int(np.argmin(coarse[start : start + plan.group_rows]))
            winners.append((coarse[place], place))
        candidates = [place for _, place in sorted(winners)[: plan.candidates]]
        kept = np.linalg.norm(grouped.bank.rows[candidates] - patch, axis=1).min()
        hits += kept <= np.linalg.norm(bank.rows - patch, axis=1).min() * (1 + 1e-6)
    return hits / len(patches)


@pytest.mark.parametrize("arithmetic", ["int8", "fp32"])
@pytest.mark.parametrize(("rows", "components", "candidates"), [(200, 2, 2), (200, 6, 4), (333, 4, 1), (333, WIDTH, 8)])
def test_the_recall_that_is_promised_is_the_one_that_brute_force_counts(
    monkeypatch, rows, components, candidates, arithmetic
):
    monkeypatch.setattr(module, "LEAST_RECALL", 0.0)
    monkeypatch.setattr(module, "_INT8_COST", 0.25 if arithmetic == "int8" else 1e6)
    bank = prepare_bank(_vectors(rows, 0), 3)
    grouped, patches = group_bank(bank), _vectors(400, 1)
    plan = choose_plan(grouped, patches, engine="openvino", components=components, candidates=candidates)
    assert plan is not None
    assert (plan.arithmetic, plan.components, plan.candidates) == (arithmetic, components, candidates)
    assert (plan.group_rows, plan.patches) == (grouped.group_rows, 400)
    # one patch in 400 may be rounded to the other of two levels that are equally far
    assert plan.recall == pytest.approx(_brute_recall(bank, grouped, patches, plan), abs=1 / 400)


def test_among_the_tried_recalls_some_are_poor():
    """So that the test above is seen to compare more than ones with ones."""
    grouped, patches = _grouped(200), _vectors(400, 1)
    with pytest.raises(InputError, match=r"^2 candidates in 2 components keep .* of [1-8]\d\.\d\d% of patches at most"):
        choose_plan(grouped, patches, engine="openvino", components=2, candidates=2)


def test_left_alone_it_holds_more_than_what_is_asked_and_beats_the_exact_search():
    grouped, patches = _grouped(3000, width=64, noise=0.05), _vectors(1000, 1, width=64, noise=0.05)
    plan = choose_plan(grouped, patches, engine="openvino")
    assert plan is not None
    assert plan.recall >= 0.9995 > LEAST_RECALL
    assert plan.components == 32, "six directions and a little noise need no more"


def test_no_plan_is_made_where_the_exact_search_is_cheaper():
    small = _grouped(200)
    assert choose_plan(small, _vectors(100, 1), engine="openvino") is None
    # what pays in OpenVINO does not in ONNX Runtime, where selecting takes longer
    grouped, patches = _grouped(3000, width=64), _vectors(100, 1, width=64)
    assert choose_plan(grouped, patches, engine="openvino") is not None
    assert choose_plan(grouped, patches, engine="onnxruntime") is None


@pytest.mark.parametrize(
    ("fixed", "says"),
    [
        pytest.param({"components": 0}, "0 components, expected 1 to 24, the width of a patch", id="no-components"),
        pytest.param({"components": 25}, "25 components, expected 1 to 24", id="too-wide"),
        pytest.param({"components": -3}, "-3 components, expected 1 to 24", id="negative"),
        pytest.param({"candidates": 0}, "0 candidates, expected 1 to 13 for this bank", id="no-candidates"),
        pytest.param({"candidates": 14}, "14 candidates, expected 1 to 13", id="more-than-groups"),
    ],
)
def test_a_number_that_is_not_possible_is_refused_with_what_is(fixed, says):
    with pytest.raises(InputError, match=says):
        choose_plan(_grouped(200), _vectors(10, 1), engine="openvino", **fixed)


@pytest.mark.parametrize(
    ("fixed", "says"),
    [
        ({"components": 1}, "any number of candidates in 1 components keep"),
        ({"components": 2, "candidates": 1}, "1 candidates in 2 components keep"),
    ],
)
def test_a_number_that_cannot_hold_the_recall_is_refused_with_what_it_holds(fixed, says):
    # unstructured vectors: no few directions tell them apart
    grouped, patches = _grouped(333, rank=24), _vectors(400, 1, rank=24) * 1.5
    with pytest.raises(InputError, match=says + r" the true nearest vector of \d+\.\d\d% .* 99\.9% are needed"):
        choose_plan(grouped, patches, engine="openvino", **fixed)


def test_one_candidate_is_enough_where_nothing_is_rounded_or_left_out():
    grouped = _grouped(333, rank=24)
    plan = choose_plan(grouped, _vectors(400, 1, rank=24), engine="openvino", candidates=1)
    assert plan is not None
    assert (plan.arithmetic, plan.components, plan.candidates, plan.recall) == ("fp32", WIDTH, 1, 1.0)


@pytest.mark.parametrize("rows", [5, 20, 48])
def test_a_bank_of_few_groups_offers_the_best_of_each(rows):
    """Fewer groups than the smallest number of candidates that is tried otherwise."""
    grouped = _grouped(rows)
    assert grouped.groups < 4
    patches = grouped.bank.rows[:rows] + grouped.bank.mean  # bank vectors, which any search should find
    plan = choose_plan(grouped, patches, engine="openvino", components=WIDTH)
    assert plan is not None
    assert plan.candidates == grouped.groups
    assert plan.recall == 1


def test_patches_that_were_not_found_are_counted_out_and_rounding_is_not():
    bank = prepare_bank(_vectors(200, 0), 3)
    patches = _vectors(50, 1)
    distances = np.sort(np.linalg.norm((patches - bank.mean)[:, None] - bank.rows[None], axis=2), axis=1)
    found = distances[:, 0].astype(np.float32)
    assert measure_recall(bank, patches, found) == 50
    assert measure_recall(bank, patches, np.nextafter(found, np.float32(np.inf))) == 50
    found[7:20] = distances[7:20, 1]  # the second nearest instead
    assert measure_recall(bank, patches, found) == 50 - 13


def test_patches_that_are_in_the_bank_are_found_at_distance_zero():
    vectors = _vectors(200, 0)
    assert measure_recall(prepare_bank(vectors, 3), vectors[:40], np.zeros(40, np.float32)) == 40
