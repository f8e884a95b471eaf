"""`nut bundle set-threshold`: the manifest decides, says who moved what, and no model file changes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_dataset.layout import open_dataset
from nut_export import set_threshold as set_threshold_module
from nut_export.guard import guard_at
from nut_export.set_threshold import PointRequest, calibration_scores, set_threshold
from nut_export.signing import generate_key, public_path, sign_bundle
from nut_runtime import Inspector
from nut_runtime.atomic import write_json
from nut_runtime.bundle import open_bundle
from nut_runtime.bundle_words import info_rows
from nut_runtime.claims import Claim, claim
from nut_runtime.engines import load_engine
from nut_runtime.errors import BundleError, InputError
from nut_runtime.manifest import MANIFEST
from nut_runtime.pictures import read_picture
from nut_runtime.scoring import OperatingPoint, Scale
from nut_runtime.selftest import run_selftest
from nut_runtime.verdict import Label
from nut_runtime.view_calibration import Sample
from nut_train.run import open_run
from nut_train.thresholds import threshold_at


@pytest.fixture
def copy(bundle_folder, tmp_path) -> Path:
    """A copy of the bundle that a test may move."""
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def _nut(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["bundle", "set-threshold", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_export_carries_the_scores_that_calibrated_the_run(bundle_folder, run_folder):
    scores = calibration_scores(open_bundle(bundle_folder).manifest)
    assert scores == open_run(run_folder).good_scores
    assert len(scores.raw_score) == 5


def test_only_the_manifest_changes_and_records_tell_the_two_apart(copy):
    before, files = open_bundle(copy).manifest, _files(copy)
    moved = set_threshold(copy, PointRequest(false_reject_rate=0.4, reason="week 14"))
    after = open_bundle(copy).manifest
    assert {name for name, content in _files(copy).items() if files[name] != content} == {MANIFEST}
    assert after.bundle_id != before.bundle_id
    assert after.bundle_id.rpartition("-")[0] == before.bundle_id.rpartition("-")[0]
    assert (after.files, after.model_point) == (before.files, before.model_point)
    (move,) = after.history
    assert move == moved.move
    assert (move.bundle_id, move.before, move.after) == (before.bundle_id, before.point, after.point)
    assert (move.reason, move.by["rule"], move.by["held_out"]) == ("week 14", "conformal", 5)
    assert after.provenance["calibration"]["false_reject_rate"] == 0.4


def test_image_and_pixel_threshold_go_where_the_rate_puts_them(copy):
    scores = calibration_scores(open_bundle(copy).manifest)
    point = set_threshold(copy, PointRequest(false_reject_rate=0.4, review_rate=0.6)).bundle.manifest.point
    assert point.image.threshold == threshold_at(np.array(scores.raw_score), 0.4)
    assert point.pixel.threshold == threshold_at(np.array(scores.map_peak), 0.4)
    assert point.review_from == threshold_at(np.array(scores.raw_score), 0.6)
    assert (point.image.minimum, point.image.maximum) == (0, 2 * point.image.threshold)


def test_of_whitened_folds_nothing_is_proven_in_a_bundle_either(copy):
    data = json.loads((copy / MANIFEST).read_text())
    data["calibration"]["good"] |= {"method": "crossfit", "folds": 2}
    for is_whitened in (False, True):
        data["provenance"]["whitened"] = is_whitened
        write_json(copy / MANIFEST, data)
        stated = set_threshold(copy, PointRequest(false_reject_rate=0.4)).calibration
        assert (stated["promise"]["bound"] is None) == is_whitened


def test_moved_back_it_is_the_same_bundle_again_but_for_its_history(copy):
    before = open_bundle(copy).manifest
    set_threshold(copy, PointRequest(false_reject_rate=0.4))
    after = set_threshold(copy, PointRequest(false_reject_rate=0.01)).bundle.manifest
    assert (after.point, after.bundle_id) == (before.point, before.bundle_id)
    assert len(after.history) == 2


def test_a_point_where_the_bundle_is_already_is_refused(copy):
    before = _files(copy)
    with pytest.raises(InputError, match="are there already, so nothing was written"):
        set_threshold(copy, PointRequest(false_reject_rate=0.01))
    assert _files(copy) == before


def test_the_runtime_judges_by_the_moved_threshold_and_reviews_by_the_bundle(copy, nuts):
    frame = read_picture(open_dataset(nuts).test_good[0])
    raw = Inspector(copy).inspect(frame).raw_score
    for threshold, review, label in (
        (raw * 0.9, "off", Label.DEFECT),
        (raw * 1.01, "0.4", Label.REVIEW),
        (raw * 1.5, "0.45", Label.GOOD),
    ):
        assert _nut(copy, "--raw", threshold, "--review-from", review).exit_code == 0
        verdict = Inspector(copy).inspect(frame)
        assert (verdict.label, verdict.bundle_id) == (label, open_bundle(copy).manifest.bundle_id)
        assert verdict.pred_score == pytest.approx(0.5 * raw / threshold, rel=1e-4)  # float32 of another engine


def test_the_self_test_passes_as_before(copy):
    bundle = set_threshold(copy, PointRequest(pred=0.6)).bundle
    assert run_selftest(bundle, load_engine(bundle)).passed


def test_a_score_is_of_the_scale_before(copy):
    before = open_bundle(copy).manifest.point.image
    after = set_threshold(copy, PointRequest(pred=0.6)).bundle.manifest.point.image
    assert after.threshold == pytest.approx(1.2 * before.threshold)


def test_a_review_that_would_begin_above_the_threshold_has_to_be_stated(copy):
    point = set_threshold(copy, PointRequest(review_from=0.48)).bundle.manifest.point
    with pytest.raises(InputError, match=r"not below the new threshold .*; give --review-from too"):
        set_threshold(copy, PointRequest(raw=point.image.threshold * 0.9))
    after = set_threshold(copy, PointRequest(raw=point.image.threshold * 1.1)).bundle.manifest.point
    assert after.review_from == point.review_from  # raw scores stay what they are
    assert set_threshold(copy, PointRequest(review_from=1.0)).bundle.manifest.point.review_from is None


def test_a_copy_leaves_the_bundle_as_it_was_and_takes_what_the_manifest_lists(copy, tmp_path):
    (copy / "notes.txt").write_text("not listed")
    before = _files(copy)
    out = tmp_path / "new"
    result = _nut(copy, "--pred", "0.55", "-o", out)
    assert result.exit_code == 0, result.output
    assert _files(copy) == before
    new = open_bundle(out)
    assert (new.unlisted_files(), len(new.manifest.history)) == ([], 1)
    again = _nut(copy, "--pred", "0.6", "-o", out)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert _nut(copy, "--pred", "0.6", "-o", out, "--force").exit_code == 0


def test_a_signed_bundle_is_signed_again_or_left_alone(copy, tmp_path):
    key = generate_key(tmp_path / "plant.pem")
    sign_bundle(copy, key)
    before = _files(copy)
    refused = _nut(copy, "--pred", "0.55")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "is signed and its signature will not hold for the new manifest; give --sign KEY.pem" in refused.stderr
    assert _files(copy) == before
    done = _nut(copy, "--pred", "0.55", "--sign", key.path)
    assert done.exit_code == 0, done.output
    assert f"signed  by {key.fingerprint}" in done.stdout
    assert open_bundle(copy, verify_key=public_path(key.path)).manifest.history


def test_people_are_told_where_it_was_and_why(copy):
    result = _nut(copy, "--false-reject-rate", "0.4", "--reason", "week 14")
    assert result.exit_code == 0, result.output
    assert "holds   at most 33.3% of good parts like these are rejected" in result.stdout
    rows = "\n".join(f"{name} {text}" for name, text in info_rows(open_bundle(copy)))
    assert "aimed at 40.00% of good parts rejected" in rows
    assert "(week 14)" in rows
    by_hand = _nut(copy, "--raw", "100")
    assert "the pixel threshold stays where it was" in by_hand.stderr
    rows = "\n".join(f"{name} {text}" for name, text in info_rows(open_bundle(copy)))
    assert "put by hand" in rows


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param([], "nothing is to be moved", id="nothing"),
        pytest.param(["--raw", "3", "--pred", "0.5"], "give one of", id="two-ways"),
        pytest.param(["--review-from", "0.4", "--review-rate", "0.4"], "give one of", id="two-reviews"),
        pytest.param(["--raw", "-1"], "raw threshold -1.0, expected a number above 0", id="negative"),
        pytest.param(["--raw", "nan"], "raw threshold nan", id="nan"),
        pytest.param(["--pred", "1"], "score 1.0, expected above 0 and below 1", id="score"),
        pytest.param(["--false-reject-rate", "0.6"], "false reject rate 0.6", id="rate"),
        pytest.param(["--review-from", "0.5", "--pred", "0.6"], "review from score 0.5", id="review"),
        pytest.param(["--false-reject-rate", "0.01", "--review-rate", "0.02"], "not below the threshold", id="too-few"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(copy, options, says):
    before = _files(copy)
    result = _nut(copy, *options)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.output
    assert says in result.stderr
    assert _files(copy) == before


def _edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def test_a_bundle_without_scores_takes_a_value_but_no_rate(copy):
    _edit(copy, calibration=None)
    with pytest.raises(BundleError, match="carries no calibration scores to put a threshold by a rate"):
        set_threshold(copy, PointRequest(false_reject_rate=0.1))
    moved = set_threshold(copy, PointRequest(raw=30.0))
    assert moved.calibration is None
    assert moved.bundle.manifest.provenance["calibration"] == {}


def test_a_bundle_from_before_the_peaks_were_kept_moves_its_image_threshold_and_says_so(copy):
    views = open_bundle(copy).manifest.calibration
    _edit(copy, calibration=replace(views, good=None).to_json())
    before = open_bundle(copy).manifest.point
    moved = set_threshold(copy, PointRequest(false_reject_rate=0.4))
    assert moved.bundle.manifest.point.pixel == before.pixel
    assert moved.bundle.manifest.point.image.threshold < before.image.threshold
    assert any("from before its scores were kept" in note for note in moved.notes)


def test_scores_that_were_thinned_out_put_no_threshold(bundle_folder):
    manifest = open_bundle(bundle_folder).manifest
    many = replace(manifest.calibration, good=None, raw_score=Sample.of(np.arange(1000.0)))
    assert calibration_scores(replace(manifest, calibration=many)) is None


def test_an_int8_bundle_is_calibrated_by_its_own_scores(bundle_folder):
    manifest = open_bundle(bundle_folder).manifest
    own = tuple(score + 1 for score in sorted(manifest.calibration.good.raw_score))
    views = replace(manifest.calibration, raw_score=Sample(count=len(own), values=own))
    assert calibration_scores(replace(manifest, precision="int8", calibration=views)).raw_score == own
    assert calibration_scores(replace(manifest, calibration=views)) == manifest.calibration.good


def test_a_pixel_threshold_beyond_what_the_map_tells_is_refused(copy):
    manifest = open_bundle(copy).manifest
    high = tuple(3 * manifest.model_point.pixel.threshold + n for n in range(5))
    good = replace(manifest.calibration.good, map_peak=high)
    _edit(copy, calibration=replace(manifest.calibration, good=good).to_json())
    with pytest.raises(InputError, match="is beyond what the model's map tells"):
        set_threshold(copy, PointRequest(false_reject_rate=0.4))


def _at(threshold: float, review_from: float | None = None) -> OperatingPoint:
    scale = Scale(threshold=threshold, minimum=0, maximum=2 * threshold)
    return OperatingPoint(image=scale, pixel=scale, review_from=review_from)


def test_the_band_of_a_cascade_goes_with_a_threshold_among_the_scores_that_were_seen():
    found = {"width": 0.5, "scores": [8.0, 20.0]}
    for threshold in (8.0, 10.0, 20.0):
        assert guard_at(found, _at(threshold), measured_at=10.0).width == 0.5
    assert guard_at(found, _at(40.0), measured_at=10.0).width == 1.0
    assert guard_at(found, _at(4.0), measured_at=10.0).width == 1.0
    assert guard_at(found, _at(10.0, review_from=4.0), measured_at=10.0).width == 1.0


def test_where_an_older_bundle_does_not_say_what_was_seen_only_the_threshold_of_its_export_was():
    assert guard_at({"width": 0.5}, _at(10.0), measured_at=10.0).width == 0.5
    assert guard_at({"width": 0.5}, _at(12.0), measured_at=10.0).width == pytest.approx(0.6)


def test_a_cascade_keeps_its_promise_or_says_that_it_was_not_measured(copy):
    bundle = open_bundle(copy)
    manifest = bundle.manifest
    threshold = manifest.point.image.threshold
    found = {"width": 0.1, "scores": [0.9 * threshold, 1.1 * threshold]}
    cascade = {
        "models": dict(manifest.models),
        "guard": dict.fromkeys(manifest.models, 0.1),
        "found": dict.fromkeys(manifest.models, found),
    }
    _edit(copy, precision="cascade", cascade=cascade)
    near = set_threshold(copy, PointRequest(raw=1.05 * threshold))
    assert set(near.bundle.manifest.cascade.guard.values()) == {0.1}
    assert not any("band" in note for note in near.notes)
    far = set_threshold(copy, PointRequest(raw=2.2 * threshold))
    assert far.bundle.manifest.cascade.guard == pytest.approx(dict.fromkeys(manifest.models, 0.2))
    assert any("nothing was measured there" in note for note in far.notes)
    back = set_threshold(copy, PointRequest(raw=threshold))
    assert set(back.bundle.manifest.cascade.guard.values()) == {0.1}


def test_a_bundle_of_anomalibs_own_scale_keeps_its_range(copy):
    manifest = open_bundle(copy).manifest
    image = Scale(threshold=manifest.point.image.threshold, minimum=3.0, maximum=80.0)
    write_json(copy / MANIFEST, replace(manifest, point=replace(manifest.point, image=image)).to_json())
    after = set_threshold(copy, PointRequest(raw=25.0)).bundle.manifest.point.image
    assert (after.threshold, after.minimum, after.maximum) == (25.0, 3.0, 80.0)


def test_with_a_locator_the_name_tells_it_from_the_judge_alone_and_comes_back(tray_bundle_folder, copy, tmp_path):
    folder = Path(shutil.copytree(tray_bundle_folder, tmp_path / "trays"))
    before = open_bundle(folder).manifest
    tray, judge = (set_threshold(place, PointRequest(pred=0.6)).bundle.manifest for place in (folder, copy))
    assert tray.point == judge.point
    assert len({tray.bundle_id, judge.bundle_id, before.bundle_id}) == 3
    back = set_threshold(folder, PointRequest(raw=before.point.image.threshold)).bundle.manifest
    assert (back.bundle_id, back.locator) == (before.bundle_id, before.locator)


def test_a_bundle_that_is_being_extended_keeps_its_threshold_and_a_copy_may_have_another(copy, tmp_path):
    before = _files(copy)
    with claim(copy.resolve()):
        with pytest.raises(InputError, match=r"the bundle .* is in use by process"):
            set_threshold(copy, PointRequest(pred=0.6))
        set_threshold(copy, PointRequest(pred=0.6), out=tmp_path / "copy")
    assert _files(copy) == before


def test_a_bundle_that_was_replaced_while_its_threshold_was_reckoned_is_left_alone(copy, monkeypatch):
    def replaced_meanwhile(thing: Path, *, what: str) -> Claim:
        data = json.loads((copy / MANIFEST).read_text())
        write_json(copy / MANIFEST, {**data, "bundle_id": "nuts-by-somebody"})
        return claim(thing, what=what)

    monkeypatch.setattr(set_threshold_module, "claim", replaced_meanwhile)
    with pytest.raises(BundleError, match="was replaced meanwhile; look at it, then move its thresholds again"):
        set_threshold(copy, PointRequest(pred=0.6))
    assert open_bundle(copy).manifest.bundle_id == "nuts-by-somebody"
