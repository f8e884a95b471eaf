"""Intervals of a whole test set, and of each kind of defect."""

from typing import Any

import numpy as np
import pytest

from nut_train.metrics import image_auroc
from nut_train.statistics.bootstrap import bootstrap
from nut_train.statistics.confidence import confidence
from nut_train.statistics.scored import Scored


def _scored(**changes: Any) -> Scored:
    rng = np.random.default_rng(0)
    kinds = ("good",) * 40 + ("scratch",) * 25 + ("dent",) * 15
    scores = rng.normal(np.array([{"good": 0.0, "scratch": 1.0, "dent": 2.0}[kind] for kind in kinds]))
    values = {"kinds": kinds, "scores": scores, "rejected": scores > 1.5, "false_reject_rate": 0.05} | changes
    return Scored(**values)


def test_every_figure_lies_in_its_interval():
    scored = _scored()
    sure = confidence(scored)
    values = {name: float(found[0]) for name, found in scored.figures(np.ones((1, 80))).items()}
    assert set(sure.intervals) == {"auroc", "average_precision", "f1", "recall", "recall_at_rate", "false_reject_rate"}
    assert all(found.low <= values[name] <= found.high for name, found in sure.intervals.items())
    assert {name for name, found in sure.intervals.items() if found.method == "exact"} == {
        "recall",
        "false_reject_rate",
    }


def test_many_kinds_of_one_picture_each_make_no_interval_too_sure():
    rng = np.random.default_rng(0)
    kinds = ("good",) * 200 + tuple(f"kind-{number}" for number in range(24))
    means = np.array([0.0] * 200 + [1.0] * 24)
    truth = 0.7602  # of normal scores with means 1 apart: the normal distribution at 1/sqrt(2)
    held = 0
    for trial in range(100):
        scores = rng.normal(means)
        scored = Scored(kinds=kinds, scores=scores, rejected=scores > 1.5)
        found = bootstrap(scored.figures, scored.strata, seed=trial, resamples=400)["auroc"]
        held += found.low <= truth <= found.high
    assert held >= 88  # 95 of 100, less three standard errors; within kinds it were 41


def test_each_kind_is_measured_against_all_good_pictures():
    scored = _scored()
    dent, scratch = confidence(scored).kinds
    assert (dent.kind, dent.pictures, scratch.kind, scratch.pictures) == ("dent", 15, "scratch", 25)
    kinds = np.array(scored.kinds)
    members = np.isin(kinds, ["good", "dent"])
    assert dent.figures["auroc"] == pytest.approx(
        image_auroc(scored.scores[members], kinds[members] == "dent"), rel=1e-12
    )
    assert dent.found == scored.rejected[kinds == "dent"].sum()
    assert dent.intervals["recall"].low < dent.figures["recall"] < dent.intervals["recall"].high


def test_the_order_of_the_pictures_changes_no_figure():
    scored = _scored()
    order = np.random.default_rng(1).permutation(80)
    shuffled = scored.chosen(order.tolist())
    plain = np.ones((1, 80))
    one, other = scored.figures(plain), shuffled.figures(plain)
    # 1e-12: the same sums in another order
    assert {name: pytest.approx(value, rel=1e-12) for name, value in one.items()} == other


def test_a_perfect_auroc_gets_the_exact_interval():
    scored = _scored(scores=np.arange(80.0), rejected=np.arange(80) >= 40)
    found = confidence(scored).intervals["auroc"]
    assert (found.method, found.high) == ("exact", 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 40))
    assert "f1" not in confidence(scored).intervals  # every resample is perfect: nothing can be said


@pytest.mark.parametrize("kind", ["good", "dent"])
def test_one_class_alone_has_its_rate_and_nothing_else(kind):
    sure = confidence(_scored(kinds=(kind,) * 80))
    assert set(sure.intervals) == {"false_reject_rate" if kind == "good" else "recall"}
