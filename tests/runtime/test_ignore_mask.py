"""What an ignored area takes out of a verdict, and what it must not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nut_runtime import Inspector, Label, Verdict
from nut_runtime.errors import InputError, PictureError
from nut_runtime.ignore_mask import MARGIN_PX, IgnoreMask
from nut_runtime.pictures import list_pictures, read_picture, write_picture
from nut_runtime.regions import defect_boxes
from nut_runtime.scoring import is_defective

MAP = (96, 128)
VIEW = (192, 256)  # two pixels of the view to one of the map
SQUARE = np.s_[30:50, 30:50]  # of the map, ignored


def mask_of(*squares: tuple[slice, slice], view: tuple[int, int] = VIEW, scale: int = 2) -> IgnoreMask:
    ignored = np.zeros(view, np.bool_)
    for down, across in squares:
        ignored[down.start * scale : down.stop * scale, across.start * scale : across.stop * scale] = True
    return IgnoreMask(path=Path("mask.png"), ignored=ignored)


def said(*spots: tuple[tuple[slice, slice], float], score: float, background: float = 0.3) -> Verdict:
    """Return a verdict with these values in these places of its map."""
    anomaly_map = np.full(MAP, background, np.float32)
    for place, value in spots:
        anomaly_map[place] = value
    pred_mask = is_defective(anomaly_map)
    return Verdict(
        label=Label.DEFECT if score > 0.5 else Label.GOOD,
        pred_score=score,
        raw_score=score * 70,
        anomaly_map=anomaly_map,
        pred_mask=pred_mask,
        boxes=defect_boxes(anomaly_map, pred_mask, VIEW) if score > 0.5 else (),
        bundle_id="nuts-1",
        milliseconds={"infer": 1.0},
    )


def test_an_oddity_in_an_ignored_area_makes_no_defect():
    verdict, is_masked = mask_of(SQUARE).apply(said((np.s_[35:40, 35:40], 0.9), score=0.8), VIEW)
    assert is_masked
    assert (verdict.label, verdict.boxes, verdict.pred_mask.any()) == (Label.GOOD, (), False)
    assert verdict.pred_score == np.float32(0.3)
    assert verdict.raw_score == pytest.approx(0.8 * 70)
    assert verdict.anomaly_map.dtype == np.float32


def test_a_defect_outside_is_found_beside_a_stronger_oddity_inside():
    here = (np.s_[70:80, 100:110], 0.7)
    verdict, is_masked = mask_of(SQUARE).apply(said((np.s_[35:40, 35:40], 0.9), here, score=0.8), VIEW)
    assert is_masked
    assert (verdict.label, verdict.pred_score) == (Label.DEFECT, np.float32(0.7))
    (box,) = verdict.boxes
    assert (box.x, box.y, box.width, box.height) == (200, 140, 20, 20)


@pytest.mark.parametrize("score", [0.8, 0.4])
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(np.s_[70:80, 100:110], id="far"),
        pytest.param(np.s_[52:56, 35:40], id="in-the-margin"),
        pytest.param(np.s_[50:54, 35:40], id="at-the-border"),
    ],
)
def test_a_verdict_whose_peak_lies_outside_comes_back_as_the_same_object(place, score):
    before = said((np.s_[32:36, 35:40], 0.6), (place, 0.9), score=score)
    assert mask_of(SQUARE).apply(before, VIEW) == (before, False)


def test_what_shines_out_of_an_ignored_area_is_left_out_to_the_margins_end():
    inside = said((np.s_[30:50, 30:50], 0.9), (np.s_[30 - MARGIN_PX : 30, 30:50], 0.8), score=0.8)
    assert mask_of(SQUARE).apply(inside, VIEW)[0].label is Label.GOOD
    beyond = said((np.s_[30:50, 30:50], 0.9), (np.s_[30 - MARGIN_PX - 1 : 30, 30:50], 0.8), score=0.8)
    assert mask_of(SQUARE).apply(beyond, VIEW)[0].label is Label.DEFECT


def test_a_plateau_at_the_maps_end_belongs_to_the_area_that_it_touches():
    outgrown = said((np.s_[28:54, 28:54], 1.0), score=1.0)
    verdict, is_masked = mask_of(SQUARE).apply(outgrown, VIEW)
    assert (is_masked, verdict.label) == (True, Label.GOOD)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(np.s_[52:56, 35:40], id="in-the-margin-but-apart"),
        pytest.param(np.s_[70:80, 100:110], id="far"),
        pytest.param(np.s_[40:76, 40:48], id="out-beyond-the-margin"),
    ],
)
def test_a_plateau_elsewhere_leaves_the_verdict_as_it_is(other):
    before = said((np.s_[35:40, 35:40], 1.0), (other, 1.0), score=1.0)
    assert mask_of(SQUARE).apply(before, VIEW) == (before, False)


def test_a_map_that_says_nothing_leaves_the_verdict_as_it_is():
    before = said(score=0.8, background=0.0)
    assert mask_of(SQUARE).apply(before, VIEW) == (before, False)


def test_an_ignored_area_never_makes_a_good_part_defective():
    before = said((np.s_[35:40, 35:40], 0.9), (np.s_[70:80, 100:110], 0.6), score=0.45)
    verdict, is_masked = mask_of(SQUARE).apply(before, VIEW)
    assert is_masked
    assert (verdict.label, verdict.boxes) == (Label.GOOD, ())
    assert verdict.pred_score == np.float32(0.45)


def test_a_verdict_that_was_changed_leaves_the_models_own_as_it_was():
    before = said((np.s_[35:40, 35:40], 0.9), score=0.8)
    copy = before.anomaly_map.copy()
    mask_of(SQUARE).apply(before, VIEW)
    assert (before.anomaly_map == copy).all()
    assert before.label is Label.DEFECT


def test_without_black_nothing_changes():
    before = said((np.s_[35:40, 35:40], 0.9), score=0.8)
    assert mask_of().apply(before, VIEW) == (before, False)


@pytest.mark.parametrize("view", [(96, 128), (37, 500), (1080, 1920), (97, 129)])
def test_a_pixel_of_the_map_is_ignored_where_any_pixel_that_it_covers_is(view):
    ignored = np.zeros(view, np.bool_)
    y, x = view[0] // 3, view[1] // 2
    ignored[y, x] = True
    inside, grown = IgnoreMask(path=Path("mask.png"), ignored=ignored).areas(MAP)
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    for found, at, full, size in ((rows, y, view[0], MAP[0]), (columns, x, view[1], MAP[1])):
        first, last = at * size / full, (at + 1) * size / full
        # Where the view is the coarser one, whole pixels of the map are taken by the nearest.
        assert abs(found[0] - first) <= 1
        assert abs(found[-1] + 1 - last) <= 1
    assert grown.sum() > inside.sum()


def test_beyond_the_margin_no_patch_that_touches_the_area_has_a_part_in_the_map():
    from nut_export.anomaly_map import spread_matrix

    patches, pixels = 12, 96  # patches of 8 px, as those of the built-in backbone are
    spread = spread_matrix(patches, pixels)
    last_ignored = 40  # the first pixel of patch 5
    assert spread[last_ignored + MARGIN_PX - 1, 5] > 0
    assert not spread[last_ignored + MARGIN_PX :, :6].any()


def test_a_mask_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(PictureError, match="256x192 px, but the view has 640x480 px"):
        mask_of(SQUARE).apply(said(score=0.3), (480, 640))


def test_a_mask_that_leaves_nothing_is_refused():
    squares = [np.s_[row : row + 2, column : column + 2] for row in range(0, 96, 16) for column in range(0, 128, 16)]
    with pytest.raises(InputError, match="leaves nothing to judge"):
        mask_of(*squares).areas(MAP)


def test_a_mask_is_read_from_black_and_white(tmp_path):
    picture = np.full((*VIEW, 3), 255, np.uint8)
    picture[10:20, 30:50] = 0
    write_picture(tmp_path / "mask.png", picture)
    mask = IgnoreMask.read(tmp_path / "mask.png")
    assert mask.ignored.sum() == 10 * 20
    assert mask.share == pytest.approx(200 / (VIEW[0] * VIEW[1]))
    write_picture(tmp_path / "grey.png", picture[:, :, 0])
    assert (IgnoreMask.read(tmp_path / "grey.png").ignored == mask.ignored).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(0, "all black", id="black"),
        pytest.param(128, "neither black nor white", id="grey"),
        pytest.param((255, 255, 0), "neither black nor white", id="coloured"),
    ],
)
def test_a_picture_that_is_no_mask_is_refused(tmp_path, value, message):
    write_picture(tmp_path / "mask.png", np.full((*VIEW, 3), value, np.uint8))
    with pytest.raises(InputError, match=message):
        IgnoreMask.read(tmp_path / "mask.png")


@pytest.fixture(scope="module")
def inspector(bundle_folder) -> Inspector:
    return Inspector(bundle_folder)


@pytest.fixture(scope="module")
def parts(nuts) -> list[np.ndarray]:
    return [read_picture(path) for kind in ("test", "train") for path in list_pictures(nuts / kind / "good")[:5]]


def soiled(part: np.ndarray, down: float, across: float, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture with a red square, and where the square is; places in shares of the sides."""
    height, width = part.shape[:2]
    place = np.s_[int(height * down) : int(height * (down + side)), int(width * across) : int(width * (across + side))]
    picture, where = part.copy(), np.zeros((height, width), np.bool_)
    picture[place], where[place] = (0, 0, 255), True
    return picture, where


def test_dirt_on_a_real_models_ignored_area_is_forgiven_and_dirt_elsewhere_is_not(inspector, parts):
    # Those that are close to the threshold without any dirt are left out: a little more makes them defective.
    clearly_good = [part for part in parts if inspector.inspect(part).anomaly_map.max() < 0.43]
    assert len(clearly_good) >= 2
    for part in clearly_good:
        size = part.shape[:2]
        dirty, where = soiled(part, 0.1, 0.1, 0.2)
        mask = IgnoreMask(path=Path("mask.png"), ignored=where)
        judged = inspector.inspect(dirty)
        assert judged.is_defective
        forgiven, is_masked = mask.apply(judged, size)
        assert is_masked
        assert not forgiven.is_defective, forgiven.pred_score

        both, _ = soiled(dirty, 0.7, 0.7, 0.2)
        found, _ = mask.apply(inspector.inspect(both), size)
        assert found.is_defective

        elsewhere, _ = soiled(part, 0.7, 0.7, 0.2)
        untouched = inspector.inspect(elsewhere)
        assert mask.apply(untouched, size) == (untouched, False)


def test_a_masked_verdict_keeps_what_does_not_concern_the_mask(inspector, parts):
    dirty, where = soiled(parts[0], 0.1, 0.1, 0.2)
    judged = replace(inspector.inspect(dirty), is_rejudged=True)
    masked, _ = IgnoreMask(path=Path("mask.png"), ignored=where).apply(judged, dirty.shape[:2])
    same = ("raw_score", "bundle_id", "milliseconds", "is_rejudged")
    assert all(getattr(masked, name) == getattr(judged, name) for name in same)
