"""Boxes around defective regions, in the frame's pixels."""

import numpy as np
import pytest

from nut_runtime.regions import defect_boxes


def masked(*regions: tuple[slice, slice, float], size: tuple[int, int] = (12, 16)) -> tuple[np.ndarray, np.ndarray]:
    """Return a map with these values in these places, and its mask."""
    anomaly_map = np.zeros(size, np.float32)
    for rows, columns, value in regions:
        anomaly_map[rows, columns] = value
    return anomaly_map, anomaly_map > 0.5


def test_a_good_part_has_no_boxes():
    assert defect_boxes(*masked(), (12, 16)) == ()


def test_a_region_is_boxed_exactly():
    (box,) = defect_boxes(*masked((slice(2, 5), slice(6, 13), 0.75)), (12, 16))
    assert (box.x, box.y, box.width, box.height, box.peak) == (6, 2, 7, 3, 0.75)


def test_a_box_is_scaled_to_the_frame_along_each_side():
    (box,) = defect_boxes(*masked((slice(2, 5), slice(6, 13), 0.75)), (36, 160))
    assert (box.x, box.y, box.width, box.height) == (60, 6, 70, 9)


def test_the_worst_region_comes_first():
    boxes = defect_boxes(*masked((slice(0, 2), slice(0, 2), 0.6), (slice(8, 9), slice(8, 9), 0.9)), (12, 16))
    assert [round(box.peak, 4) for box in boxes] == [0.9, 0.6]


def test_regions_that_touch_at_a_corner_are_one():
    boxes = defect_boxes(*masked((slice(0, 2), slice(0, 2), 0.6), (slice(2, 4), slice(2, 4), 0.9)), (12, 16))
    assert [(box.x, box.y, box.width, box.height) for box in boxes] == [(0, 0, 4, 4)]


def test_the_peak_is_the_regions_own_and_not_its_neighbours():
    # The second region lies within the bounding box of the first, an L, without touching it.
    corner = [(slice(0, 8), slice(0, 1), 0.6), (slice(7, 8), slice(0, 9), 0.6)]
    boxes = defect_boxes(*masked(*corner, (slice(2, 4), slice(4, 6), 0.9)), (12, 16))
    assert [(box.width, box.height, round(box.peak, 4)) for box in boxes] == [(2, 2, 0.9), (9, 8, 0.6)]


@pytest.mark.parametrize("frame", [(8, 8), (12, 16), (37, 211), (480, 640), (2000, 9)])
def test_every_box_lies_inside_the_frame_and_is_not_empty(frame):
    height, width = frame
    rng = np.random.default_rng(0)
    anomaly_map = rng.random((128, 96), np.float32)
    boxes = defect_boxes(anomaly_map, anomaly_map > 0.9, frame)
    assert boxes
    for box in boxes:
        assert box.width >= 1
        assert box.height >= 1
        assert 0 <= box.x < box.x + box.width <= width
        assert 0 <= box.y < box.y + box.height <= height


def test_a_box_becomes_plain_json():
    (box,) = defect_boxes(*masked((slice(2, 5), slice(6, 13), 0.123456 + 0.5)), (12, 16))
    assert box.to_json() == {"x": 6, "y": 2, "width": 7, "height": 3, "peak": 0.6235}
