"""`report.html` says what must be known first, works without defects and masks, and loads nothing."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nut_train.config import TrainConfig
from nut_train.figures import Thresholds, kind_scores, score_histogram
from nut_train.recalibrate import redraw_report
from nut_train.run import RECORD, open_run
from nut_train.thresholds import Rule
from nut_train.thumbnails import Album, fit_into, outline
from nut_train.train import evaluate_run, train


@pytest.fixture(scope="module")
def leaky(nuts, tmp_path_factory) -> Path:
    """The data set without masks, with two test pictures that repeat training pictures."""
    data = Path(shutil.copytree(nuts, tmp_path_factory.mktemp("leaky") / "data"))
    shutil.rmtree(data / "ground_truth")
    for name in ("0003.png", "0004.png"):
        shutil.copy(data / "train/good" / name, data / "test/good" / f"leak-{name}")
    return data


@pytest.fixture(scope="module")
def evaluated(run_folder, leaky, tmp_path_factory) -> dict[bool, tuple[dict[str, Any], str]]:
    """Record and page, without and with leakage."""
    folder = tmp_path_factory.mktemp("evaluated")
    found = {}
    for keep in (False, True):
        out = folder / f"{keep}"
        record = evaluate_run(open_run(run_folder), leaky, out, keep_leakage=keep, device="cpu")
        found[keep] = (record, (out / "report.html").read_text())
    return found


def test_leaked_pictures_are_left_out_and_said_before_all_else(evaluated):
    record, page = evaluated[False]
    assert record["evaluation"]["leaked"] == ["test/good/leak-0003.png", "test/good/leak-0004.png"]
    assert record["evaluation"]["image"]["good"] == 3
    first = re.search(r'class="warn[^"]*">(?:<details><summary>)?([^<]+)', page)
    assert first[1].startswith("2 test pictures have the same bytes as training pictures")
    assert "They are left out" in first[1]
    assert page.index(first[1]) < page.index("image AUROC")


def test_leaked_pictures_are_measured_where_asked_and_the_page_says_so(evaluated):
    record, page = evaluated[True]
    assert record["evaluation"]["image"]["good"] == 5
    assert record["evaluation"]["is_leakage_kept"]
    assert "kept in as asked (--leakage)" in page


@pytest.mark.parametrize(
    ("rule", "stated", "warned", "has_interval"),
    [
        pytest.param("conformal", "the threshold calibrated for 1% false rejects", "", True, id="conformal"),
        pytest.param("value", "the threshold that was given", "", True, id="value"),
        pytest.param(
            "f1",
            "the threshold that is best for these very pictures",
            "The threshold has seen the test defects",
            False,
            id="f1",
        ),
    ],
)
def test_the_page_says_how_the_threshold_was_put(run_folder, tmp_path, rule, stated, warned, has_interval):
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    record = json.loads((run / RECORD).read_text())
    record["calibration"]["rule"] = rule
    (run / RECORD).write_text(json.dumps(record))
    redraw_report(open_run(run), device="cpu")
    page = (run / "report.html").read_text()
    assert f"recall at {stated}" in page
    assert warned in page
    method = re.search(r"<tr><th>defects found</th>.*?<td>(\w*)</td>", page)
    assert method[1] == ("exact" if has_interval else "")
    assert ("the cross is the 95% interval" in page) == has_interval


def _compared(page: str) -> list[str]:
    """Names of the good pictures that a page shows beside the judged ones."""
    return re.findall(r"nearest good place in ([\w.-]+)", page)


def test_each_picture_is_shown_beside_the_good_place_that_it_was_compared_with(run_folder):
    page = (run_folder / "report.html").read_text()
    bank = set(json.loads((run_folder / "run.json").read_text())["split"]["bank"])
    shown = page.count('and its heat map">')
    assert len(_compared(page)) == page.count('alt="its most unusual place, and the nearest good one"') == shown > 0
    assert set(_compared(page)) <= bank


def test_a_run_whose_training_pictures_are_gone_is_reported_without_them(run_folder, leaky, tmp_path):
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["path"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(record))
    evaluate_run(open_run(run), leaky, tmp_path / "out", device="cpu")
    page = (tmp_path / "out/report.html").read_text()
    assert page.count('and its heat map">') > 0
    assert _compared(page) == []


def test_without_masks_there_are_no_pixel_figures_and_the_rest_stands(evaluated):
    record, page = evaluated[False]
    assert record["evaluation"]["pixel"] is None
    assert "image AUROC" in page
    assert "pixel AUROC" not in page
    assert page.count("<svg") == 4


def test_without_defects_the_false_rejects_are_measured(run_folder, nuts, tmp_path):
    data = Path(shutil.copytree(nuts, tmp_path / "data"))
    for folder in (data / "test").iterdir():
        if folder.name != "good":
            shutil.rmtree(folder)
    record = evaluate_run(open_run(run_folder), data, tmp_path / "out", device="cpu")
    page = (tmp_path / "out/report.html").read_text()
    assert record["evaluation"]["image"]["auroc"] is None
    assert set(record["evaluation"]["confidence"]["intervals"]) == {"false_reject_rate"}
    assert page.count("<svg") == 2  # the scores, and the dots of the good ones
    assert "Missed defects" not in page


def test_the_record_has_an_interval_for_each_figure_and_each_kind(run_folder):
    record = json.loads((run_folder / "run.json").read_text())["evaluation"]
    sure = record["confidence"]
    assert {"recall", "false_reject_rate"} <= set(sure["intervals"])
    assert all(found["low"] <= found["high"] for found in sure["intervals"].values())
    assert {kind["kind"] for kind in sure["kinds"]} == {item["kind"] for item in record["pictures"]} - {"good"}


def test_the_data_sets_own_warnings_are_in_the_report(run_folder):
    record = json.loads((run_folder / "run.json").read_text())
    (few,) = [finding for finding in record["findings"] if finding["code"] == "few-training-pictures"]
    page = (run_folder / "report.html").read_text()
    assert few["what"][1:] in page


def test_a_set_to_test_on_alone_is_not_blamed_for_having_no_training_pictures(run_folder, leaky, tmp_path):
    data = Path(shutil.copytree(leaky, tmp_path / "data"))
    shutil.rmtree(data / "train")
    record = evaluate_run(open_run(run_folder), data, tmp_path / "out", device="cpu")
    assert "no-training-pictures" not in {finding["code"] for finding in record["findings"]}


def test_a_folder_named_like_a_formula_or_markup_is_shown_as_it_is(run_folder, nuts, tmp_path):
    data = Path(shutil.copytree(nuts, tmp_path / "data"))
    kind = next(folder for folder in sorted((data / "test").iterdir()) if folder.name != "good")
    kind.rename(data / "test" / "$x^2 <b>&")
    evaluate_run(open_run(run_folder), data, tmp_path / "out", device="cpu")
    page = (tmp_path / "out/report.html").read_text()
    assert "$x^2 &lt;b&gt;&amp;" in page
    assert "<b>&" not in page


def test_an_album_stops_where_its_room_ends():
    album = Album(limit_bytes=6000)
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    urls = [album.add(noise) for _ in range(20)]
    kept = [url for url in urls if url is not None]
    assert 0 < len(kept) < 20
    assert sum(map(len, kept)) <= 6000


@pytest.mark.parametrize("size", [(1080, 1920), (40, 1200), (900, 30), (50, 50)], ids=str)
def test_a_thumbnail_of_any_picture_fits_the_box(size):
    picture = fit_into(np.zeros((*size, 3), np.uint8))
    assert picture.shape[0] <= 224
    assert picture.shape[1] <= 300
    assert picture.shape[0] == 224 or picture.shape[1] == 300


def test_marked_pixels_are_outlined_and_the_picture_itself_is_not_drawn_on():
    picture, mask = np.zeros((40, 60, 3), np.uint8), np.zeros((20, 30), bool)
    mask[5:10, 5:10] = True
    drawn = outline(picture, mask)
    assert drawn.any()
    assert not picture.any()


def test_a_chart_takes_its_colours_from_the_page_and_is_the_same_file_each_time():
    charts = [score_histogram([], [1.0, 2.0, 2.5], Thresholds(reject=3.0, review=2.8)) for _ in range(2)]
    assert charts[0] == charts[1]
    assert "var(--held)" in charts[0].svg
    assert "var(--review)" in charts[0].svg
    assert not re.search(r"#[0-9a-f]{6}\b(?<!#ffffff)", re.sub(r'href="#\w+"|url\(#\w+\)', "", charts[0].svg))
    assert "http" not in charts[0].svg
    assert kind_scores([], Thresholds(reject=3.0)) is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_chromium_opens_the_report_without_a_request_an_error_or_a_sideways_scroll(run_folder, browser, scheme, width):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page = (run_folder / "report.html").resolve().as_uri()
    browser.get(page)
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in asked if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("data:", "about:"))] == [page]
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [...document.images].every(image => image.naturalWidth > 0)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")


@pytest.mark.slow
def test_the_recall_at_a_rate_is_at_the_rate_of_the_threshold_that_was_given(nuts, tmp_path):
    config = TrainConfig(
        image_height_px=64,
        image_width_px=64,
        coreset_ratio=0.1,
        device="cpu",
        threshold=Rule.VALUE,
        threshold_value=0.001,  # below every score
    )
    run = train(nuts, tmp_path / "run", config)
    assert run.record["calibration"]["false_reject_rate"] == 1
    again = evaluate_run(run, nuts, tmp_path / "again", device="cpu")
    recalls = [one["evaluation"]["confidence"]["recall_at_rate"] for one in (run.record, again)]
    assert recalls[0] == recalls[1]
