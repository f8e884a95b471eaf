"""What a training run may be asked for."""

import json
from dataclasses import fields

import pytest

from nut_runtime.errors import InputError
from nut_train.config import TrainConfig, parse_image_size


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        pytest.param("image_height_px", 63, "image size 63 px", id="height-too-small"),
        pytest.param("image_width_px", 1025, "image size 1025 px", id="width-too-large"),
        pytest.param("coreset_ratio", 0.0, "coreset ratio 0.0", id="empty-coreset"),
        pytest.param("coreset_ratio", 1.01, "coreset ratio 1.01", id="more-than-all-patches"),
        pytest.param("coreset_ratio", float("nan"), "coreset ratio nan", id="coreset-not-a-number"),
        pytest.param("false_reject_rate", 0.0, "false reject rate 0.0", id="no-rejects"),
        pytest.param("false_reject_rate", 0.51, "false reject rate 0.51", id="most-parts-rejected"),
        pytest.param("false_reject_rate", float("nan"), "false reject rate nan", id="rate-not-a-number"),
        pytest.param("holdout", 0.0, "holdout 0.0", id="nothing-held-out"),
        pytest.param("holdout", 0.91, "holdout 0.91", id="almost-all-held-out"),
        pytest.param("holdout", float("nan"), "holdout nan", id="holdout-not-a-number"),
        pytest.param("bank_size", 0, "bank size 0", id="empty-bank"),
        pytest.param("bank_mb", 0.0, "bank of 0.0 MB", id="bank-without-bytes"),
        pytest.param("bank_mb", float("nan"), "bank of nan MB", id="bytes-not-a-number"),
        pytest.param("neighbours", 0, "neighbours 0", id="no-neighbours"),
        pytest.param("batch_size", 0, "batch size 0", id="empty-batch"),
        pytest.param("workers", -1, "workers -1", id="negative-workers"),
        pytest.param("seed", -1, "seed -1", id="negative-seed"),
        pytest.param("device", "tpu", "device 'tpu'", id="unknown-device"),
        pytest.param("backbone_weights", "nowhere.pth", "nowhere.pth do not exist", id="missing-weights"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value, says):
    with pytest.raises(InputError, match=says):
        TrainConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("image_height_px", 64, id="smallest-side"),
        pytest.param("image_width_px", 1024, id="largest-side"),
        pytest.param("coreset_ratio", 1.0, id="all-patches"),
        pytest.param("false_reject_rate", 0.5, id="largest-rate"),
        pytest.param("holdout", 0.9, id="largest-holdout"),
        pytest.param("neighbours", 1, id="one-neighbour"),
        pytest.param("workers", 0, id="main-process"),
    ],
)
def test_the_ends_of_a_range_are_accepted(field, value):
    assert getattr(TrainConfig(**{field: value}), field) == value


def test_a_configuration_survives_json_with_every_field_changed(tmp_path):
    weights = tmp_path / "w.pth"
    weights.touch()
    config = TrainConfig(
        backbone="resnet18",
        layers=("layer2", "layer3"),
        backbone_weights=str(weights),
        image_height_px=128,
        image_width_px=96,
        coreset_ratio=0.5,
        bank_size=100,
        whiten=True,
        neighbours=3,
        batch_size=2,
        workers=1,
        seed=7,
        device="cpu",
        false_reject_rate=0.1,
        holdout=0.3,
        calibration="crossfit",
        folds=3,
        threshold="value",
        threshold_value=31.5,
        review_rate=0.2,
    )
    default = TrainConfig()
    same = [field.name for field in fields(config) if getattr(config, field.name) == getattr(default, field.name)]
    assert same == ["bank_mb"]  # which cannot be given beside the size
    assert TrainConfig.from_json(TrainConfig(bank_mb=1.5).to_json()) == TrainConfig(bank_mb=1.5)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_two_limits_of_the_bank_are_refused():
    with pytest.raises(InputError, match="give one of them"):
        TrainConfig(bank_size=10, bank_mb=1)


def test_a_run_without_a_limit_of_the_bank_is_read_by_versions_that_know_none():
    assert not {"bank_size", "bank_mb"} & set(TrainConfig().to_json())


def test_the_image_size_is_height_first():
    assert TrainConfig(image_height_px=128, image_width_px=96).image_size == (128, 96)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("256", (256, 256), id="square"),
        pytest.param("192x320", (192, 320), id="height-by-width"),
        pytest.param("192X320", (192, 320), id="capital"),
    ],
)
def test_an_image_size_is_read(text, size):
    assert parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "axb", "256x", "x256", "1x2x3", "-256", "25.6", "256 x 256"])
def test_what_is_no_image_size_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="such as 256 or 192x320"):
        parse_image_size(text)


def test_a_seed_that_numpy_does_not_take_is_refused():
    with pytest.raises(InputError, match="seed 4294967296, expected at least 0 and less than 4294967296"):
        TrainConfig(seed=2**32)
