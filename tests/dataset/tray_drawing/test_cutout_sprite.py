"""Parts on white are cut out whole: holes filled, frayed edges and crumbs left behind."""

import cv2
import numpy as np
import pytest

from nut_dataset.tray_drawing.cutout_sprite import cutout_mask, cutout_sprite, read_cutouts
from nut_runtime.errors import InputError
from nut_runtime.pictures import list_pictures, read_picture, write_picture


@pytest.fixture
def part() -> tuple[np.ndarray, np.ndarray]:
    """A grey square with a white bore, a thread of dirt at its side and a crumb beside it; and its true mask."""
    picture = np.full((100, 120, 3), 255, np.uint8)
    truth = np.zeros((100, 120), np.bool_)
    truth[30:70, 40:80] = True
    picture[truth] = 90
    cv2.circle(picture, (60, 50), 10, (255, 255, 255), -1)
    picture[49:51, 80:100] = 60
    picture[10:14, 10:14] = 60
    return picture, truth


def test_the_mask_is_the_filled_outline_of_the_largest_piece(part):
    picture, truth = part
    mask = cutout_mask(picture)
    assert mask[50, 60]  # the bore
    assert not mask[49:51, 84:].any()
    assert not mask[:20, :20].any()
    # opening rounds the corners
    assert (mask & truth).sum() / (mask | truth).sum() > 0.98


def test_the_sprite_has_soft_edges_and_a_shadow(part):
    picture, _ = part
    sprite = cutout_sprite(picture, cutout_mask(picture))
    cover = sprite.paint[..., 3]
    assert ((cover > 0.1) & (cover < 0.9)).any()
    assert sprite.shade.min() < 0.7
    assert sprite.shade[0, 0] > 0.95
    assert sprite.side_px == pytest.approx(40, rel=0.02)


def test_a_part_that_touches_the_edge_of_its_picture_is_cut_out_as_well():
    picture = np.full((40, 40, 3), 255, np.uint8)
    picture[:20, :20] = 80
    sprite = cutout_sprite(picture, cutout_mask(picture))
    assert sprite.side_px == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(
    ("level", "message"), [pytest.param(200, "not white", id="grey"), pytest.param(255, "nothing but", id="empty")]
)
def test_a_picture_that_is_no_cut_out_is_refused_by_name(tmp_path, level, message):
    write_picture(tmp_path / "a.png", np.full((40, 40, 3), level, np.uint8))
    with pytest.raises(InputError, match=rf"a\.png: .*{message}"):
        read_cutouts(tmp_path)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        read_cutouts(tmp_path)


@pytest.mark.data
def test_the_real_cut_outs_are_nuts_of_one_size(real_data):
    folder = real_data / "nut-cutouts"
    sprites = read_cutouts(folder)
    assert len(sprites) == len(list_pictures(folder))
    sides = np.array([sprite.side_px for sprite in sprites])
    assert sides.max() / sides.min() < 1.5  # 48 to 60 px by eye
    assert cutout_mask(read_picture(list_pictures(folder)[0])).mean() == pytest.approx(0.06, abs=0.03)
