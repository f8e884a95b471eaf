"""Whitened patch features: the Mahalanobis distance, found block by block, and carried through run and checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from nut_dataset.layout import open_dataset
from nut_runtime.pictures import read_picture
from nut_train.config import TrainConfig
from nut_train.embedding import embed
from nut_train.extend import extend
from nut_train.extend_config import ExtendConfig
from nut_train.predict import Prediction, predict
from nut_train.recalibrate import recalibrate
from nut_train.run import RECORD, open_run
from nut_train.train import train
from nut_train.whitening import find_whitening

WIDTH = 6


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """Correlated features far from the origin, float32 (500, 6), whose spreads differ a hundred times."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(500, WIDTH, generator=generator) @ torch.randn(WIDTH, WIDTH, generator=generator)
    return mixed * torch.logspace(-1, 1, WIDTH) + 50


def test_whitened_features_vary_alike_in_all_directions(features):
    whitened = find_whitening([features], width=WIDTH, shrinkage=1e-9).apply(features)
    # float32 features of about 50 carry 4e-6 of rounding, which the narrowest direction (0.05) enlarges
    np.testing.assert_allclose(torch.cov(whitened.T, correction=0), np.eye(WIDTH), atol=2e-3)
    np.testing.assert_allclose(whitened.mean(dim=0), np.zeros(WIDTH), atol=2e-3)


def test_distances_are_mahalanobis_distances(features):
    whitened = find_whitening([features], width=WIDTH, shrinkage=1e-9).apply(features)
    inverse = np.linalg.inv(np.cov(features.double().numpy().T, ddof=0))
    for a, b in ((0, 1), (7, 300), (42, 499)):
        expected = mahalanobis(features[a].double(), features[b].double(), inverse)
        assert torch.dist(whitened[a], whitened[b]).item() == pytest.approx(expected, rel=2e-3)


def test_how_features_come_in_blocks_does_not_matter(features):
    whole = find_whitening([features], width=WIDTH)
    parts = find_whitening(features.split(17), width=WIDTH)
    # both sums are in float64, about different points
    torch.testing.assert_close(parts.matrix, whole.matrix, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.mean, whole.mean)


def test_a_channel_that_never_varies_does_not_count_without_end(features):
    constant = torch.cat([features, torch.full((len(features), 1), 3.0)], dim=1)
    whitening = find_whitening([constant], width=WIDTH + 1)
    assert torch.isfinite(whitening.matrix).all()
    variance = float(torch.var(features.double(), dim=0, correction=0).sum()) / (WIDTH + 1)
    assert whitening.matrix[-1, -1].item() == pytest.approx((0.01 * variance) ** -0.5, rel=1e-3)


CONFIG = TrainConfig(image_height_px=64, image_width_px=96, coreset_ratio=0.05, device="cpu", whiten=True)


@pytest.fixture(scope="module")
def whitened(nuts, tmp_path_factory) -> Path:
    """A run with whitened features."""
    folder = tmp_path_factory.mktemp("whitened") / "run"
    train(nuts, folder, CONFIG)
    return folder


def test_the_patches_that_made_the_bank_are_white_in_the_loaded_model(whitened, nuts):
    model = open_run(whitened).load()
    names = set(json.loads((whitened / RECORD).read_text())["split"]["bank"])
    bank = [path for path in open_dataset(nuts).train_good if path.name in names]
    patches = torch.cat([embed(model, read_picture(path)).flatten(0, 1) for path in bank])
    variances = torch.linalg.eigvalsh(torch.cov(patches.T, correction=0))
    # v / (v + 0.01 of the mean): near 1 where features vary, less where they hardly do, never more. The bank's own
    # rows are of pictures resized in batches, hence the hundredth.
    assert 0.99 < variances.max() < 1.01
    assert variances.median() > 0.7


def test_the_banks_rows_are_patches_of_the_model(whitened, nuts):
    model = open_run(whitened).load()
    patches = torch.cat([embed(model, read_picture(path)).flatten(0, 1) for path in open_dataset(nuts).train_good])
    nearest = torch.cdist(model.model.memory_bank, patches, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    # the same float32 sums in batches of other sizes, in units of the good patches' spread (1)
    assert nearest.max() < 1e-2


def test_the_operating_point_is_that_of_the_whitened_scores(whitened, nuts, tmp_path):
    run = open_run(whitened)
    path = open_dataset(nuts).train_good[0].parent / run.record["split"]["held_out"][0]
    found: list[Prediction] = []
    predict(run.load(), [path], found.append)
    assert found[0].raw_score == pytest.approx(run.record["held_out_scores"][0]["raw_score"], rel=1e-5)
    plain = tmp_path / "plain"
    train(nuts, plain, replace(CONFIG, whiten=False))
    assert "whiten" not in json.loads((plain / RECORD).read_text())["arguments"]
    assert open_run(plain).load().model.memory_bank.shape == run.load().model.memory_bank.shape
    assert open_run(plain).point.image.threshold != pytest.approx(run.point.image.threshold, rel=0.1)


def test_a_whitened_run_grows_by_whitened_patches(whitened, alarms, tmp_path):
    grown = extend(open_run(whitened), alarms, tmp_path / "grown", ExtendConfig(device="cpu")).run
    before, model = open_run(whitened).load().model.memory_bank, grown.load()
    bank = model.model.memory_bank
    assert len(bank) > len(before)
    assert torch.equal(bank[: len(before)], before)
    patches = torch.cat([embed(model, read_picture(path)).flatten(0, 1) for path in sorted(alarms.iterdir())])
    nearest = torch.cdist(bank[len(before) :], patches, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    assert nearest.max() < 1e-4  # the very patches: a batch of one here and there


def test_a_cross_fitted_run_with_whitening_says_that_nothing_is_proven(nuts, alarms, tmp_path):
    config = TrainConfig(
        image_height_px=64,
        image_width_px=64,
        coreset_ratio=0.1,
        calibration="crossfit",
        folds=2,
        whiten=True,
        device="cpu",
    )
    run = train(nuts, tmp_path / "run", config)
    grown = extend(run, alarms, tmp_path / "grown", ExtendConfig(device="cpu")).run
    for found in (run, grown, recalibrate(run, config.point)):
        assert "none is proven" in found.record["calibration"]["guarantee"][0]
        assert found.record["calibration"]["promise"]["bound"] is None
    assert "none is proven" in (tmp_path / "run/report.html").read_text()
