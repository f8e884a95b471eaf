"""The step from a raw distance to a verdict, and the scale it uses."""

import json
import math

import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_runtime.scoring import OperatingPoint, Scale, is_defective, normalise, rescale

SCALE = Scale(threshold=4.0, minimum=1.0, maximum=9.0)


def test_the_threshold_maps_to_one_half():
    assert normalise(np.float32(4.0), SCALE) == np.float32(0.5)


def test_one_range_above_the_threshold_is_one_unit():
    # The formula by hand: (6 - 4) / (9 - 1) + 0.5.
    assert normalise(np.float32(6.0), SCALE) == np.float32(0.75)


def test_scores_outside_the_range_are_clipped():
    np.testing.assert_array_equal(normalise(np.array([-1e9, 1e9], np.float32), SCALE), [0.0, 1.0])


def test_only_the_width_of_the_range_counts():
    shifted = Scale(threshold=4.0, minimum=101.0, maximum=109.0)
    raw = np.linspace(0, 12, 25, dtype=np.float32)
    np.testing.assert_array_equal(normalise(raw, SCALE), normalise(raw, shifted))


def test_a_map_keeps_its_shape_and_is_float32():
    result = normalise(np.zeros((3, 5), np.float32), SCALE)
    assert (result.shape, result.dtype) == ((3, 5), np.float32)


def test_float64_input_is_computed_in_float32_as_the_model_does():
    raw = np.linspace(3.9, 4.1, 1001)
    np.testing.assert_array_equal(normalise(raw, SCALE), normalise(raw.astype(np.float32), SCALE))


def test_a_score_at_the_threshold_is_good_and_the_next_float_above_is_not():
    half = np.float32(0.5)
    assert not is_defective(half)
    assert is_defective(np.nextafter(half, np.float32(1)))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["threshold", "minimum", "maximum"])
def test_a_number_that_is_not_finite_is_refused(name, broken):
    numbers = {"threshold": 4.0, "minimum": 1.0, "maximum": 9.0} | {name: broken}
    with pytest.raises(InputError, match="finite"):
        Scale(**numbers)


@pytest.mark.parametrize("maximum", [1.0, 0.5])
def test_an_empty_range_is_refused(maximum):
    with pytest.raises(InputError, match="must be above its minimum"):
        Scale(threshold=1.0, minimum=1.0, maximum=maximum)


def test_an_operating_point_survives_json():
    point = OperatingPoint(image=SCALE, pixel=Scale(threshold=0.1, minimum=0.0, maximum=1 / 3))
    assert OperatingPoint.from_json(json.loads(json.dumps(point.to_json()))) == point


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda data: data.pop("pixel"), id="no-pixel"),
        pytest.param(lambda data: data["image"].pop("threshold"), id="no-threshold"),
        pytest.param(lambda data: data["image"].update(threshold=None), id="null"),
        pytest.param(lambda data: data["image"].update(threshold="much"), id="word"),
        pytest.param(lambda data: data.update(image=[1, 2, 3]), id="list"),
    ],
)
def test_an_incomplete_operating_point_is_refused(alter):
    data = OperatingPoint(image=SCALE, pixel=SCALE).to_json()
    alter(data)
    with pytest.raises(InputError, match="operating point is incomplete"):
        OperatingPoint.from_json(data)


def test_rescaling_gives_what_the_other_scale_would_have_given():
    raw = np.array([0, 1, 3, 5, 7.9], np.float32)
    old, new = Scale(threshold=4, minimum=0, maximum=8), Scale(threshold=2, minimum=0, maximum=4)
    # two roundings of float32 more than normalising once
    assert np.allclose(rescale(normalise(raw, old), old, new), normalise(raw, new), rtol=0, atol=1e-6)


def test_rescaling_to_the_same_scale_changes_no_bit():
    values = np.array([0.1, 0.5, 0.9], np.float32)
    scale = Scale(threshold=3, minimum=0, maximum=7)
    assert np.array_equal(rescale(values, scale, scale), values)
