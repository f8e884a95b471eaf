"""The variants for other tools: what they take and give, and that the proof is about them too."""

import json

import numpy as np
import openvino
import pytest

from nut_dataset.layout import open_dataset
from nut_export.compat import COMPAT, write_compat
from nut_export.compat_engine import CompatEngine
from nut_export.export import ExportConfig
from nut_export.parity import TOLERANCES, check_parity, compare, measure
from nut_runtime.contract import OUTPUTS
from nut_runtime.errors import InputError, ParityError
from nut_runtime.pictures import read_picture
from nut_train.predict import predict
from nut_train.run import open_run

FOUR_OUTPUTS = [name for name in OUTPUTS if name != "raw_score"]  # both tools refuse a fifth


@pytest.fixture(scope="module", params=list(COMPAT))
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def engine(tools_bundle, variant):
    return CompatEngine(tools_bundle.folder / "compat" / variant / "model.xml", variant)


def test_a_variant_lies_in_its_own_folder_with_its_own_weights(tools_bundle):
    folder = tools_bundle.folder / "compat"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {f"{name}/model.{ending}" for name in COMPAT for ending in ("xml", "bin")}


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        pytest.param("anomalib", ("input", "f32", "[1,3,?,?]"), id="anomalib"),
        pytest.param("model-api", ("image", "u8", "[1,?,?,3]"), id="model-api"),
    ],
)
def test_a_variant_takes_one_picture_of_any_size_and_gives_four_outputs(tools_bundle, name, takes):
    model = openvino.Core().read_model(tools_bundle.folder / "compat" / name / "model.xml")
    (found,) = model.inputs
    assert (found.any_name, found.element_type.get_type_name(), str(found.partial_shape)) == takes
    # one name an output: anomalib's inferencer takes whichever of several comes first
    assert [set(output.names) for output in model.outputs] == [{wanted} for wanted in FOUR_OUTPUTS]


def test_a_variant_keeps_the_models_facts(tools_bundle, variant):
    model = openvino.Core().read_model(tools_bundle.folder / "compat" / variant / "model.xml")
    facts = json.loads(model.get_rt_info(["model_info", "nut_manifest"]).astype(str))
    assert facts["operating_point"] == tools_bundle.manifest.point.to_json()
    assert model.get_rt_info(["model_info", "model_type"]).astype(str) == "AnomalyDetection"


def test_a_variant_judges_every_size_as_the_main_model_does(engine, our_engine, pictures):
    for path in pictures:
        frame = read_picture(path)
        found, wanted = engine.infer(frame), our_engine.infer(frame)
        # the same graph in the same engine, compiled twice: float32 rounding of sums in another order
        assert found.raw_score == pytest.approx(wanted.raw_score, rel=1e-6)
        assert found.pred_score == pytest.approx(wanted.pred_score, abs=1e-6)
        assert np.abs(found.anomaly_map - wanted.anomaly_map).max() <= 1e-6
        assert (found.pred_label, found.pred_mask.sum()) == (wanted.pred_label, wanted.pred_mask.sum())


def test_every_level_of_a_channel_comes_back_exactly(tools_bundle, our_engine):
    engine = CompatEngine(tools_bundle.folder / "compat" / "anomalib" / "model.xml", "anomalib")
    frame = np.arange(128 * 96 * 3, dtype=np.uint8).reshape(128, 96, 3)  # the model's size: pixels are not mixed
    found, wanted = (one.stages(frame)["stage/pixels"] for one in (engine, our_engine))
    assert np.array_equal(found, wanted)


def test_naming_a_variant_twice_writes_it_once(bundle_folder, tmp_path):
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).symlink_to(bundle_folder / name)
    assert list(write_compat(tmp_path / "model.xml", ["anomalib", "anomalib"])) == ["anomalib"]
    assert write_compat(tmp_path / "model.xml", []) == {}


def test_a_variant_that_is_fed_wrongly_does_not_pass_the_proof(tools_bundle, run_folder, nuts, pictures):
    """The channel order is what goes wrong silently: the Model API variant, given anomalib's RGB as bytes."""

    class Swapped(CompatEngine):
        def infer(self, frame):
            return super().infer(frame[..., ::-1])

    engine = Swapped(tools_bundle.folder / "compat" / "model-api" / "model.xml", "model-api")
    run = open_run(run_folder)
    predictions: list = []
    predict(run.load(), pictures[:4], predictions.append, device="cpu")
    parity = compare(
        predictions,
        measure(engine, predictions, lambda *_: None),
        engine=engine.name,
        engine_version=engine.version,
        precision="fp32",
        dataset=open_dataset(nuts),
        threshold=run.point.image.threshold,
    )
    with pytest.raises(ParityError, match=r"compat/model-api differs from anomalib's prediction"):
        check_parity({engine.name: parity}, TOLERANCES["fp32"])


def test_an_unknown_variant_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown compat variant 'tensorrt', expected one of anomalib, model-api"):
        ExportConfig(compat=("anomalib", "tensorrt"))


def test_an_unknown_layout_is_refused_with_the_known_one():
    with pytest.raises(InputError, match="unknown layout 'triton', expected one of ovms"):
        ExportConfig(layout="triton")
