"""The self-test passes where all is well, and names the first stage where it is not."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.contract import STAGES
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.errors import BundleError
from nut_runtime.manifest import Manifest
from nut_runtime.selftest import RAW_SCORE, VERDICT, deviation, run_selftest, sample_stage


@pytest.fixture(scope="module")
def bundle(bundle_folder) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request, bundle):
    return load_engine(bundle, request.param)


def with_manifest(bundle: Bundle, **changes: object) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, **changes))


def with_stages(bundle: Bundle, folder: Path, alter) -> Bundle:
    """Return a bundle in `folder` that holds the golden frames only, with their tensors altered."""
    (folder / "golden").mkdir()
    for golden in bundle.manifest.golden:
        (folder / golden.picture).write_bytes((bundle.folder / golden.picture).read_bytes())
        stages = bundle.golden_stages(golden)
        alter(stages)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **stages)
        (folder / golden.stages).write_bytes(buffer.getvalue())
    return replace(bundle, folder=folder)


def test_a_sound_device_passes_every_stage(bundle, engine):
    test = run_selftest(bundle, engine)
    assert [stage.stage for stage in test.stages] == [*STAGES, RAW_SCORE, VERDICT]
    assert test.passed, test.stages
    assert test.first_drift is None
    assert test.latency_ms > 0


@pytest.mark.parametrize("stage", STAGES)
def test_the_first_stage_that_drifts_is_named(bundle, engine, tmp_path, stage):
    def from_here_on(stages: dict[str, np.ndarray]) -> None:
        for later in STAGES[STAGES.index(stage) :]:
            stages[later] *= 1.01

    test = run_selftest(with_stages(bundle, tmp_path, from_here_on), engine)
    assert not test.passed
    assert test.first_drift is not None
    assert test.first_drift.stage == stage
    # 1% of the reference, which itself is 1% larger now.
    assert test.first_drift.deviation == pytest.approx(0.01 / 1.01, rel=1e-2)


def test_one_value_that_is_off_is_found(bundle, engine, tmp_path):
    def one_value(stages: dict[str, np.ndarray]) -> None:
        stages[STAGES[1]][17] += 0.1 * np.abs(stages[STAGES[1]]).max()

    drift = run_selftest(with_stages(bundle, tmp_path, one_value), engine).first_drift
    assert drift is not None
    assert drift.stage == STAGES[1]


def test_another_raw_score_is_a_drift_of_the_raw_score(bundle, engine):
    first, *others = bundle.manifest.golden
    altered = with_manifest(bundle, golden=(replace(first, raw_score=first.raw_score * 1.001), *others))
    drift = run_selftest(altered, engine).first_drift
    assert drift is not None
    assert drift.stage == RAW_SCORE


def test_a_flipped_verdict_is_counted(bundle, engine):
    # A reference on the other side of the threshold, and a tolerance that lets the score itself pass.
    *others, last = bundle.manifest.golden
    below = bundle.manifest.point.image.threshold * 0.9
    altered = with_manifest(
        bundle,
        golden=(*others, replace(last, raw_score=below)),
        tolerances={**bundle.manifest.tolerances, RAW_SCORE: 1},
    )
    drift = run_selftest(altered, engine).first_drift
    assert drift is not None
    assert (drift.stage, drift.deviation) == (VERDICT, 1.0)


def test_a_threshold_that_moved_is_no_drift(bundle, engine):
    point = bundle.manifest.point
    moved = replace(point, image=replace(point.image, threshold=point.image.threshold * 0.5))
    assert run_selftest(with_manifest(bundle, point=moved), engine).passed


def test_a_stage_without_a_tolerance_must_be_exact(bundle, engine):
    test = run_selftest(with_manifest(bundle, tolerances={}), engine)
    assert not test.passed


def test_tensors_of_another_shape_are_a_drift(bundle, engine, tmp_path):
    def cut(stages: dict[str, np.ndarray]) -> None:
        stages[STAGES[2]] = stages[STAGES[2]][:-1]

    drift = run_selftest(with_stages(bundle, tmp_path, cut), engine).first_drift
    assert drift is not None
    assert (drift.stage, drift.deviation) == (STAGES[2], float("inf"))


def test_a_bundle_without_golden_frames_does_not_pass(bundle, engine):
    with pytest.raises(BundleError, match="has no golden frames to test with"):
        run_selftest(with_manifest(bundle, golden=()), engine)


def test_golden_tensors_that_lack_a_stage_do_not_pass(bundle, engine, tmp_path):
    altered = with_stages(bundle, tmp_path, lambda stages: stages.pop(STAGES[1]))
    with pytest.raises(BundleError, match=f"lacks {STAGES[1]}; export the bundle again"):
        run_selftest(altered, engine)


def test_the_threshold_in_the_manifest_survives_the_self_test(bundle):
    assert isinstance(bundle.manifest, Manifest)
    assert set(bundle.manifest.tolerances) == {*STAGES, RAW_SCORE}


def test_bf16_is_caught_as_a_drift(bundle, monkeypatch):
    openvino = pytest.importorskip("openvino")
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in capabilities:
        pytest.skip(f"this CPU does not compute in bf16, only in {', '.join(capabilities)}")
    from nut_runtime.engines.openvino import OpenVinoEngine

    compile_model = OpenVinoEngine._compile

    def in_bf16(self: OpenVinoEngine, exposed: tuple[str, ...]):
        self._config = self._config | {"INFERENCE_PRECISION_HINT": "bf16"}
        return compile_model(self, exposed)

    monkeypatch.setattr(OpenVinoEngine, "_compile", in_bf16)
    engine = load_engine(bundle, "openvino")
    assert engine.precision == "bf16"
    drift = run_selftest(bundle, engine).first_drift
    assert drift is not None
    assert drift.stage in STAGES


@pytest.mark.parametrize(("size", "kept"), [(1, 1), (4096, 4096), (4097, 2049), (100_000, 4000)])
def test_at_most_4096_values_spread_over_the_whole_are_kept(size, kept):
    values = sample_stage(np.arange(size))
    assert values.size == kept <= 4096
    assert values[0] == 0
    assert values[-1] > size * 0.99 - 1


@pytest.mark.parametrize(
    ("found", "reference", "expected"),
    [
        pytest.param([1, 2], [1, 2], 0.0, id="equal"),
        pytest.param([1, 3], [1, 4], 0.25, id="share-of-the-largest"),
        pytest.param([0.5], [0], 0.5, id="reference-of-zeros"),
        pytest.param([], [], 0.0, id="empty"),
        pytest.param([1, 2], [1], float("inf"), id="shape"),
        pytest.param([float("nan")], [1], float("inf"), id="nan"),
        pytest.param([1], [float("nan")], float("inf"), id="nan-in-reference"),
        pytest.param([float("inf")], [1], float("inf"), id="infinite"),
    ],
)
def test_deviation_is_a_share_and_what_is_no_number_is_infinite(found, reference, expected):
    assert deviation(np.array(found, np.float32), np.array(reference, np.float32)) == expected
