"""The rules by which a threshold is put; the conformal one is in test_calibrate.py."""

import itertools

import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_train.thresholds import Rule, best_f1_threshold, place_of, quantile_threshold, threshold_at

RATES = (0.001, 0.01, 0.05, 0.2, 1 / 3, 0.5)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("count", [1, 2, 9, 10, 99, 100])
def test_the_plain_quantile_rejects_at_most_the_rate_of_its_own_scores_and_lies_no_higher(count, rate):
    scores = np.random.default_rng(count).gamma(9.0, 4.0, count)
    threshold = quantile_threshold(scores, rate)
    assert np.mean(scores > threshold) <= rate
    assert threshold <= threshold_at(scores, rate)
    assert threshold not in scores


def test_a_fresh_part_exceeds_the_plain_quantile_more_often_than_its_rate_says():
    rng = np.random.default_rng(0)
    rate, count = 0.1, 19
    # Shares of fresh uniform scores above the threshold; the quantile puts it between the 18th and 19th of 19.
    shares = [1 - quantile_threshold(rng.random(count), rate) for _ in range(3000)]
    expected = (count + 1 - 18.5) / (count + 1)  # half-way between two order statistics of uniforms
    # three standard errors
    assert np.mean(shares) == pytest.approx(0.075, abs=3 * np.std(shares) / 3000**0.5)
    assert expected == 0.075
    assert (count + 1 - place_of(count, rate, Rule.QUANTILE)) / (count + 1) == pytest.approx(0.1)


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_between_the_scores_has_a_better_f1(seed):
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(seed)
    defective = rng.random(40) < 0.4
    scores = rng.integers(0, 12, 40) + 3.0 * defective  # with ties
    found = f1_score(defective, scores > best_f1_threshold(scores, defective))
    steps = np.unique(scores)
    others = [f1_score(defective, scores > (a + b) / 2) for a, b in itertools.pairwise(steps)]
    assert found == pytest.approx(max(others), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "defective", "says"),
    [
        pytest.param([1.0, 2.0], [False, False], "needs good and defective", id="no-defects"),
        pytest.param([1.0, 2.0], [True, True], "needs good and defective", id="no-good"),
        pytest.param([], [], "needs good and defective", id="nothing"),
        pytest.param([1.0, np.nan], [False, True], "not a finite number", id="nan"),
        pytest.param([2.0, 2.0], [False, True], "the same score", id="all-the-same"),
    ],
)
def test_f1_without_what_it_needs_is_refused(scores, defective, says):
    with pytest.raises(InputError, match=says):
        best_f1_threshold(np.array(scores), np.array(defective, bool))
