"""`nut train --extend`: good parts join the bank, and what was there stays."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_dataset.layout import open_dataset
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_runtime.scoring import is_defective, normalise
from nut_train.bank_origin import read_origin
from nut_train.cli import train
from nut_train.compare import compare, open_side
from nut_train.config import PointConfig
from nut_train.crossfit import score_good
from nut_train.digests import digest
from nut_train.embedding import embed
from nut_train.explain import open_explainer
from nut_train.extend import extend
from nut_train.extend_cli import _FIXED, _TAKEN
from nut_train.extend_config import ExtendConfig
from nut_train.recalibrate import recalibrate
from nut_train.run import CHECKPOINT, RECORD, Run, open_run
from nut_train.thresholds import threshold_at
from nut_train.train import dataset_facts

CPU = ExtendConfig(device="cpu")


def _alarm(picture: np.ndarray, hue: int) -> np.ndarray:
    """Return a good part with a coloured stamp, which the base has never seen."""
    stamped = picture.copy()
    height, width = stamped.shape[:2]
    cv2.circle(stamped, (width // 3, height // 2), 12, (hue, 255 - hue, 40), -1)
    return stamped


@pytest.fixture(scope="module")
def grown(grown_folder) -> Run:
    return open_run(grown_folder)


@pytest.fixture(scope="module")
def untested(run_folder, nuts, tmp_path_factory) -> Path:
    """The run as if its data set had no test pictures, which take the longest to judge."""
    folder = tmp_path_factory.mktemp("untested")
    shutil.copytree(nuts / "train", folder / "nuts/train")
    shutil.copytree(run_folder, folder / "run")
    facts = dataset_facts(open_dataset(folder / "nuts"))
    _edit(folder / "run", lambda record: record.update(dataset=facts, evaluation=None))
    return folder / "run"


@pytest.fixture
def copy(untested, tmp_path) -> Path:
    """A copy of that run, which a test may spoil."""
    return Path(shutil.copytree(untested, tmp_path / "base"))


@pytest.fixture
def moved(untested, tmp_path) -> Path:
    """A copy of its data set, which a test may spoil."""
    return Path(shutil.copytree(untested.parent / "nuts", tmp_path / "moved"))


def _nut(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _edit(folder: Path, change) -> None:
    record = json.loads((folder / RECORD).read_text())
    change(record)
    (folder / RECORD).write_text(json.dumps(record))


def _bank(folder: Path) -> torch.Tensor:
    return torch.load(folder / CHECKPOINT, weights_only=True)["state_dict"]["model.memory_bank"]


def test_the_bank_begins_with_the_rows_it_had_to_the_bit(run_folder, grown_folder, grown):
    before, after = _bank(run_folder), _bank(grown_folder)
    assert len(after) > len(before)
    assert after[: len(before)].numpy().tobytes() == before.numpy().tobytes()
    assert grown.record["bank"]["rows"] == len(after)
    assert grown.record["extended"]["rows_added"] == len(after) - len(before)
    assert torch.equal(grown.load().model.memory_bank, after)


def test_nothing_else_in_the_checkpoint_changes_but_the_thresholds(run_folder, grown_folder):
    old, new = (torch.load(place / CHECKPOINT, weights_only=True)["state_dict"] for place in (run_folder, grown_folder))
    assert list(old) == list(new)
    changed = {name for name in old if old[name].shape != new[name].shape or not torch.equal(old[name], new[name])}
    assert changed - {"model.memory_bank"} <= {name for name in old if name.startswith("post_processor.")}


def test_a_confirmed_false_alarm_is_none_any_more(run_folder, grown, alarms):
    base = open_run(run_folder)
    pictures = grown.record["extended"]["pictures"]
    assert [one["was_rejected"] for one in pictures] == [True, True]
    assert [one["is_rejected"] for one in pictures] == [False, False]
    median = np.median([one["raw_score"] for one in base.record["held_out_scores"]])
    paths = sorted(alarms.iterdir())
    for run, key in ((base, "before"), (grown, "after")):
        scores = score_good(run.load(), paths, device="cpu", progress=lambda *_: None)
        # Each run judges again what it judged: the same sums, float32.
        assert [one.raw_score for one in scores] == pytest.approx([one[key] for one in pictures], rel=1e-5)
    assert max(one["after"] for one in pictures) <= median
    assert grown.record["extended"]["radius"] <= median


def test_each_added_row_is_the_feature_of_the_patch_it_is_said_to_come_from(grown_folder, grown, alarms):
    model = grown.load()
    bank = model.model.memory_bank
    origin = read_origin(grown_folder, bank)
    base_rows = grown.record["extended"]["base"]["rows"]
    assert origin.pictures[-2:] == ("extended-1/0000.png", "extended-1/0001.png")
    for row in range(base_rows, len(bank)):
        name = origin.pictures[origin.picture[row]].removeprefix("extended-1/")
        features = embed(model, read_picture(alarms / name))
        assert torch.equal(features[origin.row[row], origin.column[row]], bank[row])


def test_the_origin_of_the_rows_it_had_is_carried_on(run_folder, grown_folder):
    before, after = (read_origin(place, _bank(place)) for place in (run_folder, grown_folder))
    assert after.pictures[: len(before.pictures)] == before.pictures
    for name in ("picture", "row", "column"):
        assert np.array_equal(getattr(after, name)[: len(before)], getattr(before, name))


def test_explain_finds_the_good_patch_in_either_data_set(grown, alarms, nuts):
    explainer = open_explainer(grown)
    found = {}
    for path in (alarms / "0000.png", nuts / "test/good/0002.png"):
        comparisons = explainer.explain(read_picture(path), picture=path, places=40)
        found |= {one.good.picture.parent: explainer.good_picture(one).shape for one in comparisons}
    assert set(found) == {alarms.resolve(), nuts.resolve() / "train/good"}


def test_pictures_that_were_held_out_are_judged_anew_and_put_the_threshold(run_folder, grown, nuts):
    base = open_run(run_folder)
    named = grown.record["held_out_scores"]
    assert [one["path"] for one in named] == base.record["split"]["held_out"] == grown.record["split"]["held_out"]
    paths = [nuts / "train/good" / one["path"] for one in named]
    scores = score_good(grown.load(), paths, device="cpu", progress=lambda *_: None)
    assert [one["raw_score"] for one in named] == pytest.approx([one.raw_score for one in scores], rel=1e-5)
    raw = np.array([one["raw_score"] for one in named])
    assert grown.point.image.threshold == threshold_at(raw, 0.01)
    assert grown.record["calibration"]["held_out"] == len(named)


def test_the_record_says_what_it_grew_from_and_what_changed(run_folder, grown_folder, grown, alarms):
    base, extended = open_run(run_folder), grown.record["extended"]
    assert extended["base"] == {
        "run": str(run_folder.resolve()),
        "created": base.record["created"],
        "checkpoint_sha256": digest(run_folder / CHECKPOINT),
        "rows": base.record["bank"]["rows"],
    }
    assert extended["dataset"]["path"] == str(alarms.resolve())
    assert {one["sha256"] for one in extended["pictures"]} == {digest(path) for path in alarms.iterdir()}
    changes = extended["changes"]
    assert changes["thresholds"]["image"] == [base.point.image.threshold, grown.point.image.threshold]
    comparison = compare(open_side(run_folder), open_side(grown_folder))
    assert [one["path"] for one in changes["verdicts"]] == [one.path for one in comparison.changes]
    assert {one["name"]: one["after"] for one in changes["figures"]} == {
        one.name: one.b for one in comparison.differences
    }
    assert grown.record["arguments"] == base.record["arguments"]
    assert grown.record["dataset"] == base.record["dataset"]


def test_the_report_says_what_growing_changed(grown_folder):
    page = (grown_folder / "report.html").read_text()
    assert "What growing changed" in page
    assert "extended-1/0001.png" in page
    assert "which the new pictures say nothing" in page


def test_the_base_is_only_read(run_folder, grown_folder, alarms, tmp_path):
    before = {path: digest(path) for path in run_folder.rglob("*") if path.is_file()}
    extend(open_run(run_folder), alarms, tmp_path / "again", CPU)
    assert {path: digest(path) for path in run_folder.rglob("*") if path.is_file()} == before
    # and the same pictures give the same run again
    assert torch.equal(_bank(tmp_path / "again"), _bank(grown_folder))


def test_a_grown_run_can_be_calibrated_evaluated_and_compared(grown_folder, run_folder, tmp_path, nuts):
    folder = Path(shutil.copytree(grown_folder, tmp_path / "grown"))
    moved = recalibrate(open_run(folder), PointConfig(false_reject_rate=0.4))
    raw = np.array([one["raw_score"] for one in moved.record["held_out_scores"]])
    assert moved.point.image.threshold == threshold_at(raw, 0.4)
    assert _nut("evaluate", folder, nuts, "-o", tmp_path / "evaluation").exit_code == 0
    assert "What growing changed" not in (tmp_path / "evaluation/report.html").read_text()
    assert _nut("compare", run_folder, folder).exit_code == 0


def test_other_seeds_of_a_grown_run_are_refused(grown_folder, nuts, tmp_path):
    result = _nut("evaluate", grown_folder, nuts, "-o", tmp_path / "evaluation", "--seeds", 2)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert "other seeds would train without" in result.stderr


def test_a_run_is_grown_twice_and_knows_both_steps(grown_folder, grown, nuts, tmp_path):
    more = tmp_path / "more" / "train" / "good"
    more.mkdir(parents=True)
    cv2.imwrite(str(more / "0000.png"), _alarm(read_picture(nuts / "test/good/0002.png"), 200))
    done = extend(grown, tmp_path / "more", tmp_path / "third", CPU).run
    bank, before = _bank(tmp_path / "third"), _bank(grown_folder)
    assert torch.equal(bank[: len(before)], before)
    origin = read_origin(tmp_path / "third", bank)
    assert origin.pictures[-3:] == ("extended-1/0000.png", "extended-1/0001.png", "extended-2/train/good/0000.png")
    (first,) = done.record["extended"]["chain"]
    assert first["base"] == grown.record["extended"]["base"]
    assert done.record["extended"]["base"]["rows"] == len(before)
    explainer = open_explainer(done)
    path = more / "0000.png"
    comparisons = explainer.explain(read_picture(path), picture=path, places=60)
    assert path.resolve() in {one.good.picture for one in comparisons}
    # the picture that the first step added is no longer needed
    assert not done.record["extended"]["pictures"][0]["is_rejected"]


def test_pictures_of_an_earlier_growing_are_in_the_bank_already(grown, alarms, tmp_path):
    with pytest.raises(InputError, match=r"all 2 pictures of .* are the run's already"):
        extend(grown, alarms, tmp_path / "out", CPU)


def test_a_test_picture_that_joins_the_bank_is_left_out_of_the_evaluation(run_folder, nuts, tmp_path):
    result = _nut(
        "train", nuts / "test/good/0001.png", "--extend", run_folder, "-o", tmp_path / "out", "--logger", "none"
    )
    assert result.exit_code == 0, result.output
    assert "1 test picture left out of the evaluation, being new pictures: test/good/0001.png" in result.stdout
    record = open_run(tmp_path / "out").record
    assert record["evaluation"]["leaked"] == ["test/good/0001.png"]
    assert "test/good/0001.png" not in {one["path"] for one in record["evaluation"]["pictures"]}
    assert record["extended"]["changes"]["good"] == 2


def test_a_held_out_picture_that_joins_the_bank_calibrates_no_more(copy, nuts, tmp_path):
    held_out = open_run(copy).record["split"]["held_out"]
    new = tmp_path / "new"
    new.mkdir()
    (new / "seen.png").write_bytes((nuts / "train/good" / held_out[0]).read_bytes())
    with pytest.raises(InputError, match="4 are left to calibrate with, at least 5 are needed"):
        extend(open_run(copy), new, tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()


def test_with_ten_new_pictures_a_share_of_them_calibrates_and_stays_out_of_the_bank(untested, nuts, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    for number, path in enumerate(sorted((nuts / "train/good").iterdir())[:10]):
        cv2.imwrite(str(new / path.name), _alarm(read_picture(path), 20 * number))
    # as one that it held out, so that five are left
    held_out = open_run(untested).record["split"]["held_out"][0]
    (new / "moved.png").write_bytes((nuts / "train/good" / held_out).read_bytes())
    done = extend(open_run(untested), new, tmp_path / "out", CPU).run
    record, extended = done.record, done.record["extended"]
    roles = {one["name"]: one["role"] for one in extended["pictures"]}
    held = [name for name, role in roles.items() if role == "held_out"]
    assert len(held) == 2
    assert roles["extended-1/moved.png"] == "bank"
    assert extended["moved"] == [held_out]
    assert set(record["split"]["held_out"]) >= set(held)
    assert held_out not in record["split"]["held_out"]
    assert [one["path"] for one in record["held_out_scores"]] == record["split"]["held_out"]
    origin = read_origin(tmp_path / "out", done.load().model.memory_bank)
    assert not set(origin.pictures) & set(held)
    assert any("calibrated with 4 pictures that the run held out and 2 new" in note for note in extended["notes"])
    assert any("1 held-out picture moved into the bank" in note for note in extended["notes"])
    for one in record["held_out_scores"]:
        assert one["raw_score"] > 0


def test_a_cross_fitted_run_keeps_its_scores_and_its_threshold(nuts, alarms, tmp_path):
    from nut_train.config import TrainConfig
    from nut_train.train import train as train_run

    config = TrainConfig(
        image_height_px=64, image_width_px=64, coreset_ratio=0.1, calibration="crossfit", folds=2, device="cpu"
    )
    base = train_run(nuts, tmp_path / "base", config)
    done = extend(base, alarms, tmp_path / "out", CPU).run
    assert done.record["held_out_scores"] == base.record["held_out_scores"]
    assert done.point == base.point
    assert not any(one["is_rejected"] for one in done.record["extended"]["pictures"])
    assert "cross-fitted scores are those of before" in done.record["extended"]["notes"][0]
    with pytest.raises(InputError, match="cross-fitted and holds no pictures out; leave out --holdout"):
        extend(base, alarms, tmp_path / "other", ExtendConfig(device="cpu", holdout=0.5))


def test_thresholds_may_be_put_anew_and_are_as_the_run_has_them_now_otherwise(copy, alarms, tmp_path):
    recalibrate(open_run(copy), PointConfig(false_reject_rate=0.3, review_rate=0.45))
    done = extend(open_run(copy), alarms, tmp_path / "kept", CPU).run
    assert done.record["calibration"]["false_reject_rate"] == 0.3
    assert done.record["calibration"]["review_rate"] == 0.45
    assert done.config.false_reject_rate == 0.3
    assert "history" not in done.record
    value = ExtendConfig(device="cpu", threshold="value", threshold_value=31.5)
    done = extend(open_run(copy), alarms, tmp_path / "value", value).run
    assert done.point.image.threshold == 31.5
    again = extend(done, _one_more(alarms, tmp_path), tmp_path / "again", CPU).run
    assert again.point.image.threshold == 31.5


def _one_more(alarms: Path, tmp_path: Path) -> Path:
    path = tmp_path / "one-more.png"
    cv2.imwrite(str(path), cv2.flip(read_picture(alarms / "0000.png"), 1))
    return path


def test_a_threshold_that_a_picture_would_still_exceed_makes_the_bank_grow_on(copy, alarms, grown, tmp_path):
    low = 0.3 * max(one["after"] for one in grown.record["extended"]["pictures"])
    config = ExtendConfig(device="cpu", threshold="value", threshold_value=low)
    done = extend(open_run(copy), alarms, tmp_path / "out", config).run
    assert done.record["extended"]["rows_added"] > grown.record["extended"]["rows_added"]
    assert not any(one["is_rejected"] for one in done.record["extended"]["pictures"])


def test_a_size_counts_the_whole_bank_and_says_what_it_costs(untested, alarms, tmp_path):
    base = open_run(untested).record["bank"]
    result = _nut(
        *("train", alarms, "--extend", untested, "-o", tmp_path / "out", "--logger", "none"),
        *("--bank-size", base["rows"] + 1),
    )
    assert result.exit_code == 0, result.output
    assert open_run(tmp_path / "out").record["bank"]["rows"] == base["rows"] + 1
    assert "still rejected" in result.stdout
    assert "allow a larger bank" in result.stdout


def test_the_command_says_what_changed_and_what_comes_next(run_folder, alarms, tmp_path):
    result = _nut("train", alarms, "--extend", run_folder, "-o", tmp_path / "out", "--logger", "none")
    assert result.exit_code == 0, result.output
    assert "new     extended-1/0000.png: " in result.stdout
    assert "rejected -> " in result.stdout
    assert "before    after" in result.stdout
    assert "verdicts that changed: " in result.stdout
    assert f"next    nut export {tmp_path / 'out'} -o bundle" in result.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--backbone", "resnet18"], "--backbone is as in", id="backbone"),
        pytest.param(["--layers", "blocks.2"], "--layers is as in", id="layers"),
        pytest.param(["--image-size", "256"], "--image-size is as in", id="image-size-even-the-default"),
        pytest.param(["--neighbours", "3"], "--neighbours is as in", id="neighbours"),
        pytest.param(["--calibration", "crossfit"], "--calibration is as in", id="calibration"),
        pytest.param(["--whiten"], "--whiten is as in", id="whiten"),
        pytest.param(["--no-whiten"], "--whiten is as in", id="whiten-even-the-default"),
        pytest.param(["--holdout", "0.95"], "holdout 0.95, expected 0 to 0.9", id="holdout"),
        pytest.param(["--bank-size", "2"], "leaves no room: the bank has", id="bank-size"),
        pytest.param(["--bank-size", "900", "--bank-mb", "1"], "give one of them", id="two-sizes"),
        pytest.param(["--threshold-value", "3"], "no other rule takes it", id="value-without-rule"),
        pytest.param(["--false-reject-rate", "0.6"], "false reject rate 0.6", id="rate"),
        pytest.param(["--base-dataset", "nowhere"], "nowhere, which", id="no-base-data-set"),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_nothing_is_written(untested, alarms, tmp_path, options, says):
    result = _nut("train", alarms, "--extend", untested, "-o", tmp_path / "out", "--logger", "none", *options)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_option_of_training_is_taken_or_refused_when_a_run_is_grown():
    """Or it is one of the command itself, or changes no result."""
    others = {"dataset", "out", "force", "logger", "base", "base_dataset", "batch_size", "workers"}
    names = [*_FIXED, *_TAKEN, *others]
    assert len(names) == len(set(names))
    assert set(names) == {parameter.name for parameter in train.params}


def test_base_dataset_without_extend_is_refused(nuts, tmp_path):
    result = _nut("train", nuts, "-o", tmp_path / "out", "--base-dataset", nuts)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--base-dataset belongs to --extend" in result.stderr


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda _new, _nuts: None, "does not exist; give a folder", id="missing"),
        pytest.param(lambda new, _nuts: new.mkdir(), "holds no pictures", id="empty"),
        pytest.param(
            lambda new, nuts: shutil.copytree(nuts / "train/good", new), "are the run's already, so", id="repeats"
        ),
        pytest.param(
            lambda new, nuts: shutil.copytree(next((nuts / "test").glob("[!g]*")), new),
            "which is filed as defective; file it as good first",
            id="defective",
        ),
        pytest.param(
            lambda new, _nuts: _write(new, np.zeros((64, 64), np.uint16)),
            "convert it to 8 bits first",
            id="sixteen-bits",
        ),
        pytest.param(lambda new, _nuts: _write(new, np.zeros((4, 4, 3), np.uint8)), "too small", id="too-small"),
    ],
)
def test_new_pictures_that_cannot_be_used_are_one_line_and_nothing_is_written(run_folder, nuts, tmp_path, make, says):
    make(tmp_path / "new", nuts)
    result = _nut("train", tmp_path / "new", "--extend", run_folder, "-o", tmp_path / "out", "--logger", "none")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert says in result.stderr
    assert not (tmp_path / "out").exists()


def _write(folder: Path, picture: np.ndarray) -> None:
    folder.mkdir()
    cv2.imwrite(str(folder / "new.png"), picture)


def test_grey_pictures_and_those_with_alpha_are_taken_as_everywhere(untested, nuts, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    picture = _alarm(read_picture(nuts / "test/good/0000.png"), 0)
    cv2.imwrite(str(new / "grey.png"), picture[:, :, 0])
    cv2.imwrite(str(new / "alpha.png"), np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]))
    done = extend(open_run(untested), new, tmp_path / "out", CPU).run
    assert not any(one["is_rejected"] for one in done.record["extended"]["pictures"])


def test_the_same_new_picture_twice_counts_once(untested, alarms, tmp_path):
    new = Path(shutil.copytree(alarms, tmp_path / "new"))
    shutil.copy(new / "0000.png", new / "copy.png")
    done = extend(open_run(untested), new, tmp_path / "out", CPU).run
    assert done.record["extended"]["left_out"] == [{"name": "extended-1/copy.png", "why": "the same as 0000.png"}]
    assert len(done.record["extended"]["pictures"]) == 2


def test_new_pictures_that_were_put_beside_the_old_ones_are_found_among_them(copy, moved, alarms, tmp_path):
    shutil.copy(alarms / "0000.png", moved / "train/good/new.png")
    _edit(copy, lambda record: record["dataset"].update(path=str(moved)))
    done = extend(open_run(copy), moved, tmp_path / "out", CPU).run
    extended = done.record["extended"]
    assert "extended-1/train/good/new.png" in {one["name"] for one in extended["pictures"]}
    assert any("not as it was at the training; its training pictures are" in note for note in extended["notes"])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(shutil.rmtree, "say where it is with --base-dataset", id="gone"),
        pytest.param(
            lambda moved: cv2.imwrite(str(moved / "train/good/0000.png"), np.full((64, 64, 3), 9, np.uint8)),
            "is not the picture that",
            id="changed",
        ),
        pytest.param(lambda moved: (moved / "train/good/0000.png").unlink(), "is missing; put it back", id="lost"),
    ],
)
def test_a_base_whose_pictures_are_gone_or_changed_is_refused(copy, alarms, moved, tmp_path, spoil, says):
    _edit(copy, lambda record: record["dataset"].update(path=str(moved)))
    spoil(moved)
    with pytest.raises(InputError, match=says) as caught:
        extend(open_run(copy), alarms, tmp_path / "out", CPU)
    assert str(moved) in str(caught.value)
    assert "\n" not in str(caught.value)


def _renumber(run: Path, moved: Path) -> None:
    """Exchange the names of a picture of the bank and of one that was held out."""
    split = open_run(run).record["split"]
    one, other = (moved / "train/good" / split[role][0] for role in ("bank", "held_out"))
    one.rename(moved / "meanwhile")
    other.rename(one)
    (moved / "meanwhile").rename(other)


def test_a_base_whose_pictures_have_each_others_names_is_refused(copy, alarms, moved, tmp_path):
    """A held-out name that points at a picture of the bank would put the threshold far too low."""
    _renumber(copy, moved)
    with pytest.raises(InputError, match="is not the picture that") as caught:
        extend(open_run(copy), alarms, tmp_path / "out", CPU, base_root=moved)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_older_record_that_does_not_say_which_picture_is_which_takes_no_changed_data_set(
    copy, alarms, moved, tmp_path
):
    _edit(copy, lambda record: record["split"].pop("sha256"))
    done = extend(open_run(copy), alarms, tmp_path / "out", CPU, base_root=moved).run
    # as it was, each name has its picture, and the grown record says so from now on
    split = done.record["split"]
    assert set(split["sha256"]) == {*split["bank"], *split["held_out"]}
    assert split["sha256"]["extended-1/0000.png"] == digest(alarms / "0000.png")
    _renumber(copy, moved)
    with pytest.raises(InputError, match="does not say which picture is which") as caught:
        extend(open_run(copy), alarms, tmp_path / "other", CPU, base_root=moved)
    assert "\n" not in str(caught.value)


def test_the_record_says_which_picture_is_which(run_folder, nuts):
    split = open_run(run_folder).record["split"]
    names = [*split["bank"], *split["held_out"]]
    assert split["sha256"] == {name: digest(nuts / "train/good" / name) for name in names}


def test_a_base_whose_data_set_was_moved_is_told_where(copy, alarms, moved, tmp_path):
    _edit(copy, lambda record: record["dataset"].update(path="/gone"))
    done = extend(open_run(copy), alarms, tmp_path / "out", CPU, base_root=moved).run
    assert done.record["dataset"]["path"] == str(moved.resolve())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda record: record.update(schema=0), "schema 0, expected 1", id="older"),
        pytest.param(lambda record: record.update(schema=2), "reads up to 1; update", id="newer"),
        pytest.param(lambda record: record.update(held_out_scores=[]), "kept no scores", id="no-scores"),
        pytest.param(
            lambda record: record["split"].update(held_out=["../../secret.png"]),
            "no place in its data set",
            id="escape",
        ),
        pytest.param(
            lambda record: record["split"].update(held_out=["extended-7/a.png"]),
            "not grown so often",
            id="no-such-step",
        ),
    ],
)
def test_a_record_that_cannot_be_grown_from_is_refused(copy, alarms, tmp_path, change, says):
    _edit(copy, change)
    with pytest.raises(InputError, match=says) as caught:
        extend(open_run(copy), alarms, tmp_path / "out", CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_bank_without_origin_and_a_broken_backbone_are_refused(copy, alarms, tmp_path):
    content = torch.load(copy / CHECKPOINT, weights_only=True)
    name = next(name for name in content["state_dict"] if name.endswith("conv_stem.weight"))
    content["state_dict"][name].fill_(torch.nan)
    torch.save(content, copy / CHECKPOINT)
    with pytest.raises(InputError, match=r"0000\.png: its features are not finite numbers"):
        extend(open_run(copy), alarms, tmp_path / "out", CPU)
    (copy / "bank_origin.npz").unlink()
    with pytest.raises(InputError, match="nobody knows where the bank's rows came from"):
        extend(open_run(copy), alarms, tmp_path / "out", CPU)


def test_stopped_in_the_middle_there_is_no_run_and_nothing_is_left_behind(run_folder, alarms, tmp_path):
    def stop(what: str, done: int, total: int) -> None:
        if what == "judging test pictures":
            raise KeyboardInterrupt

    before = {path: digest(path) for path in run_folder.rglob("*") if path.is_file()}
    with pytest.raises(KeyboardInterrupt):
        extend(open_run(run_folder), alarms, tmp_path / "out", CPU, progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert {path: digest(path) for path in run_folder.rglob("*") if path.is_file()} == before


def test_verdicts_of_the_new_pictures_follow_from_scores_and_thresholds(run_folder, grown):
    for one in grown.record["extended"]["pictures"]:
        for run, score, verdict in ((open_run(run_folder), "before", "was_rejected"), (grown, "after", "is_rejected")):
            expected = bool(is_defective(normalise(np.float32(one[score]), run.point.image)))
            assert one[verdict] == expected
