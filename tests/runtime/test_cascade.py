"""A cascade: the fast model decides alone far from the threshold, and never near it."""

from dataclasses import replace

import numpy as np
import pytest

from nut_runtime import Inspector
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.contract import STAGES
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.engines.base import EngineResult
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import BundleError, EngineError
from nut_runtime.manifest import Cascade
from nut_runtime.selftest import FAST_PREFIX, RAW_SCORE, VERDICT, run_selftest
from nut_runtime.verdict import Label

THRESHOLD, GUARD = 10.0, 0.5
FRAME = np.zeros((16, 16, 3), np.uint8)


class _Judge:
    """An engine that says what it is told to, and counts."""

    def __init__(self, name: str, score: float) -> None:
        self.name, self.version, self.precision = name, "1.0", "float32"
        self.score, self.judged = score, 0

    def infer(self, frame: np.ndarray) -> EngineResult:
        self.judged += 1
        return EngineResult(
            raw_score=self.score,
            pred_score=self.score / 20,
            pred_label=self.score > THRESHOLD,
            anomaly_map=np.full((2, 2), self.score, np.float32),
            pred_mask=np.full((2, 2), self.score > THRESHOLD),
        )

    def stages(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        return {STAGES[0]: np.array([self.score])}


def _pair(fast: float, exact: float = 7.0) -> tuple[CascadeEngine, _Judge, _Judge]:
    judges = _Judge("fast", fast), _Judge("exact", exact)
    return CascadeEngine(*judges, threshold=THRESHOLD, guard=GUARD), *judges


@pytest.mark.parametrize("score", [0.0, 9.499, 10.501, 1e9, -1e9])
def test_outside_the_band_only_the_fast_model_is_asked(score):
    cascade, fast, exact = _pair(score)
    result = cascade.infer(FRAME)
    assert (result.raw_score, result.is_rejudged) == (score, False)
    assert (fast.judged, exact.judged) == (1, 0)


@pytest.mark.parametrize("score", [9.5, 9.7, 10.0, 10.3, 10.5, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("exact_score", [3.0, 9.99, 10.01, 40.0])
def test_inside_the_band_at_its_border_and_where_the_score_is_no_number_the_exact_model_decides(score, exact_score):
    cascade, fast, exact = _pair(score, exact_score)
    result = cascade.infer(FRAME)
    assert (fast.judged, exact.judged) == (1, 1)
    assert (result.raw_score, result.pred_score) == (exact_score, exact_score / 20)
    assert result.pred_label is (exact_score > THRESHOLD)
    assert result.anomaly_map.max() == np.float32(exact_score)
    assert result.is_rejudged


def test_it_has_the_name_of_its_engine_and_shows_the_exact_models_tensors():
    cascade, _, _ = _pair(1.0, 7.0)
    assert (cascade.name, cascade.version) == ("exact", "1.0")
    assert cascade.stages(FRAME)[STAGES[0]] == 7.0


@pytest.fixture(scope="module")
def bundle(bundle_folder) -> Bundle:
    """A cascade whose fast model is the exact one's file, with a band of a hundredth of the threshold."""
    opened = open_bundle(bundle_folder)
    manifest = opened.manifest
    width = manifest.point.image.threshold / 100
    cascade = Cascade(models=manifest.models, guard=dict.fromkeys(manifest.models, width), found={})
    tolerances = manifest.tolerances | {FAST_PREFIX + stage: value for stage, value in manifest.tolerances.items()}
    return replace(opened, manifest=replace(manifest, precision="cascade", cascade=cascade, tolerances=tolerances))


def _at(bundle: Bundle, threshold: float) -> Bundle:
    """Return a bundle whose threshold was moved in the manifest."""
    image = replace(bundle.manifest.point.image, threshold=threshold)
    return replace(bundle, manifest=replace(bundle.manifest, point=replace(bundle.manifest.point, image=image)))


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_threshold_that_is_moved_in_the_manifest_takes_the_band_with_it(bundle, name):
    golden = bundle.manifest.golden[-1]
    frame = bundle.golden_frame(golden)
    width = bundle.manifest.point.image.threshold / 100
    assert not load_engine(bundle, name).infer(frame).is_rejudged
    for threshold, is_near in ((golden.raw_score + 0.9 * width, True), (golden.raw_score - 1.1 * width, False)):
        result = load_engine(_at(bundle, threshold), name).infer(frame)
        assert result.is_rejudged is is_near
        assert result.raw_score == pytest.approx(golden.raw_score, rel=1e-5)  # see test_engines.py


def test_the_verdict_and_its_label_are_those_at_the_moved_threshold(bundle):
    golden = bundle.manifest.golden[-1]
    frame = bundle.golden_frame(golden)
    width = bundle.manifest.point.image.threshold / 100
    for threshold, label in (
        (golden.raw_score + 0.5 * width, Label.GOOD),
        (golden.raw_score - 0.5 * width, Label.DEFECT),
    ):
        verdict = Inspector(_at(bundle, threshold)).inspect(frame)
        assert (verdict.label, verdict.is_rejudged) == (label, True)


def test_an_engine_that_has_no_fast_model_is_the_exact_one_alone(bundle):
    assert bundle.manifest.cascade is not None
    only = Cascade(models={"onnxruntime": "model.onnx"}, guard={"onnxruntime": 1.0})
    narrowed = replace(bundle, manifest=replace(bundle.manifest, cascade=only))
    assert isinstance(load_engine(narrowed, "onnxruntime"), CascadeEngine)
    assert not isinstance(load_engine(narrowed, "openvino"), CascadeEngine)
    with pytest.raises(BundleError, match="has no model for openvino"):
        narrowed.model_path("openvino", is_fast=True)


def test_each_of_the_two_is_loaded_from_its_own_file(bundle, tmp_path):
    assert bundle.manifest.cascade is not None
    other = replace(bundle.manifest.cascade, models={"onnxruntime": "fast/model.onnx", "openvino": "fast/model.xml"})
    altered = replace(bundle, manifest=replace(bundle.manifest, cascade=other))
    assert altered.model_path("openvino") == bundle.folder / "model.xml"
    assert altered.model_path("openvino", is_fast=True) == bundle.folder / "fast/model.xml"
    for name in ENGINES:
        with pytest.raises(EngineError, match=rf"{name} cannot load .*fast"):
            load_engine(altered, name)


def test_the_first_part_near_the_threshold_does_not_pay_for_the_exact_models_set_up(bundle, monkeypatch):
    inspector = Inspector(bundle, engine="openvino")
    assert isinstance(inspector.engine, CascadeEngine)
    seen: list[tuple[str, tuple[int, ...]]] = []
    for name in ("fast", "exact"):
        judge = getattr(inspector.engine, name)
        infer = judge.infer
        monkeypatch.setattr(
            judge, "infer", lambda frame, name=name, infer=infer: seen.append((name, frame.shape)) or infer(frame)
        )
    inspector.warm_up(48, 64)
    assert set(seen) == {("fast", (48, 64, 3)), ("exact", (48, 64, 3))}


@pytest.fixture
def _untimed(monkeypatch) -> None:
    monkeypatch.setattr("nut_runtime.selftest._REPEATS", 0)


@pytest.mark.usefixtures("_untimed")
@pytest.mark.parametrize("name", list(ENGINES))
def test_the_self_test_looks_at_both_models(bundle, name):
    test = run_selftest(bundle, load_engine(bundle, name))
    both = [*STAGES, RAW_SCORE, *(FAST_PREFIX + stage for stage in (*STAGES, RAW_SCORE)), VERDICT]
    assert [stage.stage for stage in test.stages] == both
    assert test.passed


class _Drifting:
    """An engine whose tensors and score, from one stage on, are 1% too large."""

    def __init__(self, engine, stage: str) -> None:
        self.engine, self.drifting = engine, (*STAGES, RAW_SCORE)[(*STAGES, RAW_SCORE).index(stage) :]
        self.name, self.version, self.precision = engine.name, engine.version, engine.precision

    def infer(self, frame: np.ndarray) -> EngineResult:
        result = self.engine.infer(frame)
        return replace(result, raw_score=result.raw_score * 1.01)

    def stages(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        found = self.engine.stages(frame)
        return {stage: values * np.float32(1.01 if stage in self.drifting else 1) for stage, values in found.items()}


@pytest.mark.usefixtures("_untimed")
@pytest.mark.parametrize("stage", [*STAGES, RAW_SCORE])
@pytest.mark.parametrize("which", ["fast", "exact"])
def test_whichever_model_drifts_is_named_with_the_stage(bundle, stage, which):
    pair = load_engine(bundle, "onnxruntime")
    assert isinstance(pair, CascadeEngine)
    judges = {"fast": pair.fast, "exact": pair.exact} | {which: _Drifting(getattr(pair, which), stage)}
    altered = CascadeEngine(judges["fast"], judges["exact"], threshold=bundle.manifest.point.image.threshold, guard=1.0)
    drift = run_selftest(bundle, altered).first_drift
    assert drift is not None
    assert drift.stage == (FAST_PREFIX if which == "fast" else "") + stage


@pytest.mark.usefixtures("_untimed")
def test_a_fast_model_without_tolerances_of_its_own_must_be_exact(bundle):
    tolerances = {stage: 1.0 for stage in bundle.manifest.tolerances if not stage.startswith(FAST_PREFIX)}
    altered = replace(bundle, manifest=replace(bundle.manifest, tolerances=tolerances))
    drift = run_selftest(altered, load_engine(altered, "onnxruntime")).first_drift
    assert drift is not None
    assert drift.stage.startswith(FAST_PREFIX)
