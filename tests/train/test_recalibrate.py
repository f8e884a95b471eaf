"""`nut calibrate`: another operating point, and all that follows from it, without training again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_runtime.errors import InputError
from nut_runtime.scoring import is_defective, normalise
from nut_train.config import PointConfig
from nut_train.recalibrate import recalibrate, redraw_report
from nut_train.run import CHECKPOINT, RECORD, open_run
from nut_train.statistics.pixel_counts import PIXELS, PixelCounts
from nut_train.thresholds import Rule, threshold_at


@pytest.fixture
def copy(run_folder, tmp_path) -> Path:
    """A copy of the run that a test may move."""
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def _nut(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _edit(folder: Path, **changes: object) -> None:
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | changes))


def test_the_threshold_is_put_from_the_kept_scores_and_everything_follows(copy):
    before = open_run(copy)
    after = recalibrate(before, PointConfig(false_reject_rate=0.3, review_rate=0.5), reason="a test")
    scores = np.array([one["raw_score"] for one in before.record["held_out_scores"]])
    peaks = np.array([one["map_peak"] for one in before.record["held_out_scores"]])
    assert after.point.image.threshold == threshold_at(scores, 0.3)
    assert after.point.pixel.threshold == threshold_at(peaks, 0.3)
    assert after.point.review_from == threshold_at(scores, 0.5)
    pictures = after.record["evaluation"]["pictures"]
    raw = np.array([one["raw_score"] for one in pictures], np.float32)
    labels = is_defective(normalise(raw, after.point.image))
    assert [one["pred_label"] for one in pictures] == labels.tolist()
    truth = np.array([one["kind"] != "good" for one in pictures])
    assert after.record["evaluation"]["image"]["recall"] == pytest.approx(labels[truth].mean())
    for figure in ("auroc", "average_precision", "best_f1"):
        assert after.record["evaluation"]["image"][figure] == pytest.approx(
            before.record["evaluation"]["image"][figure]
        )
    assert after.record["evaluation"]["pixel"] == before.record["evaluation"]["pixel"]
    sure = [run.record["evaluation"]["confidence"]["intervals"] for run in (before, after)]
    low, high = sure[1]["recall"]["low"], sure[1]["recall"]["high"]
    assert low <= after.record["evaluation"]["image"]["recall"] <= high
    assert sure[1]["auroc"] == sure[0]["auroc"]
    assert sure[1]["pixel.auroc"] == sure[0]["pixel.auroc"]
    found = {kind["kind"]: kind["found"] for kind in after.record["evaluation"]["confidence"]["kinds"]}
    assert sum(found.values()) == labels[truth].sum()
    assert after.record["arguments"] == before.record["arguments"]


def test_each_earlier_calibration_stays_in_the_history(copy):
    first = open_run(copy).record["calibration"]
    recalibrate(open_run(copy), PointConfig(false_reject_rate=0.3), reason="one")
    second = open_run(copy).record["calibration"]
    recalibrate(open_run(copy), PointConfig(rule=Rule.VALUE, value=40.0), reason="two")
    history = open_run(copy).record["history"]
    assert [(one["calibration"], one["reason"]) for one in history] == [(first, "one"), (second, "two")]


def test_the_rate_that_was_trained_with_gives_the_point_that_was_trained(copy):
    before = open_run(copy).point
    recalibrate(open_run(copy), PointConfig(false_reject_rate=0.5))
    assert recalibrate(open_run(copy), PointConfig(false_reject_rate=0.01)).point == before


def test_the_checkpoint_alone_has_the_new_thresholds_too_and_nothing_else_is_changed(copy, run_folder):
    point = recalibrate(open_run(copy), PointConfig(false_reject_rate=0.3)).point
    old, new = (torch.load(place / CHECKPOINT, weights_only=True)["state_dict"] for place in (run_folder, copy))
    assert float(new["post_processor._image_threshold"]) == np.float32(point.image.threshold)
    assert float(new["post_processor.pixel_max"]) == np.float32(point.pixel.maximum)
    assert list(old) == list(new)
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert all(name.startswith("post_processor.") for name in changed)


def test_the_report_says_that_its_thresholds_are_older_until_it_is_drawn_anew(copy):
    for rate in (0.3, 0.4):
        run = recalibrate(open_run(copy), PointConfig(false_reject_rate=rate))
    page = (copy / "report.html").read_text()
    assert page.count("The thresholds were moved at") == 1
    redraw_report(run, device="cpu")
    page = (copy / "report.html").read_text()
    assert "The thresholds were moved at" not in page
    assert f"{run.point.image.threshold:.4f}" in page
    # judged again, the pictures have the verdicts that were worked out from their kept scores
    again = open_run(copy).record["evaluation"]["pictures"]
    assert [one["pred_label"] for one in again] == [one["pred_label"] for one in run.record["evaluation"]["pictures"]]
    assert open_run(copy).record["evaluation"]["confidence"] == run.record["evaluation"]["confidence"]


def test_f1_is_put_where_the_test_pictures_say_and_warns(copy):
    result = _nut("calibrate", copy, "--threshold", "f1")
    assert result.exit_code == 0, result.output
    assert "has seen the test defects" in result.stderr
    image = open_run(copy).record["evaluation"]["image"]
    assert image["f1"] == pytest.approx(image["best_f1"])


def test_the_command_says_what_holds_and_what_comes_next(copy):
    result = _nut("calibrate", copy, "--false-reject-rate", "0.2", "--review-rate", "0.4")
    assert result.exit_code == 0, result.output
    assert "holds   at most 16.7% of good parts like these are rejected" in result.stdout
    assert "review  above raw score" in result.stdout
    assert f"next    nut export {copy} -o bundle" in result.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--false-reject-rate", "0.6"], "false reject rate 0.6", id="rate"),
        pytest.param(["--review-rate", "0.005"], "review rate 0.005, expected above", id="review-below"),
        pytest.param(["--threshold", "value"], "needs --threshold-value", id="no-value"),
        pytest.param(["--threshold-value", "3"], "no other rule takes it", id="value-without-rule"),
        pytest.param(["--threshold", "value", "--threshold-value", "nan"], "expected a raw score above 0", id="nan"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(copy, options, says):
    before = (copy / RECORD).read_bytes()
    result = _nut("calibrate", copy, *options)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert says in result.stderr
    assert (copy / RECORD).read_bytes() == before


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        pytest.param([], "kept no scores of good pictures", id="none"),
        pytest.param([{"path": "a", "raw_score": float("nan"), "map_peak": 1.0}], "not a finite number", id="nan"),
        pytest.param([{"path": "a", "raw_score": 2.0}], "'map_peak' is missing", id="no-peak"),
        pytest.param(
            [{"path": "a", "raw_score": 0.0, "map_peak": 0.0}] * 5, "all 5 calibration pictures score 0", id="zero"
        ),
    ],
)
def test_scores_that_cannot_calibrate_are_refused(copy, scores, says):
    _edit(copy, held_out_scores=scores)
    with pytest.raises(InputError, match=says) as caught:
        recalibrate(open_run(copy), PointConfig())
    assert "\n" not in str(caught.value)


def test_a_run_from_before_there_were_rules_is_read_and_calibrated(copy):
    """As the first release wrote `run.json`: no rule, no folds, no promise, no history."""
    record = json.loads((copy / RECORD).read_text())
    kept = ("false_reject_rate", "held_out", "smallest_rate", "is_supported", "point")
    record["calibration"] = {key: record["calibration"][key] for key in kept}
    for key in ("calibration", "folds", "threshold", "threshold_value", "review_rate"):
        del record["arguments"][key]
    (copy / RECORD).write_text(json.dumps(record))
    run = recalibrate(open_run(copy), PointConfig(false_reject_rate=0.3))
    assert run.record["calibration"]["method"] == "holdout"


def test_without_test_pictures_there_is_nothing_to_judge_anew_and_f1_is_refused(copy):
    _edit(copy, evaluation=None)
    assert recalibrate(open_run(copy), PointConfig(false_reject_rate=0.3)).record["evaluation"] is None
    with pytest.raises(InputError, match="no judged test pictures"):
        recalibrate(open_run(copy), PointConfig(rule=Rule.F1))


def test_a_broken_checkpoint_leaves_the_record_as_it_was(copy):
    (copy / CHECKPOINT).write_bytes(b"broken")
    before = (copy / RECORD).read_bytes()
    with pytest.raises(InputError, match="can be read safely"):
        recalibrate(open_run(copy), PointConfig(false_reject_rate=0.3))
    assert (copy / RECORD).read_bytes() == before


def test_the_report_alone_moves_nothing_and_is_drawn_anew(copy):
    recalibrate(open_run(copy), PointConfig(rule=Rule.VALUE, value=31.5, false_reject_rate=0.2, review_rate=0.4))
    before = open_run(copy).record
    checkpoint = (copy / CHECKPOINT).read_bytes()
    result = _nut("calibrate", copy, "--report", "--device", "cpu")
    assert result.exit_code == 0, result.output
    after = open_run(copy).record
    assert (after["calibration"], after["history"]) == (before["calibration"], before["history"])
    assert (copy / CHECKPOINT).read_bytes() == checkpoint
    assert "The thresholds were moved at" not in (copy / "report.html").read_text()
    assert f"report  {copy / 'report.html'}" in result.stdout


def test_what_is_not_given_stays_as_the_run_has_it(copy):
    point = PointConfig(rule=Rule.QUANTILE, false_reject_rate=0.2, review_rate=0.3)
    recalibrate(open_run(copy), point)
    assert _nut("calibrate", copy, "--review-rate", "0.5").exit_code == 0
    calibration = open_run(copy).record["calibration"]
    assert [calibration[key] for key in ("rule", "false_reject_rate", "review_rate")] == ["quantile", 0.2, 0.5]
    assert _nut("calibrate", copy, "--false-reject-rate", "0.3").exit_code == 0
    calibration = open_run(copy).record["calibration"]
    assert [calibration[key] for key in ("rule", "false_reject_rate", "review_rate")] == ["quantile", 0.3, 0.5]
    assert _nut("calibrate", copy, "--review-rate", "off").exit_code == 0
    calibration = open_run(copy).record["calibration"]
    assert [calibration[key] for key in ("rule", "false_reject_rate", "review_rate")] == ["quantile", 0.3, None]


def test_a_threshold_put_by_hand_stays_and_the_rate_of_the_pixels_with_it(copy):
    recalibrate(open_run(copy), PointConfig(rule=Rule.VALUE, value=31.5, false_reject_rate=0.3))
    before = open_run(copy).point
    assert _nut("calibrate", copy, "--review-rate", "0.45").exit_code == 0
    after = open_run(copy).point
    assert (after.image, after.pixel) == (before.image, before.pixel)


def test_nothing_to_move_and_a_review_rate_that_does_not_fit_any_more_are_refused(copy):
    recalibrate(open_run(copy), PointConfig(false_reject_rate=0.2, review_rate=0.3))
    before = (copy / RECORD).read_bytes()
    for options, says in (
        ([], "nothing is to be moved"),
        (["--report", "--reason", "none"], "nothing is to be moved"),
        (["--false-reject-rate", "0.4"], "is 0.3, which is not above the false reject rate 0.4; give --review-rate"),
        (["--review-rate", "much"], "'much' is not a valid"),
    ):
        result = _nut("calibrate", copy, *options)
        assert result.exit_code == 2, result.output
        assert says in result.stderr
    assert (copy / RECORD).read_bytes() == before


def test_the_help_says_that_what_is_not_given_stays():
    text = " ".join(_nut("calibrate", "--help").stdout.split())
    assert "What is not given stays as RUN has it now" in text
    assert "nothing moves, and only the page is drawn anew" in text
    assert "[default: 0.01]" not in text


def _with_fewer_test_pictures(copy: Path, nuts: Path, place: Path) -> Path:
    """Give a run a data set of its own, without the first good and the first defective test picture."""
    shutil.copytree(nuts, place)
    (place / "test/good/0000.png").unlink()
    next(path for path in sorted((place / "test").rglob("*.png")) if path.parent.name != "good").unlink()
    _edit(copy, dataset=json.loads((copy / RECORD).read_text())["dataset"] | {"path": str(place)})
    return place


def test_the_pixels_of_test_pictures_that_were_judged_again_are_kept_anew(copy, nuts, tmp_path):
    _with_fewer_test_pictures(copy, nuts, tmp_path / "nuts")
    run = redraw_report(open_run(copy), device="cpu")
    pictures = run.record["evaluation"]["pictures"]
    assert len(pictures) == 7
    assert PixelCounts.load(copy / PIXELS).places.max() < 7
    sure = recalibrate(run, PointConfig(false_reject_rate=0.3)).record["evaluation"]["confidence"]["intervals"]
    assert sure["pixel.auroc"] == run.record["evaluation"]["confidence"]["intervals"]["pixel.auroc"]


def test_without_masks_no_pixels_of_before_are_left(copy, nuts, tmp_path):
    place = _with_fewer_test_pictures(copy, nuts, tmp_path / "nuts")
    shutil.rmtree(place / "ground_truth")
    assert (copy / PIXELS).is_file()
    redraw_report(open_run(copy), device="cpu")
    assert not (copy / PIXELS).exists()


@pytest.mark.parametrize("missing", ["good", "defect"])
def test_pixels_that_an_earlier_version_left_of_other_pictures_take_no_part(copy, missing):
    evaluation = open_run(copy).record["evaluation"]
    assert "pixel.auroc" in evaluation["confidence"]["intervals"]
    gone = next(one for one in evaluation["pictures"] if (one["kind"] == "good") == (missing == "good"))
    pictures = [one for one in evaluation["pictures"] if one is not gone]
    pixel = evaluation["pixel"] | {"masks": sum(one["kind"] != "good" for one in pictures)}
    _edit(copy, evaluation=evaluation | {"pictures": pictures, "pixel": pixel})
    moved = recalibrate(open_run(copy), PointConfig(false_reject_rate=0.3)).record["evaluation"]
    assert "pixel.auroc" not in moved["confidence"]["intervals"]
