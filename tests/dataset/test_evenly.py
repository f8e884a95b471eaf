"""A few of many, spread evenly."""

import pytest

from nut_dataset.evenly import evenly


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [(5, 10, [0, 1, 2, 3, 4]), (5, 5, [0, 1, 2, 3, 4]), (5, 3, [0, 2, 4]), (9, 2, [0, 8]), (9, 1, [0]), (0, 3, [])],
)
def test_what_is_kept_is_spread_evenly_from_the_first_to_the_last(count, limit, expected):
    assert evenly(range(count), limit) == expected
