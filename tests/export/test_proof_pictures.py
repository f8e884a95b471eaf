"""Which pictures an export uses: what planned or measured it was not made from the pictures it is tried on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nut_dataset.layout import open_dataset
from nut_export.proof_pictures import find_pictures
from nut_train.run import Run, open_run


@pytest.fixture(scope="module")
def run(run_folder) -> Run:
    return open_run(run_folder)


def test_the_bank_is_planned_and_guarded_with_pictures_that_are_not_in_it(run, nuts):
    found = find_pictures(run, None, 400)
    dataset = open_dataset(nuts)
    held_out = set(run.record["split"]["held_out"])
    assert {path.name for path in found.others} == held_out
    assert {path.name for path in found.training} == set(run.record["split"]["bank"])
    assert not set(found.training) & set(found.others)
    assert set(found.proof) == {*found.others, *dataset.test_good, *dataset.defective}


def test_the_limit_is_that_of_the_proof_alone(run):
    few, all_ = find_pictures(run, None, 3), find_pictures(run, None, 400)
    assert len(few.proof) == 3
    assert (few.training, few.others) == (all_.training, all_.others)


def test_without_held_out_pictures_good_test_pictures_take_their_place(run, nuts):
    """A checkpoint of another tool held none out: its bank is made of all training pictures."""
    other = replace(run, record={**run.record, "split": {}})
    found, dataset = find_pictures(other, nuts, 400), open_dataset(nuts)
    assert found.others == dataset.test_good
    assert found.training == dataset.train_good
    assert set(found.proof) == {*dataset.test_good, *dataset.defective}


def test_a_run_grown_with_its_own_data_set_counts_each_picture_once(run, nuts, tmp_path):
    """New pictures that were put beside the old ones are in that data set and in what the run was grown with."""
    place = Path(shutil.copytree(nuts, tmp_path / "nuts"))
    for name in ("new.png", "unseen.png"):
        (place / "train/good" / name).write_bytes(name.encode())
    split = run.record["split"]
    record = run.record | {
        "dataset": run.record["dataset"] | {"path": str(place)},
        "extended": {"dataset": {"path": str(place)}, "pictures": []},
        "split": {
            "bank": [*split["bank"], "extended-1/train/good/new.png"],
            "held_out": [*split["held_out"], "extended-1/train/good/unseen.png"],
        },
    }
    found = find_pictures(replace(run, record=record), None, 400)
    assert sorted(path.name for path in found.good) == sorted(path.name for path in (place / "train/good").iterdir())
    assert {path.name for path in found.training} == {*split["bank"], "new.png"}
    assert {path.name for path in found.held_out} == {*split["held_out"], "unseen.png"}
    assert len(found.training) + len(found.held_out) == len(found.good) == 14
