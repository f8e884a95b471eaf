"""Which fast model a cascade gets, and the whole bundle on the line."""

import importlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from nut_dataset.layout import open_dataset
from nut_export import cascade as module
from nut_export.cascade import FAST_FOLDER, ChosenCascade, choose_cascade
from nut_export.fast import FastModel
from nut_export.guard import AS_IT_IS, PERTURBATIONS, SAFETY_FACTOR, Guard
from nut_export.plan import SearchPlan
from nut_runtime.atomic import write_json
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.cli import main as runtime
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import BundleError
from nut_runtime.pictures import read_picture

PLAN = SearchPlan(arithmetic="int8", components=8, candidates=4, group_rows=16, recall=1.0, patches=100)


@pytest.fixture
def exact(bundle_folder, tmp_path) -> Bundle:
    """An exact bundle's models in a folder of their own, to put fast ones beside."""
    opened = open_bundle(bundle_folder)
    for name in ("model.onnx", "model.xml", "model.bin"):
        (tmp_path / name).write_bytes((bundle_folder / name).read_bytes())
    return replace(opened, folder=tmp_path)


@pytest.fixture
def choose(exact, bundle_folder, monkeypatch):
    """A function that chooses between models that differ only in what they are said to take."""

    def choose(**milliseconds: tuple[float, ...]) -> tuple[ChosenCascade | None, dict[str, list[FastModel]]]:
        def measured(fast, exact, pictures, *, threshold: float, progress: object) -> Guard:
            assert (fast.name, list(pictures)) == (exact.name, [Path("good.png")])
            assert threshold == opened.manifest.point.image.threshold
            return Guard(
                width=next(widths), pictures=1, largest_difference={}, within=0.0, fast_ms=next(times), exact_ms=10.0
            )

        opened = open_bundle(bundle_folder)
        models: dict[str, list[FastModel]] = {}
        for engine, several in milliseconds.items():
            models[engine] = []
            for number in range(len(several)):
                model = onnx.load(bundle_folder / "model.onnx")
                model.doc_string = f"{engine} {number}"
                models[engine].append(FastModel(model=model, plan=PLAN, features=None))
        times, widths = iter([one for several in milliseconds.values() for one in several]), iter(range(1, 9))
        monkeypatch.setattr(module, "guard_band", measured)
        return choose_cascade(exact, models, {"some": "fact"}, [Path("good.png")]), models

    return choose


def _files(bundle: Bundle) -> set[str]:
    folder = bundle.folder / FAST_FOLDER
    return {path.relative_to(bundle.folder).as_posix() for path in folder.rglob("*")} if folder.exists() else set()


@pytest.mark.parametrize(("times", "best"), [((3.0, 5.0), 0), ((5.0, 3.0), 1), ((20.0, 3.0), 1), ((3.0, 20.0), 0)])
def test_the_fastest_on_average_is_taken_with_its_own_band_and_nothing_of_the_other_is_left(choose, exact, times, best):
    found, models = choose(onnxruntime=times)
    assert found is not None
    assert found.fast == {"onnxruntime": models["onnxruntime"][best]}
    assert found.cascade.models == {"onnxruntime": "fast/model.onnx"}
    assert found.cascade.guard == {"onnxruntime": best + 1}
    assert found.cascade.found["onnxruntime"]["fast_ms"] == times[best]
    assert _files(exact) == {"fast/model.onnx"}
    assert onnx.load(exact.folder / "fast/model.onnx").doc_string == f"onnxruntime {best}"


def test_both_engines_lie_side_by_side(choose, exact):
    found, _ = choose(onnxruntime=(3.0,), openvino=(5.0, 4.0))  # the second in place of the first
    assert found is not None
    assert found.cascade.models == {"onnxruntime": "fast/model.onnx", "openvino": "fast/model.xml"}
    assert found.cascade.guard == {"onnxruntime": 1, "openvino": 3}
    assert _files(exact) == {"fast/model.onnx", "fast/model.xml", "fast/model.bin"}


def test_an_engine_in_which_none_is_faster_than_the_exact_one_gets_none(choose, exact):
    found, _ = choose(onnxruntime=(10.0, 11.0), openvino=(9.9,))
    assert found is not None
    assert set(found.cascade.models) == set(found.cascade.guard) == set(found.fast) == {"openvino"}
    assert _files(exact) == {"fast/model.xml", "fast/model.bin"}


def test_where_the_exact_model_alone_is_fastest_nothing_is_written(choose, exact):
    found, _ = choose(onnxruntime=(12.0, 10.0))
    assert found is None
    assert not (exact.folder / FAST_FOLDER).exists()


def test_a_model_in_which_nothing_is_fast_is_not_even_tried(exact, monkeypatch):
    monkeypatch.setattr(module, "guard_band", lambda *_, **__: pytest.fail("it was measured"))
    same = FastModel(model=onnx.ModelProto(), plan=None, features=None)
    assert choose_cascade(exact, {"onnxruntime": [same]}, {}, [Path("good.png")]) is None


def test_judging_some_parts_twice_counts():
    guard = Guard(width=1.0, pictures=4, largest_difference={}, within=0.25, fast_ms=4.0, exact_ms=10.0)
    assert guard.expected_ms == 6.5
    assert guard.to_json()["expected_ms"] == 6.5


def test_the_command_says_what_it_picked_and_how_many_were_judged_twice(cascade_of_two):
    assert cascade_of_two.result.stderr == ""
    lines = cascade_of_two.result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["onnxruntime", "openvino"] * 2
    for line in lines[:2]:
        assert "backbone float32, search int8 in 152 components, 8 candidates, recall" in line
    for line in lines[2:4]:
        assert "0 flips on 6 pictures of 6 sizes, recall" in line
        assert line.endswith("% judged twice")


def test_it_holds_an_exact_bundles_files_and_its_fast_models_all_listed(cascade_of_two, bundle_folder):
    folder = cascade_of_two.bundle.folder
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    exact = {path.relative_to(bundle_folder).as_posix() for path in bundle_folder.rglob("*") if path.is_file()}
    assert found == exact | {f"{of}/model.{kind}" for of in ("fast", "batch") for kind in ("onnx", "xml", "bin")}
    assert set(cascade_of_two.bundle.manifest.files) == found - {"manifest.json"}
    # the exact models are those of the exact bundle, but for when they were written and what they state
    assert (folder / "model.bin").read_bytes() == (bundle_folder / "model.bin").read_bytes()


def test_its_exact_models_are_proved_by_themselves_on_the_same_pictures_at_what_fp32_promises(cascade_of_two):
    proof = json.loads((cascade_of_two.bundle.folder / "parity.json").read_text())
    assert set(proof) == {*ENGINES, *(f"exact/{engine}" for engine in ENGINES)}
    for engine in ENGINES:
        assert (proof[engine]["precision"], proof[f"exact/{engine}"]["precision"]) == ("cascade", "fp32")
        assert proof[engine]["pictures"] == proof[f"exact/{engine}"]["pictures"]


def test_the_manifest_says_how_each_band_was_found(cascade_of_two, bundle_folder):
    manifest = cascade_of_two.bundle.manifest
    assert manifest.precision == "cascade"
    assert manifest.bundle_id != open_bundle(bundle_folder).manifest.bundle_id
    assert manifest.cascade is not None
    assert set(manifest.cascade.models) == set(manifest.provenance["fast"]) == set(ENGINES)
    for engine in ENGINES:
        found = manifest.cascade.found[engine]
        assert manifest.cascade.guard[engine] == found["width"]
        assert found["width"] >= SAFETY_FACTOR * max(found["largest_difference"].values())
        assert set(found["largest_difference"]) == set(PERTURBATIONS)
        assert found["pictures"] == 5  # held out
        assert manifest.parity[engine]["recall"] >= 0.999
        assert manifest.parity[engine]["rejudged"] == 0
        assert manifest.parity[engine]["flips"] == 0


def _nut_runtime(*arguments: object) -> Result:
    result = CliRunner().invoke(runtime, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_info_shows_it_and_doctor_looks_at_both_models_in_both_engines(cascade_of_two):
    info = _nut_runtime("info", "--model", cascade_of_two.bundle.folder)
    assert info.exit_code == 0
    assert re.search(r"^precision +cascade$", info.stdout, re.MULTILINE)
    assert re.search(r"^guard openvino +the exact model decides within", info.stdout, re.MULTILINE)
    as_json = json.loads(_nut_runtime("info", "--json", "--model", cascade_of_two.bundle.folder).stdout)
    assert set(as_json["cascade"]["guard"]) == set(ENGINES)
    doctor = _nut_runtime("doctor", "--model", cascade_of_two.bundle.folder)
    assert doctor.exit_code == 0, doctor.output
    assert doctor.stdout.count("this device judges as the reference did") == 2
    assert doctor.stdout.count("fast/stage/distances") == 2


@pytest.mark.parametrize("engine", list(ENGINES))
def test_a_fast_model_with_the_float_backbone_scores_as_the_exact_one_though_its_search_loses_some(
    cascade_of_two, more_nuts, engine
):
    """The band of such a model is narrow, and the frames it was found on are few."""
    pair = load_engine(cascade_of_two.bundle, engine)
    assert isinstance(pair, CascadeEngine)
    threshold = cascade_of_two.bundle.manifest.point.image.threshold
    dataset = open_dataset(more_nuts)
    lost = 0
    for path in (*dataset.train_good, *dataset.test_good, *dataset.defective):
        for perturbation in (AS_IT_IS, "10% lighter"):
            frame = PERTURBATIONS[perturbation](read_picture(path))
            off = pair.fast.infer(frame).raw_score - pair.exact.infer(frame).raw_score
            assert abs(off) <= 1e-5 * threshold  # the least band there is
        distances = [judge.stages(frame)["stage/distances"] for judge in (pair.fast, pair.exact)]
        lost += int((distances[0] > distances[1] + 1e-3 * threshold).sum())
    assert lost, "every patch found its nearest vector, so that the scores had to agree"


@pytest.fixture
def moved(cascade_of_two, tmp_path) -> Bundle:
    """The cascade with its threshold moved to just above a golden frame's score."""
    bundle = cascade_of_two.bundle
    manifest = bundle.manifest
    assert manifest.cascade is not None
    above = min(manifest.cascade.guard.values()) / 3
    image = replace(manifest.point.image, threshold=manifest.golden[0].raw_score + above)
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "moved"))
    altered = replace(manifest, point=replace(manifest.point, image=image))
    write_json(folder / "manifest.json", altered.to_json())
    return open_bundle(folder)


@pytest.mark.parametrize("engine", list(ENGINES))
def test_on_the_line_records_say_which_parts_were_judged_twice_and_the_summary_counts_them(moved, engine, tmp_path):
    golden = [moved.folder / frame.picture for frame in moved.manifest.golden]
    options = ["--model", moved.folder, "--engine", engine, "--output", tmp_path / "verdicts.jsonl"]
    result = _nut_runtime("run", *golden, *options)
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert [record["rejudged"] for record in records] == [True, False, False]
    assert [record["label"] for record in records] == ["good", "defect", "defect"]
    for record, frame in zip(records, moved.manifest.golden, strict=True):
        assert record["raw_score"] == pytest.approx(frame.raw_score, rel=1e-4)
    assert "3 parts, 2 rejects, 1 judged twice; p50" in result.stderr
    assert f"({engine}, cascade)" in result.stderr


def test_of_an_exact_bundle_nothing_is_said_of_judging_twice(bundle_folder):
    result = _nut_runtime("run", bundle_folder / "golden/00.png", "--model", bundle_folder)
    assert "judged twice" not in result.output


@pytest.mark.parametrize("file", ["fast/model.onnx", "fast/model.xml", "fast/model.bin"])
def test_a_fast_model_that_was_altered_is_not_opened(moved, file):
    content = bytearray((moved.folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (moved.folder / file).write_bytes(content)
    with pytest.raises(BundleError, match=f"{file} was altered"):
        open_bundle(moved.folder)


def test_openvino_does_not_take_up_a_fast_model_that_was_replaced_while_it_was_in_use(moved, monkeypatch):
    monkeypatch.setattr(importlib.import_module("nut_runtime.engines.openvino"), "_SIZES_KEPT", 1)
    pair = load_engine(moved, "openvino")
    assert isinstance(pair, CascadeEngine)
    pair.fast.infer(np.full((64, 64, 3), 127, np.uint8))
    weights = (moved.folder / "fast/model.bin").read_bytes()
    (moved.folder / "fast/model.bin").unlink()  # a new file, as a copied bundle has: the old one may still be mapped
    (moved.folder / "fast/model.bin").write_bytes(weights[::-1])
    for side in (64, 65):  # the exact model's files were not
        pair.exact.infer(np.full((side, 64, 3), 127, np.uint8))
    with pytest.raises(BundleError, match=r"fast/model\.bin was altered"):
        pair.fast.infer(np.full((64, 65, 3), 127, np.uint8))


def test_where_no_fast_model_pays_the_command_says_so_and_the_bundle_is_exact(
    export_fast, cascade_of_two, fast_exports, monkeypatch
):
    monkeypatch.setattr("nut_export.export.choose_cascade", lambda *_: None)
    monkeypatch.delitem(fast_exports, "cascade")
    exported = export_fast("cascade")
    monkeypatch.setitem(fast_exports, "cascade", cascade_of_two)
    assert "no fast model beats the exact one on this machine; the bundle is fp32" in exported.result.stderr
    assert "backbone" not in exported.result.stdout
    assert "judged twice" not in exported.result.stdout
    manifest = exported.bundle.manifest
    assert (manifest.precision, manifest.cascade) == ("fp32", None)
    assert "fast" not in manifest.provenance
    assert not any(path.startswith("fast/") for path in manifest.files)
    assert {figures["precision"] for figures in manifest.parity.values()} == {"fp32"}
    assert not isinstance(load_engine(exported.bundle), CascadeEngine)
