"""What a threshold promises, and what is said of it."""

import numpy as np
import pytest
from scipy.stats import beta

from nut_runtime.errors import InputError
from nut_train.calibrate import calibrate
from nut_train.promise import confident_rate, crossfit_bound, pictures_needed
from nut_train.promise_words import review_words, warnings_of
from nut_train.thresholds import Rule

SCORES = np.random.default_rng(0).gamma(9.0, 4.0, 60)


def _json(**options: object) -> dict:
    return calibrate(SCORES, SCORES / 2, **options).to_json()


@pytest.mark.parametrize(("count", "above"), [(1, 0), (20, 0), (99, 0), (99, 4), (1000, 30), (5000, 49)])
def test_the_confident_rate_is_the_quantile_of_the_beta_distribution(count, above):
    # 1e-6: its own bisection ends at 1e-9, and 5,000 factorials as logarithms keep nine digits
    assert confident_rate(count, above) == pytest.approx(beta.ppf(0.95, above + 1, count - above), abs=1e-6)


def test_where_all_lie_above_nothing_is_promised():
    assert confident_rate(5, 5) == 1.0


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.05, 0.01, 0.005, 1 / 3, 0.003])
def test_as_many_pictures_as_are_needed_suffice_and_one_less_does_not(rate):
    count = pictures_needed(rate)
    scores = np.arange(1.0, count + 1)
    assert calibrate(scores, scores, false_reject_rate=rate).promise.bound <= rate + 1e-12
    assert calibrate(scores, scores, false_reject_rate=rate).is_supported
    if count > 1:
        assert not calibrate(scores[1:], scores[1:], false_reject_rate=rate).is_supported


def test_held_out_pictures_promise_what_the_rank_says_and_no_more():
    promised = _json(false_reject_rate=0.1)["promise"]
    assert promised["bound"] == pytest.approx(6 / 61)  # k = ceil(61 * 0.9) = 55 of 60
    assert promised["above"] == 5


def test_too_few_pictures_promise_one_over_n_plus_one_and_say_how_many_are_needed():
    found = _json(false_reject_rate=0.01)
    assert found["promise"]["bound"] == pytest.approx(1 / 61)
    assert not found["is_supported"]
    assert any(
        "60 held-out pictures can speak for no less than 1.64%; 1% needs 99" in line for line in warnings_of(found)
    )


def test_the_bound_of_cross_fitting_is_that_of_barber_and_others():
    # by hand: 2 * 0.1 + min(2 * 0.8 / (60 / 5 + 1), (1 - 5 / 60) / 6)
    assert crossfit_bound(60, 5, 0.1) == pytest.approx(0.2 + min(1.6 / 13, (55 / 60) / 6))
    assert crossfit_bound(10, 2, 0.5) == 1.0
    assert crossfit_bound(60, 60, 0.1) == pytest.approx(0.2)  # the jackknife+


def test_cross_fitted_pictures_promise_less_and_nothing_of_the_one_calibration():
    found = _json(false_reject_rate=0.1, method="crossfit", folds=5)
    assert found["promise"]["bound"] > 2 * found["promise"]["mean_rate"]
    assert found["promise"]["confident_rate"] is None
    assert any("not exact" in line for line in found["guarantee"])
    assert found["point"] == _json(false_reject_rate=0.1)["point"]


@pytest.mark.parametrize("rule", [Rule.CONFORMAL, Rule.QUANTILE])
def test_of_cross_fitted_pictures_nothing_is_proven_where_each_fold_has_its_own_whitening(rule):
    """The final bank holds all rows of theirs, and its distances are smaller only in the same metric."""
    found = _json(false_reject_rate=0.1, method="crossfit", folds=5, is_whitened=True, rule=rule)
    assert found["promise"]["bound"] is None
    assert found["promise"]["mean_rate"] == pytest.approx((7 if rule is Rule.QUANTILE else 6) / 61)
    said = " ".join(found["guarantee"])
    assert "aimed at" in said
    assert "none is proven" in said
    assert "at most" not in said
    assert warnings_of(found) == []


def test_a_whitening_takes_nothing_from_what_held_out_pictures_promise():
    plain, whitened = (_json(false_reject_rate=0.1, is_whitened=whiten) for whiten in (False, True))
    assert whitened["guarantee"] == plain["guarantee"]
    assert whitened["promise"] == plain["promise"]


def test_a_plain_quantile_warns_of_what_it_does_not_promise():
    found = _json(false_reject_rate=0.05, rule=Rule.QUANTILE)
    assert found["promise"]["bound"] == pytest.approx(4 / 61)
    assert warnings_of(found) == ["a plain quantile promises no more than 6.56% where 5% was asked for"]


@pytest.mark.parametrize("rule", [Rule.F1, Rule.VALUE])
def test_a_threshold_from_elsewhere_promises_nothing_on_average_but_counts(rule):
    found = _json(false_reject_rate=0.01, rule=rule, value=float(np.sort(SCORES)[-4]))
    assert found["promise"]["bound"] is None
    assert found["promise"]["above"] == 3
    assert found["false_reject_rate"] == pytest.approx(4 / 61)
    assert found["promise"]["confident_rate"] == pytest.approx(beta.ppf(0.95, 4, 57), abs=1e-6)
    assert any("has seen the test defects" in line for line in warnings_of(found)) == (rule is Rule.F1)


@pytest.mark.parametrize("value", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_a_value_that_is_no_threshold_is_refused(value):
    with pytest.raises(InputError, match="needs a raw score above 0"):
        calibrate(SCORES, SCORES, false_reject_rate=0.01, rule=Rule.VALUE, value=value)


def test_review_begins_below_the_threshold_at_its_own_rate():
    found = calibrate(SCORES, SCORES, false_reject_rate=0.05, review_rate=0.2)
    assert found.point.review_from == calibrate(SCORES, SCORES, false_reject_rate=0.2).point.image.threshold
    assert found.point.review_from < found.point.image.threshold


def test_of_the_review_is_said_what_its_rank_promises_and_no_more():
    few = np.arange(1.0, 16.0)
    found = calibrate(few, few, false_reject_rate=0.01, rule=Rule.VALUE, value=40.0, review_rate=0.05).to_json()
    assert found["point"]["review_from"] > 15
    assert review_words(found) == "at most 6.25% of good parts for review or rejected"
    (line,) = warnings_of(found)
    assert line.startswith("15 held-out pictures can speak for no less than 6.25% for review or rejected; 5% needs 19 ")
    enough = calibrate(few, few, false_reject_rate=0.1, review_rate=0.25).to_json()
    assert review_words(enough) == "at most 25% of good parts for review or rejected"
    assert not any("review" in line for line in warnings_of(enough))


def test_a_plain_quantile_warns_of_the_review_too():
    few = np.arange(1.0, 16.0)
    found = calibrate(few, few, false_reject_rate=0.05, rule=Rule.QUANTILE, review_rate=0.1).to_json()
    assert review_words(found) == "at most 12.5% of good parts for review or rejected"
    assert warnings_of(found)[-1] == (
        "a plain quantile promises no more than 12.5% for review or rejected where 10% was asked for"
    )


def test_of_the_review_of_cross_fitted_pictures_is_said_what_is_aimed_at_and_what_is_proven():
    given = {"false_reject_rate": 0.05, "review_rate": 0.2, "method": "crossfit", "folds": 5}
    rate = 12 / 61  # k = ceil(61 * 0.8) = 49 of 60, so that 11 lie above
    bound = 100 * crossfit_bound(60, 5, rate)
    assert review_words(_json(**given)) == (
        f"aimed at {100 * rate:.3g}% of good parts for review or rejected; proven (cross-validation+, full bank, no "
        f"weighing, no whitening) is at most {bound:.3g}%"
    )
    assert "at most" not in review_words(_json(**given, is_whitened=True))
    older = {key: value for key, value in _json(**given).items() if key != "review_promise"}
    assert review_words(older) == "aimed at 20% of good parts for review or rejected"


def test_where_the_pictures_do_not_tell_the_two_rates_apart_none_is_for_review_and_that_is_said():
    found = _json(false_reject_rate=0.001, review_rate=0.002)
    assert "review_from" not in found["point"]
    assert any("no part is for review" in line for line in warnings_of(found))


def test_pictures_that_show_what_others_show_are_refused():
    with pytest.raises(InputError, match="all 6 calibration pictures score 0"):
        calibrate(np.zeros(6), np.zeros(6), false_reject_rate=0.1)
