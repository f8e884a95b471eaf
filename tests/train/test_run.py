"""The run folder: read strictly, and its checkpoint without unpickling anything."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from nut_runtime.errors import InputError
from nut_train.run import CHECKPOINT, RECORD, open_run


@pytest.fixture
def record(run_folder) -> dict:
    return json.loads((run_folder / RECORD).read_text())


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder to put a record in."""
    return tmp_path


def _write(folder: Path, record: object) -> None:
    (folder / RECORD).write_text(record if isinstance(record, str) else json.dumps(record))


def test_a_folder_without_a_record_is_no_run(folder):
    with pytest.raises(InputError, match=r"run\.json is missing\); make one with nut train"):
        open_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"schema": "one"}', '{"schema": null}'])
def test_a_record_that_is_no_json_object_with_a_schema_is_refused(folder, text):
    _write(folder, text)
    with pytest.raises(InputError, match=r"run\.json is not a run record"):
        open_run(folder)


def test_a_newer_schema_is_refused(folder, record):
    _write(folder, record | {"schema": 2})
    with pytest.raises(InputError, match="has schema 2, this version reads up to 1; update nut-toolchain"):
        open_run(folder)


@pytest.mark.parametrize("key", ["arguments", "backbone", "bank", "calibration", "dataset", "split"])
def test_a_missing_part_is_named(folder, record, key):
    del record[key]
    _write(folder, record)
    with pytest.raises(InputError, match=f"lacks {key}; train again"):
        open_run(folder)


@pytest.mark.parametrize(
    ("part", "content", "says"),
    [
        pytest.param("arguments", {}, "'layers' is missing", id="no-arguments"),
        pytest.param("arguments", {"layers": [], "colour": 1}, "colour", id="unknown-argument"),
        pytest.param("arguments", {"layers": [], "image_height_px": 5}, "image size 5 px", id="argument-out-of-range"),
        pytest.param("backbone", {"name": "resnet18"}, "'layers' is missing", id="half-a-backbone"),
        pytest.param("calibration", {}, "'point' is missing", id="no-point"),
        pytest.param("calibration", {"point": {"image": {}}}, "operating point is incomplete", id="half-a-point"),
        pytest.param("dataset", {"path": "x"}, "'fingerprint' is missing", id="no-fingerprint"),
    ],
)
def test_a_part_that_is_incomplete_is_one_line(folder, record, part, content, says):
    _write(folder, record | {part: content})
    with pytest.raises(InputError, match=says) as caught:
        open_run(folder)
    assert "\n" not in str(caught.value)


def test_the_weights_file_of_the_training_need_not_be_there_any_more(folder, record):
    record["arguments"]["backbone_weights"] = "/gone/weights.pth"
    _write(folder, record)
    assert open_run(folder).config.backbone_weights is None


def test_the_checkpoint_is_read_without_unpickling_and_holds_the_bank(run_folder, record):
    content = torch.load(run_folder / CHECKPOINT, map_location="cpu", weights_only=True)
    bank = content["state_dict"]["model.memory_bank"]
    assert (bank.dtype, list(bank.shape)) == (torch.float32, [record["bank"]["rows"], record["bank"]["width"]])


def test_a_loaded_model_has_the_bank_and_the_operating_point_of_the_run(run_folder):
    from nut_train.patchcore import operating_point

    run = open_run(run_folder)
    model = run.load()
    content = torch.load(run_folder / CHECKPOINT, map_location="cpu", weights_only=True)
    assert torch.equal(model.model.memory_bank, content["state_dict"]["model.memory_bank"])
    assert not model.training
    for part in ("image", "pixel"):
        ours, theirs = getattr(run.point, part), getattr(operating_point(model), part)
        assert theirs.threshold == pytest.approx(ours.threshold, rel=2**-24)  # anomalib keeps it as float32
        assert theirs.maximum - theirs.minimum == pytest.approx(ours.maximum - ours.minimum, rel=2**-23)


@pytest.fixture
def copy(run_folder, tmp_path) -> Path:
    """A copy of the run that a test may break."""
    return Path(shutil.copytree(run_folder, tmp_path / "copy"))


def test_a_missing_checkpoint_is_named(copy):
    (copy / CHECKPOINT).unlink()
    with pytest.raises(InputError, match=r"model\.ckpt is missing; train again"):
        open_run(copy).load()


@pytest.mark.parametrize(
    "content",
    [pytest.param(b"", id="empty"), pytest.param(b"not a checkpoint", id="text"), pytest.param(None, id="cut-off")],
)
def test_a_broken_checkpoint_is_one_line(copy, content):
    path = copy / CHECKPOINT
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(InputError, match="is not a PatchCore checkpoint that can be read safely") as caught:
        open_run(copy).load()
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_checkpoint_without_a_memory_bank_is_refused(copy):
    torch.save({"state_dict": {"x": torch.zeros(1)}}, copy / CHECKPOINT)
    with pytest.raises(InputError, match="is not a PatchCore checkpoint"):
        open_run(copy).load()


def test_a_checkpoint_of_another_backbone_is_refused_in_one_line(copy, record):
    record["backbone"] |= {"name": "resnet18", "layers": ["layer2", "layer3"]}
    _write(copy, record)
    with pytest.raises(InputError, match="does not fit backbone resnet18") as caught:
        open_run(copy).load()
    assert "\n" not in str(caught.value)
