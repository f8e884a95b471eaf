"""The page's pictures: those whose scores differ most, however many flip."""

import numpy as np

from nut_export.bundle_diff_report import FlipGallery
from nut_runtime.sources import Frame
from nut_runtime.sources.base import now
from nut_runtime.verdict import Label, Verdict


def verdict(score: float) -> Verdict:
    return Verdict(
        label=Label.DEFECT if score > 0.5 else Label.GOOD,
        pred_score=score,
        raw_score=score,
        anomaly_map=np.full((8, 8), score, np.float32),
        pred_mask=np.full((8, 8), score > 0.5),
        boxes=(),
        bundle_id="a",
        milliseconds={},
    )


def show(gallery: FlipGallery, name: str, gap: float) -> None:
    picture = np.full((32, 48, 3), 128, np.uint8)
    frame = Frame(source=name, name=name, timestamp=now(), capture_ms=0, picture=picture)
    gallery(frame, verdict(0.4), verdict(0.4 + gap))


def test_of_many_flips_the_thirty_with_the_largest_difference_are_kept_in_order():
    gallery = FlipGallery()
    gaps = np.random.default_rng(0).permutation(50)
    for gap in gaps:
        show(gallery, f"{gap}", 0.2 + gap / 500)
    assert [item["source"] for item in gallery.pictures] == [f"{gap}" for gap in range(49, 19, -1)]


def test_equal_differences_keep_the_order_they_came_in():
    gallery = FlipGallery()
    for number in range(40):
        show(gallery, f"{number}", 0.25)
    assert [item["source"] for item in gallery.pictures] == [f"{number}" for number in range(30)]
