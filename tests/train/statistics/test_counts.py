"""Figures from counts are scikit-learn's and anomalib's."""

import numpy as np
import pytest
import torch
from anomalib.metrics.aupro import _AUPRO
from sklearn import metrics as sklearn

from nut_train.statistics import counts


@pytest.fixture(params=[0, 1], ids=["no-ties", "ties"])
def scored(request) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(request.param)
    truth = rng.random(300) < 0.3
    scores = rng.normal(truth * 1.0)
    return (np.round(scores) if request.param else scores), truth


def _by_level(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    levels, place = np.unique(scores, return_inverse=True)
    good, defective = (np.bincount(place[side], minlength=levels.size).astype(float) for side in (~truth, truth))
    return good, defective


def test_auroc_and_average_precision_equal_scikit_learns(scored):
    scores, truth = scored
    good, defective = _by_level(scores, truth)
    # 1e-12: the same sums in another order
    assert float(counts.auroc(good, defective)) == pytest.approx(sklearn.roc_auc_score(truth, scores), rel=1e-12)
    wanted = sklearn.average_precision_score(truth, scores)
    assert float(counts.average_precision(good, defective)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
def test_the_recall_at_a_rate_is_the_highest_point_of_the_roc_curve_up_to_it(scored, rate):
    scores, truth = scored
    false, found, _ = sklearn.roc_curve(truth, scores, drop_intermediate=False)
    wanted = found[false <= rate + 1e-9].max()
    assert float(counts.recall_at_rate(*_by_level(scores, truth), rate)) == pytest.approx(wanted, rel=1e-12)


def test_f1_equals_scikit_learns_and_is_0_where_nothing_is_rejected(scored):
    scores, truth = scored
    rejected = scores > 0.7
    found = counts.f1(*(np.array(float(n)) for n in ((rejected & ~truth).sum(), (rejected & truth).sum(), truth.sum())))
    assert float(found) == pytest.approx(sklearn.f1_score(truth, rejected), rel=1e-12)
    assert float(counts.f1(np.array(0.0), np.array(0.0), np.array(5.0))) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_the_overlap_equals_anomalibs_aupro(seed):
    import cv2

    rng = np.random.default_rng(seed)
    masks = np.zeros((4, 24, 20), bool)
    masks[0, 2:6, 3:9] = masks[0, 12:20, 4:6] = masks[1, :5, 15:] = masks[2, 6:18, 6:14] = True  # 1, 2, 1, 0 regions
    maps = (rng.random(masks.shape) + masks * 0.4).astype(np.float32)
    levels, place = np.unique(maps, return_inverse=True)
    place = place.reshape(maps.shape)
    shares = np.zeros((1, levels.size))
    total = 0
    for mask, level in zip(masks, place, strict=True):
        number, regions = cv2.connectedComponents(mask.astype(np.uint8))
        total += number - 1
        for region in range(1, number):
            inside = level[regions == region]
            shares[0] += np.bincount(inside, minlength=levels.size) / inside.size
    unmarked = np.bincount(place[~masks], minlength=levels.size)[None].astype(float)
    theirs = _AUPRO(fpr_limit=0.3)
    theirs.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
    found = counts.overlap(unmarked, shares, np.array([float(total)]))
    assert total == 4
    assert float(found[0]) == pytest.approx(float(theirs.compute()), abs=1e-5)  # theirs sums in float32
