"""The tray data set's reader says what is missing, and its fingerprint changes with any file."""

import json
from pathlib import Path

import numpy as np
import pytest

from nut_dataset.coco.trays import (
    ANNOTATIONS,
    MARKER,
    read_distance,
    read_instances,
    read_trays,
    trays_fingerprint,
    write_maps,
)
from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import write_picture


@pytest.fixture
def trays(tmp_path: Path) -> Path:
    folder = tmp_path / "trays"
    part = folder / "train"
    part.mkdir(parents=True)
    names = ["b.png", "a.png"]
    for name in names:
        write_picture(part / name, np.zeros((20, 30, 3), np.uint8))
        labels = np.zeros((20, 30), np.uint16)
        labels[2:9, 3:14] = 65535
        write_maps(part, name, labels)
    (part / ANNOTATIONS).write_text(json.dumps({"images": [{"file_name": name} for name in names]}))
    (folder / MARKER).write_text("{}")
    return folder


def test_pictures_come_sorted_with_their_maps(trays):
    first, second = read_trays(trays, "train")
    assert [tray.path.name for tray in (first, second)] == ["a.png", "b.png"]
    picture, instances, depth = first.read()
    assert picture.shape == (20, 30, 3)
    assert (instances.dtype, instances.max()) == (np.uint16, 65535)
    assert (depth.dtype, depth.max()) == (np.float32, 1)


def test_a_split_that_lacks_is_empty_and_an_unknown_one_refused(trays):
    assert read_trays(trays, "valid") == ()
    with pytest.raises(InputError, match="train, valid, test"):
        read_trays(trays, "val")


def test_another_folder_is_no_tray_data_set(tmp_path):
    with pytest.raises(InputError, match="not a tray data set"):
        read_trays(tmp_path, "train")


def test_a_missing_map_is_named(trays):
    (trays / "train" / "distance" / "b.png").unlink()
    with pytest.raises(InputError, match=r"distance/b\.png is missing"):
        read_trays(trays, "train")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"images": [{}]}', '{"images": [{"file_name": "../a.png"}]}', '{"images": [{"file_name": 4}]}']
)
def test_damaged_annotations_are_refused(trays, text):
    (trays / "train" / ANNOTATIONS).write_text(text)
    with pytest.raises(InputError, match="make the data set again"):
        read_trays(trays, "train")


def test_a_map_of_another_size_or_depth_is_refused(trays):
    (tray, _) = read_trays(trays, "train")
    write_picture(tray.path, np.zeros((20, 31, 3), np.uint8))
    with pytest.raises(PictureError, match="different sizes"):
        tray.read()
    write_picture(tray.instances_path, np.zeros((20, 30), np.uint8))
    with pytest.raises(PictureError, match="16 bits"):
        read_instances(tray.instances_path)
    tray.distance_path.write_bytes(b"")
    with pytest.raises(PictureError, match="16 bits"):
        read_distance(tray.distance_path)


def test_the_fingerprint_changes_with_any_file(trays):
    prints = {trays_fingerprint(trays)}
    (tray, _) = read_trays(trays, "train")
    write_picture(tray.path, np.ones((20, 30, 3), np.uint8))
    prints.add(trays_fingerprint(trays))
    write_maps(trays / "train", "b.png", np.zeros((20, 30), np.uint16))
    prints.add(trays_fingerprint(trays))
    assert len(prints) == 3
