"""The limits of drift come by chance at the stated rate at most, whatever is measured."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from nut_runtime.rank_limits import count_limit, pair_limit


def pairs_of(calibrated, window) -> int:
    return sum(new > old for new in window for old in calibrated)


@pytest.mark.parametrize("rate", [0.3, 0.1, 0.03])
def test_a_limit_is_that_of_all_orders_that_seven_values_can_come_in(rate):
    counts = [pairs_of(order[:4], order[4:]) for order in itertools.permutations(range(7))]
    limit = pair_limit(4, 3, rate)
    assert np.mean([count >= limit for count in counts]) <= rate
    assert np.mean([count >= limit - 1 for count in counts]) > rate


def test_few_values_can_show_nothing_at_a_small_rate():
    assert pair_limit(7, 32, 1e-7) == 7 * 32  # one order of 15,380,937
    assert pair_limit(6, 32, 1e-7) == math.inf
    assert pair_limit(0, 32, 1e-7) == math.inf
    assert pair_limit(6, 128, 1e-12) == math.inf


@pytest.mark.parametrize("calibrated", [15, 48, 76, 128])
@pytest.mark.parametrize("rate", [1e-3, 1e-5, 1e-7, 1e-9])
def test_the_normal_limit_promises_less_than_it_keeps(calibrated, rate):
    """Where both can be worked out; `pair_limit` takes the normal one for more values than those."""
    pairs = calibrated * 32
    deviation = math.sqrt(pairs * (calibrated + 33) / 12)
    normal = math.ceil(pairs / 2 - NormalDist().inv_cdf(rate) * deviation + 0.5)
    assert normal >= pair_limit(calibrated, 32, rate)


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "exponential"])
@pytest.mark.parametrize("window", [32, 128])
def test_the_rate_is_kept_whatever_the_distribution(draw, window):
    generator = np.random.default_rng(5)
    rate, tries = 0.02, 3_000
    limit = pair_limit(30, window, rate)
    exceeded = 0
    for _ in range(tries):
        values = getattr(generator, draw)(size=30 + window)
        exceeded += (values[30:, None] > values[None, :30]).sum() >= limit
    # three deviations of a binomial count above the rate
    assert exceeded <= tries * rate + 3 * math.sqrt(tries * rate)


def test_a_count_limit_is_that_of_the_binomial_distribution():
    limit = count_limit(32, 0.1, 1e-4)
    tail = sum(math.comb(32, count) * 0.1**count * 0.9 ** (32 - count) for count in range(limit, 33))
    assert tail <= 1e-4 < tail + math.comb(32, limit - 1) * 0.1 ** (limit - 1) * 0.9 ** (33 - limit)
    assert count_limit(2, 0.5, 0.1) == 3
