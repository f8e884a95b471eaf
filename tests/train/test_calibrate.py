"""The threshold from held-out good parts."""

import math
from pathlib import Path

import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_runtime.scoring import normalise
from nut_train.calibrate import calibrate, split_good, threshold_at

RATES = (0.001, 0.01, 0.05, 0.2, 1 / 3, 0.5)


@pytest.fixture(scope="module")
def samples() -> list[np.ndarray]:
    """Score sets of many sizes; some have ties, which is where a threshold lands on a score."""
    rng = np.random.default_rng(0)
    smooth = [rng.gamma(9.0, 4.0, size) for size in (1, 2, 3, 5, 10, 17, 100)]
    tied = [rng.integers(1, 4, size).astype(float) for size in (1, 2, 5, 30)]
    return [*smooth, *tied, np.full(8, 2.5), np.zeros(6)]


@pytest.mark.parametrize("rate", RATES)
def test_the_threshold_lies_on_no_score(samples, rate):
    for scores in samples:
        assert threshold_at(scores, rate) not in scores


@pytest.mark.parametrize("rate", RATES)
def test_at_most_the_stated_share_of_good_scores_is_rejected(samples, rate):
    for scores in samples:
        assert np.mean(scores > threshold_at(scores, rate)) <= rate


@pytest.mark.parametrize("rate", RATES)
def test_of_different_scores_as_many_are_rejected_as_the_rate_allows(rate):
    scores = np.random.default_rng(1).permutation(np.arange(1.0, 101.0))
    allowed = 100 - min(100, math.ceil(101 * (1 - rate)))
    assert int(np.sum(scores > threshold_at(scores, rate))) == allowed


@pytest.mark.parametrize("count", [99, 100, 199, 200])
def test_fresh_good_parts_exceed_the_threshold_no_more_often_than_stated(count):
    rng = np.random.default_rng(count)
    # The share of fresh uniform scores above t is 1 - t, or nothing where t is above 1.
    shares = [max(0.0, 1 - threshold_at(rng.random(count), 0.01)) for _ in range(3000)]
    # three standard errors of a mean of 3000 shares, whose spread is about their mean
    assert np.mean(shares) <= 0.01 + 3 * np.std(shares) / np.sqrt(len(shares))


def test_a_single_score_gives_a_threshold_above_it():
    assert threshold_at(np.array([2.0]), 0.01) == pytest.approx(2.02)


def test_scores_of_zero_give_a_threshold_above_zero():
    assert threshold_at(np.zeros(5), 0.01) > 0


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param([], id="none"),
        pytest.param([1.0, np.nan], id="not-a-number"),
        pytest.param([1.0, np.inf], id="infinite"),
    ],
)
def test_scores_that_are_missing_or_not_finite_are_refused(scores):
    with pytest.raises(InputError, match="at least one score, and all of them finite"):
        threshold_at(np.array(scores), 0.01)


def test_the_threshold_does_not_depend_on_the_order_of_the_scores():
    scores = np.random.default_rng(2).gamma(9.0, 4.0, 40)
    assert threshold_at(scores, 0.1) == threshold_at(scores[::-1], 0.1)


def test_a_score_of_zero_is_normalised_to_0_the_threshold_to_a_half_and_its_double_to_1():
    point = calibrate(np.array([3.0, 4.0, 5.0]), np.array([2.0, 2.5, 3.0]), false_reject_rate=0.01).point
    for scale in (point.image, point.pixel):
        raw = np.array([0.0, scale.threshold, 2 * scale.threshold], np.float32)
        # 2^-24 of 1: one rounding of each float32 division
        assert normalise(raw, scale) == pytest.approx([0.0, 0.5, 1.0], abs=2**-23)


def test_image_and_pixel_thresholds_come_from_their_own_scores():
    point = calibrate(np.array([2.0, 3.0, 4.0]), np.array([5.0, 10.0, 20.0]), false_reject_rate=0.5).point
    assert (point.image.threshold, point.pixel.threshold) == (3.5, 15.0)


@pytest.mark.parametrize(("count", "is_supported"), [pytest.param(99, True, id="99"), pytest.param(98, False, id="98")])
def test_one_percent_needs_99_held_out_pictures(count, is_supported):
    scores = np.arange(1.0, count + 1)
    calibration = calibrate(scores, scores, false_reject_rate=0.01)
    assert calibration.is_supported is is_supported
    assert calibration.to_json()["is_supported"] is is_supported
    assert calibration.smallest_rate == 1 / (count + 1)


def _pictures(folder: Path, count: int) -> list[Path]:
    """Write files of different bytes; a split reads no picture, only bytes."""
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]))
    return paths


def test_a_split_is_disjoint_and_complete(tmp_path):
    paths = _pictures(tmp_path, 40)
    split = split_good(paths, holdout=0.25, seed=3)
    assert len(split.held_out) == 10
    assert not set(split.bank) & set(split.held_out)
    assert set(split.bank) | set(split.held_out) == set(paths)


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_the_files(tmp_path):
    paths = _pictures(tmp_path, 40)
    split = split_good(paths, holdout=0.25, seed=3)
    assert split_good(paths[::-1], holdout=0.25, seed=3) == split
    assert split_good(paths, holdout=0.25, seed=4).held_out != split.held_out


def test_a_picture_with_the_bytes_of_another_is_left_out_of_both_parts(tmp_path):
    paths = _pictures(tmp_path, 12)
    twin = tmp_path / "zz-twin.png"
    twin.write_bytes(paths[4].read_bytes())
    split = split_good([*paths, twin], holdout=0.2, seed=0)
    assert split.repeated == (twin,)
    assert twin not in (*split.bank, *split.held_out)
    assert paths[4] in (*split.bank, *split.held_out)


@pytest.mark.parametrize(
    ("count", "holdout"),
    [pytest.param(9, 0.2, id="nine-pictures"), pytest.param(40, 0.9, id="almost-all-held-out")],
)
def test_too_few_pictures_for_the_bank_are_refused(tmp_path, count, holdout):
    with pytest.raises(InputError, match="leave too few for the bank; at least 10 are needed"):
        split_good(_pictures(tmp_path, count), holdout=holdout, seed=0)


def test_ten_files_of_which_two_are_the_same_are_too_few(tmp_path):
    paths = _pictures(tmp_path, 10)
    paths[9].write_bytes(paths[0].read_bytes())
    with pytest.raises(InputError, match="9 different good pictures"):
        split_good(paths, holdout=0.2, seed=0)


def test_a_link_to_nowhere_is_one_line(tmp_path):
    paths = _pictures(tmp_path, 12)
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"cannot read .*link\.png"):
        split_good([*paths, link], holdout=0.2, seed=0)
