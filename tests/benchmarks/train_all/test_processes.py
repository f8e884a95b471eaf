"""The parts as processes: killed, stopped, and gone on with."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from nut_runtime.bundle import open_bundle
from nut_train.run import open_run


def _broken(root: Path, name: str) -> None:
    good = root / name / "train" / "good"
    good.mkdir(parents=True)
    for number in range(8):
        (good / f"{number}.png").write_bytes(b"no picture")


def _files(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_worker_is_begun_again_and_a_second_call_does_only_what_is_left(tiny, config_file, command, tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(tiny, root / "good")
    shutil.copytree(tiny, root / "line" / "killed")
    _broken(root, "broken")
    killer = command.kill_while_training(out, "line/killed")
    done = command.run(root, "-o", out, "--config", config_file, "--jobs", 2)
    killer.join()
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("broken: failed: ") for line in lines) == 1
    assert "2 done, 0 kept, 1 failed" in lines
    assert [command.status(out, part)["attempt"] for part in ("good", "line/killed", "broken")] == [1, 2, 1]
    for part in ("good", "line/killed"):
        open_bundle(out / part / "bundle")
        assert open_run(out / part / "run").config.image_size == (64, 64)
        assert {path.name for path in (out / part).iterdir()} == {"run", "bundle", "part.json"}
    before = _files(out / "good") | _files(out / "line")
    again = command.run(root, "-o", out, "--config", config_file, "--jobs", 2)
    assert again.returncode == 1, again.stderr
    assert "3 parts, 1 to do" in again.stdout
    assert "0 done, 2 kept, 1 failed" in again.stdout
    assert _files(out / "good") | _files(out / "line") == before
    assert not command.left_running()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "says"),
    [
        pytest.param(signal.SIGKILL, "its process was killed, perhaps for want of memory", id="killed"),
        pytest.param(signal.SIGSEGV, "its process died of signal 11; see", id="crashed"),
    ],
)
def test_a_worker_that_dies_without_retries_is_a_part_that_failed(tiny, config_file, command, tmp_path, number, says):
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(tiny, root / "part")
    process = command.start(root, "-o", out, "--config", config_file, "--retries", 0)
    command.wait_for((out / "part" / "part.json").exists)
    os.kill(command.status(out, "part")["pid"], number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    status = command.status(out, "part")
    assert (status["state"], says in status["reason"]) == ("failed", True), status["reason"]


@pytest.mark.slow
def test_ctrl_c_stops_the_workers_and_leaves_nothing_half_made(tiny, config_file, command, tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(tiny, root / "part")
    process = command.start(root, "-o", out, "--config", config_file)
    command.wait_for(lambda: command.is_training(out, "part"))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines() == [f"the parts that are done stay in {out}; the same command goes on", "stopped"]
    assert not command.left_running(within_s=0)
    assert not command.is_training(out, "part")
    assert not (out / "part" / "run").exists()


@pytest.mark.slow
def test_workers_end_when_the_command_itself_is_killed(tiny, config_file, command, tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(tiny, root / "part")
    process = command.start(root, "-o", out, "--config", config_file)
    command.wait_for(lambda: command.is_training(out, "part"))
    process.kill()
    process.communicate()
    assert not command.left_running(within_s=30)
    assert not command.is_training(out, "part")
