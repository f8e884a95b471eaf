"""Parts are found in a distance map: each once, where it is, and with what is wrong with it."""

import itertools

import cv2
import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_runtime.locate.finding import find_instances, usual_area_px
from nut_runtime.locate.instance import Flaw
from nut_runtime.locate.settings import FindSettings

MAP_PX, FRAME_PX = (288, 384), (480, 640)
GRID = [(40.0 + 60 * column, 40.0 + 65 * row, 17.0 * column + 5 * row) for row in range(4) for column in range(6)]


@pytest.fixture(scope="module")
def exact(labels_of, distance_map):
    """A function that returns the exact map of squares: `exact(places, size=, side=)`."""

    def make(places, size=MAP_PX, side=44.0):
        return distance_map(labels_of(places, size, side))

    return make


def found(distance_map, frame_px=FRAME_PX, settings=FindSettings()):  # noqa: B008 - frozen
    return find_instances(distance_map, frame_px=frame_px, settings=settings)


def in_frame(instance, frame_px=FRAME_PX):
    """Return an instance's mask at the frame's size."""
    mask = np.zeros(frame_px, np.bool_)
    mask[instance.y : instance.y + instance.height, instance.x : instance.x + instance.width] = instance.mask
    return mask


def test_each_part_is_found_once_where_it_is(exact):
    parts = found(exact(GRID))
    assert len(parts) == len(GRID)
    for part, (x, y, _) in zip(parts, GRID, strict=True):
        # Middles of pixels lie at halves, and the frame has 5/3 of the map's pixels; a pixel of the map is 1.7 of it.
        assert part.centre == pytest.approx(((x + 0.5) * 5 / 3 - 0.5, (y + 0.5) * 5 / 3 - 0.5), abs=1.0)
        assert part.flaw is None


@pytest.mark.parametrize("level", [0.05, 0.1, 0.2, 0.3])
def test_a_mask_is_as_large_as_the_part_at_whatever_level_it_was_found(exact, labels_of, level):
    truth = labels_of([((x + 0.5) * 5 / 3 - 0.5, (y + 0.5) * 5 / 3 - 0.5, a) for x, y, a in GRID], FRAME_PX, 44 * 5 / 3)
    for number, part in enumerate(found(exact(GRID), settings=FindSettings(level=level)), 1):
        mask, expected = in_frame(part), truth == number
        # The outline is good to half a pixel of the map, 0.8 px of 73: a rim of that is 4.5% of the area, and corners
        # are rounded by what was grown.
        assert (mask & expected).sum() / (mask | expected).sum() > 0.92
        assert part.area_px == mask.sum()


def test_a_part_is_turned_by_its_own_angle(exact):
    for part, (_, _, angle) in zip(found(exact(GRID)), GRID, strict=True):
        off = (part.angle_deg - angle) % 90
        assert min(off, 90 - off) < 3  # a pixel of the map at the end of a side of 44 is 1.3 degrees
        assert 0 <= part.angle_deg < 90


def test_parts_that_touch_are_two(exact):
    parts = found(exact([(100, 100, 0), (144, 100, 0), (144, 144, 0)]))
    assert [part.centre for part in parts] == [
        pytest.approx(centre, abs=1.5) for centre in ((167, 167), (240, 167), (240, 240))
    ]
    assert not (in_frame(parts[0]) & in_frame(parts[1])).any()


def test_a_packed_tray_has_as_many_parts_as_were_packed(exact):
    places = [(30.0 + 33 * column, 30.0 + 33 * row, 0) for row, column in itertools.product(range(7), range(10))]
    assert len(found(exact(places, side=32))) == len(places)


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_noise_makes_no_part_and_no_two_of_one(exact, noise):
    rng = np.random.default_rng(0)
    noisy = np.clip(exact(GRID) + rng.normal(0, noise, MAP_PX), 0, 1).astype(np.float32)
    assert len([part for part in found(noisy) if part.is_complete]) == len(GRID)
    assert len(found(noisy)) == len(GRID)


def test_a_dip_in_the_middle_where_the_bore_is_makes_no_two_of_one(exact):
    dipped = exact(GRID)
    for x, y, _ in GRID:
        cv2.circle(dipped, (round(x), round(y)), 7, 0.55, -1)
    assert len(found(dipped)) == len(GRID)


def test_two_parts_whose_valley_was_blurred_are_still_two(exact):
    blurred = cv2.GaussianBlur(exact([(100, 100, 0), (144, 100, 0)]), (0, 0), 4)
    assert len(found(blurred)) == 2


def test_a_bump_under_the_least_peak_belongs_to_the_part_beside_it_or_to_none():
    heights = np.zeros(MAP_PX, np.float32)
    cv2.circle(heights, (100, 100), 20, 0.9, -1)
    cv2.circle(heights, (122, 100), 4, 0.4, -1)
    cv2.circle(heights, (250, 100), 12, 0.4, -1)
    (part,) = found(cv2.GaussianBlur(heights, (0, 0), 2))
    assert in_frame(part)[167, 207]


@pytest.mark.parametrize("value", [0.0, 0.09, np.nan], ids=["empty", "under-the-level", "not-a-number"])
def test_a_map_without_a_part_has_none(value):
    assert found(np.full(MAP_PX, value, np.float32)) == ()


def test_a_giant_part_is_one_part_that_the_edge_cuts():
    (part,) = found(np.ones(MAP_PX, np.float32))
    assert part.flaw is Flaw.AT_BORDER
    assert part.area_px == FRAME_PX[0] * FRAME_PX[1]


def test_a_giant_part_inside_the_frame_is_too_large_where_the_usual_area_is_known(exact):
    (part,) = found(exact([(190, 140, 0)], side=200), settings=FindSettings(area_px=5000.0))
    assert part.flaw is Flaw.TOO_LARGE


def test_500_parts_are_500():
    heights = np.zeros((576, 768), np.float32)
    for row, column in itertools.product(range(20), range(25)):
        cv2.circle(heights, (20 + 30 * column, 15 + 28 * row), 10, 1.0, -1)
    parts = found(cv2.GaussianBlur(heights, (0, 0), 3), frame_px=(1152, 1536))
    assert [part.number for part in parts] == list(range(1, 501))


@pytest.mark.parametrize("frame_px", [(1, 1), (8, 8), (36, 48), (48, 300), (2160, 3840)])
def test_a_frame_of_any_size_has_its_parts_inside(exact, frame_px):
    for part in found(exact(GRID), frame_px=frame_px):
        assert part.mask.any()
        assert part.x >= 0
        assert part.y >= 0
        assert part.x + part.width <= frame_px[1]
        assert part.y + part.height <= frame_px[0]


def test_a_map_of_a_single_pixel_is_searched_too():
    assert len(found(np.ones((1, 1), np.float32))) == 1


@pytest.mark.parametrize("shape", [(288,), (1, 288, 384), (0, 384)])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(InputError, match="height and width"):
        found(np.zeros(shape, np.float32))


def test_a_part_at_each_edge_is_cut_by_it(exact):
    edges = [(0, 140, 0), (383, 140, 0), (190, 0, 0), (190, 287, 0)]
    assert [part.flaw for part in found(exact(edges))] == [Flaw.AT_BORDER] * 4
    assert [part.flaw for part in found(exact([(30, 30, 0), (353, 257, 0)]))] == [None, None]


def test_a_crumb_is_too_small_and_two_in_one_are_too_large(exact, labels_of, distance_map):
    labels = labels_of(GRID[:6], MAP_PX, 44)
    labels[150:165, 50:65] = 7
    labels[200:240, 100:200] = 8
    flaws = {part.flaw for part in found(distance_map(labels))}
    assert flaws == {None, Flaw.TOO_SMALL, Flaw.TOO_LARGE}


def test_a_part_with_another_one_on_it_is_overlapped_and_the_upper_one_is_not(exact):
    # The later one lies on top, turned, and bites a corner out of the earlier one.
    parts = found(exact([(100, 100, 0), (120, 122, 45), (250, 100, 0)]))
    assert sorted(str(part.flaw) for part in parts) == ["None", "None", "overlapped"]


def test_parts_are_numbered_by_rows_and_from_left_to_right(exact):
    crooked = [(40.0 + 60 * column, 40 + 65 * row + 9 * (column % 2), 0) for row in range(4) for column in range(6)]
    parts = found(exact(crooked[::-1], side=40))
    assert [part.number for part in parts] == list(range(1, 25))
    for part, (x, y, _) in zip(parts, crooked, strict=True):
        assert part.centre == pytest.approx((x * 5 / 3, y * 5 / 3), abs=2)


def test_the_same_map_gives_the_same_to_the_bit_with_any_number_of_threads(exact):
    noisy = np.clip(exact(GRID) + np.random.default_rng(0).normal(0, 0.05, MAP_PX), 0, 1).astype(np.float32)
    threads = cv2.getNumThreads()
    try:
        results = []
        for count in (1, 4):
            cv2.setNumThreads(count)
            results.append(found(noisy))
    finally:
        cv2.setNumThreads(threads)
    for one, other in zip(*results, strict=True):
        assert (one.number, one.centre, one.angle_deg, one.peak) == (
            other.number,
            other.centre,
            other.angle_deg,
            other.peak,
        )
        np.testing.assert_array_equal(one.mask, other.mask)


def test_the_usual_area_is_the_settings_at_this_frames_size_or_the_median_of_what_no_edge_cuts(exact):
    parts = found(exact([*GRID, (0, 140, 0)]))
    area = usual_area_px(parts, frame_px=FRAME_PX, settings=FindSettings())
    assert area == pytest.approx((44 * 5 / 3) ** 2, rel=0.05)
    known = FindSettings(area_px=100.0, long_side_px=640)
    assert usual_area_px((), frame_px=(960, 1280), settings=known) == 400
    assert np.isnan(usual_area_px((), frame_px=FRAME_PX, settings=FindSettings()))
