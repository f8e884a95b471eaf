"""Drawn trays: masks that fit, nuts that overlap no more than allowed, chance from the seed alone."""

import math

import cv2
import numpy as np
import pytest

from nut_dataset.coco.distance_map import instance_boxes
from nut_dataset.drawing.light import random_room
from nut_dataset.tray_drawing.drawn_sprite import draw_sprite, random_tray_shape
from nut_dataset.tray_drawing.photo import bend
from nut_dataset.tray_drawing.placing import Layout, place_nuts
from nut_dataset.tray_drawing.scene import DrawnTray, TrayOrder, draw_tray
from nut_dataset.tray_drawing.sprite import Patch, Sprite

ORDER = TrayOrder(height_px=240, width_px=320, parts=(3, 25), side=(40.0, 80.0))


@pytest.fixture(scope="module")
def trays() -> list[DrawnTray]:
    return [draw_tray(np.random.default_rng(seed), ORDER) for seed in range(8)]


@pytest.fixture(scope="module")
def sprite() -> Sprite:
    rng = np.random.default_rng(0)
    return draw_sprite(rng, random_tray_shape(rng), random_room(rng), side_px=30, tilt_rad=0.3)


def strewn(sprite: Sprite, layout: Layout, seed: int = 0) -> tuple[list[Patch], np.ndarray]:
    """Place nuts, and count how many lie on each pixel."""
    rng = np.random.default_rng(seed)

    def draw(x: float, y: float) -> Patch:
        return sprite.at(x, y, angle_rad=float(rng.uniform(0, 6)), side_px=layout.side_px, gain_bgr=(1, 1, 1))

    patches = place_nuts(rng, layout, (200, 300), draw)
    count = np.zeros((200, 300), np.int64)
    for patch in patches:
        there, here = patch.windows(count.shape)
        count[there] += patch.mask[here]
    return patches, count


def layout(**more: float) -> Layout:
    facts = {"count": 15, "side_px": 30.0, "region": (0, 0, 300, 200), "touching": 0.0, "overlap": 0.0}
    return Layout(**{**facts, **more})


def test_a_tray_has_the_size_and_kind_that_was_asked_for(trays):
    for tray in trays:
        assert tray.picture.shape == (240, 320, 3)
        assert tray.picture.dtype == np.uint8
        assert tray.instances.shape == (240, 320)
        assert tray.instances.dtype == np.uint16


def test_labels_count_from_1_without_gaps(trays):
    for tray in trays:
        labels = sorted(instance_boxes(tray.instances))
        assert labels == list(range(1, len(labels) + 1))
        assert len(labels) <= ORDER.parts[1]


def test_the_bore_belongs_to_the_nut(trays):
    for tray in trays:
        for label, (rows, columns) in instance_boxes(tray.instances).items():
            own = (tray.instances[rows, columns] == label).astype(np.uint8)
            others = tray.instances[rows, columns] != 0
            outlines, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            filled = cv2.drawContours(np.zeros_like(own), outlines, -1, 1, cv2.FILLED)
            assert ((filled > own) <= others).all()  # a hole is at most where another nut lies on top


def test_the_same_state_draws_the_same_tray(trays):
    again = draw_tray(np.random.default_rng(3), ORDER)
    assert (again.picture == trays[3].picture).all()
    assert (again.instances == trays[3].instances).all()


def test_an_empty_tray_is_drawn_where_no_parts_are_asked_for():
    order = TrayOrder(height_px=240, width_px=320, parts=(0, 0), side=(40.0, 80.0))
    assert not draw_tray(np.random.default_rng(0), order).instances.any()


def test_the_area_of_a_nut_is_that_of_its_side(sprite):
    patch = sprite.at(100, 100, angle_rad=0.4, side_px=25, gain_bgr=(1, 1, 1))
    assert patch.mask.sum() == pytest.approx(25**2, rel=0.03)  # whole pixels along the outline


@pytest.mark.parametrize("angle", [0.0, 1.0, math.pi])
def test_a_nut_lies_with_its_middle_where_it_was_put(sprite, angle):
    patch = sprite.at(123.0, 77.0, angle_rad=angle, side_px=25, gain_bgr=(1, 1, 1))
    rows, columns = np.nonzero(patch.mask)
    # the middle of the outline's box as it was drawn; turned, the box differs by a few pixels
    assert (rows.min() + rows.max()) / 2 + patch.top == pytest.approx(77, abs=2)
    assert (columns.min() + columns.max()) / 2 + patch.left == pytest.approx(123, abs=2)


def test_nuts_that_are_not_pushed_share_no_pixel(sprite):
    patches, count = strewn(sprite, layout())
    assert len(patches) > 5
    assert count.max() == 1


def test_pushed_nuts_touch_and_do_not_overlap_where_that_is_not_allowed(sprite):
    patches, count = strewn(sprite, layout(count=2, touching=1.0, region=(50, 50, 250, 150)))
    assert len(patches) == 2
    assert count.max() == 1
    grown = [
        cv2.dilate(one.mask.astype(np.uint8), np.ones((7, 7), np.uint8), borderType=cv2.BORDER_CONSTANT)
        for one in patches
    ]
    near = np.zeros((200, 300), np.int64)
    for patch, mask in zip(patches, grown, strict=True):
        there, here = patch.windows(near.shape)
        near[there] += mask[here]
    assert near.max() == 2  # three pixels more on each side, and they meet


def test_overlaps_stay_within_what_is_allowed(sprite):
    allowed = 0.3
    for seed in range(5):
        patches, _ = strewn(sprite, layout(touching=1.0, overlap=allowed), seed)
        below = np.zeros((400, 500), np.bool_)
        for patch in patches:
            there, here = patch.moved(100, 100).windows(below.shape)
            assert (below[there] & patch.mask[here]).sum() <= allowed * patch.mask.sum()
            below[there] |= patch.mask[here]


def test_a_patch_beyond_the_canvas_shares_nothing_with_it(sprite):
    for x, y in ((-500, 50), (900, 50), (50, -500), (50, 900)):
        there, here = sprite.at(x, y, angle_rad=0, side_px=25, gain_bgr=(1, 1, 1)).windows((200, 300))
        assert np.zeros((200, 300))[there].size == 0
        assert np.zeros((200, 300))[here].size == 0


def test_a_bent_picture_keeps_its_corners_and_its_labels_stay_on_their_nuts():
    labels = np.zeros((120, 160), np.uint16)
    labels[::119, ::159] = 9
    labels[50:70, 60:90] = 3
    scene = np.repeat((labels == 3)[..., None], 3, axis=2).astype(np.float32)
    bent, moved = bend(scene, labels, barrel=0.2)
    assert (moved[::119, ::159] == 9).all()
    assert ((bent[..., 0] > 0.5) == (moved == 3)).mean() > 0.998  # linear and nearest differ along the outline
    assert (moved == 3).sum() > 1.2 * (labels == 3).sum()  # a barrel's middle is enlarged


def test_a_nut_has_a_defect_only_where_a_share_is_asked_for():
    def drawn(share: float) -> np.ndarray:
        rng = np.random.default_rng(4)
        shape, room = random_tray_shape(rng), random_room(rng)
        return draw_sprite(rng, shape, room, side_px=60, tilt_rad=0.1, defect_share=share).paint

    assert np.array_equal(drawn(0), drawn(0))
    assert not np.array_equal(drawn(0), drawn(1))
