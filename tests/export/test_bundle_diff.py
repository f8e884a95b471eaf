"""What two bundles say of themselves is compared fact by fact, and nothing that differs is left out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nut_export.bundle_diff import BundleDiff, diff_bundles
from nut_export.bundle_facts import SECTIONS, bundle_facts
from nut_export.signing import generate_key, sign_bundle
from nut_runtime.bundle import open_bundle


def altered(bundle_folder: Path, tmp_path: Path, alter: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the bundle with another manifest."""
    folder = shutil.copytree(bundle_folder, tmp_path / "altered")
    manifest = json.loads((folder / "manifest.json").read_text())
    alter(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def diff(a: Path, b: Path) -> BundleDiff:
    return diff_bundles(open_bundle(a), open_bundle(b))


def pairs(found: BundleDiff) -> dict[str, tuple[object, object]]:
    return {difference.key: (difference.a, difference.b) for difference in found.differences}


def test_a_bundle_does_not_differ_from_its_copy(bundle_folder, tmp_path):
    found = diff(bundle_folder, shutil.copytree(bundle_folder, tmp_path / "copy"))
    assert found.differences == ()
    assert not found.is_different
    assert {fact.section for fact in found.same} == set(SECTIONS) - {"other"}


def test_a_moved_threshold_is_all_that_differs_and_both_values_are_told(bundle_folder, tmp_path):
    old = open_bundle(bundle_folder).manifest.point.image.threshold

    def alter(manifest):
        manifest["operating_point"]["image"]["threshold"] = old * 0.9

    found = diff(bundle_folder, altered(bundle_folder, tmp_path, alter))
    assert pairs(found) == {"operating_point.image.threshold": (old, old * 0.9)}
    assert found.is_different
    # what is fixed into the model files did not move with it
    assert "model_point.image.threshold" in {fact.key for fact in found.same}


def test_a_threshold_that_moved_with_the_model_files_is_told_once(bundle_folder, tmp_path):
    def alter(manifest):
        for point in ("operating_point", "model_point"):
            manifest[point]["pixel"]["threshold"] *= 1.1

    found = diff(bundle_folder, altered(bundle_folder, tmp_path, alter))
    assert [difference.key for difference in found.differences] == ["operating_point.pixel.threshold"]


def test_another_bank_shows_in_rows_digests_and_proof_but_not_in_the_data(bundle_folder, sparse_bundle):
    found = diff(bundle_folder, sparse_bundle)
    keys = pairs(found)
    rows = open_bundle(bundle_folder).manifest.provenance["bank"]["rows"]
    assert keys["provenance.bank.rows"] == (rows, -(-rows // 3))
    assert {"bundle_id", "files.model.onnx", "files.model.bin", "files.model.xml", "golden.frames"} <= set(keys)
    assert keys["parity.openvino.pictures"][1] == 2
    same = {fact.key for fact in found.same}
    assert {
        "precision",
        "input_px",
        "operating_point.image.threshold",
        "provenance.backbone.name",
        "provenance.backbone.layers",
        "provenance.backbone.weights_sha256",
        "provenance.bank.width",
        "provenance.dataset_fingerprint",
        "provenance.calibration.held_out",
        "provenance.versions.anomalib",
    } <= same
    assert not same & set(keys)


CHANGES = [
    pytest.param("data", lambda m: m["provenance"].update(dataset_fingerprint="0" * 64), id="data"),
    pytest.param("model", lambda m: m["provenance"]["backbone"].update(weights_sha256="0" * 64), id="weights"),
    pytest.param("model", lambda m: m["provenance"]["backbone"].update(layers=["blocks.1"]), id="layers"),
    pytest.param("model", lambda m: m.update(precision="int8"), id="precision"),
    pytest.param("model", lambda m: m.update(input_px=[128, 128]), id="input-size"),
    pytest.param("calibration", lambda m: m["provenance"]["calibration"].update(held_out=99), id="held-out"),
    pytest.param("parity", lambda m: m["parity"]["openvino"].update(flips=3), id="flips"),
    pytest.param("versions", lambda m: m["provenance"]["versions"].update(torch="3.0"), id="version"),
    pytest.param("self-test", lambda m: m["golden"]["tolerances"].update(raw_score=0.5), id="tolerance"),
    pytest.param("self-test", lambda m: m["golden"]["frames"][0].update(raw_score=1.0), id="golden-score"),
    pytest.param("other", lambda m: m["provenance"].update(guard_band={"low": 0.4}), id="unknown-fact"),
]


@pytest.mark.parametrize(("section", "alter"), CHANGES)
def test_each_change_is_found_alone_and_in_its_section(bundle_folder, tmp_path, section, alter):
    found = diff(bundle_folder, altered(bundle_folder, tmp_path, alter))
    (difference,) = found.differences
    assert difference.section == section
    assert difference.a != difference.b


def test_what_one_does_not_state_is_none_there(bundle_folder, tmp_path):
    def alter(manifest):
        del manifest["provenance"]["calibration"]
        manifest["parity"] = {}

    found = diff(bundle_folder, altered(bundle_folder, tmp_path, alter))
    values = pairs(found)
    assert values["provenance.calibration.held_out"] == (5, None)
    assert values["parity.openvino.flips"] == (0, None)
    assert all(new is None for _, new in values.values())


def test_a_number_that_is_none_differs_from_a_number_but_not_from_itself(bundle_folder, tmp_path):
    def alter(manifest):
        manifest["parity"]["openvino"]["max_d_map"] = float("nan")

    folder = altered(bundle_folder, tmp_path, alter)
    assert pairs(diff(bundle_folder, folder))["parity.openvino.max_d_map"][1] == "nan"
    assert not diff(folder, folder).is_different
    json.dumps(diff(bundle_folder, folder).to_json(), allow_nan=False)


def test_a_signature_is_told_and_makes_a_difference(bundle_folder, tmp_path):
    signed = shutil.copytree(bundle_folder, tmp_path / "signed")
    key = generate_key(tmp_path / "plant.pem")
    sign_bundle(signed, key)
    assert pairs(diff(bundle_folder, signed)) == {"signature": ("nobody", key.fingerprint)}
    (signed / "manifest.sig").write_text("scribble")
    assert pairs(diff(bundle_folder, signed)) == {"signature": ("nobody", "unusable signature")}


def test_the_differences_come_section_by_section(bundle_folder, sparse_bundle):
    sections = [SECTIONS.index(difference.section) for difference in diff(bundle_folder, sparse_bundle).differences]
    assert sections == sorted(sections)


def test_every_fact_has_words_without_underscores_but_those_that_are_names(bundle_folder):
    facts = bundle_facts(open_bundle(bundle_folder)).values()
    labels = [(fact.section, fact.label) for fact in facts]
    assert len(set(labels)) == len(labels)
    assert not [label for section, label in labels if "_" in label and section not in {"files", "versions"}]


def test_every_fact_of_the_manifest_is_compared(bundle_folder):
    """Any leaf that is altered is found, so that nothing can change behind the approver's back."""
    bundle = open_bundle(bundle_folder)
    manifest = bundle.manifest
    point = replace(manifest.point, pixel=replace(manifest.point.pixel, maximum=manifest.point.pixel.maximum + 1))
    other = replace(
        manifest,
        bundle_id="x",
        name="x",
        created="x",
        precision="x",
        input_height_px=1,
        point=point,
        models={"openvino": "model.xml"},
        golden=manifest.golden[:1],
        tolerances={},
        parity={},
        provenance={},
        calibration=None,
    )
    found = diff_bundles(bundle, replace(bundle, manifest=other))
    left = {fact.section for fact in found.same}
    assert left <= {"threshold", "model", "signature (not verified)", "files"}
