"""Training pieces: what is done to a picture is done to its labels."""

import numpy as np
import pytest

from nut_train.locator.augment import cut_piece, spoil


@pytest.fixture
def marked() -> tuple[np.ndarray, np.ndarray]:
    """A picture that is bright exactly where it is labelled."""
    labels = np.zeros((120, 160), np.uint16)
    labels[20:60, 30:80], labels[70:110, 90:150] = 1, 2
    return np.repeat((labels > 0)[..., None] * np.uint8(255), 3, axis=2), labels


@pytest.mark.parametrize("seed", range(8))
def test_labels_stay_on_their_parts_however_a_piece_is_cut(marked, seed):
    piece = cut_piece(*marked, side_px=96, long_side_px=160, random=np.random.default_rng(seed))
    assert piece.picture.shape == (96, 96, 3)
    assert piece.instances.shape == (96, 96)
    bright = piece.picture[..., 0] > 127
    where_known = piece.picture.std(axis=2) == 0
    inside = piece.instances > 0
    # pixels at an outline are mixed by the resize, and what lies beyond the picture has a grey of its own
    assert bright[inside & where_known].mean() > 0.95


def test_a_piece_larger_than_the_picture_has_no_labels_beyond_it(marked):
    piece = cut_piece(*marked, side_px=320, long_side_px=64, random=np.random.default_rng(0))
    rows, columns = np.nonzero(piece.instances)
    assert rows.size
    assert np.ptp(rows) < 120
    assert np.ptp(columns) < 120


def test_the_same_state_spoils_alike_and_another_otherwise(marked):
    first, again, other = (spoil(marked[0], np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
