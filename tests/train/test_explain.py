"""The part's worst place beside the good patch it was compared with."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.bank_origin import read_origin
from nut_train.embedding import embed
from nut_train.explain import Explainer, open_explainer
from nut_train.explain_picture import draw_comparisons
from nut_train.run import open_run


@pytest.fixture(scope="module")
def explainer(run_folder) -> Explainer:
    return open_explainer(open_run(run_folder))


@pytest.fixture(scope="module")
def marked(nuts, tmp_path_factory) -> tuple[Path, tuple[int, int]]:
    """A good part with a bright spot, and where it is (x, y)."""
    picture = read_picture(nuts / "test/good/0000.png").copy()
    height, width = picture.shape[:2]
    x, y = width // 4, 3 * height // 4
    cv2.circle(picture, (x, y), 5, (255, 0, 255), -1)
    path = tmp_path_factory.mktemp("marked") / "marked.png"
    cv2.imwrite(str(path), picture)
    return path, (x, y)


def test_each_bank_row_is_the_feature_of_the_patch_it_is_said_to_come_from(run_folder, nuts):
    model = open_run(run_folder).load()
    bank = model.model.memory_bank
    origin = read_origin(run_folder, bank)
    assert origin.grid == (16, 12)  # 128x96 px at stride 8
    for number, name in enumerate(origin.pictures):
        own = torch.from_numpy(np.flatnonzero(origin.picture == number))
        features = embed(model, read_picture(nuts / name))
        places = features[torch.from_numpy(origin.row)[own], torch.from_numpy(origin.column)[own]]
        # Extracted alone here and in a batch then: other sums, float32.
        torch.testing.assert_close(places, bank[own], rtol=1e-3, atol=1e-3)


def test_the_first_place_is_the_one_with_the_largest_distance_to_its_nearest_bank_row(explainer, run_folder, marked):
    frame = read_picture(marked[0])
    model = open_run(run_folder).load()
    features = embed(model, frame)
    distances = torch.cdist(features.reshape(-1, features.shape[-1]).double(), model.model.memory_bank.double())
    nearest, rows = distances.min(dim=1)
    (found,) = explainer.explain(frame, picture=marked[0])
    place = int(nearest.argmax())
    assert (found.judged.row, found.judged.column) == divmod(place, features.shape[1])
    assert found.bank_row == int(rows[place])
    assert found.distance == pytest.approx(float(nearest[place]), rel=1e-3)  # by a product in float32


def test_it_is_where_the_defect_is(explainer, marked):
    (found,) = explainer.explain(read_picture(marked[0]), picture=marked[0])
    left, top, width, height = found.judged.box
    assert abs(left + width / 2 - marked[1][0]) < 2 * width  # the features reach further than their patch
    assert abs(top + height / 2 - marked[1][1]) < 2 * height


def test_the_good_patch_lies_in_a_training_picture(explainer, marked, nuts):
    (found,) = explainer.explain(read_picture(marked[0]), picture=marked[0])
    assert found.good.picture.parent == nuts.resolve() / "train/good"
    height, width = explainer.good_picture(found).shape[:2]
    left, top, across, down = found.good.box
    assert 0 <= left <= left + across <= width + 1e-6
    assert 0 <= top <= top + down <= height + 1e-6


def test_several_places_lie_apart_and_come_in_order(explainer, marked):
    found = explainer.explain(read_picture(marked[0]), picture=marked[0], places=4)
    distances = [one.distance for one in found]
    assert len(found) == 4
    assert distances == sorted(distances, reverse=True)
    for number, one in enumerate(found):
        for other in found[:number]:
            apart = abs(one.judged.row - other.judged.row), abs(one.judged.column - other.judged.column)
            assert max(apart) > 2


def test_a_part_that_is_in_the_bank_is_compared_with_itself(run_folder, nuts):
    run = open_run(run_folder)
    model = run.load()
    origin = read_origin(run_folder, model.model.memory_bank)
    explainer = Explainer(model, origin, nuts)
    rows = np.flatnonzero(origin.picture == 0)
    path = nuts / origin.pictures[0]
    found = explainer.explain(read_picture(path), picture=path, places=1000)
    own = [one for one in found if one.good.picture == path and one.distance < 0.1]
    assert all((one.judged.row, one.judged.column) == (one.good.row, one.good.column) for one in own)
    assert {one.bank_row for one in own} <= set(rows.tolist())


def test_the_drawing_shows_both_pictures_for_each_place(explainer, marked):
    frame = read_picture(marked[0])
    found = explainer.explain(frame, picture=marked[0], places=2)
    drawn = draw_comparisons(frame, [(one, explainer.good_picture(one)) for one in found], threshold=10.0)
    one = draw_comparisons(frame, [(found[0], explainer.good_picture(found[0]))])
    assert drawn.shape == (2 * one.shape[0] + 8, one.shape[1], 3)
    magenta = np.array([255, 0, 255])
    halves = one[:, : one.shape[1] // 2], one[:, one.shape[1] // 2 :]
    spots = [int((np.abs(half.astype(int) - magenta).max(axis=2) < 60).sum()) for half in halves]
    assert spots[0] > 100
    assert spots[1] == 0


@pytest.fixture
def moved(nuts, tmp_path) -> Path:
    """A copy of the data set that a test may spoil."""
    return Path(shutil.copytree(nuts, tmp_path / "moved"))


def _explain(*arguments: object):
    return CliRunner().invoke(main, ["explain", *(str(argument) for argument in arguments)])


def test_the_command_writes_the_picture_and_says_where_and_how_far(run_folder, marked, moved, tmp_path):
    result = _explain(run_folder, marked[0], "-o", tmp_path / "why.png", "--places", 2, "--dataset", moved)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("nearest good: ") == 2
    assert str(moved / "train/good") in result.stdout
    assert read_picture(tmp_path / "why.png").shape[1] == 648


def test_pictures_that_were_renumbered_since_the_training_are_refused(run_folder, marked, moved, tmp_path):
    """Each of them was trained on, but not under this name: another patch would stand beside the defect."""
    names = sorted(path.name for path in (moved / "train/good").iterdir())
    contents = [(moved / "train/good" / name).read_bytes() for name in names]
    for name, content in zip(names, contents[1:] + contents[:1], strict=True):
        (moved / "train/good" / name).write_bytes(content)
    result = _explain(run_folder, marked[0], "-o", tmp_path / "why.png", "--dataset", moved)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "is not the picture that was trained on" in result.stderr


def test_a_picture_that_was_changed_since_the_training_is_refused(run_folder, marked, moved, tmp_path):
    for path in (moved / "train/good").iterdir():
        cv2.imwrite(str(path), 255 - read_picture(path))
    result = _explain(run_folder, marked[0], "-o", tmp_path / "why.png", "--dataset", moved)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "is not the picture that was trained on" in result.stderr
    assert not (tmp_path / "why.png").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda moved: shutil.rmtree(moved / "train"), "is missing; say where it is", id="no-pictures"),
        pytest.param(shutil.rmtree, "is not there; say where it is with --dataset", id="no-data-set"),
    ],
)
def test_training_pictures_that_are_gone_are_asked_for(run_folder, marked, moved, tmp_path, spoil, says):
    spoil(moved)
    result = _explain(run_folder, marked[0], "-o", tmp_path / "why.png", "--dataset", moved)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert says in result.stderr


def test_an_older_picture_is_replaced_only_by_force(run_folder, marked, tmp_path):
    (tmp_path / "why.png").write_text("precious")
    result = _explain(run_folder, marked[0], "-o", tmp_path / "why.png")
    assert (result.exit_code, (tmp_path / "why.png").read_text()) == (2, "precious")
    assert "give --force" in result.stderr
    assert _explain(run_folder, marked[0], "-o", tmp_path / "why.png", "--force").exit_code == 0
    assert read_picture(tmp_path / "why.png").shape[1] == 648


@pytest.mark.parametrize(
    ("out", "says"),
    [
        pytest.param("why.jpg", "does not end in .png", id="jpg"),
        pytest.param("nowhere/why.png", "does not exist; make it", id="no-folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(run_folder, marked, tmp_path, out, says):
    result = _explain(run_folder, marked[0], "-o", tmp_path / out)
    assert result.exit_code == 2
    assert says in result.stderr


def test_an_origin_of_another_bank_is_refused(run_folder, nuts):
    model = open_run(run_folder).load()
    origin = read_origin(run_folder, model.model.memory_bank)
    with pytest.raises(InputError, match="train again"):
        Explainer(model, origin.first(3), nuts)
