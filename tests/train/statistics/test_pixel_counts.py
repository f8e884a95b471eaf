"""Histograms of maps give the exact figures back, nearly, from a thousandth of the space."""

import numpy as np
import pytest

from nut_runtime.errors import InputError
from nut_train.metrics import pixel_metrics
from nut_train.statistics.pixel_counts import PixelCounts


def _maps(number: int = 8) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    masks = [np.zeros((64, 48), bool) for _ in range(number)]
    for place, mask in enumerate(masks[:-2]):  # the last two are good
        mask[5 + place : 15 + 2 * place, 8:20] = True
        mask[50:55, 30 : 33 + place] = True
    maps = [rng.gamma(2.0, 1.0, mask.shape).astype(np.float32) + 1.2 * mask.astype(np.float32) for mask in masks]
    return maps, masks


def test_the_figures_from_bins_are_the_exact_ones_within_a_thousandth():
    maps, masks = _maps()
    found = PixelCounts.of(maps, masks, range(8)).figures(np.ones((1, 8)))
    exact = pixel_metrics(maps, masks)
    # Each bin holds 1/512 of either side at most, so the AUROC is off by less than 1/1024.
    assert float(found["auroc"][0]) == pytest.approx(exact.auroc, abs=1e-3)
    assert float(found["pro"][0]) == pytest.approx(exact.pro, abs=1e-3)


def test_a_weight_counts_a_picture_as_often():
    maps, masks = _maps()
    counts = PixelCounts.of(maps, masks, range(8))
    weighted = counts.figures(np.array([[2.0, 0, 1, 1, 1, 1, 1, 1]]))
    maps[1], masks[1] = maps[0], masks[0]
    exact = pixel_metrics(maps, masks)
    assert float(weighted["auroc"][0]) == pytest.approx(exact.auroc, abs=1e-3)
    assert float(weighted["pro"][0]) == pytest.approx(exact.pro, abs=1e-3)


def test_some_pictures_in_another_order_keep_their_rows():
    maps, masks = _maps()
    counts = PixelCounts.of(maps, masks, [0, 1, 2, 3, 5, 6, 7, 9])  # pictures 4 and 8 have no mask
    chosen = counts.chosen([9, 4, 0, None, 1])
    assert chosen.places.tolist() == [0, 2, 4]
    assert np.array_equal(chosen.unmarked, counts.unmarked[[7, 0, 1]])
    assert counts.chosen([9, 7]) is None  # good ones only: nothing is marked


def test_without_both_kinds_of_pixels_there_is_nothing_to_count():
    assert PixelCounts.of([], [], []) is None
    assert PixelCounts.of([np.ones((4, 4), np.float32)], [np.zeros((4, 4), bool)], [0]) is None
    assert PixelCounts.of([np.ones((4, 4), np.float32)], [np.ones((4, 4), bool)], [0]) is None


def test_what_is_saved_is_read_again_and_a_broken_file_is_one_line(tmp_path):
    counts = PixelCounts.of(*_maps(), range(8))
    counts.save(tmp_path / "pixels.npz")
    again = PixelCounts.load(tmp_path / "pixels.npz")
    assert all(np.array_equal(getattr(again, name), getattr(counts, name)) for name in PixelCounts.__slots__)
    (tmp_path / "pixels.npz").write_bytes((tmp_path / "pixels.npz").read_bytes()[:100])
    with pytest.raises(InputError, match=r"is not readable .*; evaluate again"):
        PixelCounts.load(tmp_path / "pixels.npz")
