"""Outlines become masks; those that enclose nothing or make no sense are refused by name before they are decoded."""

import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from nut_dataset.coco.document import CocoImage
from nut_dataset.coco.outline import OutlineError, draw_outline

IMAGE = CocoImage(id=1, file_name="a.jpg", width_px=30, height_px=20)
SIZE = [20, 30]


@pytest.fixture
def blob() -> np.ndarray:
    """A ragged mask with holes."""
    rng = np.random.default_rng(3)
    mask = np.zeros((20, 30), np.bool_)
    mask[3:17, 4:25] = rng.random((14, 21)) < 0.7
    return mask


def compressed(mask: np.ndarray) -> dict:
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": SIZE, "counts": runs["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    return {"size": SIZE, "counts": [int(n) for n in np.diff([0, *edges, flat.size])]}


def test_compressed_and_plain_run_lengths_give_the_mask_back(blob):
    assert (draw_outline(compressed(blob), IMAGE) == blob).all()
    assert (draw_outline(uncompressed(blob), IMAGE) == blob).all()


def test_run_lengths_that_begin_inside_are_read():
    mask = np.zeros((20, 30), np.bool_)
    mask[0, 0] = mask[-1, -1] = True
    assert (draw_outline(compressed(mask), IMAGE) == mask).all()


def test_a_rectangle_covers_its_pixels():
    mask = draw_outline([[4, 5, 14, 5, 14, 12, 4, 12]], IMAGE)
    assert mask.sum() == 70
    assert mask[5:12, 4:14].all()


def test_several_polygons_are_one_part():
    mask = draw_outline([[1, 1, 5, 1, 5, 5, 1, 5], [10, 10, 14, 10, 14, 14, 10, 14]], IMAGE)
    assert mask.sum() == 32


def test_a_polygon_rounded_beyond_the_edge_is_clipped_to_it():
    mask = draw_outline([[-0.6, -0.4, 30.7, -0.4, 30.7, 20.5, -0.6, 20.5]], IMAGE)
    assert mask.all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        pytest.param(None, "has no outline", id="missing"),
        pytest.param([], "a box but no outline", id="box-only"),
        pytest.param([[]], "polygon 1 is open: 0 different points", id="no-points"),
        pytest.param([[1, 1, 5, 5]], "polygon 1 is open: 2 different points", id="two-points"),
        pytest.param([[1, 1, 5, 5, 1, 1]], "is open: 2 different points", id="there-and-back"),
        pytest.param([[1, 1, 5, 5, 9, 9]], "lie on a line", id="line"),
        pytest.param([[1, 1, 5, 1, 5, 5, 1]], "has an x and no y", id="half-a-point"),
        pytest.param([[1, 1, 9, 1, 9, 9], [1, 1]], "polygon 2 is open", id="second-polygon"),
        pytest.param([[1, 1, 5, math.nan, 5, 5]], "no finite number", id="nan"),
        pytest.param([[1, 1, 5, math.inf, 5, 5]], "no finite number", id="infinite"),
        pytest.param([[1, 1, 5, 10**400, 5, 5]], "no finite number", id="beyond-float"),
        pytest.param([[1, 1, 5, "3", 5, 5]], "no finite number", id="text"),
        pytest.param([[1, 1, 5, None, 5, 5]], "no finite number", id="null"),
        pytest.param(["1 1 5 1 5 5"], "not a list of numbers", id="text-for-polygon"),
        pytest.param([1, 1, 5, 1, 5, 5], "not a list of numbers", id="flat-polygon"),
        pytest.param([[1, 1, 1e9, 1, 1e9, 1e9]], "reaches beyond the 30x20 px", id="far-outside"),
        pytest.param([[1, 1, 5, 1, 5, -2]], "reaches beyond the 30x20 px", id="above"),
        pytest.param([[10, 3, 10.9, 3, 10.9, 3.9]], r"encloses? nothing|covers no pixel", id="below-a-pixel"),
        pytest.param([[0, 0] * 200_000], "at most 100000", id="endless"),
        pytest.param({"size": [30, 20], "counts": [600]}, "run lengths are for", id="size-swapped"),
        pytest.param({"counts": [600]}, "run lengths are for", id="no-size"),
        pytest.param({"size": SIZE}, "run lengths are missing", id="no-counts"),
        pytest.param({"size": SIZE, "counts": [100, 20]}, "cover 120 pixels, its picture has 600", id="short"),
        pytest.param({"size": SIZE, "counts": [700, -100]}, "below 0", id="negative"),
        pytest.param({"size": SIZE, "counts": [1.5, 598.5]}, "whole numbers", id="fractions"),
        pytest.param({"size": SIZE, "counts": [600]}, "covers no pixel", id="empty-mask"),
        pytest.param({"size": SIZE, "counts": "\x7fabc"}, "no COCO text", id="strange-text"),
        pytest.param({"size": SIZE, "counts": "o" * 40}, "no COCO text", id="endless-number"),
        pytest.param({"size": SIZE, "counts": "Po"}, "middle of a number", id="cut-text"),
        pytest.param({"size": SIZE, "counts": "oooooo0"}, "larger than the picture", id="huge-run"),
    ],
)
def test_an_outline_that_makes_no_sense_is_refused(segmentation, message):
    with pytest.raises(OutlineError, match=message):
        draw_outline(segmentation, IMAGE)
