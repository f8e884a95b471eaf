"""The distance map is 1 at each part's heart, near 0 at its outline, and has a valley between touching parts."""

import numpy as np
import pytest

from nut_dataset.coco.distance_map import distance_map, instance_boxes


def brute_force(instances: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel."""
    padded = np.pad(instances, 1)
    depth = np.zeros(padded.shape)
    for y, x in zip(*np.nonzero(padded), strict=True):
        ys, xs = np.nonzero(padded != padded[y, x])
        depth[y, x] = np.sqrt(((ys - y) ** 2 + (xs - x) ** 2).min())
    for label in np.unique(padded[padded > 0]):
        depth[padded == label] /= depth[padded == label].max()
    return depth[1:-1, 1:-1]


@pytest.fixture
def instances() -> np.ndarray:
    """Parts that touch, that the edge cuts, that another part cuts in two, and one of a single pixel."""
    labels = np.zeros((24, 30), np.uint16)
    labels[2:14, 3:12] = 1
    labels[5:9, :] = 2
    labels[2:20, 12:20] = 7
    labels[20:, 24:] = 300
    labels[22, 2] = 65535
    return labels


def test_it_equals_the_definition_pixel_by_pixel(instances):
    # cv2's precise transform works in float32
    np.testing.assert_allclose(distance_map(instances), brute_force(instances), atol=1e-6)


def test_background_is_0_and_every_part_reaches_1(instances):
    depth = distance_map(instances)
    assert depth.dtype == np.float32
    assert (depth[instances == 0] == 0).all()
    assert (depth[instances > 0] > 0).all()
    assert [depth[instances == label].max() for label in (1, 2, 7, 300, 65535)] == [1] * 5


def test_touching_parts_have_a_valley_between_them():
    labels = np.zeros((20, 40), np.uint16)
    labels[:, :20], labels[:, 20:] = 1, 2
    row = distance_map(labels)[10]
    assert row[18:22].max() <= 0.2
    assert row[8:12].min() > 0.85
    assert row[28:32].min() > 0.85


def test_the_boxes_hold_the_parts_exactly(instances):
    boxes = instance_boxes(instances)
    assert list(boxes) == [1, 2, 7, 300, 65535]
    assert boxes[300] == (slice(20, 24), slice(24, 30))
    assert boxes[1] == (slice(2, 14), slice(3, 12))


def test_a_picture_without_parts_has_a_map_of_zeros():
    assert not distance_map(np.zeros((5, 6), np.uint16)).any()
    assert instance_boxes(np.zeros((5, 6), np.uint16)) == {}
