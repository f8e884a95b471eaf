"""A bundle in int8: what was chosen for it, that it is proved and listed, and that any x86 judges alike with it."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import openvino
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from nut_dataset.layout import open_dataset
from nut_export.export import ExportConfig
from nut_export.fast import FastConfig, FastModel, pixels_of, search_recall
from nut_export.quantise import QuantisedFeatures
from nut_export.search import prepare_bank
from nut_runtime.cli import main as runtime
from nut_runtime.contract import STAGE_DISTANCES, STAGE_EMBEDDING, STAGE_PIXELS
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import InputError
from nut_runtime.machine import this_machine
from nut_runtime.pictures import read_picture
from nut_runtime.selftest import run_selftest, sample_stage
from nut_train.run import open_run


def test_the_command_says_what_it_picked_for_each_engine(int8):
    picked = [line for line in int8.result.stdout.splitlines() if "backbone" in line]
    assert [line.split()[0] for line in picked] == ["onnxruntime", "openvino"]
    # lite0 has depthwise convolutions, which ONNX Runtime computes more slowly in int8
    assert "backbone float32, search int8 in 152 components, 8 candidates, recall" in picked[0]
    assert "backbone int8, search" in picked[1]
    assert "in 152 components, 8 candidates, recall" in picked[1]
    proved = [line for line in int8.result.stdout.splitlines() if "flips" in line]
    assert all("farther than 0.02 from the threshold) on 6 pictures" in line for line in proved)
    assert all(", recall 9" in line or ", recall 100" in line for line in proved)
    assert "judged twice" not in int8.result.stdout


def test_the_manifest_says_what_is_fast_in_it(int8):
    manifest = int8.bundle.manifest
    assert (manifest.precision, manifest.cascade) == ("int8", None)
    facts = manifest.provenance["fast"]
    assert set(facts) == set(manifest.models) == set(ENGINES)
    for engine in ENGINES:
        search = facts[engine]["search"]
        assert (search["components"], search["candidates"]) == (152, 8)
        assert search["recall"] >= 0.999
        assert manifest.parity[engine]["recall"] >= 0.999
        assert manifest.parity[engine]["rejudged"] is None
    assert facts["onnxruntime"]["features"] is None
    features = facts["openvino"]["features"]
    assert (features["scope"], features["float_layers"], features["pictures"]) == ("convolutions", [], 8)
    assert 0 < features["error"] < 0.2


def test_it_holds_the_files_of_an_exact_bundle_and_lists_them(int8, bundle_folder):
    folder = int8.bundle.folder
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    exact = {path.relative_to(bundle_folder).as_posix() for path in bundle_folder.rglob("*") if path.is_file()}
    assert found == exact | {f"batch/model.{kind}" for kind in ("onnx", "xml", "bin")}
    assert set(int8.bundle.manifest.files) == found - {"manifest.json"}
    assert int8.bundle.unlisted_files() == []


def test_info_shows_it_and_doctor_passes_in_both_engines(int8):
    info = CliRunner().invoke(runtime, ["info", "--model", str(int8.bundle.folder)])
    assert info.exit_code == 0, info.output
    assert "precision           int8" in info.stdout
    doctor = CliRunner().invoke(runtime, ["doctor", "--model", str(int8.bundle.folder)])
    assert doctor.exit_code == 0, doctor.output
    assert doctor.stdout.count("this device judges as the reference did") == 2


def test_openvinos_file_keeps_its_integers(int8):
    """Folded to float32, the file would be as large and as slow as the exact one."""
    network = openvino.Core().read_model(int8.bundle.folder / "model.xml")
    constants = [one for one in network.get_ops() if one.get_type_name() == "Constant"]
    convolutions = [one for one in network.get_ops() if "Convolution" in one.get_type_name()]
    integers = [one for one in constants if one.get_element_type() == openvino.Type.i8 and one.get_output_size() == 1]
    weights = sum(int(np.prod(one.get_output_shape(0))) for one in integers)
    assert len(convolutions) == 33
    assert weights > 250_000  # lite0's convolutions to block 4
    assert (int8.bundle.folder / "model.bin").stat().st_size < 0.5 * (int8.bundle.folder / "model.onnx").stat().st_size


def test_ordinary_convolutions_leave_the_sum_of_two_products_in_16_bits(int8, quantised_features):
    """CPUs without VNNI add pairs of products up in int16; depthwise ones have no pairs, which a test below runs."""
    (features,) = quantised_features.values()
    makers = {output: node for node in features.model.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in features.model.graph.initializer}
    looked_at = 0
    for node in features.model.graph.node:
        groups = next((one.i for one in node.attribute if one.name == "group"), 1)
        if node.op_type == "Conv" and groups == 1:
            weights = numpy_helper.to_array(constants[makers[node.input[1]].input[0]])
            assert weights.dtype == np.int8
            assert 2 * 255 * int(np.abs(weights.astype(np.int32)).max()) <= np.iinfo(np.int16).max, node.name
            looked_at += 1
    assert looked_at == 22


_JUDGE = """
import sys
import numpy as np
from nut_runtime.bundle import open_bundle
from nut_runtime.engines import load_engine
from nut_runtime.engines.cascade import CascadeEngine
for folder, out in zip(sys.argv[1::2], sys.argv[2::2]):
    bundle = open_bundle(folder)
    engine = load_engine(bundle, "openvino")
    engine = engine.fast if isinstance(engine, CascadeEngine) else engine
    frames = [bundle.golden_frame(golden) for golden in bundle.manifest.golden]
    scores = [engine.infer(frame).raw_score for frame in frames]
    stages = [engine.stages(frame) for frame in frames]
    np.savez(out, scores=scores, **{name: np.concatenate([one[f"stage/{name}"] for one in stages]) for name in
        ("embedding", "distances")})
"""


def test_both_ways_to_be_fast_are_right_on_a_cpu_without_vnni(int8, cascade_of_two, tmp_path):
    """The int8 bundle has an int8 backbone in OpenVINO, the cascade an int8 search."""
    machine = this_machine()
    if "avx2" not in machine.instruction_sets:
        pytest.skip("this is no x86 with AVX2, whose narrow sums are looked at")
    found = {}
    for name, limit in (("all", {}), ("avx2", {"ONEDNN_MAX_CPU_ISA": "AVX2"})):
        outs = {kind: tmp_path / f"{kind}-{name}.npz" for kind in ("int8", "cascade")}
        bundles = {"int8": int8.bundle.folder, "cascade": cascade_of_two.bundle.folder}
        arguments = [str(one) for kind, out in outs.items() for one in (bundles[kind], out)]
        subprocess.run(
            [sys.executable, "-c", _JUDGE, *arguments],
            env=os.environ | limit,
            check=True,
            capture_output=True,
            timeout=120,
        )
        found[name] = {kind: np.load(out) for kind, out in outs.items()}
    for kind, everything in found["all"].items():
        narrow = found["avx2"][kind]
        # float32 sums in another order; what int8 costs is a thousand times as much
        assert narrow["scores"] == pytest.approx(everything["scores"], rel=1e-4)
        for stage in ("embedding", "distances"):
            off = np.abs(narrow[stage] - everything[stage]).max() / np.abs(everything[stage]).max()
            assert off <= 1e-4, (kind, stage)
    exact = np.array([golden.raw_score for golden in int8.bundle.manifest.golden])
    assert np.abs(found["all"]["int8"]["scores"] / exact - 1).max() > 1e-3, "int8 costs nothing: is it used?"


@pytest.mark.parametrize("name", list(ENGINES))
def test_the_recall_in_the_proof_is_counted_in_the_engine_itself(int8, run_folder, more_nuts, name):
    engine = load_engine(int8.bundle, name)
    bank = open_run(run_folder).load().model.memory_bank.numpy()
    paths = [*open_dataset(more_nuts).test_good, *open_dataset(more_nuts).defective]
    hits, patches = 0, 0
    for path in paths:
        stages = engine.stages(read_picture(path))
        everything = np.linalg.norm(stages[STAGE_EMBEDDING][:, None].astype(np.float64) - bank[None], axis=2)
        hits += int((stages[STAGE_DISTANCES] <= everything.min(axis=1) * (1 + 1e-4)).sum())
        patches += len(everything)
        # whatever was not found, no distance is too small
        assert (stages[STAGE_DISTANCES] >= everything.min(axis=1) * (1 - 1e-4)).all()
    assert search_recall(engine, prepare_bank(bank, 9), paths) == pytest.approx(hits / patches, abs=1e-12)


class _Blind:
    """An engine whose search finds something else than the nearest, for one patch in four."""

    def __init__(self, engine) -> None:
        self.engine, self.name, self.version = engine, engine.name, engine.version

    def stages(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        found = self.engine.stages(frame)
        distances = found[STAGE_DISTANCES].copy()
        distances[::4] *= 1.01
        return found | {STAGE_DISTANCES: distances}


def test_a_search_that_misses_a_quarter_of_the_patches_is_told(bundle_folder, int8, run_folder, more_nuts):
    bank = prepare_bank(open_run(run_folder).load().model.memory_bank.numpy(), 9)
    engine = load_engine(int8.bundle, "onnxruntime")
    paths = open_dataset(more_nuts).test_good
    assert search_recall(engine, bank, paths) >= 0.99
    blind = _Blind(engine)
    assert search_recall(blind, bank, paths) == pytest.approx(0.75, abs=0.01)
    # of a cascade, the fast model is the one that searches coarsely
    pair = CascadeEngine(blind, engine, threshold=1.0, guard=1.0)
    assert search_recall(pair, bank, paths) == pytest.approx(0.75, abs=0.01)


def test_the_pixels_that_calibrate_are_those_the_reference_sees(int8, run_folder):
    model = open_run(run_folder).load()
    for golden in int8.bundle.manifest.golden:
        pixels = pixels_of(model, int8.bundle.golden_frame(golden))
        assert (pixels.shape, pixels.dtype) == ((1, 3, 128, 96), np.float32)
        assert np.array_equal(sample_stage(pixels), int8.bundle.golden_stages(golden)[STAGE_PIXELS])


def _features(*, layers: int, kept: int) -> QuantisedFeatures:
    return QuantisedFeatures(
        model=onnx.ModelProto(),
        error=0.05,
        scope="convolutions",
        float_layers=tuple(f"conv{number}" for number in range(kept)),
        layers=layers,
        pictures=8,
    )


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (None, "backbone float32, search exact"),
        (_features(layers=20, kept=0), "backbone int8, search exact"),
        (_features(layers=20, kept=3), "backbone int8 (3 of 20 layers float32), search exact"),
    ],
)
def test_what_was_chosen_is_said_in_words(features, says):
    chosen = FastModel(model=onnx.ModelProto(), plan=None, features=features)
    assert chosen.describe() == says
    assert chosen.is_exact is (features is None)
    assert json.loads(json.dumps(chosen.to_json())) == chosen.to_json()


@pytest.mark.parametrize("fast", [FastConfig(components=64), FastConfig(candidates=8), FastConfig(feature_error=0.1)])
def test_what_belongs_to_the_fast_search_is_refused_in_fp32(fast):
    with pytest.raises(InputError, match="add --precision int8 or cascade"):
        ExportConfig(fast=fast)
    assert ExportConfig(precision="int8", fast=fast).fast == fast


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown precision 'bf16', expected one of fp32, int8, cascade"):
        ExportConfig(precision="bf16")


def test_a_self_test_in_int8_catches_a_model_that_saturates(int8, monkeypatch):
    """What sums that saturate do to an embedding: some of its values are cut off."""
    engine = load_engine(int8.bundle, "openvino")
    stages = engine.stages

    def saturated(frame: np.ndarray) -> dict[str, np.ndarray]:
        found = stages(frame)
        return found | {STAGE_EMBEDDING: np.minimum(found[STAGE_EMBEDDING], 0.3 * found[STAGE_EMBEDDING].max())}

    assert run_selftest(int8.bundle, engine).passed
    monkeypatch.setattr(engine, "stages", saturated)
    drift = run_selftest(int8.bundle, engine).first_drift
    assert drift is not None
    assert drift.stage == STAGE_EMBEDDING
