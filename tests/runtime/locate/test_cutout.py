"""A cut-out shows one part in the middle of white, at the scale of the usual part."""

import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_runtime.locate.cutout import cut_out
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.instance import Instance
from nut_runtime.locate.settings import CutoutSettings, FindSettings

AREA = 44.0**2


@pytest.fixture(scope="module")
def frame(tray_frame, places):
    return tray_frame(places)


@pytest.fixture(scope="module")
def parts(labels_of, distance_map, places):
    found = distance_map(labels_of(places, (480, 640), 44))
    return find_instances(found, frame_px=(480, 640), settings=FindSettings())


def instance(mask, x=0, y=0, angle=0.0):
    rows, columns = np.nonzero(mask)
    centre = (x + float(columns.mean()), y + float(rows.mean()))
    return Instance(number=1, mask=mask, x=x, y=y, centre=centre, angle_deg=angle, area_px=int(mask.sum()), peak=1.0)


def test_outside_of_the_part_everything_is_white(frame, parts):
    for part in parts:
        cut = cut_out(frame, part, CutoutSettings(), area_px=AREA)
        assert (cut.shape, cut.dtype) == ((128, 128, 3), np.uint8)
        assert (cut[0] == 255).all()
        assert (cut[:, -1] == 255).all()
        dark = (cut < 150).all(axis=2)
        # 128 px are 1.6 times the part's side: it covers 80 px squared; noise and the soft edge take a little.
        assert dark.sum() == pytest.approx(80**2, rel=0.08)
        rows, columns = np.nonzero(dark)
        assert (rows.mean(), columns.mean()) == pytest.approx((63.5, 63.5), abs=1)


def test_an_edge_is_soft(frame, parts):
    cut = cut_out(np.zeros_like(frame), parts[1], CutoutSettings(), area_px=AREA)
    between = ((cut > 20) & (cut < 235)).all(axis=2).sum()
    assert 100 < between < 1500  # of a rim of 320 px


@pytest.mark.parametrize("number", range(6))
def test_upright_parts_all_lie_alike(frame, parts, number):
    cut = cut_out(frame, parts[number], CutoutSettings(is_upright=True), area_px=AREA)
    dark = (cut < 150).all(axis=2)
    # The square fills its middle rows and columns from 24 to 104, and has little beyond; 2 px for the outline.
    assert dark[28:100, 28:100].mean() > 0.97
    assert dark[:22].mean() < 0.01
    assert dark[:, 106:].mean() < 0.01


def test_a_part_twice_as_large_looks_so(frame, parts):
    usual, large = (cut_out(frame, parts[0], CutoutSettings(), area_px=area) for area in (AREA, AREA / 4))
    assert (large < 150).all(axis=2).sum() > 2 * (usual < 150).all(axis=2).sum()


def test_the_cut_out_does_not_depend_on_the_rest_of_the_frame(frame, parts):
    other = frame.copy()
    other[:, 200:] = 7
    settings = CutoutSettings()
    np.testing.assert_array_equal(
        cut_out(frame, parts[0], settings, area_px=AREA), cut_out(other, parts[0], settings, area_px=AREA)
    )


def test_fine_texture_of_a_large_part_turns_into_grey_and_not_into_noise():
    board = np.indices((800, 800)).sum(axis=0) % 2 * 255
    frame = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    part = instance(np.ones((600, 600), np.bool_), 100, 100)
    cut = cut_out(frame, part, CutoutSettings(size_px=64), area_px=600.0**2)
    assert cut[20:44, 20:44].std() < 5


def test_a_part_at_the_edge_of_the_frame_is_cut_out_too():
    frame = np.full((60, 60, 3), 10, np.uint8)
    cut = cut_out(frame, instance(np.ones((20, 20), np.bool_), 40, 40), CutoutSettings(), area_px=400)
    assert (cut[64] < 50).all(axis=1).sum() == pytest.approx(80, abs=3)


@pytest.mark.parametrize("area", [0.0, -1.0, float("nan"), float("inf")])
def test_an_area_that_is_none_is_refused(frame, parts, area):
    with pytest.raises(InputError, match="above 0"):
        cut_out(frame, parts[0], CutoutSettings(), area_px=area)


def test_a_part_of_another_frame_is_refused(frame, parts):
    with pytest.raises(InputError, match="does not lie in a frame"):
        cut_out(frame[:100], parts[0], CutoutSettings(), area_px=AREA)
