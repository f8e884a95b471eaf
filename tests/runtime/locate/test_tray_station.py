"""`nut-runtime` on trays: one record a tray with its parts, in every output; the right bundle, or none."""

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from nut_runtime.bundle import open_bundle
from nut_runtime.cli import main
from nut_runtime.errors import BundleError, InputError
from nut_runtime.locate.settings import CutoutSettings
from nut_runtime.model_slot import ModelSlot
from nut_runtime.pictures import read_picture, write_picture
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.shown import Kind
from nut_runtime.sinks.sqlite import read_parts
from nut_runtime.station_file.parse import examine_station, read_station


@pytest.fixture(scope="module")
def pictures(tray_frame, places, tmp_path_factory):
    """Three frames: a blurred one, a usable one with a seventh part that the edge cuts, and one that is no tray."""
    folder = tmp_path_factory.mktemp("frames")
    frame = tray_frame([*places, (638.0, 220, 0)])
    write_picture(folder / "1-blurred.png", cv2.GaussianBlur(frame, (0, 0), 9))
    write_picture(folder / "2-tray.png", frame)
    stripes = np.full((480, 640, 3), 140, np.uint8)
    stripes[:, np.arange(640) % 32 < 16] = 255  # light and in focus: nothing that is dark
    write_picture(folder / "3-empty.png", stripes)
    return folder


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def out(tray_bundle, pictures, tmp_path_factory):
    """What a run over the three frames leaves in every kind of output."""
    folder = tmp_path_factory.mktemp("out")
    done = run(
        "run", pictures, "--model", tray_bundle, "--output", folder / "trays.jsonl", "--csv", folder / "trays.csv",
        "--sqlite", folder / "trays.sqlite", "--save-dir", folder / "saved", "--save", "all",
    )  # fmt: skip
    assert done.exit_code == 1, done.output  # two of the three have no verdict
    assert "1 parts, 1 rejects, 2 failures, 7 nuts: 3 good, 3 defect, 1 incomplete" in done.output
    return folder


@pytest.fixture(scope="module")
def records(out):
    return [json.loads(line) for line in (out / "trays.jsonl").read_text(encoding="utf-8").splitlines()]


def test_each_tray_has_exactly_one_record(records):
    assert [(record["label"], record["reason"]) for record in records] == [
        ("no-verdict", "blurred"),
        ("defect", None),
        ("no-verdict", "nothing-found"),
    ]
    assert {record["schema"] for record in records} == {2}
    assert records[0]["nuts"] == records[2]["nuts"] == []


def test_the_record_has_one_of_its_own_for_each_part(records):
    tray = records[1]
    assert tray["counts"] == {"found": 7, "judged": 6, "good": 3, "defect": 3, "review": 0, "incomplete": 1}
    assert [nut["id"] for nut in tray["nuts"]] == [f"{tray['id']}/{number}" for number in range(1, 8)]
    for nut in tray["nuts"]:
        x, y, width, height = nut["box"]
        assert x <= nut["centre"][0] <= x + width
        assert y <= nut["centre"][1] <= y + height
        assert (nut["flaw"] is None) == (nut["label"] != "no-verdict") == (nut["pred_score"] is not None)
        assert (nut["boxes"] != []) <= (nut["label"] == "defect")
    (cut,) = [nut for nut in tray["nuts"] if nut["flaw"] is not None]
    assert (cut["flaw"], cut["reason"], cut["raw_score"]) == ("at-border", "incomplete", None)
    assert tray["pred_score"] == max(nut["pred_score"] or 0 for nut in tray["nuts"])


def test_the_database_has_a_row_for_each_part_beside_its_trays(out, records):
    with closing(sqlite3.connect(out / "trays.sqlite")) as connection:
        rows = connection.execute(
            "SELECT parts.sequence, nuts.id, nuts.label, nuts.flaw, nuts.raw_score, nuts.x, nuts.y FROM nuts"
            " JOIN parts ON parts.id = nuts.part ORDER BY nuts.number"
        ).fetchall()
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM nuts WHERE part = 'x'").fetchall()
    assert rows == [
        (2, nut["id"], nut["label"], nut["flaw"], nut["raw_score"], *nut["centre"]) for nut in records[1]["nuts"]
    ]
    assert "nuts_by_part" in str(plan)
    assert read_parts(out / "trays.sqlite", 3)[::-1] == records


def test_a_tray_that_is_told_twice_has_its_parts_once(judged_part, tmp_path, records):
    from nut_runtime.sinks.sqlite import SqliteJournal

    part = replace(judged_part(1), record=records[1])
    with closing(SqliteJournal(tmp_path / "parts.sqlite")) as journal:
        journal.write(part)
        journal.write(part)
    with closing(sqlite3.connect(tmp_path / "parts.sqlite")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM nuts").fetchone() == (7,)


def test_a_part_that_cannot_be_kept_leaves_nothing_of_its_tray(judged_part, tmp_path, records):
    from nut_runtime.errors import OutputError
    from nut_runtime.sinks.sqlite import SqliteJournal

    broken = {**records[1], "nuts": [*records[1]["nuts"][:2], {**records[1]["nuts"][2], "label": None}]}
    with closing(SqliteJournal(tmp_path / "parts.sqlite")) as journal:
        with pytest.raises(OutputError, match="NOT NULL"):
            journal.write(replace(judged_part(1), record=broken))
        assert journal.last_sequence() == 0


def test_a_database_without_trays_has_no_table_of_parts_in_them(judged_part, tmp_path):
    from nut_runtime.sinks.sqlite import SqliteJournal

    with closing(SqliteJournal(tmp_path / "parts.sqlite")) as journal:
        journal.write(judged_part(1))
    with closing(sqlite3.connect(tmp_path / "parts.sqlite")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert tables == ["parts"]


def test_the_table_has_the_counts(out, records):
    with (out / "trays.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, record in zip(rows, records, strict=True):
        assert {name: int(row[name]) for name in record["counts"]} == record["counts"]


def test_the_saved_picture_shows_the_tray_and_its_counts_below(out, records, pictures):
    saved = read_picture(records[1]["picture"])
    assert saved.shape[0] > 480
    assert saved.shape[1] == 640
    assert (saved[:480] != read_picture(pictures / "2-tray.png")).any()
    assert len(list((out / "saved").glob("*.png"))) == 3


def test_a_line_on_the_screen_has_the_counts(tray_bundle, pictures):
    done = run(pictures / "2-tray.png", "--model", tray_bundle, "--fail-on-defect")
    assert done.exit_code == 3
    assert "2-tray.png  7 nuts: 3 good, 3 defect, 1 incomplete" in done.output


def test_a_bundle_without_a_locator_cannot_locate(bundle_folder, pictures):
    done = run(pictures, "--model", bundle_folder, "--locate")
    assert done.exit_code == 2
    assert done.output.strip().count("\n") == 0
    assert "has no locator" in done.output


def test_without_the_locator_each_frame_is_one_part(tray_bundle, pictures, tmp_path):
    done = run(pictures, "--model", tray_bundle, "--no-locate", "--output", tmp_path / "parts.jsonl")
    assert done.exit_code == 0, done.output
    for line in (tmp_path / "parts.jsonl").read_text(encoding="utf-8").splitlines():
        assert "nuts" not in json.loads(line)


def test_doctor_tests_the_locator_too(tray_bundle, tmp_path, rewrite):
    done = run("doctor", "--model", tray_bundle)
    assert done.exit_code == 0, done.output
    assert done.output.count("ok    locator/distance_map") == 2
    assert done.output.count("ok    locator/centres") == 2

    folder = tmp_path / "bundle"
    shutil.copytree(tray_bundle, folder)
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    golden = manifest.locator.golden[0]
    np.savez_compressed(folder / golden.map, distance_map=bundle.golden_map(golden) + np.float32(0.01))
    moved = replace(golden, centres=tuple((x + 3, y) for x, y in golden.centres))
    rewrite(folder, replace(manifest, locator=replace(manifest.locator, golden=(moved,))))
    done = run("doctor", "--model", folder, "--strict")
    assert done.exit_code == 2
    assert "DRIFT locator/distance_map" in done.output
    assert "off by 3.0 px (tolerance 2 px)" in done.output
    fewer = replace(golden, centres=golden.centres[1:])
    rewrite(folder, replace(manifest, locator=replace(manifest.locator, golden=(fewer,))))
    assert "another number of parts is found" in run("doctor", "--model", folder).output
    done = run("run", folder / golden.picture, "--model", folder, "--strict")
    assert done.exit_code == 2
    assert "the self-test fails at locator/distance_map" in done.output


def test_info_has_a_line_on_the_locator(tray_bundle):
    done = run("info", "--model", tray_bundle)
    assert "locator             fp32, searches at 320 px, cuts out 96 px, 1.6 times the part" in done.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"provenance": {"cutout": CutoutSettings(size_px=128).to_json()}},
            r"cuts out 96 px, 1.6 times the part, but the judge was trained for 128 px",
            id="another-size",
        ),
        pytest.param(
            {"provenance": {"cutout": CutoutSettings(size_px=96, is_upright=True).to_json()}},
            "trained for 96 px, 1.6 times the part, upright",
            id="not-upright",
        ),
        pytest.param({"provenance": {"cutout": {"size": 1}}}, "does not say what the judge was trained for", id="odd"),
        pytest.param({"frame_px": (480, 640)}, "but the judge takes frames of 640x480 only", id="frame-size"),
    ],
)
def test_a_locator_and_a_judge_that_do_not_belong_together_are_refused(tray_bundle, tmp_path, rewrite, change, message):
    folder = tmp_path / "bundle"
    shutil.copytree(tray_bundle, folder)
    rewrite(folder, replace(open_bundle(folder).manifest, **change))
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_the_cut_outs_that_the_judge_was_trained_on_are_taken(tray_bundle, tmp_path, rewrite):
    folder = tmp_path / "bundle"
    shutil.copytree(tray_bundle, folder)
    manifest = open_bundle(folder).manifest
    rewrite(folder, replace(manifest, provenance={"cutout": manifest.locator.cutout.to_json()}))
    assert open_bundle(folder).manifest.provenance["cutout"]["size_px"] == 96


@pytest.mark.parametrize("is_tray_first", [True, False])
def test_a_station_does_not_change_between_parts_and_trays_while_it_runs(
    tray_bundle, bundle_folder, tmp_path, is_tray_first
):
    first, second = (tray_bundle, bundle_folder) if is_tray_first else (bundle_folder, tray_bundle)
    link = tmp_path / "bundle"
    link.symlink_to(first)
    slot = ModelSlot(link, is_tested=False)
    before = slot.inspector
    link.unlink()
    link.symlink_to(second)
    assert slot.check(is_requested=True) is False
    assert slot.inspector is before
    assert "locator, but the station judges" in slot._health.components()["model"].message


STATION = 'bundle = "bundle"\n{}\n[[camera]]\nname = "front"\naddress = 0\n{}'


@pytest.fixture
def station(tmp_path):
    """A function that writes a station file beside a bundle."""

    def write(bundle, top="", camera=""):
        (tmp_path / "bundle").symlink_to(bundle)
        path = tmp_path / "station.toml"
        path.write_text(STATION.format(top, camera), encoding="utf-8")
        return path

    return write


def test_the_station_file_says_whether_to_locate(station, tray_bundle):
    assert read_station(station(tray_bundle)).locate is None


@pytest.mark.parametrize("value", ["true", "false"])
def test_the_station_file_may_say_so(station, tray_bundle, value):
    assert read_station(station(tray_bundle, f"locate = {value}")).locate is (value == "true")


def test_it_says_so_with_true_or_false_only(station, tray_bundle):
    with pytest.raises(InputError, match="locate: expected true or false, got 'yes'"):
        read_station(station(tray_bundle, 'locate = "yes"'))


def test_config_check_holds_locate_against_the_bundle(station, bundle_folder):
    (problem,) = examine_station(station(bundle_folder, "locate = true"), opens_bundle=True).problems
    assert "has no locator" in str(problem)


def test_an_ignored_area_does_not_go_with_trays(station, tray_bundle, tmp_path, tray_frame, places):
    write_picture(tmp_path / "ignore.png", np.full((480, 640, 3), 255, np.uint8))
    path = station(tray_bundle, camera='ignore = "ignore.png"')
    (problem,) = examine_station(path, opens_bundle=True).problems
    assert "camera.ignore: goes with one part in a frame, not with trays" in str(problem)
    write_picture(tmp_path / "tray.png", tray_frame(places))
    text = path.read_text(encoding="utf-8").replace("address = 0", f'address = "{tmp_path / "tray.png"}"')
    path.write_text(text, encoding="utf-8")
    done = run("--config", path, "--limit", 1)
    assert done.exit_code == 2
    assert "an ignored area goes with one part in a frame" in done.output


def test_a_camera_on_a_tray_gives_one_record_a_frame(station, tray_bundle, tmp_path, tray_frame, places):
    write_picture(tmp_path / "tray.png", tray_frame(places))
    path = station(tray_bundle, camera='[outputs]\njsonl = "trays.jsonl"')
    text = path.read_text(encoding="utf-8").replace("address = 0", f'address = "{tmp_path / "tray.png"}"')
    path.write_text(text, encoding="utf-8")
    done = run("--config", path, "--limit", 2, "--quiet")
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in (tmp_path / "trays.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["counts"]["found"] for record in records] == [6, 6]
    assert records[0]["nuts"][0]["camera"] == "front"
    assert records[0]["warnings"] == []


@pytest.fixture
def heard(tray_bundle, tray_frame, places, tmp_path):
    """A tray as the pipeline makes it of two views."""
    from nut_runtime.inspector import Inspector
    from nut_runtime.parts import JudgedPart, Part, Trigger
    from nut_runtime.pipeline.judge import Judge
    from nut_runtime.records import part_record
    from nut_runtime.sources.base import Frame, now

    inspector = Inspector(tray_bundle)
    judge = Judge(lambda: inspector)
    frames = [
        Frame(source=name, name=name, camera=name, timestamp=now(), capture_ms=1.0, picture=tray_frame(shown))
        for name, shown in (("top", places), ("bottom", places[:2]))
    ]
    views = [judge.look(frame) for frame in frames]
    part = Part(sequence=4, trigger=Trigger(), frames=tuple(frames))
    label = max((view.label for view in views), key=lambda label: label == "defect")
    record = part_record(part, views, label, None, run="run", station="nut", bundle="b", milliseconds=1.0)
    return JudgedPart(
        sequence=4, trigger=part.trigger, label=label, reason=None, views=tuple(views), record=record, milliseconds=1.0
    )


def test_parts_of_several_views_are_told_apart(heard):
    record = heard.record
    assert record["counts"]["found"] == 8
    assert [nut["id"] for nut in record["nuts"]] == [f"run-4/1/{n}" for n in range(1, 7)] + ["run-4/2/1", "run-4/2/2"]
    assert [nut["camera"] for nut in record["nuts"]] == ["top"] * 6 + ["bottom"] * 2


def test_the_page_shows_the_overlay_and_the_counts(heard):
    live = LiveState(cameras=["top", "bottom"])
    live.hear(heard)
    assert live.snapshot()["part"]["nuts"] == heard.record["counts"]
    plain, overlay = (
        cv2.imdecode(np.frombuffer(live.picture("top", kind), np.uint8), cv2.IMREAD_COLOR)
        for kind in (Kind.PLAIN, Kind.OVERLAY)
    )
    assert plain.shape == overlay.shape
    assert np.abs(plain.astype(int) - overlay).max() > 60
    live.close()
