"""Annotations become a tray data set; what cannot be used is listed by its id and left out only when asked to."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nut_dataset.cli import dataset
from nut_dataset.coco.convert import convert
from nut_dataset.coco.export_layout import find_sources
from nut_dataset.coco.faults import AnnotationError
from nut_dataset.coco.trays import ANNOTATIONS, read_instances, read_trays
from nut_runtime.errors import InputError, OutputError
from nut_runtime.pictures import write_picture

WIDTH, HEIGHT = 60, 40


def square(left: int, top: int, side: int = 10) -> list[list[float]]:
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number: Any, image: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [5, 5, 10, 10],
        "segmentation": square(5, 5),
        **more,
    }


def image(number: Any, name: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, **more}


def write_export(folder: Path, images: list[Any], annotations: list[Any], split: str = "train") -> Path:
    """Write an export in Roboflow's layout with a.jpg and b.jpg, and return its folder."""
    part = folder / split
    part.mkdir(parents=True)
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for name in ("a.png", "b.png"):
        write_picture(part / name, noise)
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "nut"}]}
    (part / ANNOTATIONS).write_text(json.dumps(coco))
    return folder


def faults(folder: Path, out: Path) -> list[str]:
    with pytest.raises(AnnotationError) as caught:
        convert(find_sources(folder), out)
    assert not out.exists()
    return [str(fault) for fault in caught.value.faults]


def test_the_later_annotation_lies_on_top_and_labels_follow_the_order(tmp_path):
    export = write_export(
        tmp_path / "export",
        [image(7, "b.png"), image(3, "a.png")],
        [
            annotation(40, 3, segmentation=square(5, 5)),
            annotation(20, 7, segmentation=square(20, 20)),
            annotation(30, 3, segmentation=square(10, 5)),
        ],
    )
    convert(find_sources(export), tmp_path / "out")
    first, second = read_trays(tmp_path / "out", "train")
    assert (first.path.name, second.path.name) == ("a.png", "b.png")
    labels = read_instances(first.instances_path)
    expected = np.zeros((HEIGHT, WIDTH), np.uint16)
    expected[5:15, 5:15] = 1
    expected[5:15, 10:20] = 2
    assert (labels == expected).all()
    assert set(np.unique(read_instances(second.instances_path))) == {0, 1}
    assert first.path.read_bytes() == (export / "train" / "a.png").read_bytes()


def test_the_distance_map_on_the_disk_is_that_of_the_labels(tmp_path):
    from nut_dataset.coco.distance_map import distance_map

    export = write_export(tmp_path / "export", [image(1, "a.png")], [annotation(1)])
    convert(find_sources(export), tmp_path / "out")
    (tray,) = read_trays(tmp_path / "out", "train")
    _, labels, depth = tray.read()
    # stored in steps of 1 / 65535
    np.testing.assert_allclose(depth, distance_map(labels), atol=0.51 / 65535)


def test_crowds_are_left_out_and_said_so(tmp_path):
    export = write_export(tmp_path / "export", [image(1, "a.png")], [annotation(1), annotation(2, iscrowd=1)])
    result = CliRunner().invoke(dataset, ["from-coco", str(export), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "left out: 1 crowd annotation in train" in result.stderr
    assert "train/a.png may show parts that are marked nowhere" in result.stderr
    assert "train: 1 picture, 1 part" in result.stdout


def test_a_picture_without_annotations_is_an_empty_tray(tmp_path):
    export = write_export(tmp_path / "export", [image(1, "a.png"), image(2, "b.png")], [annotation(1)])
    convert(find_sources(export), tmp_path / "out")
    assert not read_instances(read_trays(tmp_path / "out", "train")[1].instances_path).any()


def test_all_splits_of_an_export_are_read(tmp_path):
    for split in ("train", "valid", "test"):
        write_export(tmp_path / "export", [image(1, "a.png")], [annotation(1)], split)
    convert(find_sources(tmp_path / "export"), tmp_path / "out")
    assert [len(read_trays(tmp_path / "out", split)) for split in ("train", "valid", "test")] == [1, 1, 1]


def test_a_single_file_and_a_folder_of_pictures_become_the_split_asked_for(tmp_path):
    export = write_export(tmp_path / "export", [image(1, "pictures/a.png")], [annotation(1)])
    (export / "train" / ANNOTATIONS).rename(tmp_path / "marked.json")
    (export / "train").rename(tmp_path / "pictures")
    arguments = ["from-coco", str(tmp_path / "marked.json"), str(tmp_path), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(dataset, [*arguments, "--split", "valid"])
    assert result.exit_code == 0, result.output
    assert read_trays(tmp_path / "out", "train") == ()
    assert read_trays(tmp_path / "out", "valid")[0].path.name == "pictures_a.png"


ENTRIES = [
    pytest.param(
        [image(1, "a.png")],
        [annotation(1), annotation(17, segmentation=[[1, 1, 5, 5]])],
        "annotation 17 (train, a.png): polygon 1 is open",
        id="open-polygon",
    ),
    pytest.param(
        [image(1, "a.png")],
        [annotation(5), annotation(5, segmentation=square(30, 20))],
        "annotation 5 (train, a.png): its id was given before",
        id="annotation-id-twice",
    ),
    pytest.param(
        [image(1, "b.png"), image(2, "a.png"), image(2, "b.png")],
        [annotation(1), annotation(2, 2)],
        "image 2 (train, a.png): its id is given to 2 pictures",
        id="image-id-twice",
    ),
    pytest.param(
        [image(1, "a.png"), image(2, "a.png")], [annotation(1)], "image 2 (train, a.png): a.png is", id="picture-twice"
    ),
    pytest.param(
        [image(1, "a.png"), image(2, "gone.jpg")],
        [annotation(1), annotation(2, 2)],
        "image 2 (train, gone.jpg): ",
        id="missing",
    ),
    pytest.param(
        [image(1, "a.png"), image(2, "b.png", width=HEIGHT, height=WIDTH)],
        [annotation(1)],
        "image 2 (train, b.png): b.png has 60x40 px, the annotations say 40x60; it may be turned by its EXIF entry",
        id="other-size",
    ),
    pytest.param(
        [image(1, "a.png")],
        [annotation(1), annotation(2, bbox=[55, 5, 10, 10])],
        "annotation 2 (train, a.png): its bbox [55, 5, 10, 10] (x, y, width, height) reaches beyond the 60x40 px",
        id="box-outside",
    ),
    pytest.param(
        [image(1, "a.png")],
        [annotation(1), annotation(2, bbox=[5, 5, math.nan, 10])],
        "annotation 2 (train, a.png): its bbox is not four numbers",
        id="box-nan",
    ),
    pytest.param(
        [image(1, "a.png")], [annotation(1), annotation(2, bbox=[5, 5, 0, 3])], "bbox is empty", id="box-empty"
    ),
    pytest.param(
        [image(1, "a.png")],
        [annotation(1), annotation(2, 99)],
        "annotation 2 (train): its image_id names no picture: 99",
        id="unknown-image",
    ),
    pytest.param(
        [image(1, "a.png")],
        [annotation(1), annotation(2, category_id=9)],
        "its category_id is not in the list of categories: 9",
        id="unknown-category",
    ),
    pytest.param(
        [image(1, "a.png")], [annotation(1), annotation("x")], "annotation number 1 (train, a.png)", id="no-id"
    ),
    pytest.param([image(1, "a.png")], [annotation(1), 4], "annotation number 1 (train): is not an", id="no-object"),
    pytest.param([image(1, "a.png"), "b.png"], [annotation(1)], "image number 1 (train): is not an", id="no-image"),
    pytest.param(
        [image(1, "a.png"), image(2, "../export/train/b.png")], [annotation(1)], "leads out of the folder", id="outside"
    ),
    pytest.param([image(1, "a.png"), image(2, "/etc/b.png")], [annotation(1)], "leads out of", id="absolute"),
    pytest.param([image(1, "a.png"), image(2, "..\\b.png")], [annotation(1)], "leads out of", id="backslash"),
    pytest.param([image(1, "a.png"), image(2, "b\0.png")], [annotation(1)], "is no name of a file", id="nul"),
    pytest.param([image(1, "a.png"), image(2, None)], [annotation(1)], "is no name of a file", id="no-name"),
    pytest.param([image(1, "a.png"), image(2, "_annotations.coco.json")], [annotation(1)], "not that of", id="json"),
    pytest.param(
        [image(1, "a.png"), image(2, "b.png", width=10**9)], [annotation(1)], "makes no sense", id="absurd-size"
    ),
    pytest.param(
        [image(1, "a.png"), image(2, "b.png", width=math.inf)], [annotation(1)], "no whole numbers", id="infinite-size"
    ),
    pytest.param([image(1, "a.png"), image(2, "b.png", height=-5)], [annotation(1)], "makes no sense", id="negative"),
    pytest.param(
        [image(1, "a.png")],
        [annotation(1), annotation(2, segmentation=square(30, 20)), annotation(3)],
        "annotation 1 (train, a.png): later annotations cover it wholly; is the part marked twice?",
        id="marked-twice",
    ),
]


@pytest.mark.parametrize(("images", "annotations", "line"), ENTRIES)
def test_a_fault_is_listed_by_id_and_only_skipped_when_asked_to(tmp_path, images, annotations, line):
    export = write_export(tmp_path / "export", images, annotations)
    arguments = ["from-coco", str(export), "-o", str(tmp_path / "out")]
    refused = CliRunner().invoke(dataset, arguments)
    assert refused.exit_code == 2
    assert line in refused.stderr
    assert "leave them out with --skip-invalid" in refused.stderr
    assert not (tmp_path / "out").exists()
    skipped = CliRunner().invoke(dataset, [*arguments, "--skip-invalid"])
    assert skipped.exit_code == 0, skipped.output
    assert line in skipped.stderr
    assert len(read_trays(tmp_path / "out", "train")) >= 1
    assert sum(int(read_instances(tray.instances_path).max()) for tray in read_trays(tmp_path / "out", "train")) >= 1


def test_every_fault_is_listed_and_skipping_keeps_the_rest_of_the_picture(tmp_path):
    export = write_export(
        tmp_path / "export",
        [image(1, "a.png"), image(2, "gone.png")],
        [
            annotation(1),
            annotation(2, segmentation=[]),
            annotation(3, segmentation=square(30, 20)),
            annotation(4, segmentation=[[0, 0, 1e9, 0, 5, 5]]),
            annotation(5, 2),
        ],
    )
    assert len(faults(export, tmp_path / "out")) == 3  # annotation 5 goes with its picture
    (counts,) = convert(find_sources(export), tmp_path / "out", skip_invalid=True)
    assert (counts.pictures, counts.parts, counts.incomplete) == (1, 2, ("a.png",))
    (tray,) = read_trays(tmp_path / "out", "train")
    assert int(read_instances(tray.instances_path).max()) == 2


def test_two_pictures_of_one_name_before_the_dot_do_not_share_their_maps(tmp_path):
    export = write_export(tmp_path / "export", [image(1, "a.png"), image(2, "A.bmp")], [annotation(1)])
    (export / "train" / "a.png").rename(export / "train" / "A.bmp")
    write_picture(export / "train" / "a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert "another picture has the name A before the dot" in faults(export, tmp_path / "out")[0]


def test_a_broken_picture_is_a_fault_of_its_entry(tmp_path):
    export = write_export(tmp_path / "export", [image(1, "a.png"), image(2, "b.png")], [annotation(1)])
    (export / "train" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert faults(export, tmp_path / "out")[0].startswith("image 2 (train, b.png): ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "is not JSON", id="cut"),
        pytest.param("[" * 100_000, "is not JSON", id="nested"),
        pytest.param("[1]", "expected an object", id="list"),
        pytest.param('{"annotations": []}', "list images is missing", id="no-images"),
        pytest.param('{"images": []}', "list annotations is missing", id="no-annotations"),
        pytest.param('{"images": [], "annotations": []}', "no picture that can be used", id="empty"),
    ],
)
def test_a_file_that_is_not_coco_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        convert(find_sources(tmp_path / "a.json"), tmp_path / "out")


def test_nothing_found_to_read_is_said_with_what_was_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no COCO export"):
        find_sources(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        find_sources(tmp_path / "gone.json")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="is not a folder"):
        find_sources(tmp_path / "a.json", tmp_path / "gone")


def test_only_an_older_tray_data_set_is_replaced_and_only_with_force(tmp_path):
    export = write_export(tmp_path / "export", [image(1, "a.png")], [annotation(1)])
    out = tmp_path / "out"
    convert(find_sources(export), out)
    with pytest.raises(OutputError, match="give --force"):
        convert(find_sources(export), out)
    convert(find_sources(export), out, overwrite=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match="not an older output"):
        convert(find_sources(export), tmp_path / "photos", overwrite=True)


def test_the_sources_may_not_lie_in_the_output(tmp_path):
    export = write_export(tmp_path / "export", [image(1, "a.png")], [annotation(1)])
    convert(find_sources(export), tmp_path / "out")
    with pytest.raises(OutputError, match="in use"):
        convert(find_sources(tmp_path / "out"), tmp_path / "out", overwrite=True)


def test_converting_a_tray_data_set_again_changes_nothing(tmp_path):
    export = write_export(
        tmp_path / "export", [image(1, "a.png"), image(2, "b.png")], [annotation(4), annotation(2, 2)]
    )
    convert(find_sources(export), tmp_path / "one")
    convert(find_sources(tmp_path / "one"), tmp_path / "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
