"""The parts as tasks of Ray: a worker is killed, a cluster is joined, and one is not there."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nut_benchmarks.train_all.cluster import RayWorkers, _look
from nut_benchmarks.train_all.cluster_address import check_address, check_cluster
from nut_benchmarks.train_all.job import Job
from nut_benchmarks.train_all.status import State, Status, read_status, write_status
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError

pytest.importorskip("ray")


class _DeadRay:
    """The few things of Ray that `RayWorkers` asks, where every worker has died."""

    def __init__(self) -> None:
        import ray

        self.exceptions = ray.exceptions

        self.asked: list[dict[str, Any]] = []

    def get(self, ref: object) -> object:
        raise self.exceptions.WorkerCrashedError

    def remote(self, **resources: Any) -> Any:
        self.asked.append(resources)
        return lambda _: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: object()))


def _workers(ray: object, **resources: float) -> RayWorkers:
    return RayWorkers(ray, resources={"num_cpus": 1, **resources}, at_once=0, token=Path("token"))


def _job(out: Path, **others: object) -> Job:
    given = {"train": {"device": "auto"}, "pass_id": "now", **others}
    return Job(name=out.name, data=out, out=out, export={}, **given)


def _status(job: Job, state: State, pass_id: str) -> Status:
    return Status(
        name=job.name, state=state, pass_id=pass_id, attempt=1, arguments={}, host="there", pid=1, began="then"
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_part_whose_worker_is_killed_is_begun_again_and_none_is_done_twice(tiny, config_file, command, tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(tiny, root / "line" / "killed")
    shutil.copytree(tiny, root / "good")
    killer = command.kill_while_training(out, "line/killed")
    done = command.run(root, "-o", out, "--config", config_file, "--address", "local", "--jobs", 2)
    killer.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 done, 0 kept, 0 failed" in done.stdout
    assert [command.status(out, part)["attempt"] for part in ("good", "line/killed")] == [1, 2]
    for part in ("good", "line/killed"):
        open_bundle(out / part / "bundle")
        assert {path.name for path in (out / part).iterdir()} == {"run", "bundle", "part.json"}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert not command.left_running()
    # What Ray did, the other way takes for done.
    again = command.run(root, "-o", out, "--config", config_file)
    assert "0 done, 2 kept, 0 failed" in again.stdout


@pytest.mark.slow
def test_a_cluster_that_is_joined_does_the_parts_and_lives_on(config_file, command, tmp_path):
    good = tmp_path / "root" / "broken" / "train" / "good"
    good.mkdir(parents=True)
    for number in range(8):
        (good / f"{number}.png").write_bytes(b"no picture")
    out, port = tmp_path / "out", _free_port()
    ray = str(Path(sys.executable).with_name("ray"))
    options = ["--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    head = subprocess.Popen(
        [ray, "start", *options],
        env=command.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"127.0.0.1:{port}"
        with pytest.MonkeyPatch.context() as patch:
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
                patch.setenv(name, command.environment[name])
            command.wait_for(lambda: _answers(port))
            (tmp_path / "other-token").write_text("f" * 32)
            patch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other-token"))
            with pytest.raises(InputError, match="asks for its token; set RAY_AUTH_MODE=token"):
                check_cluster(address, answer_s=100)
        arguments = (tmp_path / "root", "-o", out, "--config", config_file, "--address", address)
        too_much = command.run(*arguments, "--threads", 64)
        assert (too_much.returncode, "has 64 CPUs, 1 at most; lower --threads" in too_much.stderr) == (2, True)
        done = command.run(*arguments, "--threads", 1)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "broken: failed: " in done.stdout
        assert command.status(out, "broken")["attempt"] == 1  # what the user must mend is not tried again
        assert head.poll() is None
    finally:
        head.terminate()
        head.wait(30)
    assert not command.left_running(30)


def _answers(port: int) -> bool:
    try:
        check_cluster(f"127.0.0.1:{port}", answer_s=60)
    except InputError:
        return False
    return True


def test_a_cluster_that_is_not_there_is_one_line_within_seconds(tiny, command, tmp_path):
    started = time.monotonic()
    done = command.run(tiny.parent, "-o", tmp_path / "out", "--address", f"127.0.0.1:{_free_port()}")
    # Ray itself needs 204 s (measured); Python and two imports take about one, on a busy machine several.
    assert time.monotonic() - started < 30
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "no Ray cluster at 127.0.0.1:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_something_else_at_the_port_is_given_up_on():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:.* within 5 s"):
            check_cluster(f"127.0.0.1:{port}", answer_s=5)


@pytest.mark.parametrize("address", ["10.0.0.5", "ray://10.0.0.5:10001", "10.0.0.5:0", "host:port", "a b:6379", ""])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InputError, match="expected local, auto or HOST:PORT"):
        check_address(address)


def test_a_node_that_does_not_see_the_folders_says_so(tmp_path):
    (tmp_path / "token").touch()
    _, sees_out, sees_root = _look(str(tmp_path / "token"), str(tmp_path))
    assert (sees_out, sees_root) == (True, True)
    _, sees_out, sees_root = _look(str(tmp_path / "no-token"), str(tmp_path / "none"))
    assert (sees_out, sees_root) == (False, False)


def test_a_part_that_was_done_before_its_worker_died_stays_done(tmp_path):
    job = _job(tmp_path / "part")
    job.out.mkdir()
    done = write_status(job.out, _status(job, State.DONE, "now"))
    assert _workers(_DeadRay())._outcome(None, job) == done
    assert read_status(job.out) == done


@pytest.mark.parametrize(("state", "pass_id"), [(State.STARTED, "now"), (State.DONE, "earlier")])
def test_a_part_that_was_not_done_in_this_pass_failed_with_its_worker(tmp_path, state, pass_id):
    job = _job(tmp_path / "part")
    job.out.mkdir()
    write_status(job.out, _status(job, state, pass_id))
    status = _workers(_DeadRay())._outcome(None, job)
    assert (status.state, status.pass_id) == (State.FAILED, "now")
    assert read_status(job.out) == status


def test_a_part_whose_folder_cannot_be_written_is_one_that_failed(tmp_path):
    job = _job(tmp_path / "part")
    job.out.touch()
    status = _workers(_DeadRay())._outcome(None, job)
    assert (status.state, status.pass_id) == (State.FAILED, "now")


def test_only_a_part_that_uses_a_gpu_asks_for_one(tmp_path):
    ray = _DeadRay()
    workers = _workers(ray, num_gpus=1)
    for device in ("auto", "cpu", "cuda"):
        workers._submit(_job(tmp_path / device, train={"device": device}))
    assert [asked["num_gpus"] for asked in ray.asked] == [1, 0, 1]


def test_where_the_cluster_has_no_gpu_no_part_asks_for_one(tmp_path):
    ray = _DeadRay()
    _workers(ray, num_gpus=0)._submit(_job(tmp_path / "part"))
    assert ray.asked[0]["num_gpus"] == 0
