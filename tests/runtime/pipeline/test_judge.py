"""One frame to one view: the verdict, or why there is none."""

from dataclasses import replace

import numpy as np
import pytest

from nut_runtime import Inspector
from nut_runtime.errors import EngineError, PictureError
from nut_runtime.health import Health
from nut_runtime.pipeline.judge import Judge
from nut_runtime.sources.base import Frame, now
from nut_runtime.verdict import Label, Reason


@pytest.fixture(scope="module")
def inspector(bundle_folder) -> Inspector:
    return Inspector(bundle_folder)


def _frame(picture: np.ndarray | None, **fields: object) -> Frame:
    return Frame(source="front", name="front", timestamp=now(), capture_ms=0.0, picture=picture, **fields)


@pytest.fixture(scope="module")
def good(inspector) -> Frame:
    return _frame(inspector.bundle.golden_frame(inspector.bundle.manifest.golden[0]), camera="front")


def test_a_view_has_the_inspectors_own_verdict(inspector, good):
    view = Judge(lambda: inspector).look(good)
    assert view.label is Label.GOOD
    assert view.verdict.raw_score == inspector.inspect(good.picture).raw_score
    assert view.wait_ms > 0


@pytest.mark.parametrize(("review_from", "label"), [(0.0, Label.REVIEW), (0.4999, Label.GOOD), (None, Label.GOOD)])
def test_a_part_that_is_good_but_close_is_for_review(inspector, good, review_from, label):
    assert Judge(lambda: inspector, review_from=review_from).look(good).label is label


def test_a_defect_stays_one_wherever_review_begins(inspector):
    bad = _frame(inspector.bundle.golden_frame(inspector.bundle.manifest.golden[-1]))
    assert Judge(lambda: inspector, review_from=0.0).look(bad).label is Label.DEFECT


@pytest.mark.parametrize("reason", [Reason.FROZEN, Reason.DARK, Reason.BLURRED])
def test_a_frame_that_is_not_worth_judging_is_not_judged(inspector, good, reason, monkeypatch):
    monkeypatch.setattr(inspector.engine, "infer", lambda _: pytest.fail("it was judged"))
    judge = Judge(lambda: inspector)
    judge._warmed = inspector
    view = judge.look(replace(good, reason=reason))
    assert (view.label, view.reason, view.verdict) == (Label.NO_VERDICT, reason, None)


def test_no_picture_is_no_verdict_with_the_sources_words(inspector):
    view = Judge(lambda: inspector).look(_frame(None, error=PictureError("torn")))
    assert (view.reason, view.error) == (Reason.BROKEN, "torn")
    view = Judge(lambda: inspector).look(_frame(None, reason=Reason.NO_FRAME, error=PictureError("away")))
    assert (view.reason, view.error) == (Reason.NO_FRAME, "away")


def test_a_picture_that_the_bundle_does_not_take_is_broken(inspector):
    view = Judge(lambda: inspector).look(_frame(np.zeros((3, 3, 3), np.uint8)))
    assert view.reason is Reason.BROKEN
    assert "too small" in view.error


def test_an_engine_that_fails_is_no_verdict_and_bad_health(inspector, good, monkeypatch):
    def fail(_frame: np.ndarray) -> None:
        raise EngineError("out of memory")

    health = Health()
    judge = Judge(lambda: inspector, health=health)
    judge.look(good)
    monkeypatch.setattr(inspector.engine, "infer", fail)
    view = judge.look(good)
    assert (view.label, view.reason, view.error) == (Label.NO_VERDICT, Reason.FAILED, "out of memory")
    assert health.components()["engine"].message == "out of memory"


def test_whatever_an_engine_raises_is_no_verdict_and_it_may_be_well_again(inspector, good, monkeypatch, caplog):
    health = Health()
    judge = Judge(lambda: inspector, health=health)
    judge.look(good)
    with monkeypatch.context() as broken:
        broken.setattr(inspector.engine, "infer", lambda _: {}["no such output"])
        view = judge.look(good)
    assert (view.label, view.reason) == (Label.NO_VERDICT, Reason.FAILED)
    assert "KeyError" in caplog.text  # a defect keeps its traceback
    assert judge.look(good).label is Label.GOOD
    assert health.is_well


def test_only_sizes_that_could_be_judged_are_remembered_for_the_next_model(inspector, good):
    seen: list[tuple[int, int]] = []
    judge = Judge(lambda: inspector, saw=lambda height, width: seen.append((height, width)))
    judge.look(_frame(np.zeros((3, 3, 3), np.uint8)))
    judge.look(good)
    assert seen == [good.picture.shape[:2]]


def test_a_mask_changes_the_verdicts_of_its_camera_only(inspector, good):
    judge = Judge(lambda: inspector, masks={"front": lambda verdict, _frame: replace(verdict, label=Label.DEFECT)})
    assert judge.look(good).label is Label.DEFECT
    assert judge.look(replace(good, camera="rear")).label is Label.GOOD


def test_the_model_that_is_there_at_the_moment_judges_and_each_is_warmed_up_once(bundle_folder, good, monkeypatch):
    models = [Inspector(bundle_folder), Inspector(bundle_folder)]
    warmed = []
    for model in models:
        monkeypatch.setattr(model, "warm_up", lambda *_size, model=model: warmed.append(model))
    current = models[:1]
    judge = Judge(lambda: current[0])
    for _ in range(2):
        judge.look(good)
    current[0] = models[1]
    judge.look(good)
    assert warmed == models
