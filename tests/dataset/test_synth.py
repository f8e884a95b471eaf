"""The drawn data set is repeatable, laid out as promised, true to its masks, and free of give-aways."""

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from nut_dataset.drawing import DefectKind, draw_nut
from nut_dataset.drawing.layer import NutLayer, draw_layer
from nut_dataset.drawing.light import random_room
from nut_dataset.drawing.shape import Pose, random_shape
from nut_dataset.layout import open_dataset, read_mask
from nut_dataset.synth import SIZE_PLAY, synthesise
from nut_runtime.errors import InputError, OutputError
from nut_runtime.pictures import read_picture

SIZE_PX = 96
"""Small, for speed; the full size differs in nothing but the number of pixels."""

REACH_PX = 4
"""A defect may change pixels this far from its mask: two for the lens blur (sigma up to 0.75 px, so 3 sigma
round to 2), one for the slope filter and one for averaging the scene down to the picture."""


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "nuts"
    synthesise(out, train=3, good=2, defects=8, seed=5, size_px=SIZE_PX)
    return out


def test_the_folder_has_the_counts_that_were_asked_for(drawn):
    dataset = open_dataset(drawn)
    assert len(dataset.train_good) == 3
    assert len(dataset.test_good) == 2
    assert {kind: len(paths) for kind, paths in dataset.defects.items()} == {
        "scratch": 2,
        "dent": 2,
        "missing_thread": 1,
        "burr": 1,
        "contamination": 1,
        "crack": 1,
    }
    assert set(dataset.masks) == set(dataset.defective)


def test_synth_json_tells_how_the_folder_was_made(drawn):
    made = json.loads((drawn / "synth.json").read_text())
    assert {name: made[name] for name in ("train", "good", "defects", "seed", "size_px")} == {
        "train": 3,
        "good": 2,
        "defects": 8,
        "seed": 5,
        "size_px": SIZE_PX,
    }


def test_masks_have_their_pictures_size_and_are_neither_empty_nor_everywhere(drawn):
    dataset = open_dataset(drawn)
    for path, mask_path in dataset.masks.items():
        mask = read_mask(mask_path)
        assert mask.shape == read_picture(path).shape[:2]
        assert 0 < mask.mean() < 0.3


def test_mask_files_hold_only_0_and_255(drawn):
    values = {int(value) for path in open_dataset(drawn).masks.values() for value in np.unique(read_picture(path))}
    assert values == {0, 255}


def test_the_same_arguments_give_the_same_bytes(drawn, tmp_path):
    synthesise(tmp_path / "again", train=3, good=2, defects=8, seed=5, size_px=SIZE_PX)
    assert contents(tmp_path / "again") == contents(drawn)


def test_asking_for_more_pictures_keeps_the_earlier_ones(drawn, tmp_path):
    synthesise(tmp_path / "fewer", train=1, good=1, defects=2, seed=5, size_px=SIZE_PX)
    fewer = {name: data for name, data in contents(tmp_path / "fewer").items() if name != "synth.json"}
    assert len(fewer) == 1 + 1 + 2 * 2
    assert fewer.items() <= contents(drawn).items()


def test_another_seed_gives_other_pictures(drawn, tmp_path):
    synthesise(tmp_path / "other", train=1, good=0, defects=0, seed=6, size_px=SIZE_PX)
    assert contents(tmp_path / "other")["train/good/0000.png"] != contents(drawn)["train/good/0000.png"]


def test_no_two_pictures_of_a_data_set_are_equal(drawn):
    pictures = [data for name, data in contents(drawn).items() if name.endswith(".png") and "_mask" not in name]
    assert len(set(pictures)) == len(pictures) == 13


def test_opencv_threads_do_not_change_bytes():
    threads = cv2.getNumThreads()
    try:
        drawn_with = []
        for count in (1, 4):
            cv2.setNumThreads(count)
            drawn_with.append(draw_nut(np.random.default_rng(11), defect=DefectKind.DENT))
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(drawn_with[0].picture, drawn_with[1].picture)
    assert np.array_equal(drawn_with[0].defect, drawn_with[1].defect)


@pytest.mark.parametrize("kind", list(DefectKind))
def test_a_defect_changes_its_mask_and_nothing_far_from_it(kind):
    for seed in range(3):
        good = draw_nut(np.random.default_rng(seed), height_px=200, width_px=208)
        bad = draw_nut(np.random.default_rng(seed), height_px=200, width_px=208, defect=kind)
        change = np.abs(good.picture.astype(int) - bad.picture).max(axis=2)
        assert not good.defect.any()
        assert bad.defect.sum() >= 12
        # Equal states give equal sensor noise, so that any change at all is the defect's.
        allowed = cv2.dilate(bad.defect.astype(np.uint8), np.ones((2 * REACH_PX + 1,) * 2, np.uint8)) > 0
        assert not change[~allowed].any()
        # 8 levels is three times the strongest sensor noise: a person sees it.
        assert np.percentile(change[bad.defect], 75) > 8
        assert (change[bad.defect] > 0).mean() > 0.6


@pytest.mark.parametrize("kind", [None, *DefectKind])
def test_a_nut_has_a_silhouette_in_the_middle_of_its_picture(kind):
    nut = draw_nut(np.random.default_rng(3), height_px=120, width_px=130, defect=kind)
    assert nut.picture.shape == (120, 130, 3)
    assert nut.picture.dtype == np.uint8
    assert nut.silhouette.shape == nut.defect.shape == (120, 130)
    assert nut.silhouette.dtype == nut.defect.dtype == np.bool_
    assert 0.3 < nut.silhouette.mean() < 0.7
    rows, columns = np.nonzero(nut.silhouette)
    assert rows.min() > 0
    assert rows.max() < 119
    assert columns.min() > 0
    assert columns.max() < 129


def test_good_and_defective_pictures_come_in_the_same_sizes(drawn):
    dataset = open_dataset(drawn)
    low, high = SIZE_PX * (1 - SIZE_PLAY), SIZE_PX * (1 + SIZE_PLAY)
    sizes = {path: read_picture(path).shape[:2] for path in (*dataset.train_good, *dataset.defective)}
    assert all(low <= side <= high for size in sizes.values() for side in size)
    assert len(set(sizes.values())) > 1


def test_brightness_does_not_tell_good_from_defective():
    good, bad = [], []
    kinds = list(DefectKind)
    for seed in range(12):
        good.append(draw_nut(np.random.default_rng([1, seed]), height_px=80, width_px=80).picture.mean())
        kind = kinds[seed % len(kinds)]
        bad.append(draw_nut(np.random.default_rng([1, seed]), height_px=80, width_px=80, defect=kind).picture.mean())
    # The same nuts with their defects: the mean moves by less than the pictures differ among themselves.
    assert np.abs(np.subtract(good, bad)).max() < np.std(good)


def test_being_stopped_midway_leaves_nothing(tmp_path):
    def stop(done: int, total: int) -> None:
        assert total == 6
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path / "out", train=4, good=2, defects=0, seed=0, size_px=SIZE_PX, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_to_the_end(tmp_path):
    calls: list[tuple[int, int]] = []
    synthesise(
        tmp_path / "out",
        train=1,
        good=1,
        defects=1,
        seed=0,
        size_px=SIZE_PX,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [total for _, total in calls] == [3, 3, 3]
    assert all(after == before + 1 for (before, _), (after, _) in pairwise(calls))


def test_a_full_folder_is_replaced_only_when_told_to(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="exists already"):
        synthesise(out, train=1, good=0, defects=0, seed=0, size_px=SIZE_PX)
    assert (out / "mine.txt").read_text() == "keep"
    with pytest.raises(OutputError, match="is not an older output"):
        synthesise(out, train=1, good=0, defects=0, seed=0, size_px=SIZE_PX, overwrite=True)
    assert (out / "mine.txt").read_text() == "keep"
    (out / "synth.json").touch()
    synthesise(out, train=1, good=0, defects=0, seed=0, size_px=SIZE_PX, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["synth.json", "train"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("train", 0, id="no-training-pictures"),
        pytest.param("train", 10_000, id="more-than-the-names-hold"),
        pytest.param("good", -1, id="negative-good"),
        pytest.param("defects", 1.5, id="half-a-defect"),
        pytest.param("seed", -3, id="negative-seed"),
        pytest.param("seed", 2**64, id="seed-too-large"),
        pytest.param("size_px", 60, id="too-small"),
        pytest.param("size_px", 5000, id="too-large"),
    ],
)
def test_an_argument_out_of_range_is_named(tmp_path, name, value):
    arguments = {"train": 1, "good": 0, "defects": 0, "seed": 0, "size_px": SIZE_PX, name: value}
    with pytest.raises(InputError, match=f"^{name} is a whole number from .* got {value}"):
        synthesise(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_nut_too_small_to_draw_is_refused():
    with pytest.raises(InputError, match="at least 64 px, got 320x63"):
        draw_nut(np.random.default_rng(0), height_px=63)


def layer_at(x_px: float, y_px: float) -> NutLayer:
    pose = Pose(x_px=x_px, y_px=y_px, scale_px=30, angle_rad=0.4, tilt_rad=0.35)
    return draw_layer(
        random_shape(np.random.default_rng(1)),
        pose,
        random_room(np.random.default_rng(2)),
        np.random.default_rng(3),
    )


def test_a_nut_over_the_edge_of_the_canvas_is_cut_off_there():
    whole, cut = np.ones((200, 200, 3), np.float32), np.ones((200, 200, 3), np.float32)
    for scene, y_px in ((whole, 120), (cut, 20)):
        layer = layer_at(90, y_px)
        layer.shade_table(scene)
        layer.lay_on(scene)
    assert np.array_equal(cut[:100], whole[100:])


def test_a_nut_beyond_the_canvas_changes_nothing():
    for x_px, y_px in ((-500, 90), (900, 90), (90, -500), (90, 900)):
        scene = np.ones((200, 200, 3), np.float32)
        layer = layer_at(x_px, y_px)
        layer.shade_table(scene)
        layer.lay_on(scene)
        assert (scene == 1).all()
        assert not layer.on_canvas(layer.outline, (200, 200)).any()


def test_the_table_shows_through_the_bore_and_the_outline_includes_it():
    layer = layer_at(100, 110)
    open_bore = (layer.outline == 1) & (layer.cover == 0)
    assert 0.05 < open_bore.sum() / (layer.outline > 0).sum() < 0.35
