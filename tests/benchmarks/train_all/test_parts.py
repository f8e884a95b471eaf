"""Which data sets there are below a folder, and which names are refused."""

from pathlib import Path

import pytest

from nut_benchmarks.train_all.parts import find_parts
from nut_runtime.errors import InputError


def _make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name / "train" / "good").mkdir(parents=True)
        (root / name / "test" / "good").mkdir(parents=True)
    return root


def _names(root: Path, out: Path | None = None) -> list[str]:
    return [part.name for part in find_parts(root, out=out)]


def test_direct_and_nested_data_sets_are_parts_and_hidden_folders_are_not(tmp_path):
    _make(tmp_path, "m8", "line-1/m6", "line-1/big/m10", ".trash/m4", "line-1/.old/m6")
    (tmp_path / "notes").mkdir()
    assert _names(tmp_path) == ["line-1/big/m10", "line-1/m6", "m8"]


def test_a_data_set_inside_another_is_a_part_too_but_its_pictures_folders_are_not(tmp_path):
    _make(tmp_path, "m8", "m8/rework", "m8/test/odd")
    assert _names(tmp_path) == ["m8", "m8/rework"]


def test_the_output_below_the_root_is_passed_over(tmp_path):
    _make(tmp_path, "m8", "models/m8")
    assert _names(tmp_path, out=tmp_path / "models") == ["m8"]


def test_a_link_that_leads_back_up_ends(tmp_path):
    _make(tmp_path, "line/m8")
    (tmp_path / "line" / "again").symlink_to(tmp_path)
    assert _names(tmp_path) == ["line/m8"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("-rf", id="like-an-option"),
        pytest.param("a\nb", id="new-line"),
        pytest.param("m8 ", id="blank-at-the-end"),
        pytest.param("m8.", id="dot-at-the-end"),
        pytest.param("COM1", id="device-of-windows"),
        pytest.param("a" * 65, id="long"),
        pytest.param("a\\b", id="backslash"),
    ],
)
def test_a_name_that_cannot_be_a_folder_everywhere_is_refused(tmp_path, name):
    _make(tmp_path, name)
    with pytest.raises(InputError, match="cannot name a part"):
        find_parts(tmp_path)


@pytest.mark.parametrize("name", ["m8/run", "Bundle", "summary.json", "m8/bundle.before-0a1b2c3d"])
def test_a_name_that_the_output_uses_is_refused(tmp_path, name):
    _make(tmp_path, name)
    with pytest.raises(InputError, match="of the output; rename it"):
        find_parts(tmp_path)


def test_names_that_differ_by_capitals_alone_are_refused(tmp_path):
    _make(tmp_path, "m8", "M8")
    with pytest.raises(InputError, match="M8 and m8, one name to some machines"):
        find_parts(tmp_path)


def test_one_data_set_under_two_names_is_refused(tmp_path):
    _make(tmp_path, "m8")
    (tmp_path / "m9").symlink_to(tmp_path / "m8")
    with pytest.raises(InputError, match="are the same data set"):
        find_parts(tmp_path)


def test_a_data_set_itself_is_sent_to_nut_train(tmp_path):
    _make(tmp_path, "m8")
    with pytest.raises(InputError, match="use nut train"):
        find_parts(tmp_path / "m8")


def test_a_folder_without_data_sets_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder below"):
        find_parts(tmp_path)
