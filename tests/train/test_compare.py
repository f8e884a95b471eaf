"""`nut compare`: on the pictures that both judged, whatever they are called and in whatever order they stand."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_runtime.errors import InputError
from nut_train import compare as module
from nut_train.compare import compare, open_side
from nut_train.run import RECORD
from nut_train.train import EVALUATION


def _nut(*arguments: object):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture
def other(run_folder, tmp_path) -> Path:
    """A copy of the run that a test may alter."""
    return Path(shutil.copytree(run_folder, tmp_path / "other"))


def _alter(folder: Path, change) -> None:
    record = json.loads((folder / RECORD).read_text())
    change(record)
    (folder / RECORD).write_text(json.dumps(record))


def _flip(*places: int):
    def change(record: dict) -> None:
        for place in places:
            item = record["evaluation"]["pictures"][place]
            item["pred_label"] = not item["pred_label"]

    return change


def test_a_run_compared_with_itself_differs_in_nothing(run_folder):
    found = compare(open_side(run_folder), open_side(run_folder))
    assert (found.good, found.defective, found.only_a, found.only_b) == (3, 6, 0, 0)
    assert {each.name for each in found.differences} >= {"image AUROC", "defects found", "pixel AUROC", "PRO"}
    assert all(each.a == each.b and each.interval is None and each.is_better is None for each in found.differences)
    assert (found.changes, found.p_value) == ((), 1.0)


def test_the_figures_are_those_that_the_run_states(run_folder):
    stated = json.loads((run_folder / RECORD).read_text())["evaluation"]
    found = {each.name: each.a for each in compare(open_side(run_folder), open_side(run_folder)).differences}
    assert found["image AUROC"] == pytest.approx(stated["image"]["auroc"], rel=1e-12)
    assert found["F1"] == pytest.approx(stated["image"]["f1"], rel=1e-12)
    assert found["PRO"] == pytest.approx(stated["pixel"]["pro"], abs=1e-3)  # from bins of 1/512 of the pixels


def test_a_verdict_that_changed_is_listed_with_what_it_became(run_folder, other):
    _alter(other, _flip(0))
    found = compare(open_side(run_folder), open_side(other))
    (change,) = found.changes
    before = json.loads((run_folder / RECORD).read_text())["evaluation"]["pictures"][0]
    assert (change.path, change.kind) == (before["path"], before["kind"])
    assert change.is_now_rejected is not before["pred_label"]
    assert change.is_mended is (change.is_now_rejected is (before["kind"] != "good"))
    assert found.p_value == 1.0  # one change may always be chance


def test_neither_names_nor_order_matter(run_folder, other):
    def rename(record: dict) -> None:
        pictures = record["evaluation"]["pictures"]
        for number, item in enumerate(pictures):
            item["path"] = f"test/{item['kind']}/{number:03}.png"
        order = np.random.default_rng(0).permutation(len(pictures))
        record["evaluation"]["pictures"] = [pictures[place] for place in order]
        places = np.load(other / "pixels.npz")
        arrays = {name: places[name] for name in places.files}
        arrays["places"] = np.array([list(order).index(place) for place in arrays["places"]])
        np.savez_compressed(other / "pixels.npz", **arrays)

    _alter(other, rename)
    found = compare(open_side(run_folder), open_side(other))
    assert all(each.a == pytest.approx(each.b, rel=1e-12) for each in found.differences)
    assert found.changes == ()


def test_three_mended_verdicts_are_not_called_better(run_folder, other):
    pictures = json.loads((run_folder / RECORD).read_text())["evaluation"]["pictures"]
    missed = [place for place, item in enumerate(pictures) if item["kind"] != "good" and not item["pred_label"]][:3]
    assert missed
    _alter(other, _flip(*missed))
    found = {each.name: each for each in compare(open_side(run_folder), open_side(other)).differences}
    for name in ("defects found", "F1"):
        assert found[name].b > found[name].a
        assert found[name].is_better is None


def test_only_the_pictures_that_both_judged_count(run_folder, other):
    def drop(record: dict) -> None:
        pictures = record["evaluation"]["pictures"]
        pictures[0]["sha256"] = "0" * 64
        pictures[1]["kind"] = "moved"

    _alter(other, drop)
    found = compare(open_side(run_folder), open_side(other))
    assert found.good + found.defective == 7
    assert (found.only_a, found.only_b, found.relabelled) == (1, 1, 1)


def _judged(run_folder: Path, folder: Path, scores: list[float], *, good: int) -> None:
    """Copy a run, with other pictures judged: the first `good` of them are good, and above 1.5 is rejected."""
    pictures = [
        {
            "path": f"test/{'good' if place < good else 'dent'}/{place}.png",
            "kind": "good" if place < good else "dent",
            "sha256": f"{place:064}",
            "raw_score": score,
            "pred_score": score,
            "pred_label": bool(score > 1.5),
        }
        for place, score in enumerate(scores)
    ]
    shutil.copytree(run_folder, folder)
    (folder / "pixels.npz").unlink()
    _alter(folder, lambda record: record["evaluation"].update(pictures=pictures))


def test_more_right_verdicts_with_a_lower_f1_are_not_called_a_better_f1(run_folder, tmp_path):
    for name, rejected, found in (("a", 100, 20), ("b", 80, 14)):
        scores = [2.0] * rejected + [1.0] * (500 - rejected) + [2.0] * found + [1.0] * (20 - found)
        _judged(run_folder, tmp_path / name, scores, good=500)
    found = {each.name: each for each in compare(open_side(tmp_path / "a"), open_side(tmp_path / "b")).differences}
    assert found["F1"].b < found["F1"].a
    assert found["F1"].is_better is None
    assert found["good rejected"].is_better
    assert found["defects found"].is_better is False


def test_many_more_defects_found_are_better_beyond_chance(run_folder, tmp_path):
    rng = np.random.default_rng(0)
    for name, shift in (("a", 0.5), ("b", 2.5)):
        scores = np.concatenate([rng.normal(0, 1, 60), rng.normal(shift, 1, 60)])
        _judged(run_folder, tmp_path / name, scores.tolist(), good=60)
    found = {each.name: each for each in compare(open_side(tmp_path / "a"), open_side(tmp_path / "b")).differences}
    assert found["image AUROC"].is_better
    assert found["defects found"].is_better
    assert found["image AUROC"].interval.low > 0
    back = {each.name: each for each in compare(open_side(tmp_path / "b"), open_side(tmp_path / "a")).differences}
    assert back["image AUROC"].is_better is False
    assert "PRO" not in found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            lambda record: [item.update(sha256="f" * 64) for item in record["evaluation"]["pictures"]],
            "have no test picture in common",
            id="nothing-in-common",
        ),
        pytest.param(
            lambda record: record["evaluation"]["pictures"][0].pop("sha256"), "comes from an older version", id="older"
        ),
        pytest.param(lambda record: record.update(evaluation=None), "judged no test pictures", id="no-evaluation"),
        pytest.param(lambda record: record.pop("evaluation"), "is not a record of an evaluation", id="broken"),
    ],
)
def test_what_cannot_be_compared_is_one_line(run_folder, other, change, says):
    _alter(other, change)
    result = _nut(run_folder, other)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_a_folder_that_is_neither_run_nor_evaluation_is_refused(run_folder, tmp_path):
    with pytest.raises(InputError, match="is no run and no evaluation"):
        compare(open_side(run_folder), open_side(tmp_path))


def test_the_page_shows_the_pictures_whose_verdict_changed_and_loads_nothing(run_folder, other, tmp_path, browser):
    _alter(other, _flip(0, 4))
    page = tmp_path / "compare.html"
    result = _nut(run_folder, other, "-o", page)
    assert result.exit_code == 0, result.output
    assert "verdicts that changed: 2" in result.stdout
    text = page.read_text()
    assert len(re.findall('src="data:image/jpeg', text)) == 2
    assert not re.search(r"https?://", text)
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [...document.images].every(image => image.naturalWidth > 0)")


def test_the_page_stands_where_the_data_set_has_gone(run_folder, other, tmp_path):
    _alter(other, _flip(0))
    _alter(other, lambda record: record["dataset"].update(path=str(tmp_path / "gone")))
    assert _nut(run_folder, other, "-o", tmp_path / "compare.html").exit_code == 0
    assert "data:image" not in (tmp_path / "compare.html").read_text().replace("img-src data:", "")


def test_only_an_older_page_of_the_same_kind_is_replaced(run_folder, tmp_path):
    page = tmp_path / "compare.html"
    page.write_text("mine")
    for options in ([], ["--force"]):
        assert _nut(run_folder, run_folder, "-o", page, *options).exit_code == 2
    assert page.read_text() == "mine"
    page.unlink()
    assert _nut(run_folder, run_folder, "-o", page).exit_code == 0
    assert _nut(run_folder, run_folder, "-o", page).exit_code == 2
    assert _nut(run_folder, run_folder, "-o", page, "--force").exit_code == 0


def test_a_comparison_needs_no_torch():
    code = "import sys, nut_train.compare_report, nut_train.compare_cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(module._RECORDS) == {EVALUATION, RECORD}  # written out there for that reason
