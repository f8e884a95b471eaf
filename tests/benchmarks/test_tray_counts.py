"""Found parts against marks and counts made by hand."""

import json

import numpy as np
import pytest

from nut_benchmarks.tray_counts import COUNTS, HandCount, check_marks
from nut_runtime.locate.instance import Instance

CENTRES = np.array([[50.0, 50.0], [80.0, 50.0]])


def part(x: float, y: float) -> Instance:
    mask = np.ones((20, 20), bool)
    return Instance(
        number=1, mask=mask, x=int(x) - 10, y=int(y) - 10, centre=(x, y), angle_deg=0, area_px=400, peak=1.0
    )


def test_parts_near_their_marks_are_right():
    found = check_marks([part(78, 52), part(51, 41)], CENTRES, name="photo")
    assert found.is_right
    assert found.farthest_px == pytest.approx(np.hypot(1, 9))


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([part(50, 50)], id="missed"),
        pytest.param([part(50, 50), part(65.5, 50), part(80, 50)], id="invented"),
        pytest.param([part(49, 50), part(52, 50)], id="one-twice-one-missed"),
        pytest.param([part(50, 50), part(80, 66)], id="too-far"),
        pytest.param([], id="nothing"),
    ],
)
def test_what_is_missed_invented_doubled_or_far_is_not_right(found):
    assert not check_marks(found, CENTRES, name="photo").is_right


@pytest.mark.parametrize(("found", "off"), [(18, 0.1), (20, 0.0), (22, 0.0), (24, 0.1)])
def test_nuts_of_which_a_tip_is_seen_may_be_counted_or_not(found, off):
    assert HandCount(name="frame", least=20, most=22, found=found, fault="").off == pytest.approx(off)


@pytest.mark.data
def test_the_hand_counts_are_of_frames_that_exist(real_data):
    frames = json.loads(COUNTS.read_text())["frames"]
    assert len(frames) == 18
    assert all((real_data / "trays" / "rig" / f"{name}.jpg").is_file() for name in frames)
    # the cameras from one side see the same trays: none sees more nuts than lie there
    assert all(count["whole"] + count["cut"] + count["tip"] <= 26 for count in frames.values())
