"""`config check` says what a station would do, or all that is wrong; `config example` gives one to begin with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from nut_runtime.bundle import open_bundle
from nut_runtime.pictures import write_picture
from nut_runtime.station_cli import config
from nut_runtime.station_file.example import ONE_CAMERA, RIG

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(config, list(arguments))


@pytest.fixture
def place(tmp_path: Path, bundle_folder: Path) -> Path:
    (tmp_path / "bundle").symlink_to(bundle_folder)
    return tmp_path


def write(place: Path, text: str) -> str:
    (place / "station.toml").write_text(text)
    return str(place / "station.toml")


@pytest.mark.parametrize(("arguments", "text"), [((), ONE_CAMERA), (("--rig",), RIG)], ids=["one", "rig"])
def test_an_example_is_printed_and_passes_the_check(place, arguments, text):
    done = run("example", *arguments)
    assert (done.exit_code, done.output) == (0, text)
    checked = run("check", write(place, done.output))
    assert checked.exit_code == 0, checked.output


def test_the_check_says_what_the_rig_would_do(place, bundle_folder):
    lines = run("check", write(place, RIG)).output.splitlines()
    rows = [line.split(None, 1) for line in lines if not line.startswith(" ")]
    assert dict(rows) == {
        "station": "rig 1",
        "bundle": f"{place / 'bundle'}: {open_bundle(bundle_folder).manifest.bundle_id}",
        "engine": "whichever is installed, 2 frames at a time",
        "cameras": "9 in 2 groups",
        "trigger": "the PLC's Trigger bit",
        "part": "defective where any view is, for review from a score of 0.45",
        "when": "busy   the part that waited longest goes without a verdict; 4 parts wait at most",
        "outputs": f"jsonl: {place / 'verdicts.jsonl'}",
    }
    assert "            bottom-4  group 2  /dev/video8, 1920x1080 px" in lines
    assert lines[-1].strip() == "page: http://127.0.0.1:8080"


def test_all_mistakes_are_printed_with_file_and_line(place):
    file = write(place, 'bundle = "bundle"\nname = 3\n[[camera]]\nname = "a"\n[part]\nqueue = "x"\n')
    done = run("check", file)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [f"{file}, line {n}" for n in (2, 3, 6)]


def test_mistakes_as_json(place):
    done = run("check", "--json", write(place, 'bundle = "bundle"\nname = 3\n[[camera]]\nname = "a"\naddress = 0'))
    assert done.exit_code == 2
    assert json.loads(done.stdout) == {
        "problems": [{"line": 2, "key": "name", "message": "expected text in quotes, got 3"}],
        "bundle_id": None,
        "station": None,
    }


def test_a_station_as_json_has_no_password(place):
    text = 'bundle = "bundle"\n[[camera]]\nname = "a"\naddress = "rtsp://user:hunter2@camera/1?password=hunter3"\n'
    done = run("check", "--json", write(place, text))
    told = json.loads(done.stdout)
    assert (done.exit_code, told["problems"]) == (0, [])
    assert told["station"]["cameras"][0]["address"] == "rtsp://***@camera/1?password=***"
    assert "hunter" not in run("check", str(place / "station.toml")).output


def test_a_bundle_that_does_not_open_is_a_mistake_in_its_line(tmp_path, bundle_folder):
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    (tmp_path / "bundle" / "golden" / "00.png").write_bytes(b"x")
    done = run("check", write(tmp_path, '\nbundle = "bundle"\n[[camera]]\nname = "a"\naddress = 0\n'))
    assert done.exit_code == 2
    assert "station.toml, line 2: bundle: " in done.stderr


def test_a_key_that_verifies_nothing_is_a_mistake_in_its_line(place):
    (place / "key.pem").write_text("no key")
    text = 'bundle = "bundle"\n[engine]\nverify_key = "key.pem"\n[[camera]]\nname = "a"\naddress = 0\n'
    done = run("check", write(place, text))
    assert done.exit_code == 2
    assert "station.toml, line 3: engine.verify_key: " in done.stderr or "line 1: bundle: " in done.stderr


def test_a_mask_is_told_in_percent_and_one_that_hides_all_is_a_mistake(place):
    mask = np.full((200, 200), 255, np.uint8)
    mask[:100, :50] = 0
    write_picture(place / "mask.png", mask)
    text = 'bundle = "bundle"\n[[camera]]\nname = "a"\naddress = 0\nregion_px = [9, 8, 200, 200]\nignore = "mask.png"\n'
    done = run("check", write(place, text))
    assert "a  group 1  0, of it 200x200 px at 9,8, 12.5% ignored" in done.output

    mask[::10, ::10] = 0
    write_picture(place / "mask.png", mask)
    done = run("check", str(place / "station.toml"))
    assert done.exit_code == 2
    assert "line 6: camera.ignore: " in done.stderr
    assert "leaves nothing to judge" in done.stderr


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    done = run("check", str(tmp_path / "none.toml"))
    assert done.exit_code == 2
    assert done.stderr.startswith("error: cannot read the station file")


def test_the_page_on_stations_shows_the_examples_as_they_are():
    page = (ROOT / "docs" / "station.md").read_text(encoding="utf-8")
    assert f"```toml\n{ONE_CAMERA}```" in page
