"""The picture people look at."""

import numpy as np
import pytest

from nut_runtime.overlay import draw_heat, draw_verdict


@pytest.fixture
def frame() -> np.ndarray:
    return np.full((300, 400, 3), 90, np.uint8)


@pytest.fixture
def anomaly_map() -> np.ndarray:
    """A map that is cold but for its lower right quarter."""
    heat = np.zeros((30, 40), np.float32)
    heat[15:, 20:] = 0.9
    return heat


def test_a_cold_map_leaves_the_frame_as_it_is(frame, anomaly_map):
    np.testing.assert_array_equal(draw_heat(frame, anomaly_map * 0), frame)


def test_heat_shows_where_the_map_is_hot_and_nowhere_else(frame, anomaly_map):
    drawn = draw_heat(frame, anomaly_map)
    np.testing.assert_array_equal(drawn[:140, :190], frame[:140, :190])
    assert np.abs(drawn[170:, 220:].astype(int) - 90).max(axis=2).min() > 20


def test_the_defective_region_is_outlined_in_white(frame, anomaly_map):
    drawn = draw_heat(frame, anomaly_map, anomaly_map > 0.5)
    assert (drawn[150, 250] == 255).all()
    assert not (draw_heat(frame, anomaly_map)[150, 250] == 255).all()


def test_the_frame_that_is_passed_in_is_not_drawn_upon(frame, anomaly_map):
    before = frame.copy()
    draw_verdict(frame, anomaly_map, anomaly_map > 0.5, is_defective=True, pred_score=0.9)
    np.testing.assert_array_equal(frame, before)


def test_values_above_one_do_not_wrap_to_cold(frame, anomaly_map):
    hottest = draw_heat(frame, np.ones_like(anomaly_map))
    np.testing.assert_array_equal(draw_heat(frame, np.full_like(anomaly_map, 1.2)), hottest)


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        pytest.param((300, 400), (300, 400), id="large-enough"),
        pytest.param((64, 128), (256, 512), id="enlarged"),
        pytest.param((8, 8), (256, 256), id="smallest"),
    ],
)
def test_small_frames_are_enlarged_in_proportion(size, drawn, anomaly_map):
    assert draw_heat(np.zeros((*size, 3), np.uint8), anomaly_map).shape == (*drawn, 3)


def test_the_strip_is_red_for_a_defect_and_green_for_a_good_part(frame, anomaly_map):
    mask = anomaly_map > 0.5
    reject = draw_verdict(frame, anomaly_map, mask, is_defective=True, pred_score=0.9)
    accept = draw_verdict(frame, anomaly_map, mask, is_defective=False, pred_score=0.1)
    assert reject.shape == accept.shape
    assert reject.shape[0] > 300
    blue, green, red = reject[-1, -1].astype(int)
    assert red > max(blue, green)
    blue, green, red = accept[-1, -1].astype(int)
    assert green > max(blue, red)


def test_a_good_part_has_no_outline(frame, anomaly_map):
    drawn = draw_verdict(frame, anomaly_map, anomaly_map > 0.5, is_defective=False, pred_score=0.4)
    np.testing.assert_array_equal(drawn[:300], draw_heat(frame, anomaly_map))


@pytest.mark.parametrize("name", ["a" * 500, "größe-螺母", ""])
def test_any_name_fits_the_strip(frame, anomaly_map, name):
    drawn = draw_verdict(frame, anomaly_map, anomaly_map > 2, is_defective=False, pred_score=0.4, name=name)
    # The rightmost 8 px of the strip are kept free of text, so a name that is too long shows here.
    assert (drawn[300:, -7:] == drawn[-1, -1]).all()


def test_a_long_thin_frame_is_not_enlarged_beyond_memory():
    frame = np.zeros((16, 4000, 3), np.uint8)
    drawn = draw_verdict(
        frame, np.zeros((32, 32), np.float32), np.zeros((32, 32), bool), is_defective=False, pred_score=0.1
    )
    assert drawn.shape[1] == 4000
    assert drawn.shape[0] <= 16 + 120
