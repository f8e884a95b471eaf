"""Tiny parts, the command in a process of its own, and what it leaves running."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nut_benchmarks.train_all.config import read_config
from nut_benchmarks.train_all.every_part import make_jobs
from nut_benchmarks.train_all.parts import find_parts
from nut_benchmarks.train_all.standing import checkpoint_facts
from nut_benchmarks.train_all.status import State, Status, write_status
from nut_dataset.layout import fingerprint, open_dataset
from nut_runtime.bundle import open_bundle
from nut_train.run import open_run

CONFIG = """
[train]
image_size = 64
coreset_ratio = 0.1
device = "cpu"
[export]
pictures = 3
"""
_MARK = "NUT_TEST_MARK"
_LONGEST_S = 900  # a minute and a half on two cores that are free; other work beside the tests has made it seven


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of ten good pictures, two good and two defective ones to test with, about 80 px wide."""
    from nut_dataset.synth import synthesise

    folder = tmp_path_factory.mktemp("tiny") / "part"
    synthesise(folder, train=10, good=2, defects=2, seed=3, size_px=80)
    return folder


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "plant.toml"
    path.write_text(CONFIG)
    return path


class Command:
    """`nut train-all`, begun in a process of its own, which nothing outlives.

    Ray asks for a token. It is one of this test alone, so that none is looked for, nor left, in the user's home.
    """

    def __init__(self, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        token = folder / "ray-token"
        token.write_text(uuid.uuid4().hex)
        self.environment = {
            **os.environ,
            _MARK: self.mark,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        code = "import sys; sys.argv[0] = 'nut'; from nut_benchmarks.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, "train-all", *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            pytest.fail(f"it did not end:\n{stdout}\n{stderr}")
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def left_running(self, within_s: float = 15) -> list[int]:
        """Return the processes that the commands left behind, after a while that they are given to end."""
        end = time.monotonic() + within_s
        while (found := self._marked()) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    @staticmethod
    def status(out: Path, part: str) -> dict[str, Any]:
        return json.loads((out / part / "part.json").read_text())

    @staticmethod
    def wait_for(what: Callable[[], Any], seconds: float = 200) -> Any:
        """Return what a function gives as soon as that is something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(0.05)
        return pytest.fail("it never happened")

    @staticmethod
    def is_training(out: Path, part: str) -> bool:
        """Return whether the training of a part is under way: its run is being written."""
        return any((out / part).glob(".run.*.part"))

    def kill_while_training(self, out: Path, part: str) -> threading.Thread:
        """Kill the worker of a part, once, as soon as its training is under way."""

        def kill() -> None:
            self.wait_for(lambda: self.is_training(out, part))
            os.kill(self.status(out, part)["pid"], 9)

        thread = threading.Thread(target=kill)
        thread.start()
        return thread

    def _marked(self) -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    environment = (folder / "environ").read_bytes()
                    is_zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                except OSError:
                    continue
                if f"{_MARK}={self.mark}".encode() in environment and not is_zombie:
                    found.append(int(folder.name))
        return found


@pytest.fixture
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    one = Command(tmp_path_factory.mktemp("command"))
    yield one
    for pid in one._marked():  # a test that failed half-way
        os.kill(pid, 9)


@pytest.fixture
def done(nuts: Path, run_folder: Path, bundle_folder: Path, tmp_path: Path):
    """The job of a part and its folder, as it is left when it was done."""
    shutil.copytree(nuts, tmp_path / "root" / "nuts")
    parts = find_parts(tmp_path / "root")
    (job,) = make_jobs(parts, read_config(None, ["nuts"]), tmp_path / "out", attempts=2)
    shutil.copytree(run_folder, job.out / "run")
    shutil.copytree(bundle_folder, job.out / "bundle")
    status = Status(
        name="nuts",
        state=State.DONE,
        pass_id="earlier",  # noqa: S106 - no password
        attempt=1,
        arguments=job.arguments,
        host="here",
        pid=1,
        began="2026-01-01T00:00:00+00:00",
        fingerprint=fingerprint(open_dataset(job.data)),
        checkpoint=checkpoint_facts(open_run(job.out / "run")),
        bundle_id=open_bundle(job.out / "bundle").manifest.bundle_id,
        figures={"train_good": 12, "test_good": 3, "defective": 6, "auroc": 0.9, "auroc_interval": [0.8, 1.0]},
    )
    write_status(job.out, status)
    return job
