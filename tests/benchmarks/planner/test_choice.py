"""The Pareto front, and the rule that proposes a candidate."""

import math

import pytest

from nut_benchmarks.planner.choice import Row, auroc_error, front_of, pareto_front, propose


def test_the_front_has_every_point_that_nobody_beats_the_fastest_first():
    points = [(20.0, (0.95,)), (5.0, (0.90,)), (30.0, (0.99,)), (25.0, (0.94,)), (6.0, (0.90,))]
    assert pareto_front(points) == [1, 0, 2]


def test_equal_points_are_on_the_front_together():
    assert pareto_front([(5.0, (0.9,)), (5.0, (0.9,))]) == [0, 1]


@pytest.mark.parametrize(
    "better", [pytest.param((4.0, (0.9,)), id="faster"), pytest.param((5.0, (0.91,)), id="more-accurate")]
)
def test_being_better_in_one_and_equal_in_the_other_is_enough(better):
    assert pareto_front([(5.0, (0.9,)), better]) == [1]


def test_of_equal_auroc_the_share_of_defects_found_counts(make_row):
    slow, quick = make_row(9.0, 1.0, recall=0.8), make_row(5.0, 1.0, recall=0.2)
    assert front_of([slow, quick]) == [quick, slow]
    assert front_of([slow, make_row(5.0, 1.0, recall=0.8)]) != [slow]
    assert propose([slow, quick], 30).row is slow


def test_candidates_without_figures_are_on_no_front(make_row):
    row = make_row(5.0, 0.9)
    failed = Row(candidate=row.candidate, reason="too few pictures")
    assert front_of([failed, row, make_row(1.0, None)]) == [row]


def test_the_most_accurate_that_meets_the_target_is_proposed_and_its_cost_stated(make_row):
    rows = [make_row(8.0, 0.93), make_row(18.0, 0.97), make_row(61.0, 0.974), make_row(25.0, 0.96)]
    found = propose(rows, 30)
    assert found.row is rows[1]
    assert found.is_met
    assert found.best is rows[2]
    assert found.cost == (pytest.approx(0.004), 0.0)


def test_of_equals_the_fastest_is_proposed(make_row):
    rows = [make_row(18.0, 0.97), make_row(8.0, 0.97)]
    found = propose(rows, 30)
    assert found.row is rows[1]
    assert found.best is rows[1]


def test_the_time_for_all_cameras_has_to_meet_the_target_and_not_that_of_one(make_row):
    rows = [make_row(12.0, 0.97, all_ms=36.0), make_row(8.0, 0.93, all_ms=24.0)]
    assert propose(rows, 30).row is rows[1]


def test_a_time_that_is_the_target_meets_it(make_row):
    assert propose([make_row(30.0, 0.9)], 30).is_met


def test_where_none_meets_the_target_the_fastest_is_the_nearest(make_row):
    rows = [make_row(40.0, 0.97), make_row(31.0, 0.9)]
    found = propose(rows, 30)
    assert not found.is_met
    assert found.row is rows[1]


def test_without_an_auroc_the_largest_image_then_the_largest_bank_then_the_fastest_is_proposed(make_row):
    rows = [
        make_row(5.0, None, side=160, bank_rows=5000),
        make_row(9.0, None, side=256, bank_rows=600),
        make_row(20.0, None, side=256, bank_rows=6000),
        make_row(15.0, None, side=256, bank_rows=6000, precision="int8"),
        make_row(50.0, None, side=320, bank_rows=9000),
    ]
    found = propose(rows, 30)
    assert found.row is rows[3]
    assert found.best is None
    assert found.cost is None


def test_nothing_is_proposed_where_nothing_was_measured(make_row):
    assert propose([Row(candidate=make_row(1.0, 0.5).candidate, reason="broken")], 30) is None


def test_the_error_of_an_auroc_shrinks_with_the_pictures():
    # n-fold pictures divide the variance by about n: 16 times as many of each, the error by about 4
    few, many = auroc_error(0.9, good=25, defective=6), auroc_error(0.9, good=400, defective=96)
    assert few / many == pytest.approx(4, rel=0.1)
    assert auroc_error(1.0, good=25, defective=6) == 0
    # one of each: the order is right or wrong, a coin with the AUROC as its odds
    assert auroc_error(0.5, good=1, defective=1) == pytest.approx(math.sqrt(0.25))
