"""Views that cannot be used are told from those that can."""

import cv2
import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.settings import FindSettings
from nut_runtime.locate.usable import UsableLimits, measure_view, parts_sharpness, view_fault
from nut_runtime.verdict import Reason

# By contact sheets, by hand: each round of the rig was taken twice, once with each half of its cameras in focus.
SHARP_IN_FIRST = {0, 3, 4, 6, 8}


@pytest.fixture(scope="module")
def frame(tray_frame, places):
    return tray_frame(places)


def fault(frame, limits=UsableLimits()):  # noqa: B008 - frozen
    return view_fault(frame, limits)[0]


def test_a_sharp_tray_can_be_used(frame):
    assert fault(frame) is None


@pytest.mark.parametrize(("sigma", "is_sharp"), [(0.3, True), (8, False)])
def test_one_part_on_a_bare_tray_is_told_by_its_own_edges(tray_frame, labels_of, distance_map, places, sigma, is_sharp):
    lonely = cv2.GaussianBlur(tray_frame(places[:1], size=(960, 1280)), (0, 0), sigma)
    assert fault(lonely) is Reason.BLURRED
    parts = find_instances(
        distance_map(labels_of(places[:1], (960, 1280), 44)), frame_px=(960, 1280), settings=FindSettings()
    )
    assert (parts_sharpness(lonely, parts) > UsableLimits().least_sharpness) is is_sharp
    assert parts_sharpness(lonely, ()) == 0


def test_a_blurred_one_cannot(frame):
    reason, words = view_fault(cv2.GaussianBlur(frame, (0, 0), 8), UsableLimits())
    assert reason is Reason.BLURRED
    assert "check focus" in words


def test_a_washed_out_one_cannot(frame):
    washed = np.clip(255 - (255 - cv2.GaussianBlur(frame, (0, 0), 8).astype(float)) * 0.2, 0, 255).astype(np.uint8)
    washed[washed > 240] = 255
    assert fault(washed) is Reason.WASHED_OUT


def test_a_dark_one_cannot(frame):
    assert fault((frame * 0.04).astype(np.uint8)) is Reason.DARK


def test_single_bright_pixels_are_no_edges(frame):
    blurred = cv2.GaussianBlur(frame, (0, 0), 8)
    for place in np.random.default_rng(0).integers(0, (480, 640), (400, 2)):
        blurred[tuple(place)] = 255
    assert fault(blurred) is Reason.BLURRED


def test_limits_of_nothing_take_everything(frame):
    assert fault(np.full_like(frame, 255), UsableLimits(least_sharpness=0, least_brightness=0)) is None


def test_a_frame_of_a_few_pixels_is_measured():
    assert measure_view(np.zeros((8, 8, 3), np.uint8)).brightness == 0


@pytest.mark.parametrize("limits", [{"least_sharpness": -1}, {"least_sharpness": "x"}, {"sharp": 1}, []])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(InputError):
        UsableLimits.from_json(limits)


def test_limits_survive_being_written():
    limits = UsableLimits(least_sharpness=12.5)
    assert UsableLimits.from_json(limits.to_json()) == limits


@pytest.mark.data
def test_each_view_of_the_real_rig_is_told_as_by_hand(real_data):
    wrong = []
    frames = sorted((real_data / "trays" / "rig").glob("*/cam_*.jpg"))
    for path in frames:
        is_first = path.parent.name.removesuffix("_d").endswith("_1")
        is_sharp = (int(path.stem[-1]) in SHARP_IN_FIRST) == is_first
        if (fault(cv2.imread(str(path))) is None) != is_sharp:
            wrong.append(path)
    assert len(frames) == 90
    assert wrong == []


@pytest.mark.data
def test_the_photos_from_a_phone_can_be_used(real_data):
    photos = sorted((real_data / "trays" / "phone").glob("*.jpg"))
    assert len(photos) == 3
    assert [fault(cv2.imread(str(path))) for path in photos] == [None] * 3
