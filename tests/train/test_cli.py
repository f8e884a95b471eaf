"""`nut train` and `nut evaluate`: what a user's mistake looks like, and that it leaves nothing behind."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from nut_benchmarks.cli import main


@pytest.fixture
def data(nuts, tmp_path) -> Path:
    """A copy of the training pictures that a test may spoil."""
    shutil.copytree(nuts / "train", tmp_path / "data/train")
    return tmp_path / "data"


def _nut(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _files(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


def _refused(result: Result, says: str) -> None:
    """Assert exit code 2, nothing on stdout and one line on stderr that says so."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


@pytest.mark.parametrize(
    ("command", "example"),
    [
        pytest.param("train", "nut train nuts -o run --backbone resnet18", id="train"),
        pytest.param("evaluate", "nut evaluate run other-nuts -o evaluation", id="evaluate"),
        pytest.param("explain", "nut explain run part.png -o why.png", id="explain"),
    ],
)
def test_help_shows_examples_on_lines_of_their_own(command, example):
    result = _nut(command, "--help")
    assert result.exit_code == 0
    assert any(line.strip().startswith(example) for line in result.stdout.splitlines())


def _text(path: Path) -> None:
    path.write_text("not a picture")


def _sixteen_bits(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((40, 40, 3), np.uint16))


def _cmyk(path: Path) -> None:
    Image.new("CMYK", (40, 40)).save(path, format="JPEG")


def _one_pixel(path: Path) -> None:
    Image.new("RGB", (1, 1)).save(path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut_off(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(_text, "is not a picture that can be read", id="text"),
        pytest.param(_sixteen_bits, "has uint16 pixels, expected 8 bits", id="16-bit"),
        pytest.param(_cmyk, "is a CMYK picture; convert it to RGB first", id="cmyk"),
        pytest.param(_one_pixel, "1x1 px is too small", id="one-pixel"),
        pytest.param(_empty, "is empty (0 bytes)", id="empty-file"),
        pytest.param(_cut_off, "0003.png", id="cut-off"),
    ],
)
def test_a_picture_that_cannot_be_judged_is_named_and_nothing_is_written(data, spoil, says):
    picture = data / "train/good/0003.png"
    spoil(picture)
    before = _files(data.parent)
    result = _nut("train", data, "-o", data.parent / "run", "--image-size", "64", "--device", "cpu")
    _refused(result, says)
    assert str(picture) in result.stderr
    assert _files(data.parent) == before


def _remove(place: str):
    return lambda data: shutil.rmtree(data / place)


def _keep_eight(data: Path) -> None:
    for path in sorted((data / "train/good").iterdir())[8:]:
        path.unlink()


def _remove_pictures(data: Path) -> None:
    for path in (data / "train/good").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(_remove("."), "data is not a folder; give the folder that holds train/good", id="missing-folder"),
        pytest.param(
            _remove("train"), "train/good is missing; put the pictures of good parts there", id="empty-folder"
        ),
        pytest.param(_remove("train/good"), "train/good is missing", id="no-train-good"),
        pytest.param(_remove_pictures, "train/good holds no pictures (.bmp, .jpeg", id="no-pictures"),
        pytest.param(_keep_eight, "8 different good pictures with 5 held out leave too few", id="too-few-pictures"),
    ],
)
def test_a_data_set_that_is_incomplete_is_one_line_and_nothing_is_written(data, spoil, says):
    spoil(data)
    before = _files(data.parent)
    _refused(_nut("train", data, "-o", data.parent / "run"), says)
    assert _files(data.parent) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--backbone", "resnet_18"], "unknown backbone 'resnet_18', did you mean", id="backbone"),
        pytest.param(["--backbone", "vit_tiny_patch16_224"], "does not take pictures of 256x256 px", id="transformer"),
        pytest.param(["--layers", "blocks.2, blocks.9"], "has no layer 'blocks.9'", id="layer"),
        pytest.param(["--backbone-weights", "nowhere.pth"], "nowhere.pth do not exist", id="weights-missing"),
        pytest.param(["--backbone-weights", __file__], "cannot be read safely", id="weights-wrong"),
        pytest.param(["--image-size", "12"], "image size 12 px, expected 64 to 1024", id="size"),
        pytest.param(["--image-size", "axb"], "such as 256 or 192x320", id="size-text"),
        pytest.param(["--coreset-ratio", "0"], "coreset ratio 0.0", id="coreset"),
        pytest.param(["--false-reject-rate", "0.6"], "at most 0.5", id="rate"),
        pytest.param(["--holdout", "nan"], "holdout nan", id="holdout"),
        pytest.param(["--batch-size", "0"], "batch size 0, expected at least 1", id="batch-size"),
    ],
)
def test_an_option_out_of_range_is_one_line_and_nothing_is_written(data, options, says):
    before = _files(data.parent)
    _refused(_nut("train", data, "-o", data.parent / "run", *options), says)
    assert _files(data.parent) == before


def _folder_with_a_file(path: Path) -> None:
    path.mkdir()
    (path / "keep.txt").touch()


@pytest.mark.parametrize(
    ("place", "prepare", "says"),
    [
        pytest.param("run", _folder_with_a_file, "exists already; choose another output or give --force", id="exists"),
        pytest.param("run", Path.touch, "is a file, expected a folder", id="is-a-file"),
        pytest.param("file/run", lambda path: path.parent.touch(), "cannot write to", id="below-a-file"),
    ],
)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_an_output_that_cannot_be_written_is_said_before_any_work(data, run_folder, command, place, prepare, says):
    prepare(data.parent / place)
    before = _files(data.parent)
    first = [data] if command == "train" else [run_folder, data]
    _refused(_nut(command, *first, "-o", data.parent / place), says)
    assert _files(data.parent) == before


def test_a_training_prints_what_it_made_and_what_to_do_next(data):
    run = data.parent / "run"
    run.mkdir()
    (run / "old.txt").touch()
    (run / "run.json").touch()
    result = _nut("train", data, "-o", run, "--image-size", "64x96", "--device", "cpu", "--force")
    assert result.exit_code == 0, result.output
    assert not (run / "old.txt").exists()
    assert "from 7 pictures" in result.stdout
    assert f"next    nut export {run} -o bundle" in result.stdout
    warnings = result.stderr.splitlines()
    assert len(warnings) == 2  # and nothing of what anomalib, Lightning and torch have to say
    assert warnings[0] == (
        "warning: 5 held-out pictures can speak for no less than 16.7%; 1% needs 99 of them: add good pictures, or use "
        "every good picture with --calibration crossfit"
    )
    assert warnings[1].startswith("warning: no test pictures")


def test_an_evaluation_prints_its_figures_and_writes_beside_the_run(run_folder, nuts, tmp_path):
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    result = _nut("evaluate", run, nuts, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "(3 good, 6 defective)" in result.stdout
    assert result.stderr == ""
    assert (tmp_path / "run-on-nuts/report.html").is_file()


def test_an_evaluation_of_a_folder_that_is_no_run_says_how_to_make_one(data):
    _refused(_nut("evaluate", data, data), "is not a run folder (run.json is missing); make one with nut train")
    assert {path.name for path in data.parent.iterdir()} == {"data"}


def test_an_evaluation_without_test_pictures_is_one_line_and_leaves_nothing(run_folder, data):
    before = _files(data.parent)
    _refused(_nut("evaluate", run_folder, data, "-o", data.parent / "out"), "test holds no pictures")
    assert _files(data.parent) == before
