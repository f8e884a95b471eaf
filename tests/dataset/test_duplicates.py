"""Copies are found however they were saved; parts that merely look alike are not called copies."""

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nut_dataset.duplicates import duplicate_findings, find_duplicates, leaked_files
from nut_dataset.facts import FileFacts, read_facts
from nut_dataset.findings import Severity
from nut_dataset.near_duplicates import (
    MAX_DISTANCE_BITS,
    MAX_PAIRS,
    find_near_duplicates,
    near_duplicate_findings,
)


def picture(rng: np.random.Generator) -> Image.Image:
    """Draw a picture unlike any other, with detail of all sizes, as photographs have."""
    layers = [
        cv2.resize(rng.normal(0, 60 / cells**0.5, (cells, cells, 3)), (72, 64), interpolation=cv2.INTER_CUBIC)
        for cells in (2, 4, 8, 16, 32)
    ]
    return Image.fromarray(np.clip(128 + sum(layers), 0, 255).astype(np.uint8))


def part(rng: np.random.Generator) -> Image.Image:
    """Draw a part as a fixed camera sees it: always the same but for the noise of the sensor."""
    canvas = np.full((128, 128, 3), 200, np.float32)
    cv2.circle(canvas, (64, 64), 45, (90, 95, 100), -1)
    cv2.circle(canvas, (64, 64), 20, (60, 60, 60), -1)
    return Image.fromarray(np.clip(canvas + rng.normal(0, 3, canvas.shape), 0, 255).astype(np.uint8))


class Set:
    """A data set that is written file by file and read back as facts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[FileFacts] = []

    def add(self, name: str, image: Image.Image, **options: object) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        split, kind, _ = name.split("/")
        self.files.append(read_facts(self.root, path, split=split, kind=kind))

    def codes(self) -> dict[str, str]:
        return {f.code: f.what for f in duplicate_findings(self.files, find_duplicates(self.files))}

    def near(self) -> list[tuple[str, str]]:
        return [
            (pair.first.path.as_posix(), pair.second.path.as_posix()) for pair in find_near_duplicates(self.files).pairs
        ]


@pytest.fixture
def dataset(tmp_path) -> Set:
    rng = np.random.default_rng(11)
    dataset = Set(tmp_path)
    for i in range(6):
        dataset.add(f"train/good/{i}.png", picture(rng))
    dataset.add("test/good/a.png", picture(rng))
    dataset.add("test/scratch/b.png", picture(rng))
    return dataset


def first(dataset: Set) -> Image.Image:
    return Image.open(dataset.root / "train/good/0.png")


def test_different_pictures_are_no_copies(dataset):
    assert dataset.codes() == {}
    assert dataset.near() == []


def test_a_training_file_among_the_good_test_files_is_a_leak(dataset):
    dataset.add("test/good/copy.png", first(dataset))
    what = "1 of 2 test/good files are byte-identical to training files: the model knows them by heart"
    assert dataset.codes() == {"leaked-test-files": what}
    assert list(leaked_files(find_duplicates(dataset.files))) == [Path("test/good/copy.png")]


@pytest.mark.parametrize("name", ["copy.bmp", "copy.tif"])
def test_the_same_pixels_in_another_file_format_are_a_leak(dataset, name):
    dataset.add(f"test/good/{name}", first(dataset))
    assert "to the byte or to the pixel" in dataset.codes()["leaked-test-files"]


def test_a_picture_that_is_good_and_defective_is_a_contradiction(dataset):
    dataset.add("test/scratch/copy.png", first(dataset))
    assert list(dataset.codes()) == ["good-and-defective"]


def test_a_picture_twice_in_training_is_named(dataset):
    dataset.add("train/good/copy.png", first(dataset))
    (finding,) = duplicate_findings(dataset.files, find_duplicates(dataset.files))
    assert (finding.severity, finding.code) == (Severity.WARNING, "repeated-in-train")
    assert finding.details == ("train/good/0.png = train/good/copy.png",)


def test_a_picture_twice_among_the_defects_is_named(dataset):
    dataset.add("test/dent/copy.png", Image.open(dataset.root / "test/scratch/b.png"))
    assert list(dataset.codes()) == ["repeated-in-test"]


def test_exact_copies_are_not_reported_as_look_alikes_too(dataset):
    dataset.add("test/good/copy.png", first(dataset))
    assert dataset.near() == []


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(jpeg, id="saved-as-jpeg"),
        pytest.param(lambda image: image.resize((48, 43)), id="scaled-down"),
        pytest.param(lambda image: image.point(lambda v: v * 0.95), id="a-little-darker"),
        pytest.param(lambda image: image.convert("L"), id="without-colour"),
    ],
)
def test_an_altered_copy_across_train_and_test_is_a_warning(dataset, change):
    dataset.add("test/good/copy.png", change(first(dataset)))
    assert dataset.near() == [("train/good/0.png", "test/good/copy.png")]
    (finding,) = near_duplicate_findings(find_near_duplicates(dataset.files))
    assert (finding.severity, finding.code) == (Severity.WARNING, "near-duplicates-across")


def test_an_altered_copy_within_training_is_a_note(dataset):
    dataset.add("train/good/copy.jpg", first(dataset), quality=75)
    (finding,) = near_duplicate_findings(find_near_duplicates(dataset.files))
    assert (finding.severity, finding.code) == (Severity.NOTE, "near-duplicates-within")


def test_parts_that_lie_alike_under_a_fixed_camera_do_not_flood_the_report(tmp_path):
    rng = np.random.default_rng(12)
    dataset = Set(tmp_path)
    for i in range(30):
        dataset.add(f"train/good/{i}.png", part(rng))
    near = find_near_duplicates(dataset.files)
    assert near.limit_bits < MAX_DISTANCE_BITS
    assert near.n_pairs <= 3  # of 435
    assert near_duplicate_findings(near)[-1].code == "near-duplicates-unseen"


def test_thousands_of_pairs_are_counted_and_the_closest_are_kept(dataset):
    one = dataset.files[0]
    near = find_near_duplicates([_variant(one, i) for i in range(100)])
    assert near.n_pairs == 100 * 99 / 2
    assert len(near.pairs) <= MAX_PAIRS
    finding, _ = near_duplicate_findings(near)
    assert "of 4950 pairs the closest were taken" in finding.what


def _variant(file: FileFacts, number: int) -> FileFacts:
    """Return `file` with other pixels and the same hash."""
    assert file.picture
    return replace(file, picture=replace(file.picture, pixels_sha256=str(number)))


@pytest.mark.parametrize("n_files", [0, 1])
def test_too_few_files_for_a_pair_are_no_error(dataset, n_files):
    assert find_near_duplicates(dataset.files[:n_files]).n_pairs == 0
