"""A property that gives the answer away is found; chance is not taken for one."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from nut_dataset.auroc import category_auroc, measure_auroc, one_hot
from nut_dataset.confounds import confound_findings, find_confounds
from nut_dataset.facts import PictureFacts
from nut_dataset.findings import Severity


def facts(rng: np.random.Generator, **known: object) -> PictureFacts:
    """Make up a picture whose properties say nothing."""
    drawn = {
        "width_px": int(rng.integers(100, 600)),
        "height_px": int(rng.integers(100, 600)),
        "mode": str(rng.choice(["L", "RGB"])),
        "format": str(rng.choice(["PNG", "JPEG"])),
        "file_bytes": int(rng.integers(1_000, 90_000)),
        "background": rng.uniform(0, 255),
        "background_share": rng.uniform(),
        "brightness": rng.uniform(0, 255),
        "contrast": rng.uniform(0, 90),
        "saturation": rng.uniform(0, 90),
        "sharpness": rng.uniform(1, 4),
        "pixels_sha256": "",
        "phash": "",
    }
    return PictureFacts(**{**drawn, **known})


def made_up(n_good: int, n_defective: int, seed: int = 0, **of_defective: object):
    rng = np.random.default_rng(seed)
    good = [facts(rng) for _ in range(n_good)]
    return good, [facts(rng, **of_defective) for _ in range(n_defective)]


def test_the_auroc_of_a_number_equals_scikit_learns_with_ties_and_in_either_direction():
    rng = np.random.default_rng(5)
    values = rng.integers(0, 6, 40).astype(float)
    labels = rng.random((30, 40)) < 0.3
    expected = [roc_auc_score(row, values) for row in labels]
    # 1e-12: sums of at most 800 half ranks are exact, one division is not.
    np.testing.assert_allclose(measure_auroc(values, labels), np.maximum(expected, 1 - np.array(expected)), atol=1e-12)


def test_the_auroc_of_a_word_equals_scikit_learns_on_the_share_of_defects():
    rng = np.random.default_rng(6)
    words = rng.choice(["L", "RGB", "RGBA", "P"], 40)
    labels = rng.random((30, 40)) < 0.3
    expected = []
    for row in labels:
        share = {word: row[words == word].mean() for word in set(words)}
        expected.append(roc_auc_score(row, [share[word] for word in words]))
    np.testing.assert_allclose(category_auroc(one_hot(list(words)), labels), expected, atol=1e-12)


def test_words_that_occur_once_tell_nothing_apart():
    words = [f"{i}x{i}" for i in range(10)]
    labels = np.arange(10)[None] < 4
    assert category_auroc(one_hot(words), labels).tolist() == [0.5]


def test_one_size_against_many_sizes_is_told_apart():
    words = ["200x200"] * 6 + [f"{i}x{i}" for i in range(4)]
    assert category_auroc(one_hot(words), np.arange(10)[None] >= 6).tolist() == [1.0]


@pytest.mark.parametrize(
    ("known", "name", "code"),
    [
        ({"mode": "RGBA"}, "mode", "file-confound"),
        ({"format": "BMP"}, "format", "file-confound"),
        ({"width_px": 640}, "width_px", "file-confound"),
        ({"file_bytes": 200_000}, "file_bytes", "file-confound"),
        ({"brightness": 300.0}, "brightness", "photo-confound"),
        ({"background": -1.0}, "background", "photo-confound"),
    ],
)
def test_a_property_that_all_defects_share_is_a_warning(known, name, code):
    confounds = find_confounds(*made_up(25, 6, **known), good_from="test/good")
    best = {s.name: s for s in confounds.separations}[name]
    assert best.auroc == 1
    assert best.is_confound
    assert (Severity.WARNING, code) in {(f.severity, f.code) for f in confound_findings(confounds)}


def test_pictures_without_a_confound_give_no_warning_however_few():
    false_alarms = 0
    for seed in range(60):
        good, defective = made_up(20, 2 + seed % 4, seed)
        confounds = find_confounds(good, defective, good_from="test/good", seed=seed)
        false_alarms += any(s.is_confound for s in confounds.separations)
    # At p <= 0.01 a share of 0.01 is expected, 0.6 of 60; the seeds are fixed, so this does not flicker.
    assert false_alarms <= 2


def test_two_defects_that_differ_from_all_good_ones_are_noted_as_perhaps_chance():
    confounds = find_confounds(*made_up(20, 2, brightness=300.0), good_from="test/good")
    (finding,) = confound_findings(confounds)
    assert (finding.severity, finding.code) == (Severity.NOTE, "confound-or-chance")
    assert "brightness" in finding.what


def test_the_same_pictures_give_the_same_p_values():
    good, defective = made_up(12, 5)
    first, second = (find_confounds(good, defective, good_from="test/good") for _ in range(2))
    assert dataclasses.asdict(first) == dataclasses.asdict(second)


@pytest.mark.parametrize(("n_good", "n_defective"), [(0, 5), (5, 0), (0, 0)])
def test_with_one_side_missing_there_is_nothing_to_compare(n_good, n_defective):
    confounds = find_confounds(*made_up(n_good, n_defective), good_from="test/good")
    assert confounds.separations == ()
    assert confound_findings(confounds) == []
