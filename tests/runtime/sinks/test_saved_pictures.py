"""Saved pictures: which, how they look, and which go again."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from nut_runtime.errors import OutputError
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.picture_grid import draw_views
from nut_runtime.sinks.pictures import PictureSink, picture_path
from nut_runtime.station_file.config import PicturesConfig, SavePolicy
from nut_runtime.verdict import Label, Reason

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVERY = set(Label)


def configured(folder: Path, **options: Any) -> PicturesConfig:
    return PicturesConfig(folder=folder, **({"save": SavePolicy.ALL, "least_free_mb": 0} | options))


def name(number: int, label: Label = Label.GOOD, when: datetime = WHEN) -> str:
    return f"{when:%Y%m%dT%H%M%S}-{number:06}-{label}-front.png"


def hear(sink: PictureSink, folder: Path, judged_part, *numbers: int) -> None:
    for number in numbers:
        sink.hear(judged_part(number, picture=str(folder / name(number))))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("policy", "saved"),
    [
        (SavePolicy.ALL, EVERY),
        (SavePolicy.DEFECTS, {Label.DEFECT, Label.REVIEW}),
        (SavePolicy.NONE, set()),
    ],
)
def test_the_policy_chooses_what_a_record_names(tmp_path, policy, saved):
    config = configured(tmp_path, save=policy)
    assert {label for label in Label if picture_path(config, WHEN, 1, label, "front") is not None} == saved


def test_without_pictures_configured_none_is_named():
    assert picture_path(None, WHEN, 1, Label.DEFECT, "front") is None


def test_a_path_tells_time_number_verdict_and_view_and_nothing_is_made_for_it(tmp_path):
    config = configured(tmp_path / "out")
    path = picture_path(config, WHEN, 17, Label.NO_VERDICT, "front")
    assert path == tmp_path / "out" / "20260102T030405-000017-no-verdict-front.png"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "view", ["../../x", "/etc/x", "a\\b", "..", "", "a\0b", "x" * 300, "größe 螺母", "C:x", "a\nb"]
)
def test_no_view_name_leads_out_of_the_folder_or_out_of_retention(tmp_path, judged_part, view):
    config = configured(tmp_path / "out", keep=1)
    sink = PictureSink(config)
    for number in (1, 2):
        path = picture_path(config, WHEN, number, Label.GOOD, view)
        assert path is not None
        assert path.parent == config.folder
        sink.hear(judged_part(number, picture=str(path)))
        sink = PictureSink(config)  # found again by its name
    assert names(config.folder) == [path.name]


def test_the_picture_is_where_the_record_says(tmp_path, judged_part):
    path = tmp_path / "out" / name(1, Label.DEFECT)
    sink = PictureSink(configured(tmp_path / "out"))
    sink.hear(judged_part(1, Label.DEFECT, picture=str(path)))
    sink.hear(judged_part(2, Label.DEFECT))  # its record names none
    assert names(tmp_path / "out") == [path.name]
    drawn = cv2.imread(str(path))
    assert drawn is not None
    assert drawn.shape == (256 + 28, 256, 3)
    assert drawn[-3, 3].tolist() == [40, 40, 200]  # the strip of a defect


def test_a_part_without_any_frame_is_not_saved(tmp_path, judged_part):
    part = judged_part(1, Label.NO_VERDICT, reason=Reason.NO_FRAME, picture=str(tmp_path / name(1)))
    view = part.views[0]
    bare = SimpleNamespace(record=part.record, sequence=1, views=[SimpleNamespace(frame=SimpleNamespace(picture=None))])
    PictureSink(configured(tmp_path)).hear(bare)
    assert view.frame.picture is not None
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("label", "colour"),
    [
        (Label.GOOD, [70, 130, 40]),
        (Label.DEFECT, [40, 40, 200]),
        (Label.REVIEW, [0, 120, 200]),
        (Label.NO_VERDICT, [90, 90, 90]),
    ],
)
def test_each_verdict_has_its_colour(judged_part, label, colour):
    part = judged_part(1, label, reason=Reason.DARK if label is Label.NO_VERDICT else None)
    assert draw_views(part.views)[-3, 3].tolist() == colour


def with_views(judged_part, count: int) -> JudgedPart:
    parts = [judged_part(1, Label.DEFECT if index == 1 else Label.GOOD, camera=f"c{index}") for index in range(count)]
    return SimpleNamespace(views=[part.views[0] for part in parts])


@pytest.mark.parametrize(("count", "columns", "rows"), [(2, 2, 1), (3, 3, 1), (4, 2, 2), (9, 3, 3)])
def test_views_stand_side_by_side_and_then_in_a_grid(judged_part, count, columns, rows):
    drawn = draw_views(with_views(judged_part, count).views)
    assert drawn.shape == (rows * (284 + 8) - 8, columns * (256 + 8) - 8, 3)
    assert drawn[281, 264 + 3].tolist() == [40, 40, 200]  # the second view is the defective one
    assert drawn[281, 3].tolist() == [70, 130, 40]


def test_many_large_views_are_scaled_down_together(judged_part, monkeypatch):
    monkeypatch.setattr("nut_runtime.sinks.picture_grid._LARGEST_SIDE_PX", 400)
    drawn = draw_views(with_views(judged_part, 4).views)
    assert 390 <= max(drawn.shape) <= 400


def test_the_oldest_go_when_there_are_too_many(tmp_path, judged_part):
    sink = PictureSink(configured(tmp_path, keep=3))
    hear(sink, tmp_path, judged_part, 1, 2, 3, 4, 5)
    assert names(tmp_path) == [name(number) for number in (3, 4, 5)]
    assert sink.recent(2) == [tmp_path / name(5), tmp_path / name(4)]


def test_those_of_earlier_runs_count_and_go_first(tmp_path, judged_part):
    hear(PictureSink(configured(tmp_path)), tmp_path, judged_part, 1, 2, 3)
    sink = PictureSink(configured(tmp_path, keep=2))
    assert sink.recent(9) == [tmp_path / name(number) for number in (3, 2, 1)]
    hear(sink, tmp_path, judged_part, 4)
    assert names(tmp_path) == [name(3), name(4)]


def test_those_that_are_too_old_go(tmp_path, judged_part):
    now = datetime.now(UTC)
    for days in (10, 8, 6):
        (tmp_path / name(10 - days, when=now - timedelta(days=days))).write_bytes(b"x")
    sink = PictureSink(configured(tmp_path, keep=None, keep_days=7))
    new = name(9, when=now)
    sink.hear(judged_part(9, picture=str(tmp_path / new)))
    assert names(tmp_path) == [name(4, when=now - timedelta(days=6)), new]


def test_a_clock_that_is_set_back_does_not_make_new_pictures_the_oldest(tmp_path, judged_part):
    sink = PictureSink(configured(tmp_path, keep=2))
    stamps = [WHEN, WHEN + timedelta(hours=1), WHEN - timedelta(days=300), WHEN - timedelta(days=299)]
    for number, when in enumerate(stamps, start=1):
        sink.hear(judged_part(number, picture=str(tmp_path / name(number, when=when))))
    assert sink.recent(5) == [tmp_path / name(number, when=stamps[number - 1]) for number in (4, 3)]
    assert len(names(tmp_path)) == 2


def test_the_oldest_go_until_the_disk_is_free_enough(tmp_path, judged_part, monkeypatch):
    for number in range(1, 6):
        (tmp_path / name(number)).write_bytes(bytes(1_000_000))
    # 2.2 MB free, 5 are to stay: three of a megabyte go, though this disk says only later that they have gone
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2_200_000))
    sink = PictureSink(configured(tmp_path, keep=None, least_free_mb=5))
    hear(sink, tmp_path, judged_part, 6)
    assert names(tmp_path) == [name(number) for number in (4, 5, 6)]


def test_nothing_is_written_when_nothing_is_left_to_remove_and_the_disk_is_too_full(tmp_path, judged_part, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    (tmp_path / "important.png").write_bytes(b"x")
    sink = PictureSink(configured(tmp_path, keep=None, least_free_mb=500))
    with pytest.raises(OutputError, match="less than 500 MB free"):
        hear(sink, tmp_path, judged_part, 1)
    assert names(tmp_path) == ["important.png"]


def test_files_of_others_are_never_touched(tmp_path, judged_part):
    others = [
        "holiday.png",
        "20260102T030405.png",
        "20260102T030405-000001-good-front.jpg",
        "20260102T030405-000001-perfect-front.png",
        "x20260102T030405-000001-good-front.png",
        ".other.png.12.tmp",
        "notes.txt",
    ]
    for other in others:
        (tmp_path / other).write_bytes(b"x")
        os.utime(tmp_path / other, (0, 0))
    (tmp_path / "folder").mkdir()
    sink = PictureSink(configured(tmp_path, keep=1, keep_days=1))
    hear(sink, tmp_path, judged_part, 1, 2)
    assert set(names(tmp_path)) == {*others, "folder", name(2)}


def test_half_a_picture_of_a_killed_run_is_cleared_away_but_not_one_that_is_being_written(tmp_path):
    old, young = tmp_path / f".{name(1)}.123.tmp", tmp_path / f".{name(2)}.123.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 3600,) * 2)
    PictureSink(configured(tmp_path))
    assert names(tmp_path) == [young.name]


def test_a_picture_that_somebody_removed_is_passed_over(tmp_path, judged_part):
    sink = PictureSink(configured(tmp_path, keep=2))
    hear(sink, tmp_path, judged_part, 1, 2)
    (tmp_path / name(1)).unlink()
    hear(sink, tmp_path, judged_part, 3, 4)
    assert names(tmp_path) == [name(3), name(4)]


def test_the_folder_is_not_listed_for_each_picture(tmp_path, judged_part, monkeypatch):
    sink = PictureSink(configured(tmp_path, keep=2))

    def refuse(*arguments: Any):
        raise AssertionError("listed")

    monkeypatch.setattr("os.scandir", refuse)
    monkeypatch.setattr("os.listdir", refuse)
    hear(sink, tmp_path, judged_part, 1, 2, 3)
    assert len(sink.recent(9)) == 2
    sink.close()


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        PictureSink(configured(tmp_path / "out"))
