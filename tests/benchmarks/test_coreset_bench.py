"""The measurement of the coreset beside anomalib's."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nut_benchmarks.coreset import covering_radius, main, measure_coreset
from nut_runtime.errors import InputError


def test_the_covering_radius_is_the_largest_distance_to_a_pick():
    features = torch.randn(5000, 8, generator=torch.Generator().manual_seed(0))  # more than a block of rows
    picks = np.arange(0, 5000, 7)
    distances = torch.cdist(features.double(), features[picks].double()).min(dim=1).values
    assert covering_radius(features, picks) == pytest.approx(float(distances.max()), rel=1e-9)


@pytest.mark.parametrize(
    ("array", "ratio", "says"),
    [
        pytest.param(np.zeros(5, np.float32), 1.0, r"float32 of shape \[5\], expected float32 \[N, D\]", id="one-axis"),
        pytest.param(np.zeros((5, 2)), 1.0, "float64 of shape", id="double"),
        pytest.param(np.zeros((5, 2), np.float32), 0.3, "keeps 1 of 5 rows, at least 2", id="too-few"),
    ],
)
def test_features_that_cannot_be_measured_are_refused(tmp_path, array, ratio, says):
    np.save(tmp_path / "features.npy", array)
    with pytest.raises(InputError, match=says):
        measure_coreset(tmp_path / "features.npy", ratio=ratio, anomalib_picks=2, threads=1, seed=0)


@pytest.mark.slow
def test_both_pick_the_same_rows_and_the_figures_say_so(tmp_path):
    np.save(tmp_path / "features.npy", np.random.default_rng(0).standard_normal((3000, 40), np.float32))
    result = CliRunner().invoke(
        main, ["--features", str(tmp_path / "features.npy"), "--ratio", "0.02", "--anomalib-picks", "40", "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["picks"], found["picks_compared"], found["picks_equal"]) == (60, 40, 40)
    assert found["ours"]["radius_of_compared"] == found["anomalib"]["radius_of_compared"] > found["ours"]["radius"] > 0
    assert found["anomalib"]["seconds_all"] == pytest.approx(1.5 * found["anomalib"]["seconds"])
