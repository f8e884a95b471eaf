"""Cross-fitted scores: every picture once, by a model that has not seen it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nut_dataset.layout import open_dataset
from nut_dataset.progress import no_progress
from nut_runtime.errors import InputError
from nut_train.config import TrainConfig
from nut_train.crossfit import score_good, split_folds
from nut_train.run import RECORD, open_run
from nut_train.train import fit_model, prepare, train


def _pictures(folder: Path, count: int) -> list[Path]:
    """Write files of different bytes; a split reads no picture, only bytes."""
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]))
    return paths


@pytest.mark.parametrize(("count", "folds"), [(10, 2), (23, 5), (12, 12), (6, 6)])
def test_folds_are_disjoint_complete_and_of_nearly_the_same_size(tmp_path, count, folds):
    split = split_folds(_pictures(tmp_path, count), folds=folds, seed=0)
    assert sorted(path for fold in split.folds for path in fold) == list(split.bank)
    assert len(split.bank) == count
    sizes = {len(fold) for fold in split.folds}
    assert max(sizes) - min(sizes) <= 1
    assert split.held_out == ()


def test_folds_depend_on_the_seed_and_not_on_the_order_of_the_files(tmp_path):
    paths = _pictures(tmp_path, 20)
    split = split_folds(paths, folds=4, seed=3)
    assert split_folds(paths[::-1], folds=4, seed=3) == split
    assert split_folds(paths, folds=4, seed=4).folds != split.folds


def test_a_picture_with_the_bytes_of_another_is_in_no_fold(tmp_path):
    paths = _pictures(tmp_path, 12)
    twin = tmp_path / "zz.png"
    twin.write_bytes(paths[0].read_bytes())
    split = split_folds([*paths, twin], folds=3, seed=0)
    assert split.repeated == (twin,)
    assert twin not in split.bank


@pytest.mark.parametrize(
    ("count", "folds"),
    [pytest.param(1, 2, id="one"), pytest.param(4, 5, id="fewer-than-folds"), pytest.param(8, 2, id="small-bank")],
)
def test_too_few_pictures_are_refused_in_one_line(tmp_path, count, folds):
    with pytest.raises(InputError, match=f"{count} different good pictures in {folds} folds leave too few") as caught:
        split_folds(_pictures(tmp_path, count), folds=folds, seed=0)
    assert "\n" not in str(caught.value)


CROSSFIT = TrainConfig(
    image_height_px=64,
    image_width_px=64,
    coreset_ratio=0.05,
    device="cpu",
    calibration="crossfit",
    folds=2,
    false_reject_rate=0.1,
    review_rate=0.4,
)


@pytest.fixture(scope="module")
def cross_fitted(nuts, tmp_path_factory) -> Path:
    """A run whose twelve pictures are cross-fitted in two folds."""
    folder = tmp_path_factory.mktemp("crossfit") / "run"
    train(nuts, folder, CROSSFIT)
    return folder


def test_every_picture_is_in_the_bank_and_has_one_score_by_a_model_without_it(cross_fitted, nuts):
    record = json.loads((cross_fitted / RECORD).read_text())
    scores = {one["path"]: one for one in record["held_out_scores"]}
    assert list(scores) == record["split"]["bank"] == sorted(scores)
    assert record["split"]["held_out"] == []
    assert record["calibration"]["method"] == "crossfit"
    assert (record["calibration"]["held_out"], record["calibration"]["folds"]) == (12, 2)
    for number, fold in enumerate(record["split"]["folds"]):
        assert all(scores[name]["fold"] == number for name in fold)
    # A model of the other fold alone, trained by itself, gives the very scores.
    first, second = record["split"]["folds"]
    prepared = prepare(open_dataset(nuts), CROSSFIT)
    bank = tuple(path for path in prepared.split.bank if path.name in second)
    model, _ = fit_model(replace(prepared, split=replace(prepared.split, bank=bank)), CROSSFIT)
    again = score_good(model, [nuts / "train/good" / name for name in first], device="cpu", progress=no_progress)
    assert [one.raw_score for one in again] == [scores[name]["raw_score"] for name in first]


def test_scores_of_pictures_in_the_bank_would_have_been_lower(cross_fitted, nuts):
    run = open_run(cross_fitted)
    paths = [nuts / "train/good" / name for name in run.record["split"]["bank"]]
    within = score_good(run.load(), paths, device="cpu", progress=no_progress)
    assert np.mean([one.raw_score for one in within]) < np.mean(run.good_scores.raw_score)


def test_the_report_says_what_holds(cross_fitted):
    page = (cross_fitted / "report.html").read_text()
    assert "cross-fitted pictures; proven" in page
