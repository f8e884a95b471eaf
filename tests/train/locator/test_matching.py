"""What counts as found, as missed and as not asked for."""

import numpy as np
import pytest

from nut_runtime.locate.instance import Instance
from nut_train.locator.matching import match_instances


def square(x: int, y: int, side: int) -> Instance:
    return Instance(
        number=1,
        mask=np.ones((side, side), bool),
        x=x,
        y=y,
        centre=(x + side / 2, y + side / 2),
        angle_deg=0.0,
        area_px=side * side,
        peak=1.0,
    )


@pytest.fixture
def truth() -> np.ndarray:
    """Three parts: two squares of 20 px and a crumb of 2x2."""
    labels = np.zeros((100, 100), np.uint16)
    labels[10:30, 10:30], labels[50:70, 50:70], labels[90:92, 90:92] = 1, 2, 7
    return labels


def test_a_part_found_where_it_is_counts_at_both_overlaps(truth):
    found = match_instances([square(10, 10, 20), square(50, 50, 20)], truth)
    assert (found.true, found.found, found.right) == (2, 2, (2, 2))
    assert found.f1(0) == found.f1(1) == 1


def test_a_part_found_beside_its_place_counts_at_the_lower_overlap_only(truth):
    # moved by 4 of 20 px: 16 / 24 is common
    assert match_instances([square(14, 10, 20)], truth).right == (1, 0)


def test_a_part_found_twice_is_right_once(truth):
    found = match_instances([square(10, 10, 20), square(10, 10, 8)], truth)
    assert found.found == 2
    assert found.right[0] == 0 or found.right[0] == 1
    assert found.f1(0) < 1


def test_crumbs_are_neither_missed_nor_invented(truth):
    crumb = square(90, 90, 2)
    assert match_instances([crumb], truth) == match_instances([], truth)


def test_two_parts_taken_for_one_are_not_right():
    labels = np.zeros((40, 60), np.uint16)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    lump = Instance(
        number=1, mask=np.ones((20, 40), bool), x=10, y=10, centre=(30, 20), angle_deg=0, area_px=800, peak=1
    )
    found = match_instances([lump], labels)
    assert (found.true, found.found, found.right) == (2, 1, (0, 0))


@pytest.mark.parametrize("labels", [np.zeros((8, 8), np.uint16), np.ones((8, 8), np.uint16)])
def test_pictures_without_parts_or_without_background_are_taken(labels):
    found = match_instances([], labels)
    assert found.true == int(labels.any())
    assert found.f1(0) == float(not labels.any())
