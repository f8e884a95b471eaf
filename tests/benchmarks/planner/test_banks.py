"""One training gives the bank of every ratio, each the one that `nut train` makes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nut_benchmarks.planner.banks import prepare_subjects, train_banks
from nut_benchmarks.planner.config import BackboneChoice, PlanConfig
from nut_dataset.layout import GOOD, open_dataset
from nut_dataset.progress import no_progress
from nut_runtime.errors import InputError

LITE0 = (BackboneChoice(name="tf_efficientnet_lite0"),)
CONFIG = PlanConfig(target_ms=30, image_sizes=((64, 64),), coreset_ratios=(0.05, 0.1, 0.001), device="cpu")


def _banks(nuts: Path, config: PlanConfig, folder: Path) -> dict:
    (subject,) = prepare_subjects(open_dataset(nuts), LITE0, config, progress=no_progress)
    return dict(train_banks(subject, config, folder, progress=no_progress))


def test_a_bank_is_to_the_last_bit_that_of_nut_train(nuts, trained, tmp_path):
    banks = _banks(nuts, CONFIG, tmp_path)
    assert list(banks) == [0.1, 0.05, 0.001]
    own = banks[0.05]
    np.testing.assert_array_equal(own.run.load().model.memory_bank.numpy(), trained.load().model.memory_bank.numpy())
    assert own.run.point == trained.point
    assert own.run.record["evaluation"] == trained.record["evaluation"]
    assert own.rows == trained.record["bank"]["rows"] == len(trained.record["split"]["bank"]) * 64 * 5 // 100
    assert own.pixel_auroc == trained.record["evaluation"]["pixel"]["auroc"]
    assert own.coreset_ratio == 0.05
    assert [path.name for path in own.held_out] == trained.record["split"]["held_out"]
    # 448 patches x 0.001 are none
    assert isinstance(banks[0.001], InputError)
    assert "keeps 0 of all patches" in str(banks[0.001])


def test_from_fewer_pictures_the_ratio_is_the_one_that_gives_as_many_rows_from_all(nuts, tmp_path):
    config = replace(CONFIG, pictures=5, test_pictures=4, coreset_ratios=(0.1,))
    bank = _banks(nuts, config, tmp_path)[0.1]
    assert bank.rows == 5 * 64 // 10
    assert int(7 * 64 * float(f"{bank.coreset_ratio:.6g}")) == bank.rows
    assert len(bank.kinds) == 4
    assert len(bank.held_out) == 5  # all of them calibrate
    assert {GOOD} < set(bank.kinds.values())
    assert len(bank.good) == 5 + list(bank.kinds.values()).count(GOOD)


def test_without_test_pictures_there_is_a_bank_with_nothing_to_judge(nuts, tmp_path):
    (tmp_path / "parts").mkdir()
    shutil.copytree(nuts / "train", tmp_path / "parts" / "train")
    bank = _banks(tmp_path / "parts", replace(CONFIG, coreset_ratios=(0.05,)), tmp_path)[0.05]
    assert bank.kinds == {}
    assert bank.good == list(bank.held_out)
    assert bank.pixel_auroc is None


def test_an_unknown_backbone_and_absent_weights_are_named_before_any_work(nuts):
    dataset = open_dataset(nuts)
    with pytest.raises(InputError, match="unknown backbone 'resnet81'"):
        prepare_subjects(dataset, (BackboneChoice(name="resnet81"),), CONFIG, progress=no_progress)
    choice = BackboneChoice.parse("resnet18=none.safetensors")
    with pytest.raises(InputError, match=r"backbone weights none\.safetensors do not exist"):
        prepare_subjects(dataset, (choice,), CONFIG, progress=no_progress)
