"""Intervals hold what they say, and claim nothing where the pictures say nothing."""

import numpy as np
import pytest
from scipy.stats import norm

from nut_train.statistics.bootstrap import bootstrap, exact_rate, mcnemar, perfect_ranking
from nut_train.statistics.counts import auroc


def _auroc_of(scores: np.ndarray, truth: np.ndarray):
    order = np.argsort(scores)

    def figures(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {"auroc": auroc((counts * ~truth)[:, order], (counts * truth)[:, order])}

    return figures


def test_95_of_100_intervals_hold_the_true_auroc():
    rng = np.random.default_rng(0)
    truth = np.arange(100) >= 60
    true = norm.cdf(1 / np.sqrt(2))  # two normal distributions one standard deviation apart
    held = 0
    for trial in range(200):
        found = bootstrap(_auroc_of(rng.normal(truth * 1.0), truth), truth.astype(int), seed=trial, resamples=400)
        held += found["auroc"].low <= true <= found["auroc"].high
    # 190 are due; 3 standard deviations of the binomial are 9, and the percentile interval falls a little short
    assert 178 <= held <= 199


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    truth = np.arange(40) >= 20
    figures = _auroc_of(np.random.default_rng(1).normal(truth * 1.0), truth)
    one, same, other = (bootstrap(figures, truth.astype(int), seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_a_resample_has_as_many_pictures_of_each_stratum_as_the_test_set():
    strata = np.array([0, 1, 1, 2, 2, 2])
    seen = []

    def keep(counts: np.ndarray) -> dict[str, np.ndarray]:
        seen.append([counts[:, strata == stratum].sum(axis=1) for stratum in range(3)])
        return {}

    bootstrap(keep, strata, resamples=300)
    assert sum(len(part[0]) for part in seen) == 300
    assert all((part[stratum] == stratum + 1).all() for part in seen for stratum in range(3))


def test_a_figure_that_no_resample_moves_has_no_interval():
    found = bootstrap(
        lambda counts: {"one": np.ones(len(counts)), "none": np.full(len(counts), np.nan)}, np.zeros(5, int)
    )
    assert found == {}


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # Clopper and Pearson's closed form where all or none are hits: (alpha / 2) ** (1 / n)
        pytest.param(0, 10, 0.0, 1 - 0.025 ** (1 / 10), id="none"),
        pytest.param(10, 10, 0.025 ** (1 / 10), 1.0, id="all"),
        pytest.param(3, 6, 0.1181, 0.8819, id="half"),  # as printed in tables
    ],
)
def test_the_exact_interval_of_a_rate_is_clopper_and_pearsons(hits, total, low, high):
    found = exact_rate(hits, total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.method == "exact"


def test_nothing_is_said_of_a_rate_of_no_pictures():
    assert exact_rate(0, 0) is None
    assert perfect_ranking(0, 5) is None


def test_a_perfect_ranking_of_few_pictures_is_no_certainty():
    assert perfect_ranking(25, 6).low == pytest.approx(0.025 ** (1 / 6))
    assert perfect_ranking(1000, 1000).low > 0.99


def test_three_changed_verdicts_all_for_the_better_may_be_chance_and_eight_are_not():
    assert mcnemar(3, 0) > 0.05
    assert mcnemar(8, 0) < 0.01
    assert mcnemar(5, 5) == 1.0
