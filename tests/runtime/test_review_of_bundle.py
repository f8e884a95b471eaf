"""The review that a bundle brings: read from its manifest, and what a station may say instead."""

import json
from dataclasses import replace

import numpy as np
import pytest

from nut_runtime import Inspector
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.engines.base import EngineResult
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import InputError
from nut_runtime.good_scores import GoodScores
from nut_runtime.manifest import Manifest
from nut_runtime.pipeline.judge import Judge
from nut_runtime.point_history import PointMove
from nut_runtime.review import NEVER
from nut_runtime.scoring import OperatingPoint, Scale
from nut_runtime.sources.base import Frame, now
from nut_runtime.verdict import Label

SCALE = Scale(threshold=10.0, minimum=0.0, maximum=20.0)


@pytest.fixture(scope="module")
def bundle(bundle_folder) -> Bundle:
    """The bundle, with parts for review from a hair below the first golden frame's score."""
    opened = open_bundle(bundle_folder)
    point = replace(opened.manifest.point, review_from=0.99 * opened.manifest.golden[0].raw_score)
    return replace(opened, manifest=replace(opened.manifest, point=point))


@pytest.mark.parametrize(
    ("stated", "label"),
    [
        pytest.param(None, Label.REVIEW, id="as-the-bundle-says"),
        pytest.param(0.4999, Label.GOOD, id="the-station-says-later"),
        pytest.param(NEVER, Label.GOOD, id="the-station-says-none"),
    ],
)
def test_the_bundles_review_holds_unless_the_station_states_another(bundle, stated, label):
    inspector = Inspector(bundle)
    frame = bundle.golden_frame(bundle.manifest.golden[0])
    assert inspector.inspect(frame).label is Label.REVIEW
    taken = Frame(source="a", name="a", timestamp=now(), capture_ms=0.0, picture=frame)
    assert Judge(lambda: inspector, review_from=stated).look(taken).label is label


def test_a_review_is_read_back_and_old_manifests_have_none(bundle):
    data = bundle.manifest.to_json()
    assert Manifest.parse(json.dumps(data)).point == bundle.manifest.point
    del data["operating_point"]["review_from"]
    assert Manifest.parse(json.dumps(data)).point.review_from is None
    assert "review_from" not in Manifest.parse(json.dumps(data)).to_json()["operating_point"]


@pytest.mark.parametrize("review_from", [10.0, 11.0, float("nan"), float("-inf")])
def test_a_review_that_does_not_begin_below_the_threshold_is_refused(review_from):
    with pytest.raises(InputError, match="expected a number below the threshold 10"):
        OperatingPoint(image=SCALE, pixel=SCALE, review_from=review_from)


def test_a_review_is_told_as_the_score_that_a_part_has():
    assert OperatingPoint(image=SCALE, pixel=SCALE, review_from=8.0).review_score == pytest.approx(0.4)
    assert OperatingPoint(image=SCALE, pixel=SCALE).review_score is None


def test_history_and_scores_are_read_back_with_the_manifest(bundle):
    move = PointMove(
        when="2026-01-01T00:00:00+00:00",
        bundle_id="nuts-0",
        before=bundle.manifest.model_point,
        after=bundle.manifest.point,
        by={"asked": {"raw": 3.0}},
        reason="a test",
    )
    scores = np.random.default_rng(0).gamma(9.0, 4.0, (2, 30)).astype(np.float32)
    good = GoodScores(
        method="holdout",
        folds=1,
        raw_score=tuple(map(float, scores[0])),
        map_peak=tuple(map(float, scores[1])),
    )
    manifest = replace(bundle.manifest, history=(move,), calibration=replace(bundle.manifest.calibration, good=good))
    assert Manifest.parse(json.dumps(manifest.to_json())) == manifest


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"folds": 0}, id="no-folds"),
        pytest.param({"raw_score": [1.0]}, id="fewer-scores-than-peaks"),
        pytest.param({"raw_score": [1.0, float("nan")]}, id="nan"),
        pytest.param({"raw_score": [1.0, True]}, id="no-number"),
        pytest.param({"raw_score": None}, id="no-list"),
    ],
)
def test_scores_that_are_none_are_refused(change):
    plain = GoodScores(method="holdout", folds=1, raw_score=(1.0, 2.0), map_peak=(1.0, 2.0)).to_json()
    with pytest.raises(ValueError, match=r"score|folds"):
        GoodScores.from_json(plain | change)


class _Judge:
    """An engine that says what it is told to."""

    name, version, precision = "fake", "1.0", "float32"

    def __init__(self, score: float) -> None:
        self.score = score

    def infer(self, frame: np.ndarray) -> EngineResult:
        return EngineResult(
            raw_score=self.score,
            pred_score=0.0,
            pred_label=False,
            anomaly_map=np.zeros((2, 2), np.float32),
            pred_mask=np.zeros((2, 2), bool),
        )

    def stages(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        return {}


@pytest.mark.parametrize(("score", "is_rejudged"), [(7.4, False), (7.6, True), (8.4, True), (8.6, False), (9.6, True)])
def test_in_a_cascade_the_exact_model_decides_near_the_review_too(score, is_rejudged):
    pair = CascadeEngine(_Judge(score), _Judge(8.1), threshold=10.0, guard=0.5, review_from=8.0)
    assert pair.infer(np.zeros((8, 8, 3), np.uint8)).is_rejudged is is_rejudged
