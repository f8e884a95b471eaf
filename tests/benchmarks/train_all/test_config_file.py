"""The file of `nut train-all --config`."""

from dataclasses import fields

import pytest

from nut_benchmarks.train_all.config import _TRAIN, read_config
from nut_benchmarks.train_all.job import Job, export_config
from nut_runtime.errors import InputError
from nut_train.config import TrainConfig

NAMES = ["line-1/m8", "m6"]


def _read(tmp_path, text):
    path = tmp_path / "plant.toml"
    path.write_text(text)
    return read_config(path, NAMES)


def test_a_part_has_its_own_values_over_those_of_all(tmp_path):
    found = _read(
        tmp_path,
        '[train]\nimage_size = "192x320"\nfolds = 3\ncoreset_ratio = 0.2\n[export]\nprecision = "int8"\n'
        '[part."line-1/m8".train]\nfolds = 4\nbank_size = 500\n[part."line-1/m8".export]\nframe_size = "640x480"\n',
    )
    own, other = found["line-1/m8"], found["m6"]
    assert (own.train.image_size, own.train.folds, own.train.bank_size) == ((192, 320), 4, 500)
    assert (other.train.folds, other.train.bank_size, other.train.coreset_ratio) == (3, None, 0.2)
    export = export_config(own.export, name="line-1/m8")
    assert (export.precision, export.frame_px, export.name) == ("int8", (480, 640), "line-1/m8")


def test_without_a_file_all_parts_have_the_defaults():
    assert {config.train for config in read_config(None, NAMES).values()} == {TrainConfig()}


def test_every_argument_of_a_training_can_be_given():
    arguments = {field.name for field in fields(TrainConfig)}
    size = {"image_height_px", "image_width_px"}  # one key, as one option of `nut train`
    assert set(_TRAIN) == arguments - size | {"image_size"}


def test_a_part_can_be_whitened(tmp_path):
    found = _read(tmp_path, "[train]\nwhiten = true\n[part.m6.train]\nwhiten = false\n")
    assert (found["line-1/m8"].train.whiten, found["m6"].train.whiten) == (True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("[train]\nfold = 3\n", "line 2: train.fold: no such key, did you mean folds", id="key"),
        pytest.param("[trian]\n", "line 1: trian: no such table, did you mean train", id="table"),
        pytest.param('[train]\nseed = "1"\n', "line 2: train.seed: expected a whole number", id="type"),
        pytest.param("[train]\nwhiten = 1\n", "line 2: train.whiten: expected true or false, got 1", id="yes-or-no"),
        pytest.param("[train]\nholdout = 0.99\n", "line 1: train: holdout 0.99, expected", id="range"),
        pytest.param(
            "[part.m7.train]\nseed = 1\n", "part.m7: there is no such part; there are line-1/m8, m6", id="part"
        ),
        pytest.param("[part.m6.train]\nholdout = 3\n", "line 1: part.m6.train: holdout 3", id="range-of-one"),
        pytest.param('[export]\nprecision = "fp16"\n', "line 2: export.precision: expected one of", id="precision"),
        pytest.param("[export]\ncandidates = 3\n", "line 1: export: components and candidates", id="export"),
        pytest.param('[export]\nname = "x"\n', "one name for all parts", id="name-of-all"),
        pytest.param("[train]\nbank_size = 5\nbank_mb = 1\n", "bank_size and bank_mb were given", id="two-banks"),
        pytest.param("[train\n", "line 1: not TOML", id="syntax"),
        pytest.param('[train]\nbackbone_weights = "no.pth"\n', "train.backbone_weights", id="missing-file"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, says):
    with pytest.raises(InputError, match=r"plant\.toml, line") as caught:
        _read(tmp_path, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_no_station_file(tmp_path):
    with pytest.raises(InputError, match="cannot read the configuration"):
        read_config(tmp_path / "none.toml", NAMES)


def test_a_weights_file_is_found_beside_the_configuration_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    path = tmp_path / "plant.toml"
    path.write_text('[train]\nbackbone_weights = "w.safetensors"\n')
    monkeypatch.chdir(tmp_path)
    found = read_config(path.relative_to(tmp_path), NAMES)
    assert found["m6"].train.backbone_weights == str(tmp_path / "w.safetensors")


def test_a_job_is_the_same_after_a_line_of_text(tmp_path):
    job = Job(name="m6", data=tmp_path, out=tmp_path / "m6", train={"seed": 1}, export={"compat": ["x"]}, cores=(1, 2))
    assert Job.from_text(job.to_text()) == job
    assert "\n" not in job.to_text()
