"""Which banks are worth other precisions than fp32."""

from nut_benchmarks.planner.choice import Row
from nut_benchmarks.planner.walk import _beaten


def _sides(banks) -> set[int]:
    return {height for _, height, _, _ in banks}


def test_a_bank_that_another_one_clearly_beats_is_left_out(make_row):
    rows = [make_row(5.0, 0.9, side=160), make_row(8.0, 0.95, side=224), make_row(20.0, 0.94, side=320)]
    assert _sides(_beaten(rows)) == {320}


def test_a_bank_that_is_hardly_slower_stays(make_row):
    rows = [make_row(9.5, 0.95, side=224), make_row(10.0, 0.94, side=256)]
    assert _beaten(rows) == set()


def test_a_bank_counts_with_the_faster_of_its_engines(make_row):
    rows = [make_row(8.0, 0.95, side=224), make_row(5.0, 0.9), make_row(20.0, 0.9, engine="onnxruntime")]
    assert _beaten(rows) == set()


def test_banks_without_figures_or_without_an_auroc_are_not_left_out(make_row):
    quick, unknown = make_row(1.0, 0.9, side=64), make_row(20.0, None, side=128)
    failed = Row(candidate=make_row(1.0, 0.9, side=320).candidate, reason="too large")
    assert _beaten([quick, unknown, failed]) == set()
