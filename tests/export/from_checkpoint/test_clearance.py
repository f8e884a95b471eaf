"""A threshold keeps its distance from the scores it is proven on, and no further."""

from pathlib import Path

import numpy as np
import pytest

from nut_export.from_checkpoint.clearance import keep_clear, rounding
from nut_runtime.scoring import Scale
from nut_train.predict import Prediction

SCALE = Scale(threshold=5, minimum=2, maximum=10)
EMPTY = np.empty((0, 0))


def prediction(raw_score, is_defective):
    return Prediction(
        path=Path("a.png"),
        raw_score=raw_score,
        raw_map=EMPTY,
        pred_score=0.5,
        pred_label=is_defective,
        anomaly_map=EMPTY,
        pred_mask=EMPTY,
    )


@pytest.mark.parametrize(
    ("scores", "threshold"),
    [
        pytest.param([], 5, id="no-pictures"),
        pytest.param([(4.5, False), (5.5, True)], 5, id="none-near"),
        pytest.param([(5.0, False)], 5.1, id="good-on-it"),
        pytest.param([(5.0001, True)], 4.9001, id="defective-on-it"),
        pytest.param([(4.95, False), (4.9, False)], 5.05, id="the-nearest-of-two"),
        pytest.param([(5.0, False), (5.04, True)], 5.02, id="between-both"),
        pytest.param([(5.0, False), (5.15, True)], 5.075, id="not-onto-the-next"),
        pytest.param([(4.95, False), (5.2, True)], 5.05, id="room-enough"),
    ],
)
def test_the_threshold_is_moved_no_further_than_it_must(scores, threshold):
    moved = keep_clear(SCALE, [prediction(*score) for score in scores], 0.1)
    assert moved.threshold == pytest.approx(threshold)
    assert (moved.minimum, moved.maximum) == (2, 10)


def test_rounding_grows_with_what_cancels_and_is_never_below_a_share_of_the_threshold():
    assert rounding(5.0, np.zeros((2, 3), np.float32)) == pytest.approx(5e-5)
    # |b|^2 = 3e6 at a distance of 5: float32's eps of 1.2e-7 is 0.36 of it, 0.07 of the distance, four times that
    bank = np.full((2, 3), 1000, np.float32)
    assert rounding(5.0, bank) == pytest.approx(4 * 2**-23 * 3e6 / 5)
