"""`nut-runtime` as a line integrator meets it: what it prints, and how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from nut_runtime import __version__
from nut_runtime.atomic import write_json
from nut_runtime.bundle import open_bundle
from nut_runtime.cli import main
from nut_runtime.pictures import read_picture, write_picture
from nut_runtime.run_cli import _camera
from nut_runtime.sources.base import Frame
from nut_runtime.sources.watch import WatchSource

COMMANDS = [
    [],
    ["run"],
    ["info"],
    ["doctor"],
    ["cameras"],
    ["capture"],
    ["config", "check"],
    ["config", "example"],
    ["service", "install"],
    ["service", "uninstall"],
    ["service", "status"],
]


@pytest.fixture
def good(bundle_folder) -> str:
    """A picture that is judged good."""
    return str(bundle_folder / "golden/00.png")


@pytest.fixture
def bad(bundle_folder) -> str:
    """A picture that is judged defective."""
    return str(bundle_folder / "golden/02.png")


@pytest.fixture
def text(tmp_path) -> str:
    """A text file that is named as a picture."""
    path = tmp_path / "text.png"
    path.write_text("no picture")
    return str(path)


@pytest.fixture
def run(bundle_folder):
    def run(*arguments: str, is_terminal: bool = False, **environment: str) -> Result:
        variables = {"NUT_MODEL": str(bundle_folder), "NO_COLOR": None, **environment}
        result = CliRunner().invoke(main, list(arguments), env=variables, color=is_terminal, prog_name="nut-runtime")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def drifted(bundle_folder, tmp_path) -> str:
    """A bundle whose reference scores are not what its model gives."""
    folder = shutil.copytree(bundle_folder, tmp_path / "drifted")
    manifest = open_bundle(folder).manifest
    first, *others = manifest.golden
    golden = (replace(first, raw_score=first.raw_score * 1.1), *others)
    write_json(folder / "manifest.json", replace(manifest, golden=golden).to_json())
    return str(folder)


def start(bundle_folder: Path, *arguments: str, **options: object) -> subprocess.Popen:
    """Start the command as its own process."""
    environment = os.environ | {"NUT_MODEL": str(bundle_folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "nut_runtime", *arguments],
        env=environment,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
    )


def records(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def assert_one_line(result: Result, message: str) -> None:
    """The command ended with exit code 2 and this one line."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", result.stderr), result.stderr


def test_good_parts_end_with_0_and_a_line_each(run, good):
    result = run(good)
    assert result.exit_code == 0
    assert re.fullmatch(rf"good   0\.\d{{3}}  {re.escape(good)}\n", result.stdout)
    assert re.match(r"1 parts, 0 rejects; p50 ", result.stderr)


def test_a_defect_alone_does_not_fail_the_run(run, bad):
    result = run(bad)
    assert result.exit_code == 0
    assert result.stdout.startswith("DEFECT 0.5")


def test_fail_on_defect_ends_with_3_only_if_there_is_one(run, good, bad):
    assert run("--fail-on-defect", good, bad).exit_code == 3
    assert run("--fail-on-defect", good).exit_code == 0


def test_a_file_that_cannot_be_judged_ends_with_1_and_the_others_are_judged(run, good, text):
    result = run(good, text, good, "--output", "-")
    assert result.exit_code == 1
    assert [record["label"] for record in records(result.stdout)] == ["good", "no-verdict", "good"]
    assert f"error: {text} is not a picture" in result.stderr
    assert "2 parts, 0 rejects, 1 failures" in result.stderr


def test_nothing_that_can_be_judged_ends_with_2(run, text):
    assert run(text).exit_code == 2


def test_output_to_a_dash_prints_json_lines_and_nothing_else(run, good, bad):
    result = run(good, bad, "--output", "-")
    assert [record["label"] for record in records(result.stdout)] == ["good", "defect"]
    assert result.stderr.startswith("2 parts, 1 rejects")


def test_quiet_prints_nothing(run, good, tmp_path):
    result = run(good, "-q", "--output", str(tmp_path / "a.jsonl"))
    assert (result.exit_code, result.output) == (0, "")


def test_output_to_a_file_appends(run, good, tmp_path):
    for _ in range(2):
        assert run(good, "--output", str(tmp_path / "a.jsonl")).exit_code == 0
    assert len(records((tmp_path / "a.jsonl").read_text())) == 2


def test_save_dir_gets_the_defects(run, good, bad, tmp_path):
    assert run(good, bad, "--save-dir", str(tmp_path / "out")).exit_code == 0
    (saved,) = (tmp_path / "out").iterdir()
    assert "-defect-02" in saved.name


def test_save_all_gets_every_part_and_its_record_says_where(run, good, bad, tmp_path):
    result = run(good, bad, "--save-dir", str(tmp_path / "out"), "--save", "all", "--output", "-")
    saved = {str(path) for path in (tmp_path / "out").iterdir()}
    assert {record["picture"] for record in records(result.stdout)} == saved
    assert len(saved) == 2


def test_the_limit_is_kept(run, good):
    result = run(*[good] * 5, "--limit", "2")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2


def test_model_wins_over_the_variable(run, bundle_folder, good, tmp_path):
    assert_one_line(run(good, "--model", str(tmp_path / "none")), "none is not a bundle folder")
    assert run(good, "--model", str(bundle_folder), NUT_MODEL=str(tmp_path / "none")).exit_code == 0


def test_without_any_model_the_message_says_how_to_name_one(run, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_line(run(good, NUT_MODEL=None), "give one with --model, or set NUT_MODEL")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_engine_can_be_chosen(run, good, engine):
    result = run(good, "--engine", engine, "--threads", "1")
    assert result.exit_code == 0
    assert f"({engine}, fp32)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["none.png"], "none.png does not exist", id="missing"),
        pytest.param(["none"], "none does not exist", id="missing-folder"),
        pytest.param(["empty"], r"empty holds no pictures", id="empty-folder"),
        pytest.param(["notes.txt"], r"neither a picture nor a video; known endings are", id="ending"),
        pytest.param(["broken.mp4"], "cannot be opened as a video", id="video"),
        pytest.param(["--camera", "x"], "camera x: expected a number, /dev/video0, rtsp://", id="camera"),
        pytest.param(["--camera", "0", "--serve", "page"], "--serve page: expected a port such as 8080", id="serve"),
        pytest.param(["--config", "none.toml"], "cannot read the station file none.toml", id="config"),
        pytest.param(["a.png", "--threads", "0"], "0 threads, expected at least 1", id="threads"),
        pytest.param(["a.png", "--output", "empty"], "cannot write empty: Is a directory", id="output"),
        pytest.param(["a.png", "--save-dir", "notes.txt"], "cannot make the folder notes.txt", id="save-dir"),
        pytest.param(["a.png", "--save-dir", "/proc"], "cannot write to the folder /proc", id="save-dir-locked"),
        pytest.param(["a.png", "--output", "/dev/full"], "cannot write to /dev/full: No space left", id="full-disk"),
        pytest.param(["info", "--model", "empty"], r"is not a bundle: manifest\.json is missing", id="info"),
        pytest.param(["doctor", "--model", "notes.txt"], "notes.txt is not a bundle folder", id="doctor"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, good, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.txt").touch()
    Path("broken.mp4").touch()
    shutil.copy(good, "a.png")
    assert_one_line(run(*arguments), message)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="nothing"),
        pytest.param(["run"], id="run-without-files"),
        pytest.param(["--camera", "0", "a.png"], id="both"),
        pytest.param(["a.png", "--trigger", "stdin"], id="trigger-without-camera"),
        pytest.param(["--camera", "0", "--trigger", "http"], id="trigger-without-page"),
        pytest.param(["--camera", "0", "--trigger", "stdin", "--every-ms", "5"], id="two-triggers"),
        pytest.param(["--config", "station.toml", "--output", "a.jsonl"], id="config-and-output"),
        pytest.param(["a.png", "--limit", "0"], id="limit"),
        pytest.param(["a.png", "--engine", "tensorrt"], id="engine"),
        pytest.param(["a.png", "--save", "some"], id="save"),
        pytest.param(["a.png", "--bogus"], id="option"),
    ],
)
def test_wrong_usage_is_told_on_stderr_and_ends_with_2(run, arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: nut-runtime" in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_an_example_of_that_command(run, command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert re.search(rf"^  {' '.join(['nut-runtime', *command])}", result.stdout, re.MULTILINE)


def test_the_examples_name_options_that_exist(run):
    for command in COMMANDS:
        shown = run(*command, "--help").stdout
        examples = [line for line in shown.splitlines() if line.startswith("  nut-runtime")]
        assert examples
        for example in examples:
            words = example.partition("|")[0].split()[1:]
            found = main.commands[words[0] if words[0] in main.commands else "run"]
            if isinstance(found, click.Group):
                found = found.commands[words[1]]
            known = {option for parameter in found.params for option in parameter.opts}
            assert {word for word in words if word.startswith("-") and word != "-"} <= known, example


def test_the_version_is_the_packages(run):
    assert run("--version").stdout == f"nut-runtime, version {__version__}\n"


def test_run_need_not_be_named(run, good):
    assert run("run", good).stdout == run(good).stdout


def test_info_tells_what_the_bundle_is(run, bundle_folder):
    manifest = open_bundle(bundle_folder).manifest
    result = run("info")
    assert result.exit_code == 0
    assert manifest.bundle_id in result.stdout
    assert "judged at 96x128" in result.stdout
    assert f"raw {manifest.point.image.threshold:.6g}" in result.stdout
    assert "all match their SHA-256" in result.stdout


def test_info_as_json_is_the_manifest(run, bundle_folder):
    result = run("info", "--json")
    assert json.loads(result.stdout) == json.loads((bundle_folder / "manifest.json").read_text())


def test_doctor_passes_on_both_engines(run):
    result = run("doctor")
    assert result.exit_code == 0
    assert result.stdout.count("this device judges as the reference did") == 2
    assert "DRIFT" not in result.stdout


def test_doctor_names_the_drifting_stage(run, drifted):
    result = run("doctor", "--model", drifted, "--engine", "openvino")
    assert result.exit_code == 1
    assert "the first stage that drifts is raw_score" in result.stdout
    assert run("doctor", "--model", drifted, "--strict").exit_code == 2


def test_strict_refuses_to_judge_on_a_device_that_drifts(run, good, drifted, tmp_path):
    result = run(good, "--model", drifted, "--strict", "--output", str(tmp_path / "a.jsonl"))
    assert_one_line(result, "the self-test fails at raw_score")
    assert not (tmp_path / "a.jsonl").exists()
    assert run(good, "--strict").exit_code == 0


def test_an_altered_bundle_is_refused_by_every_command(run, bundle_folder, good, tmp_path):
    folder = shutil.copytree(bundle_folder, tmp_path / "bundle")
    (folder / "model.bin").write_bytes(b"x" * (folder / "model.bin").stat().st_size)
    for command in ([good], ["info"], ["doctor"]):
        assert_one_line(run(*command, "--model", str(folder)), "model.bin was altered")


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_no_color_takes_the_colours_of_a_terminal_away(run, bad, command):
    arguments = [command, bad] if command == "run" else [command]
    assert "\x1b[" in run(*arguments, is_terminal=True).stdout
    assert "\x1b[" not in run(*arguments, is_terminal=True, NO_COLOR="1").stdout
    assert "\x1b[" not in run(*arguments, is_terminal=False).stdout


def test_a_folder_of_odd_files_is_judged_as_far_as_it_goes(run, good, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(good, folder / "a.png")
    (folder / "text.png").write_text("no picture")
    (folder / "notes.txt").write_text("left out by its ending")
    (folder / "empty.jpg").touch()
    write_picture(folder / "one.png", np.zeros((1, 1, 3), np.uint8))
    cv2.imwrite(str(folder / "deep.png"), np.zeros((40, 40), np.uint16))
    result = run(str(folder), "-q")
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert [re.search(r"(\w+)\.\w+", line).group() for line in told] == ["deep.png", "empty.jpg", "one.png", "text.png"]
    assert all(line.startswith("error: ") for line in told)


@pytest.mark.parametrize("kind", ["list", "video"])
def test_ctrl_c_ends_with_130_and_every_line_written_is_whole(bundle_folder, good, tmp_path, kind):
    if kind == "video":
        frame = cv2.resize(read_picture(good), (96, 96))
        writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 96))
        for _ in range(200):
            writer.write(frame)
        writer.release()
        files = [str(tmp_path / "v.avi")] * 50
    else:
        files = [good] * 10_000
    output = tmp_path / "a.jsonl"
    process = start(bundle_folder, *files, "--output", str(output))
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert output.read_text().endswith("\n")
    judged = records(output.read_text())
    assert 1 <= len(judged) < 10_000
    assert re.fullmatch(r"stopped: \d+ parts, 0 rejects; [^\n]*\n", err)


def test_a_reader_of_the_pipe_that_leaves_is_one_line(bundle_folder, good):
    process = start(bundle_folder, *[good] * 2000, "--output", "-", "-q")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["label"] == "good"
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "error: cannot write to standard output: Broken pipe\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full")
@pytest.mark.parametrize("arguments", [["--output", "-"], []], ids=["json", "text"])
def test_a_full_disk_behind_standard_output_is_one_line(bundle_folder, good, arguments):
    with Path("/dev/full").open("w") as full:
        process = start(bundle_folder, good, *arguments, stdout=full)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "error: cannot write to standard output: No space left on device\n")


def test_an_endless_source_shows_a_bar_without_a_length(run, good, text, monkeypatch, tmp_path):
    """A camera's bar must not read "2/0", nor an error stand in the bar's own line."""
    watched = tmp_path / "in"
    watched.mkdir()
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)

    def drop() -> None:
        for name, source in (("a.png", good), ("b.png", text), ("c.png", good)):
            shutil.copy(source, watched / name)

    watch = WatchSource.__iter__

    def watch_and_drop(source: WatchSource) -> Iterator[Frame]:
        drop()  # what lies there before the watching begins would be left out
        return watch(source)

    monkeypatch.setattr(WatchSource, "__iter__", watch_and_drop)
    result = run("--watch", str(watched), "--limit", "3", "--output", str(tmp_path / "a.jsonl"), is_terminal=True)
    assert result.exit_code == 1
    assert "judging" in result.stderr
    assert "/0 " not in result.stderr
    assert re.search(r"\r\x1b\[Kerror: [^\n]*b.png[^\n]*\n", result.stderr)


def test_a_camera_is_judged_until_the_limit_and_one_that_is_not_there_is_waited_for(run, good, tmp_path):
    result = run("--camera", good, "--limit", "2", "--output", "-")
    assert result.exit_code == 0
    assert [record["source"] for record in records(result.stdout)] == [good, good]
    result = run("--camera", "http://127.0.0.1:9/", "--limit", "1", "--output", str(tmp_path / "a.jsonl"))
    assert result.exit_code == 1
    (record,) = records((tmp_path / "a.jsonl").read_text())
    assert (record["label"], record["reason"]) == ("no-verdict", "no-frame")
    assert "connection refused" in record["error"]


def test_lines_on_standard_input_trigger_parts_by_name(bundle_folder, good, tmp_path):
    output = tmp_path / "a.jsonl"
    process = start(
        bundle_folder, "--camera", good, "--trigger", "stdin", "--output", str(output), stdin=subprocess.PIPE
    )
    _, err = process.communicate("left\nright\n", timeout=60)
    assert process.returncode == 0, err
    assert [record["trigger"] for record in records(output.read_text())] == ["left", "right"]


def test_sigterm_drains_a_station_and_ends_with_0(bundle_folder, good, tmp_path):
    output = tmp_path / "a.jsonl"
    process = start(bundle_folder, "--camera", good, "--output", str(output))
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert records(output.read_text())


def test_a_camera_s_password_is_not_in_its_name():
    options = dict.fromkeys(("width", "height", "fps", "exposure", "gain", "white_balance", "focus", "warm_up"))
    options["warm_up"] = 5
    camera = _camera("rtsp://user:s3cret@host/main", options)
    assert (camera.name, camera.address) == ("rtsp://host/main", "rtsp://user:s3cret@host/main")
    assert _camera("0", options).name == "camera 0"
