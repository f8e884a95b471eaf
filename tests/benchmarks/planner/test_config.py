"""What a plan can be asked for."""

import pytest

from nut_benchmarks.planner.config import BackboneChoice, PlanConfig
from nut_runtime.errors import InputError


@pytest.mark.parametrize("target", [0.0, -5.0, float("nan"), float("inf")])
def test_a_target_that_is_no_time_is_refused(target):
    with pytest.raises(InputError, match=r"target .* ms, expected above 0"):
        PlanConfig(target_ms=target)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"cameras": 0}, "cameras 0, expected at least 1", id="no-camera"),
        pytest.param({"repeats": 0}, "repeats 0", id="no-frame"),
        pytest.param({"pictures": 4}, "pictures 4, expected at least 5", id="too-few-pictures"),
        pytest.param({"precisions": ("fp16",)}, "unknown precision 'fp16', expected one of fp32", id="precision"),
        pytest.param({"precisions": ()}, "nothing to try", id="nothing"),
        pytest.param({"image_sizes": ((32, 32),)}, "image size 32 px", id="tiny"),
        pytest.param({"coreset_ratios": (0.1, 1.5)}, "coreset ratio 1.5", id="more-than-all"),
        pytest.param({"coreset_ratios": (0.1, 0.1)}, "a coreset ratio was given twice", id="twice"),
        pytest.param({"backbones": (BackboneChoice(name="a"),) * 2}, "a backbone was given twice", id="same-backbone"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        PlanConfig(target_ms=30, **values)
