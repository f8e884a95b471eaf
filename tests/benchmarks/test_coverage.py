"""The coverage benchmark: its scores are PatchCore's own, and its table is about what it says."""

import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nut_benchmarks.coverage import METHODS, CoverageConfig, main, measure_coverage
from nut_benchmarks.coverage_scores import CoresetBanks, FullBanks, Scores, embeddings_of
from nut_dataset.layout import open_dataset
from nut_runtime.errors import InputError
from nut_train.predict import predict
from nut_train.run import open_run


class _Uniform:
    """Parts whose scores are independent of every bank."""

    def __init__(self, count: int) -> None:
        self.values = np.random.default_rng(0).random(count)

    def scores(self, bank: np.ndarray, judged: np.ndarray) -> Scores:
        assert not set(bank) & set(judged)
        return self.values[judged], self.values[judged]


def test_scores_without_any_bank_keep_the_rate_by_every_conformal_method():
    config = CoverageConfig(splits=400, rates=(0.2, 0.1))
    for one in measure_coverage(_Uniform(150), 150, config):
        assert len(one.rejected) == 400
        if one.method == METHODS[1]:
            continue
        # independent of the bank, cross-fitted scores are exchangeable with fresh ones
        assert one.mean <= one.rate + one.error


def test_the_plain_quantile_rejects_more_than_the_conformal_threshold():
    found = {one.method: one.mean for one in measure_coverage(_Uniform(60), 60, CoverageConfig(rates=(0.1,)))}
    assert found["plain quantile"] > found["split conformal"]


def test_cross_fitting_calibrates_with_every_picture_that_is_not_tested():
    config = CoverageConfig(splits=2, rates=(0.1,), test=0.25, holdout=0.4)
    sizes = {one.method: one.pictures for one in measure_coverage(_Uniform(80), 80, config)}
    assert sizes == {"split conformal": 24, "plain quantile": 24, "cross-fitted": 60}


@pytest.fixture(scope="module")
def model(run_folder):
    return open_run(run_folder).load()


@pytest.fixture(scope="module")
def embeddings(model, nuts):
    return embeddings_of(model, open_dataset(nuts).train_good[:8])


def test_a_full_bank_of_some_pictures_gives_anomalibs_own_scores_and_peaks(model, embeddings, nuts):
    features, grid = embeddings
    bank, judged = np.array([1, 4, 6]), np.array([0, 7])
    raw, peaks = FullBanks(features, grid, (128, 96)).scores(bank, judged)
    kept = model.model.memory_bank, model.model.num_neighbors
    model.model.memory_bank, model.model.num_neighbors = features[torch.from_numpy(bank)].flatten(0, 1), 1
    found = []
    predict(model, [open_dataset(nuts).train_good[place] for place in judged], found.append, device="cpu")
    model.model.memory_bank, model.model.num_neighbors = kept
    # float32 sums in another order, of squares whose differences are taken
    assert raw == pytest.approx([one.raw_score for one in found], rel=1e-4)
    assert peaks == pytest.approx([float(one.raw_map.max()) for one in found], rel=1e-4)


def test_a_larger_bank_never_raises_a_score(embeddings):
    """What the bound of cross-fitting rests on."""
    features, grid = embeddings
    banks = FullBanks(features, grid, (128, 96))
    judged = np.array([0])
    small, large = banks.scores(np.array([1, 2]), judged), banks.scores(np.array([1, 2, 3, 4]), judged)
    assert large[0] <= small[0]
    assert large[1] <= small[1]


def test_a_thinned_bank_keeps_the_share_of_patches_that_was_asked_for(model, embeddings):
    features, grid = embeddings
    kept = model.model.memory_bank
    scorer = CoresetBanks(model, features, 0.1, grid, (128, 96))
    raw, peaks = scorer.scores(np.array([1, 2, 3]), np.array([0]))
    assert len(model.model.memory_bank) == int(0.1 * 3 * features.shape[1])
    assert raw[0] > 0 < peaks[0]
    model.model.memory_bank = kept


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"rates": (0.6,)}, "rate 0.6", id="rate"),
        pytest.param({"test": 1.0}, "test share 1", id="test"),
        pytest.param({"splits": 1}, "1 splits", id="splits"),
    ],
)
def test_a_value_outside_its_range_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        CoverageConfig(**options)


def test_too_few_pictures_are_one_line(nuts):
    result = CliRunner().invoke(main, [str(nuts)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "15 different good pictures, at least 20 are needed" in result.stderr


@pytest.mark.slow
@pytest.mark.data
def test_on_real_nuts_the_stated_rate_holds(real_data):
    options = ["--splits", "50", "--image-size", "64", "--rate", "0.1"]
    result = CliRunner().invoke(main, [str(real_data / "nuts"), *options])
    assert result.exit_code == 0, result.output
    (mean, error) = re.findall(r"\| image \| split conformal \| 0.1 \|.*?\| ([\d.]+)% ± ([\d.]+)%", result.output)[0]
    assert float(mean) <= 10 + float(error)
