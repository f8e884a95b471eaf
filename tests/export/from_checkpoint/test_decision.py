"""Thresholds and ranges are those with which anomalib decides, its fallbacks and sensitivities included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nut_export.from_checkpoint.run import open_checkpoint
from nut_runtime.errors import InputError
from nut_runtime.scoring import is_defective, normalise


def _state(**values: float):
    """Return a change of the post-processor's tensors."""
    return lambda content: content["state_dict"].update(
        {f"post_processor.{name}": torch.tensor(float(value)) for name, value in values.items()}
    )


def _settings(**values: object):
    """Return a change of the post-processor's settings."""
    return lambda content: content["anomalib_post_processor_config"].update(values)


def _both(*changes: Callable[[dict[str, Any]], object]):
    def change(content):
        for one in changes:
            one(content)

    return change


RANGES = _state(image_min=2, image_max=10, pixel_min=1, pixel_max=9, _image_threshold=5, _pixel_threshold=4)


def test_threshold_and_ranges_carry_over_as_they_are(altered):
    point = open_checkpoint(altered(RANGES)).point
    assert (point.image.threshold, point.image.minimum, point.image.maximum) == (5, 2, 10)
    assert (point.pixel.threshold, point.pixel.minimum, point.pixel.maximum) == (4, 1, 9)


def test_without_masks_pixels_take_the_images_threshold_as_anomalib_does(altered):
    point = open_checkpoint(altered(_both(RANGES, _state(_pixel_threshold=np.nan)))).point
    assert point.pixel.threshold == point.image.threshold == 5


def test_with_matching_turned_off_pixels_take_the_middle_of_their_range(altered):
    change = _both(RANGES, _state(_pixel_threshold=np.nan), _settings(enable_threshold_matching=False))
    assert open_checkpoint(altered(change)).point.pixel.threshold == 5  # (1 + 9) / 2


@pytest.mark.parametrize(("sensitivity", "threshold"), [(0.25, 7), (0.5, 5), (0.75, 3), (1, 1)])
def test_a_sensitivity_moves_the_threshold_by_its_distance_from_a_half_of_the_range(altered, sensitivity, threshold):
    change = _both(RANGES, _settings(image_sensitivity=sensitivity, pixel_sensitivity=sensitivity))
    point = open_checkpoint(altered(change)).point
    assert point.image.threshold == pytest.approx(threshold)
    assert point.pixel.threshold == pytest.approx(threshold - 1)


@pytest.mark.parametrize("sensitivity", [0.25, 0.5, 0.75, 1])
def test_the_post_processor_decides_as_anomalibs_own_and_scores_as_ours(altered, sensitivity):
    from anomalib.data import ImageBatch
    from anomalib.post_processing import PostProcessor

    change = _both(RANGES, _settings(image_sensitivity=sensitivity, pixel_sensitivity=sensitivity))
    run = open_checkpoint(altered(change))
    raw = torch.linspace(0.05, 12.03, 50)  # no score on a threshold, where rounding would decide
    maps = raw.reshape(50, 1, 1, 1) - 1

    def judged(post):
        batch = ImageBatch(image=torch.zeros(50, 3, 2, 2), pred_score=raw.clone(), anomaly_map=maps.clone())
        post.post_process_batch(batch)
        return batch

    own = PostProcessor(image_sensitivity=sensitivity, pixel_sensitivity=sensitivity)
    own.load_state_dict(run.load().post_processor.state_dict())
    theirs, ours = judged(own), judged(run.load().post_processor)
    assert torch.equal(theirs.pred_label, ours.pred_label)
    assert torch.equal(theirs.pred_mask, ours.pred_mask)
    expected = normalise(raw.numpy(), run.point.image)
    # the moved threshold is summed in float32 there and in float64 here: one ulp of 7 is 5e-7, over a range of 8
    np.testing.assert_allclose(ours.pred_score.numpy(), expected, atol=3e-7)
    np.testing.assert_array_equal(is_defective(expected), ours.pred_label.numpy())
    map_scores = normalise(maps.numpy().squeeze(), run.point.pixel)
    np.testing.assert_allclose(ours.anomaly_map.numpy().squeeze(), map_scores, atol=3e-7)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(_state(_image_threshold=np.nan, _pixel_threshold=np.nan), "has no threshold", id="threshold"),
        pytest.param(_state(image_min=np.nan, image_max=np.nan), "has no threshold.*engine.validate", id="range"),
        pytest.param(_state(image_min=3, image_max=3), "image range 3 to 3, which tells nothing apart", id="no-width"),
        pytest.param(_state(pixel_min=3, pixel_max=1), "pixel range 3 to 1", id="reversed"),
        pytest.param(_state(pixel_max=np.inf), "pixel range .* to inf", id="infinite"),
        pytest.param(_state(_image_threshold=0), "rejects above a distance of 0, which is every part", id="zero"),
        pytest.param(_settings(image_sensitivity=0.0), "the image_sensitivity 0.0, at which all", id="insensitive"),
        pytest.param(_settings(pixel_sensitivity=1.5), "the pixel_sensitivity 1.5, at which all", id="too-sensitive"),
        pytest.param(_settings(image_sensitivity=None), "the image_sensitivity None", id="none"),
        pytest.param(_settings(enable_normalization=False), "has normalisation turned off", id="not-normalised"),
        pytest.param(_settings(enable_thresholding=False), "has thresholds turned off", id="no-thresholds"),
        pytest.param(_settings(sample_rate=4), r"of another kind \(it has sample_rate\)", id="another-kind"),
        pytest.param(lambda content: content.pop("anomalib_post_processor_config"), "of another kind;", id="custom"),
        pytest.param(
            lambda content: content["anomalib_components_enabled"].update(post_processor=False),
            "without a post-processor",
            id="switched-off",
        ),
    ],
)
def test_a_checkpoint_whose_verdicts_cannot_be_taken_over_is_refused(altered, change, says):
    path = altered(change)
    with pytest.raises(InputError, match=says):
        open_checkpoint(path)
