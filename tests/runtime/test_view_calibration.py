"""What views were like is stored whole, read strictly, and measured independently of the light."""

import cv2
import numpy as np
import pytest

from nut_runtime.view_calibration import MAX_VALUES, Sample, ViewCalibration, view_figures


def test_of_many_values_so_many_are_kept_with_the_same_spread():
    sample = Sample.of(range(10_000))
    assert (sample.count, len(sample.values)) == (10_000, MAX_VALUES)
    # half a step of the ranks, 10,000 / 256 / 2
    assert np.abs(np.quantile(sample.values, [0, 0.25, 0.5, 0.75, 1]) - [0, 2500, 5000, 7500, 9999]).max() <= 20
    assert sample.mean == pytest.approx(5000, abs=20)


def test_values_are_kept_to_six_digits_and_in_order():
    assert Sample.of([2.00000049, 1.0, 123456789.0]).values == (1.0, 2.0, 123457000.0)
    assert np.isnan(Sample.of([]).mean)


def test_what_is_written_is_read_back():
    calibration = ViewCalibration(
        brightness=Sample.of([3.0, 1.5]), sharpness=Sample.of(range(300)), raw_score=Sample.of([])
    )
    assert ViewCalibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"count": 2, "values": [2.0, 1.0]}, id="not-in-order"),
        pytest.param({"count": 3, "values": [1.0, 2.0]}, id="too-few"),
        pytest.param({"count": 1, "values": [1.0, 2.0]}, id="too-many"),
        pytest.param({"count": 1, "values": [float("nan")]}, id="nan"),
        pytest.param({"count": 1, "values": ["1"]}, id="text"),
        pytest.param({"count": 1, "values": [True]}, id="bool"),
        pytest.param({"count": 1.0, "values": [1.0]}, id="count-no-integer"),
        pytest.param({"count": -1, "values": []}, id="negative"),
        pytest.param({"count": 1, "values": None}, id="no-list"),
    ],
)
def test_a_sample_that_is_none_is_refused(data):
    with pytest.raises(ValueError, match="calibration"):
        Sample.from_json(data)


def test_a_weaker_lamp_changes_the_brightness_and_not_the_sharpness():
    frame = np.random.default_rng(0).integers(0, 250, (240, 320, 3)).astype(np.uint8)
    brightness, sharpness = view_figures(frame)
    darker, same = view_figures(np.asarray(cv2.convertScaleAbs(frame, alpha=0.8), np.uint8))
    assert darker == pytest.approx(0.8 * brightness, rel=0.01)
    assert same == pytest.approx(sharpness, rel=0.01)  # rounded to whole grey levels
    same_light, blurred = view_figures(np.asarray(cv2.GaussianBlur(frame, (0, 0), 1.5), np.uint8))
    assert same_light == pytest.approx(brightness, rel=0.01)
    assert blurred < 0.1 * sharpness


def test_a_black_frame_has_figures_too():
    assert view_figures(np.zeros((48, 64, 3), np.uint8)) == (0.0, 0.0)
