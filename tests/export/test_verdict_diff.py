"""Both bundles judge the same pictures, and every verdict that flips is found."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nut_dataset.layout import open_dataset
from nut_export.verdict_diff import VerdictDiff, compare_verdicts, open_pictures
from nut_runtime import Inspector
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import BundleError, InputError
from nut_runtime.pictures import read_picture
from nut_runtime.sources import PictureSource


def move_threshold(folder: Path, threshold: float) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["operating_point"]["image"]["threshold"] = threshold
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def raw_scores(bundle_folder, nuts) -> dict[str, float]:
    """The raw score of every picture of the data set, by path."""
    inspector = Inspector(bundle_folder, engine="onnxruntime")
    dataset = open_dataset(nuts)
    paths = (*dataset.train_good, *dataset.test_good, *dataset.defective)
    return {str(path): inspector.inspect(read_picture(path)).raw_score for path in paths}


def compare(a: Path, b: Path, pictures: Path, **options: Any) -> VerdictDiff:
    return compare_verdicts(open_bundle(a), open_bundle(b), open_pictures(pictures), engine="onnxruntime", **options)


def test_a_bundle_agrees_with_itself_to_the_bit(bundle_folder, nuts, raw_scores):
    found = compare(bundle_folder, bundle_folder, nuts)
    assert (found.flips, found.max_d_score, found.mean_d_score) == ((), 0.0, 0.0)
    assert found.pictures == len(raw_scores) == 12 + 3 + 6
    assert found.a_rejects == found.b_rejects


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_moved_threshold_flips_exactly_the_scores_it_passes(bundle_folder, nuts, raw_scores, tmp_path, direction):
    old = open_bundle(bundle_folder).manifest.point.image.threshold
    rising = [*sorted(raw_scores.values()), 100.0]
    # between two pictures' scores, so that rounding decides nothing
    place = sum(score <= old for score in rising) + (1 if direction == "up" else -2)
    new = (rising[place - 1] + rising[place]) / 2
    moved = shutil.copytree(bundle_folder, tmp_path / "moved")
    move_threshold(moved, new)
    expected = {path for path, score in raw_scores.items() if min(old, new) < score <= max(old, new)}
    assert expected

    found = compare(bundle_folder, moved, nuts)
    assert {flip.source for flip in found.flips} == expected
    assert all(flip.is_now_defective == (direction == "down") for flip in found.flips)
    counted = (found.good_to_defect, found.defect_to_good)
    assert counted == ((len(expected), 0) if direction == "down" else (0, len(expected)))
    assert found.b_rejects - found.a_rejects == found.good_to_defect - found.defect_to_good
    for flip in found.flips:
        assert (flip.a_score > 0.5) != (flip.b_score > 0.5)
    gaps = [abs(flip.b_score - flip.a_score) for flip in found.flips]
    assert gaps == sorted(gaps, reverse=True)

    back = compare(moved, bundle_folder, nuts)
    assert {flip.source for flip in back.flips} == expected
    assert (back.defect_to_good, back.good_to_defect) == counted
    assert back.max_d_score == found.max_d_score


def test_another_bank_moves_the_scores_as_two_inspectors_say(bundle_folder, sparse_bundle, nuts):
    pictures = nuts / "test" / "good"
    found = compare(bundle_folder, sparse_bundle, pictures)
    old, new = (Inspector(folder, engine="onnxruntime") for folder in (bundle_folder, sparse_bundle))
    gaps = []
    for path in sorted(pictures.iterdir()):
        frame = read_picture(path)
        gaps.append(abs(new.inspect(frame).pred_score - old.inspect(frame).pred_score))
    # fewer bank rows: every nearest neighbour is as far or farther, by far more than rounding
    assert found.max_d_score == max(gaps) > 1e-3
    assert found.mean_d_score == pytest.approx(sum(gaps) / len(gaps), rel=1e-12)  # the order of the sum
    assert found.pictures == len(gaps)


def test_of_a_data_set_the_masks_are_not_judged(nuts, bundle_folder):
    assert (nuts / "ground_truth").is_dir()
    sources = [frame.source for frame in open_pictures(nuts)]
    assert len(sources) == 21
    assert not [source for source in sources if "ground_truth" in source]


def test_any_other_folder_is_judged_with_its_sub_folders(nuts):
    assert open_pictures(nuts / "test").count == 9
    assert open_pictures(next((nuts / "test" / "good").iterdir())).count == 1


def test_a_data_set_without_pictures_is_refused(tmp_path):
    (tmp_path / "test" / "good").mkdir(parents=True)
    with pytest.raises(InputError, match="is a data set without pictures"):
        open_pictures(tmp_path)


def test_a_picture_that_cannot_be_read_is_told_and_the_others_are_judged(bundle_folder, nuts, tmp_path):
    good = next((nuts / "test" / "good").iterdir())
    (tmp_path / "text.png").write_text("no picture")
    source = PictureSource([tmp_path / "text.png", good])
    bundle = open_bundle(bundle_folder)
    found = compare_verdicts(bundle, bundle, source, engine="onnxruntime")
    assert found.pictures == 1
    (unjudged,) = found.unjudged
    assert unjudged.source == str(tmp_path / "text.png")
    assert "text.png is not a picture" in unjudged.reason


def test_where_no_picture_can_be_judged_there_is_no_answer(bundle_folder, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"none of 1 pictures could be judged \(.*text.png is not a picture"):
        compare(bundle_folder, bundle_folder, tmp_path)


def test_every_picture_is_counted_on_the_bar_and_every_flip_is_told(bundle_folder, nuts, tmp_path):
    moved = shutil.copytree(bundle_folder, tmp_path / "moved")
    move_threshold(moved, 1.0)  # far below every score: all are defective
    steps, told = [], []
    found = compare(
        bundle_folder,
        moved,
        nuts / "test",
        progress=lambda _, done, total: steps.append((done, total)),
        on_flip=lambda frame, old, new: told.append((frame.source, old.is_defective, new.is_defective)),
    )
    assert steps == [(number, 9) for number in range(1, 10)]
    assert {(source, False, True) for source in (flip.source for flip in found.flips)} == set(told)
    assert found.b_rejects == 9


def test_both_are_judged_by_an_engine_that_both_have_a_model_for(bundle_folder, nuts):
    bundle = open_bundle(bundle_folder)

    def only(engine: str):
        models = {engine: bundle.manifest.models[engine]}
        return replace(bundle, manifest=replace(bundle.manifest, models=models))

    pictures = next((nuts / "test" / "good").iterdir())
    assert compare_verdicts(bundle, bundle, open_pictures(pictures)).engine == "openvino"
    assert compare_verdicts(bundle, only("onnxruntime"), open_pictures(pictures)).engine == "onnxruntime"
    with pytest.raises(BundleError, match=r"no installed engine .*has openvino and .*has onnxruntime; install"):
        compare_verdicts(only("openvino"), only("onnxruntime"), open_pictures(pictures))
