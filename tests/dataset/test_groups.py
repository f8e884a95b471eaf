"""Mixed training sets are told from those that merely vary."""

from pathlib import Path

import numpy as np
import pytest

from nut_dataset.facts import FileFacts, PictureFacts
from nut_dataset.groups import find_splits, otsu_split, split_findings


def file(number: int, **known: object) -> FileFacts:
    """Make up a training picture."""
    plain = {
        "width_px": 200,
        "height_px": 200,
        "mode": "RGB",
        "format": "PNG",
        "file_bytes": 40_000,
        "background": 255.0,
        "background_share": 1.0,
        "brightness": 240.0,
        "contrast": 40.0,
        "saturation": 5.0,
        "sharpness": 2.0,
        "pixels_sha256": str(number),
        "phash": "",
    }
    return FileFacts(
        path=Path(f"train/good/{number:03}.png"),
        split="train",
        kind="good",
        size_bytes=1,
        sha256="",
        problem=None,
        picture=PictureFacts(**{**plain, **known}),
    )


def test_two_groups_are_named_with_their_counts_and_an_example_of_each():
    files = [file(i) for i in range(30)]
    files += [file(30 + i, mode="RGBA", brightness=100.0 + i, background_share=0.1) for i in range(10)]
    (split,) = find_splits(files)
    assert set(split.properties) == {"channel mode", "brightness", "background evenness"}
    assert [len(group) for group in split.groups] == [30, 10]
    (finding,) = split_findings([split])
    assert [line.split("; for example ") for line in finding.details] == [
        ["30 pictures: RGB, 200 x 200 px, white background, brightness 240 of 255", "train/good/000.png"],
        ["10 pictures: RGBA, 200 x 200 px, no plain background, brightness 104 of 255", "train/good/030.png"],
    ]


def test_two_properties_that_cut_differently_are_two_splits():
    files = [file(i, brightness=240.0 if i < 20 else 60.0, width_px=200 + 400 * (i % 2)) for i in range(40)]
    assert len(find_splits(files)) == 2


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng, n: rng.normal(120, 20, n), id="normal"),
        pytest.param(lambda rng, n: rng.uniform(20, 220, n), id="uniform"),
        pytest.param(lambda rng, n: rng.exponential(40, n), id="exponential"),
        pytest.param(lambda _, n: np.full(n, 120.0), id="all-the-same"),
        pytest.param(lambda _, n: np.r_[np.full(n - 2, 120.0), [0.0, 1.0]], id="two-outliers"),
        pytest.param(lambda rng, n: 120.0 + rng.integers(0, 2, n), id="two-values-too-close-to-see"),
    ],
)
def test_a_property_that_merely_varies_is_no_split(draw):
    rng = np.random.default_rng(8)
    for _ in range(50):
        assert find_splits([file(i, brightness=float(v)) for i, v in enumerate(draw(rng, 60))]) == ()


def test_sizes_that_vary_freely_are_no_split():
    rng = np.random.default_rng(9)
    for _ in range(50):
        sizes = np.exp(rng.normal(5.5, 0.4, (40, 2))).astype(int)
        assert find_splits([file(i, width_px=int(w), height_px=int(h)) for i, (w, h) in enumerate(sizes)]) == ()


def test_few_pictures_are_not_split_by_a_number():
    assert find_splits([file(i, brightness=240.0 if i < 5 else 60.0) for i in range(10)]) == ()


def test_no_pictures_are_no_split():
    assert find_splits([]) == ()


def test_otsus_ratio_of_a_uniform_distribution_is_three_quarters():
    ratio, _, above = otsu_split(np.linspace(0, 1, 1001))
    assert ratio == pytest.approx(0.75, abs=1e-3)  # exact in the limit of many values
    assert above.sum() in {500, 501}


def test_equal_values_cannot_be_cut():
    assert otsu_split(np.ones(5)) is None
