"""The figures against scikit-learn's, and None where they would mean nothing."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from nut_train.metrics import image_auroc, image_metrics, pixel_auroc, pixel_metrics


@pytest.fixture(params=[0, 1, 2], ids=["rare-defects", "half-half", "ties"])
def scored(request) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truth and verdicts at a threshold."""
    rng = np.random.default_rng(request.param)
    truth = rng.random(200) < (0.1, 0.5, 0.3)[request.param]
    scores = rng.normal(truth * 1.0, 1.0)
    if request.param == 2:
        scores = np.round(scores)
    return scores, truth, scores > 0.7


def test_the_image_figures_equal_scikit_learns(scored):
    scores, truth, rejected = scored
    found = image_metrics(scores, truth, rejected)
    thresholds = np.unique(scores)
    assert (found.good, found.defective) == ((~truth).sum(), truth.sum())
    assert found.auroc == sklearn.roc_auc_score(truth, scores)
    assert found.average_precision == sklearn.average_precision_score(truth, scores)
    assert found.f1 == sklearn.f1_score(truth, rejected)
    assert found.recall == sklearn.recall_score(truth, rejected)
    # 1e-12: quotients of the same counts, computed in another order in float64
    assert found.false_reject_rate == pytest.approx(1 - sklearn.recall_score(~truth, ~rejected), rel=1e-12)
    best = max(sklearn.f1_score(truth, scores >= threshold) for threshold in thresholds)
    assert found.best_f1 == pytest.approx(best, rel=1e-12)


def test_the_best_f1_is_no_less_than_the_one_at_the_threshold(scored):
    found = image_metrics(*scored)
    assert found.best_f1 >= found.f1


@pytest.mark.parametrize("defective", [True, False], ids=["no-good-parts", "no-defects"])
def test_a_missing_class_gives_none_and_the_other_rate_all_the_same(defective):
    scores, truth, rejected = np.arange(4.0), np.full(4, defective), np.array([False, False, False, True])
    found = image_metrics(scores, truth, rejected)
    assert (found.auroc, found.average_precision, found.f1, found.best_f1) == (None, None, None, None)
    assert found.recall == (0.25 if defective else None)
    assert found.false_reject_rate == (None if defective else 0.25)


def test_verdicts_that_reject_nothing_have_an_f1_of_zero():
    assert image_metrics(np.arange(4.0), np.arange(4) > 1, np.zeros(4, bool)).f1 == 0.0


def test_a_perfect_ranking_has_an_auroc_of_1_and_its_reverse_of_0():
    truth = np.array([False, False, True])
    assert (image_auroc(np.arange(3.0), truth), image_auroc(-np.arange(3.0), truth)) == (1.0, 0.0)


def _maps(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Maps that rise on a square, and masks of that square; the last one is good."""
    rng = np.random.default_rng(seed)
    masks = [np.zeros((32, 24), bool) for _ in range(4)]
    for number, mask in enumerate(masks[:3]):
        mask[4 + number : 12 + number, 5:14] = True
    return [rng.normal(mask * 1.5, 1.0).astype(np.float32) for mask in masks], masks


def test_the_pixel_auroc_is_scikit_learns_over_all_pixels_together():
    maps, masks = _maps(0)
    assert pixel_auroc(maps, masks) == sklearn.roc_auc_score(np.ravel(masks), np.ravel(maps))


def test_the_pixel_figures_count_masks_and_reach_1_on_a_perfect_map():
    maps, masks = _maps(1)
    found = pixel_metrics([mask.astype(np.float32) for mask in masks], masks)
    noisy = pixel_metrics(maps, masks)
    assert (found.masks, found.auroc) == (3, 1.0)
    assert found.pro == pytest.approx(1.0, abs=1e-6)  # a float32 integral over the curve
    assert 0.0 < noisy.pro < found.pro


@pytest.mark.parametrize(
    "masks",
    [
        pytest.param([], id="no-pictures"),
        pytest.param([np.zeros((4, 4), bool)], id="nothing-marked"),
        pytest.param([np.ones((4, 4), bool)], id="everything-marked"),
    ],
)
def test_without_both_kinds_of_pixels_there_are_no_pixel_figures(masks):
    maps = [np.ones((4, 4), np.float32) for _ in masks]
    assert pixel_auroc(maps, masks) is None
    assert pixel_metrics(maps, masks) is None
