"""What a manifest says of a locator is read as strictly as the rest of it."""

import json
from dataclasses import replace

import pytest

from nut_runtime.bundle import open_bundle
from nut_runtime.errors import BundleError, InputError
from nut_runtime.locate.entry import GoldenTray, LocatorEntry
from nut_runtime.locate.settings import CutoutSettings, FindSettings
from nut_runtime.manifest import Manifest


@pytest.fixture(scope="module")
def manifest(tray_bundle) -> Manifest:
    return open_bundle(tray_bundle).manifest


def parse(data):
    return Manifest.parse(json.dumps(data))


def changed(manifest, **locator):  # noqa: ANN003 - of the entry
    data = manifest.to_json()
    data["locator"] |= locator
    return data


def test_a_manifest_with_a_locator_survives_being_written(manifest):
    assert parse(manifest.to_json()) == manifest


def test_only_a_manifest_with_a_locator_has_schema_2(manifest):
    assert manifest.to_json()["schema"] == 2
    plain = replace(manifest, locator=None).to_json()
    assert plain["schema"] == 1
    assert "locator" not in plain


@pytest.mark.parametrize("schema", [1, 2])
def test_a_schema_that_does_not_fit_is_refused(manifest, schema):
    data = (manifest if schema == 1 else replace(manifest, locator=None)).to_json() | {"schema": schema}
    with pytest.raises(BundleError, match=f"schema {schema} with(out)? a locator"):
        parse(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"models": {"openvino": "../x.xml"}}, "refers to '../x.xml'|without a model", id="way-out"),
        pytest.param(
            {"models": {"openvino": "gone.xml", "onnxruntime": "locator.onnx"}}, "refers to 'gone.xml'", id="unlisted"
        ),
        pytest.param({"models": {"openvino": "locator.xml"}}, "locator without a model for onnxruntime", id="engine"),
        pytest.param({"models": {}}, "the locator has no model", id="no-model"),
        pytest.param({"models": 3}, "incomplete", id="models-no-table"),
        pytest.param({"tolerances": {"openvino": float("nan"), "onnxruntime": 0.1}}, "tolerance nan", id="nan"),
        pytest.param({"tolerances": {"openvino": 0.1}}, "tolerance nan for onnxruntime", id="no-tolerance"),
        pytest.param({"long_side_px": 0}, "longer side is 1 to 4096", id="no-size"),
        pytest.param({"find": {"peak": 0.5}}, "settings are incomplete", id="find"),
        pytest.param({"find": FindSettings().to_json() | {"level": float("nan")}}, "must rise", id="level-nan"),
        pytest.param(
            {"cutout": CutoutSettings().to_json() | {"fill": float("inf")}}, "as large as its part", id="fill"
        ),
        pytest.param({"usable": {"least_sharpness": float("nan")}}, "least_sharpness is a number", id="limit-nan"),
        pytest.param({"golden": [{"picture": "golden/tray.png", "map": "x"}]}, "'centres' is missing", id="centres"),
        pytest.param(
            {"golden": [{"picture": "golden/tray.png", "map": "golden/tray.npz", "centres": [[1, float("nan")]]}]},
            "is not two numbers",
            id="centre-nan",
        ),
        pytest.param(
            {"golden": [{"picture": "golden/none.png", "map": "golden/tray.npz", "centres": []}]},
            "refers to 'golden/none.png'",
            id="golden-unlisted",
        ),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(manifest, change, message):
    with pytest.raises(BundleError, match=message):
        parse(changed(manifest, **change))


@pytest.mark.parametrize(
    "key",
    ["models", "precision", "long_side_px", "find", "cutout", "golden", "tolerances", "parity", "provenance", "usable"],
)
def test_nothing_of_an_entry_may_be_missing(manifest, key):
    data = manifest.locator.to_json()
    del data[key]
    with pytest.raises(InputError, match=f"'{key}' is missing"):
        LocatorEntry.from_json(data)


def test_the_weights_of_an_ir_belong_to_the_files(manifest):
    assert set(manifest.locator.files) == {
        "locator.xml", "locator.bin", "locator.onnx", "golden/tray.png", "golden/tray.npz"
    }  # fmt: skip


def test_a_golden_map_that_is_none_is_refused(tray_bundle):
    bundle = open_bundle(tray_bundle)
    stages = bundle.manifest.golden[0].stages
    with pytest.raises(BundleError, match="holds no distance_map"):
        bundle.golden_map(GoldenTray(picture="golden/tray.png", map=stages, centres=()))
