"""The command from a tray data set to a run folder."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from nut_benchmarks.cli import main
from nut_dataset.coco.trays import read_trays
from nut_runtime.errors import InputError, OutputError
from nut_runtime.locate.finding import find_instances
from nut_train.locator.config import LocatorConfig
from nut_train.locator.pixels import locate_map
from nut_train.locator.run import RECORD, WEIGHTS, open_locator_run
from nut_train.locator.train import split_trays, train_locator

QUICK = ["--long-side", "64", "--crop", "64", "--epochs", "1", "--encoder", "tf_efficientnet_lite0", "--device", "cpu"]


def test_a_run_says_what_reproduces_it_and_what_it_comes_to(locator_folder, trays):
    record = json.loads((locator_folder / RECORD).read_text())
    assert record["dataset"]["path"] == str(trays)
    assert record["arguments"]["epochs"] == 12
    assert record["encoder"]["weights_sha256"].startswith("579344248a93")
    assert set(record["figures"]) == {"valid", "test"}
    for figures in record["figures"].values():
        assert 0 <= figures["f1"]["0.75"] <= figures["f1"]["0.5"] <= 1
        assert 0 <= figures["map_error"] <= 1
    assert sorted(path.name for path in locator_folder.iterdir()) == ["locator.json", WEIGHTS, "report.html"]


def test_twelve_epochs_learn_to_find_most_large_nuts(locator_folder):
    record = open_locator_run(locator_folder).record
    figures = record["figures"]["valid"]
    assert figures["f1"]["0.5"] > 0.5
    assert figures["map_error"] < 0.05  # a map of nothing is off by about 0.1


def test_a_loaded_run_gives_the_maps_that_it_was_measured_with(locator_folder, trays):
    run = open_locator_run(locator_folder)
    network, errors = run.load(), []
    for picture in read_trays(trays, "test"):
        frame, _, _ = picture.read()
        found = locate_map(network, frame, run.encoder, long_side_px=96)
        errors.append(found)
        find_instances(found, frame_px=frame.shape[:2], settings=run.settings)
    assert all(found.min() >= 0 and found.max() <= 1 for found in errors)


def test_the_report_needs_no_other_file_and_shows_before_and_after(locator_folder):
    page = (locator_folder / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6  # three test pictures, in both galleries
    assert "http" not in page
    assert "F1 at IoU 0.75" in page


def test_the_same_seed_gives_the_same_weights(trays, tmp_path):
    config = LocatorConfig(long_side_px=64, crop_px=64, epochs=1, batch_size=8, device="cpu")
    for name in ("one", "two"):
        train_locator(trays, tmp_path / name, config)
    one, two = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    # on one kind of machine with as many threads, torch sums in the same order
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_without_a_valid_split_every_fifth_picture_is_held_out(trays, tmp_path):
    folder = shutil.copytree(trays, tmp_path / "trays")
    shutil.rmtree(folder / "valid")
    splits = split_trays(folder)
    assert len(splits.valid) == 4
    assert len(splits.train) == 12
    assert not {one.path for one in splits.valid} & {one.path for one in splits.train}


def test_a_folder_that_is_no_tray_data_set_is_refused_in_one_line(nuts, tmp_path):
    result = CliRunner().invoke(main, ["train-locator", str(nuts), "-o", str(tmp_path / "run"), *QUICK])
    assert result.exit_code == 2
    assert "is not a tray data set" in result.output
    assert not (tmp_path / "run").exists()


def test_force_does_not_replace_the_run_of_a_judge(trays, run_folder, tmp_path):
    judge = shutil.copytree(run_folder, tmp_path / "run")
    with pytest.raises(OutputError, match=r"locator.json is missing"):
        train_locator(trays, judge, LocatorConfig(), overwrite=True)
    assert (judge / "model.ckpt").is_file()


def test_a_run_with_altered_weights_is_refused(locator_folder, tmp_path):
    folder = shutil.copytree(locator_folder, tmp_path / "run")
    (folder / WEIGHTS).write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="broken or of another network"):
        open_locator_run(folder).load()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"long_side_px": 100}, "multiple of 32", id="side"),
        pytest.param({"epochs": 0}, "epochs 0", id="epochs"),
        pytest.param({"learning_rate": 0.0}, "learning rate", id="rate"),
        pytest.param({"device": "tpu"}, "device", id="device"),
    ],
)
def test_arguments_out_of_range_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        LocatorConfig(**change)
