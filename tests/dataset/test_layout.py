"""The folders of a data set: what is found, what is refused, and what the fingerprint notices."""

import os
from pathlib import Path

import numpy as np
import pytest

from nut_dataset.layout import fingerprint, list_dataset, open_dataset, read_mask
from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import write_picture


@pytest.fixture
def root(tmp_path) -> Path:
    """Two training pictures, one good one, two kinds of defect, one mask."""
    rng = np.random.default_rng(3)
    for name in (
        "train/good/b.png",
        "train/good/a.png",
        "test/good/c.png",
        "test/scratch/d.png",
        "test/scratch/e.png",
        "test/dent/f.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / name, rng.integers(0, 256, (12, 10, 3), np.uint8))
    (tmp_path / "ground_truth/scratch").mkdir(parents=True)
    mask = np.zeros((12, 10), np.uint8)
    mask[2:4, 3] = 1
    write_picture(tmp_path / "ground_truth/scratch/d_mask.png", mask)
    return tmp_path


def names(root: Path, paths) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_every_picture_is_found_under_its_role_in_order_of_name(root):
    dataset = open_dataset(root)
    assert names(root, dataset.train_good) == ["train/good/a.png", "train/good/b.png"]
    assert names(root, dataset.test_good) == ["test/good/c.png"]
    assert names(root, dataset.defective) == ["test/dent/f.png", "test/scratch/d.png", "test/scratch/e.png"]
    assert list(dataset.defects) == ["dent", "scratch"]
    assert names(root, dataset.masks) == ["test/scratch/d.png"]
    assert len(dataset.files) == 7


def test_a_training_folder_alone_is_a_data_set(tmp_path):
    (tmp_path / "train/good").mkdir(parents=True)
    write_picture(tmp_path / "train/good/a.png", np.zeros((9, 9, 3), np.uint8))
    dataset = open_dataset(tmp_path)
    assert (dataset.test_good, dict(dataset.defects), dict(dataset.masks)) == ((), {}, {})


def test_hidden_folders_and_empty_ones_are_no_kinds_of_defect(root):
    (root / "test/.ipynb_checkpoints").mkdir()
    (root / "test/.ipynb_checkpoints/d.png").write_bytes((root / "test/scratch/d.png").read_bytes())
    (root / "test/burr").mkdir()
    assert list(open_dataset(root).defects) == ["dent", "scratch"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("", "train/good is missing; put the pictures of good parts there"),
        ("train/good", r"train/good holds no pictures \(.bmp"),
    ],
)
def test_a_folder_without_training_pictures_is_refused(tmp_path, folder, message):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path)
    assert list_dataset(tmp_path).files == ()


@pytest.mark.parametrize("opening", [open_dataset, list_dataset])
def test_a_path_that_is_no_folder_is_refused(tmp_path, opening):
    with pytest.raises(InputError, match="is not a folder; give the folder that holds train/good"):
        opening(tmp_path / "nowhere")


def test_the_fingerprint_stays_when_nothing_changes_and_does_not_depend_on_the_place(root):
    before = fingerprint(open_dataset(root))
    moved = root.with_name("moved")
    root.rename(moved)
    os.utime(moved / "train/good/a.png", (0, 0))
    assert fingerprint(open_dataset(moved)) == before


@pytest.mark.parametrize("change", ["content", "name", "mask", "more"])
def test_the_fingerprint_notices_any_change(root, change):
    before = fingerprint(open_dataset(root))
    if change == "name":
        (root / "test/dent/f.png").rename(root / "test/dent/g.png")
    elif change == "more":
        write_picture(root / "train/good/z.png", np.zeros((9, 9, 3), np.uint8))
    else:
        file = root / ("train/good/a.png" if change == "content" else "ground_truth/scratch/d_mask.png")
        write_picture(file, np.ones((12, 10), np.uint8))
    assert fingerprint(open_dataset(root)) != before


def test_the_fingerprint_takes_digests_that_are_known(root):
    dataset = open_dataset(root)
    path = dataset.train_good[0]
    assert fingerprint(dataset, digests={path: "00" * 32}) != fingerprint(dataset)


def test_the_fingerprint_of_a_lost_file_is_an_input_error(root):
    dataset = open_dataset(root)
    (root / "train/good/a.png").unlink()
    with pytest.raises(InputError, match=r"cannot read .*a\.png"):
        fingerprint(dataset)


def test_a_mask_is_true_where_the_pixel_is_above_0(root):
    mask = read_mask(root / "ground_truth/scratch/d_mask.png")
    assert mask.dtype == bool
    assert mask.shape == (12, 10)
    assert np.argwhere(mask).tolist() == [[2, 3], [3, 3]]


def test_a_mask_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a_mask.png").write_text("no picture")
    with pytest.raises(PictureError, match="not a picture"):
        read_mask(tmp_path / "a_mask.png")
