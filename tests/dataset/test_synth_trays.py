"""`nut dataset synth --trays` writes a tray data set that is repeatable and that from-coco reads."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from nut_dataset.cli import dataset
from nut_dataset.coco.distance_map import distance_map
from nut_dataset.coco.trays import read_trays
from nut_dataset.synth_trays import SynthTraysSettings, synthesise_trays
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture, write_picture

SMALL = {"size_px": 160, "parts": (2, 8), "nut_side": (60.0, 120.0)}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dataset, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "trays"
    synthesise_trays(out, SynthTraysSettings(train=4, valid=2, test=1, seed=5, **SMALL))
    return out


def test_the_splits_have_the_counts_asked_for_and_nothing_else_is_left_behind(drawn):
    assert [len(read_trays(drawn, split)) for split in ("train", "valid", "test")] == [4, 2, 1]
    assert sorted(path.name for path in drawn.iterdir()) == ["test", "train", "trays.json", "valid"]


def test_pictures_lie_and_stand_and_their_maps_fit(drawn):
    shapes = set()
    for split in ("train", "valid", "test"):
        for tray in read_trays(drawn, split):
            picture, instances, depth = tray.read()
            shapes.add(picture.shape[:2])
            np.testing.assert_allclose(depth, distance_map(instances), atol=0.51 / 65535)  # steps of 1 / 65535
            assert instances.max() <= 8
    assert shapes == {(120, 160), (160, 120)}


def test_the_same_seed_gives_the_same_bytes_and_more_pictures_keep_the_earlier(drawn, tmp_path):
    synthesise_trays(tmp_path / "same", SynthTraysSettings(train=4, valid=2, test=1, seed=5, **SMALL))
    assert contents(tmp_path / "same") == contents(drawn)
    synthesise_trays(tmp_path / "more", SynthTraysSettings(train=5, valid=0, test=0, seed=5, **SMALL))
    for number in range(4):
        name = f"train/{number:04d}.jpg"
        assert (tmp_path / "more" / name).read_bytes() == (drawn / name).read_bytes()
    synthesise_trays(tmp_path / "other", SynthTraysSettings(train=1, valid=0, test=0, seed=6, **SMALL))
    assert (tmp_path / "other/train/0000.jpg").read_bytes() != (drawn / "train/0000.jpg").read_bytes()


def test_opencv_threads_do_not_change_bytes(drawn, tmp_path):
    before = cv2.getNumThreads()
    cv2.setNumThreads(1 if before > 1 else 4)
    try:
        synthesise_trays(tmp_path / "same", SynthTraysSettings(train=4, valid=0, test=0, seed=5, **SMALL))
    finally:
        cv2.setNumThreads(before)
    assert contents(tmp_path / "same" / "train") == contents(drawn / "train")


def test_from_coco_reads_what_was_drawn_and_gives_it_back(drawn, tmp_path):
    assert run("from-coco", drawn, "-o", tmp_path / "again").exit_code == 0
    first, second = contents(drawn), contents(tmp_path / "again")
    assert {name for name in first if first[name] != second[name]} == {"trays.json"}


def test_the_marker_tells_how_the_trays_were_made(drawn):
    made = json.loads((drawn / "trays.json").read_text())
    assert made["settings"]["seed"] == 5
    assert made["splits"]["train"]["pictures"] == 4
    assert made["splits"]["train"]["entries_left_out"] == []


def test_the_command_pastes_cut_outs_on_backgrounds(tmp_path):
    nut = np.full((60, 60, 3), 255, np.uint8)
    nut[15:45, 15:45] = (10, 10, 200)
    for folder in ("nuts", "tables"):
        (tmp_path / folder).mkdir()
    write_picture(tmp_path / "nuts" / "a.png", nut)
    write_picture(tmp_path / "tables" / "a.png", np.full((50, 70, 3), 120, np.uint8))
    done = run(
        *("synth", tmp_path / "out", "--trays", "--train", 3, "--valid", 0, "--test", 0, "--size", 160),
        *("--parts", "4-4", "--nut-side", "80", "--cutouts", tmp_path / "nuts", "--cutout-share", 1),
        *("--backgrounds", tmp_path / "tables"),
    )
    assert done.exit_code == 0, done.output
    assert "drew 3 trays" in done.stdout
    for tray in read_trays(tmp_path / "out", "train"):
        picture, instances, _ = tray.read()
        red = picture[..., 2].astype(int) - picture[..., 1]
        assert red[instances > 0].mean() > red[instances == 0].mean() + 30


def test_an_option_of_the_other_kind_of_picture_is_refused(tmp_path):
    for arguments, message in (
        (["--valid", 3], "--valid needs --trays"),
        (["--nut-side", "30-40"], "--nut-side needs --trays"),
        (["--trays", "--good", 3], "--good is for single nuts"),
    ):
        done = run("synth", tmp_path / "out", *arguments)
        assert done.exit_code == 2
        assert message in done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 0}, "train is a whole number from 1"),
        ({"size_px": 100}, "size is a whole number from 160"),
        ({"parts": (5, 4)}, "parts rise"),
        ({"parts": (0, 501)}, "parts rise"),
        ({"nut_side": (3, 30)}, "side is 12 to 300 px"),
        ({"nut_side": (float("nan"), 30)}, "side is 12 to 300 px"),
        ({"cutout_share": 1.5}, "share of cut-outs is 0 to 1"),
        ({"seed": -1}, "seed is a whole number"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(InputError, match=message):
        SynthTraysSettings(**settings)


def test_a_range_that_is_none_is_refused(tmp_path):
    done = run("synth", tmp_path / "out", "--trays", "--parts", "few")
    assert done.exit_code == 2
    assert "expected two numbers such as 10-60" in done.stderr


def test_only_an_older_tray_data_set_is_replaced(drawn, tmp_path):
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "a.png", np.zeros((20, 20, 3), np.uint8))
    done = run("synth", tmp_path / "photos", "--trays", "--force")
    assert done.exit_code == 2
    assert read_picture(tmp_path / "photos" / "a.png").shape == (20, 20, 3)
    assert run("synth", drawn, "--trays").exit_code == 2
