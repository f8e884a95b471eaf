"""manifest.json is read strictly: whatever is wrong with it is one BundleError."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from nut_runtime.batch_models import BatchModels
from nut_runtime.errors import BundleError
from nut_runtime.manifest import SCHEMA, Cascade, FileEntry, GoldenFrame, Manifest
from nut_runtime.scoring import OperatingPoint, Scale
from nut_runtime.view_calibration import Sample, ViewCalibration

DIGEST = "0123456789abcdef" * 4
MANIFEST = Manifest(
    bundle_id="nut-0123456789ab",
    name="nut",
    created="2026-01-02T03:04:05+00:00",
    precision="fp32",
    input_height_px=128,
    input_width_px=96,
    point=OperatingPoint(
        image=Scale(threshold=35.7, minimum=0.0, maximum=71.3), pixel=Scale(threshold=1 / 3, minimum=0.0, maximum=65.8)
    ),
    model_point=OperatingPoint(
        image=Scale(threshold=35.8, minimum=0.0, maximum=71.3), pixel=Scale(threshold=1 / 3, minimum=0.0, maximum=65.8)
    ),
    files={
        path: FileEntry(sha256=DIGEST, size_bytes=7)
        for path in ("model.onnx", "model.xml", "model.bin", "golden/00.png", "golden/00.npz")
    },
    models={"onnxruntime": "model.onnx", "openvino": "model.xml"},
    golden=(
        GoldenFrame(
            picture="golden/00.png", stages="golden/00.npz", raw_score=28.3, pred_score=0.4, is_defective=False
        ),
    ),
    tolerances={"stage/pixels": 1e-4, "raw_score": 1e-4},
    parity={"openvino": {"flips": 0, "max_d_score": 4e-7}},
    provenance={"backbone": {"name": "resnet18"}, "notes": None},
)
FAST_FILES = ("fast/model.onnx", "fast/model.xml", "fast/model.bin")
CASCADE = replace(
    MANIFEST,
    precision="cascade",
    files={**MANIFEST.files, **{path: FileEntry(sha256=DIGEST, size_bytes=7) for path in FAST_FILES}},
    cascade=Cascade(
        models={"onnxruntime": "fast/model.onnx", "openvino": "fast/model.xml"},
        guard={"onnxruntime": 0.1, "openvino": 1 / 3},
        found={"openvino": {"pictures": 3, "largest_difference": {"mirrored": 0.15}}},
    ),
)


@pytest.fixture
def data() -> dict[str, Any]:
    """The manifest as plain types, to alter."""
    return copy.deepcopy(MANIFEST.to_json())


@pytest.fixture
def cascade() -> dict[str, Any]:
    """That of a cascade, to alter."""
    return copy.deepcopy(CASCADE.to_json())


CALIBRATED = replace(
    MANIFEST,
    calibration=ViewCalibration(
        brightness=Sample.of([90.5, 100.25]), sharpness=Sample.of([0.01, 0.02]), raw_score=Sample.of([])
    ),
)


BATCH = replace(
    MANIFEST,
    files={**MANIFEST.files, "batch/model.onnx": FileEntry(sha256=DIGEST, size_bytes=7)},
    batch=BatchModels(size=8, models={"onnxruntime": "batch/model.onnx"}, proof={"onnxruntime": {"flips": 0}}),
)


@pytest.mark.parametrize(
    "manifest", [MANIFEST, CASCADE, CALIBRATED, BATCH], ids=["fp32", "cascade", "calibrated", "batch"]
)
def test_what_is_written_is_read_back(manifest):
    assert Manifest.parse(json.dumps(manifest.to_json())) == manifest


def test_a_manifest_from_before_there_were_cascades_has_none(data):
    del data["cascade"]
    assert Manifest.parse(json.dumps(data)) == MANIFEST


def test_a_manifest_without_models_for_several_frames_does_not_name_them(data):
    assert "batch" not in data
    assert Manifest.parse(json.dumps(data)).batch is None


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda batch: batch.update(size=1), id="one-frame"),
        pytest.param(lambda batch: batch.update(size=2.0), id="fraction"),
        pytest.param(lambda batch: batch.update(size=True), id="bool"),
        pytest.param(lambda batch: batch.update(models={}), id="no-model"),
        pytest.param(lambda batch: batch.pop("size"), id="no-size"),
        pytest.param(lambda batch: batch.update(models={"onnxruntime": "../model.onnx"}), id="outside"),
        pytest.param(lambda batch: batch.update(models={"openvino": "batch/model.xml"}), id="not-listed"),
    ],
)
def test_a_batch_that_is_none_is_refused(alter):
    data = copy.deepcopy(BATCH.to_json())
    alter(data["batch"])
    with pytest.raises(BundleError):
        Manifest.parse(json.dumps(data))


def test_a_manifest_from_before_views_were_calibrated_has_none(data):
    assert "calibration" not in data
    assert Manifest.parse(json.dumps(data)).calibration is None


@pytest.mark.parametrize(
    "calibration",
    [
        pytest.param({}, id="empty"),
        pytest.param([], id="list"),
        pytest.param(
            {name: {"count": 1, "values": [2.0, 1.0]} for name in ("brightness", "sharpness", "raw_score")}, id="values"
        ),
    ],
)
def test_a_calibration_that_is_none_is_refused(data, calibration):
    data["calibration"] = calibration
    with pytest.raises(BundleError, match="incomplete"):
        Manifest.parse(json.dumps(data))


def test_a_cascade_may_leave_an_engine_to_the_exact_model(cascade):
    del cascade["cascade"]["models"]["openvino"]
    del cascade["cascade"]["guard"]["openvino"]
    parsed = Manifest.parse(json.dumps(cascade))
    assert parsed.cascade is not None
    assert set(parsed.models) - set(parsed.cascade.models) == {"openvino"}


@pytest.mark.parametrize("path", FAST_FILES)
def test_a_fast_model_that_has_no_digest_is_refused_and_so_are_its_weights(cascade, path):
    del cascade["files"][path]
    with pytest.raises(BundleError, match=f"refers to '{path}', which is not among its files"):
        Manifest.parse(json.dumps(cascade))


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_a_band_that_no_score_or_every_score_lies_in_is_refused(cascade, width):
    cascade["cascade"]["guard"]["openvino"] = width
    with pytest.raises(BundleError, match="fast model for openvino without exact one or guard band"):
        Manifest.parse(json.dumps(cascade))


def test_a_fast_model_without_band_is_refused(cascade):
    del cascade["cascade"]["guard"]["openvino"]
    with pytest.raises(BundleError, match="fast model for openvino without exact one or guard band"):
        Manifest.parse(json.dumps(cascade))


def test_a_fast_model_without_an_exact_one_behind_it_is_refused(cascade):
    del cascade["models"]["openvino"]
    with pytest.raises(BundleError, match="fast model for openvino without exact one or guard band"):
        Manifest.parse(json.dumps(cascade))


@pytest.mark.parametrize(
    ("precision", "has_cascade", "says"),
    [
        ("cascade", False, "has the precision cascade without a cascade"),
        ("int8", True, "has the precision int8 with a cascade"),
        ("fp32", True, "has the precision fp32 with a cascade"),
    ],
)
def test_a_precision_and_a_cascade_that_do_not_go_together_are_refused(cascade, precision, has_cascade, says):
    cascade["precision"] = precision
    if not has_cascade:
        cascade["cascade"] = None
    with pytest.raises(BundleError, match=says):
        Manifest.parse(json.dumps(cascade))


@pytest.mark.parametrize("key", ["models", "guard", "found"])
def test_a_cascade_that_is_incomplete_says_what_it_lacks(cascade, key):
    del cascade["cascade"][key]
    with pytest.raises(BundleError, match=f"incomplete: '{key}' is missing"):
        Manifest.parse(json.dumps(cascade))


def test_a_field_that_a_later_version_adds_is_passed_over(data):
    assert Manifest.parse(json.dumps(data | {"colour": "blue"})) == MANIFEST


def test_a_frame_size_is_read_back_and_need_not_be_there(data):
    fixed = replace(MANIFEST, frame_px=(1080, 1920))
    assert fixed.to_json()["frame_px"] == [1080, 1920]
    assert Manifest.parse(json.dumps(fixed.to_json())) == fixed
    assert "frame_px" not in data
    assert Manifest.parse(json.dumps(data | {"frame_px": None})).frame_px is None


@pytest.mark.parametrize(
    "value", [[], [1080], [1080, 1920, 3], [0, 8], [-1, 8], [8.0, 8], [True, 8], ["8", 8], "88", 8, {"8": 8}, False]
)
def test_a_frame_size_that_is_not_two_whole_numbers_is_refused(data, value):
    with pytest.raises(BundleError, match=r"incomplete: frame_px is .*, expected height and width"):
        Manifest.parse(json.dumps(data | {"frame_px": value}))


def test_a_newer_schema_is_refused_and_says_to_update(data):
    data = {"schema": SCHEMA + 1, "everything": "else changed"}
    with pytest.raises(BundleError, match=rf"schema {SCHEMA + 1}, .* up to {SCHEMA}; update nut-runtime"):
        Manifest.parse(json.dumps(data))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut-off"),
        pytest.param(b"\xff\xfe\x00", id="binary"),
        pytest.param(b"[" * 100_000, id="too-deep"),
    ],
)
def test_what_is_not_json_is_refused(text):
    with pytest.raises(BundleError, match="is not JSON"):
        Manifest.parse(text)


@pytest.mark.parametrize("text", ["1", "null", "[]", "{}", '{"schema": "1"}', '{"schema": true}', '{"schema": 0}'])
def test_json_that_is_no_manifest_is_refused(text):
    with pytest.raises(BundleError, match="has no schema number"):
        Manifest.parse(text)


@pytest.mark.parametrize("key", [key for key in MANIFEST.to_json() if key not in {"schema", "cascade"}])
def test_a_missing_key_is_named(data, key):
    del data[key]
    with pytest.raises(BundleError, match=f"incomplete: '{key}' is missing"):
        Manifest.parse(json.dumps(data))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [place for key, part in inner for place in places(part, (*path, key))]
    return [path, *below] if path else below


@pytest.mark.parametrize("manifest", [MANIFEST, CASCADE], ids=["fp32", "cascade"])
def test_no_altered_value_raises_anything_but_a_bundle_error(manifest):
    data, refused = manifest.to_json(), 0
    for *way, last in places(data):
        for value in (None, "x", [], {}, -1, 0, True, 1e400, float("nan"), 10**400):
            altered = copy.deepcopy(data)
            inner: Any = altered
            for key in way:
                inner = inner[key]
            inner[last] = value
            try:
                Manifest.parse(json.dumps(altered))
            except BundleError as error:
                refused += 1
                assert "\n" not in str(error)  # noqa: PT017
    assert refused > 200  # so that the loop is seen to alter something


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "golden/../../x",
        "/etc/passwd",
        "a\\b",
        "C:x",
        "C:/x",
        "//host/x",
        "golden//x",
        "./x",
        "golden/.hidden",
        "",
        "a\0b",
        "a\n",
        "~/x",
        "x/",
    ],
)
def test_a_path_that_is_not_plain_is_refused(data, path):
    data["files"][path] = data["files"]["model.bin"]
    with pytest.raises(BundleError, match="not a plain path inside the bundle"):
        Manifest.parse(json.dumps(data))


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "G" * 64, DIGEST.upper()])
def test_something_else_than_a_digest_is_refused(data, digest):
    data["files"]["model.bin"]["sha256"] = digest
    with pytest.raises(BundleError, match=r"no valid SHA-256 for model\.bin"):
        Manifest.parse(json.dumps(data))


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda data: data["models"].update(openvino="other.xml"), id="model"),
        pytest.param(lambda data: data["models"].update(openvino="/etc/passwd"), id="model-outside"),
        pytest.param(lambda data: data["golden"]["frames"][0].update(picture="other.png"), id="picture"),
        pytest.param(lambda data: data["golden"]["frames"][0].update(stages="../00.npz"), id="stages"),
    ],
)
def test_a_file_that_is_used_must_be_among_those_with_a_digest(data, alter):
    alter(data)
    with pytest.raises(BundleError, match="is not among its files"):
        Manifest.parse(json.dumps(data))


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        pytest.param(lambda data: data.update(input_px=[0, 96]), "input size", id="size"),
        pytest.param(lambda data: data.update(models={}), "names no model", id="no-model"),
        pytest.param(
            lambda data: data["golden"]["tolerances"].update(raw_score=float("inf")), "tolerance inf", id="infinite"
        ),
        pytest.param(lambda data: data["golden"]["tolerances"].update(raw_score=float("nan")), "tolerance", id="nan"),
        pytest.param(
            lambda data: data["operating_point"]["image"].update(threshold=float("nan")), "finite", id="threshold"
        ),
    ],
)
def test_a_number_that_would_let_everything_pass_is_refused(data, alter, message):
    alter(data)
    with pytest.raises(BundleError, match=message):
        Manifest.parse(json.dumps(data))


def test_an_ir_without_its_weights_among_the_files_is_refused():
    # the memory bank lies in model.bin: unlisted, it could be altered unseen
    data = MANIFEST.to_json()
    del data["files"]["model.bin"]
    with pytest.raises(BundleError, match=r"refers to 'model\.bin', which is not among its files"):
        Manifest.parse(json.dumps(data))
