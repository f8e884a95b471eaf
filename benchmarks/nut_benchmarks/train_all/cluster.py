"""The parts as tasks of a Ray cluster, one a part: a task whose worker or machine dies is begun again elsewhere."""

import logging
import os
import platform
import time
import uuid
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from nut_benchmarks.train_all.cluster_address import LOCAL, RAY_SETTINGS
from nut_benchmarks.train_all.job import Job
from nut_benchmarks.train_all.processes import PART_BYTES, Share
from nut_benchmarks.train_all.status import Status, finished_status, write_failure
from nut_runtime import __version__
from nut_runtime.atomic import write_text
from nut_runtime.errors import InputError

__all__ = ["CLUSTER_THREADS", "RayWorkers", "ray_workers"]

CLUSTER_THREADS = 2
"""Of a part on a cluster, where the command does not say: nobody knows the nodes' cores beforehand."""
_CHECK_S = 120.0  # a node starts a Python and imports us
_SEEN_S = 5.0
_STOP_S = 10.0


@contextmanager
def ray_workers(address: str, *, share: Share, root: Path, out: Path) -> "Iterator[RayWorkers]":
    """Connect to a cluster, or start one of this machine, and leave or stop it at the end.

    Args:
        address: As `check_address` takes it; that a cluster answers there was seen by `check_cluster`.
        share: Parts at a time (of a cluster that is not `local`, 0 takes as many as it has room for), and threads each.
        root: The data sets; every node must see it.
        out: The output, which must exist; every node must see it.

    Raises:
        InputError: If the cluster does not take us, or a node does not see the folders or has another version of us.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    is_local = address == LOCAL
    given: dict[str, Any] = {"num_cpus": share.jobs * share.threads, "include_dashboard": False} if is_local else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **given)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"cannot use the Ray cluster at {address}: {reason}") from error
    token: Path | None = None
    try:
        nodes = _nodes(ray, share.threads, address)
        token = out / f".seen-by-all-{uuid.uuid4().hex}"
        write_text(token, "a node of the cluster looks for this file\n")
        _check_nodes(ray, nodes, root, token)
        has_gpu = any(node["Resources"].get("GPU", 0) for node in nodes)
        memory = min(PART_BYTES, *(int(node["Resources"].get("memory", PART_BYTES)) for node in nodes))
        resources = {
            "num_cpus": share.threads,
            "num_gpus": int(has_gpu),
            "memory": 0 if is_local else memory,  # there --jobs says how many
        }
        yield RayWorkers(ray, resources=resources, at_once=share.jobs, token=token)
    finally:
        ray.shutdown()
        if token is not None:
            token.unlink(missing_ok=True)


class RayWorkers:
    """Does parts as tasks of the cluster that this process is connected with; a `Workers`.

    Args:
        ray: The module.
        resources: What a task needs, as `ray.remote` takes it; `num_gpus` only that of a part which uses a GPU.
        at_once: Tasks that are handed over at a time; 0 hands over all.
        token: A file in the output, which every worker must see: nodes may join later.
    """

    def __init__(self, ray: Any, *, resources: Mapping[str, Any], at_once: int, token: Path) -> None:
        self._ray = ray
        self._resources = resources
        self._at_once = at_once
        self._token = token

    def finished(self, jobs: Sequence[Job]) -> Generator[Status, None, None]:
        """Do all parts and give each as it is finished; what is at work is cancelled when the caller stops."""
        ray = self._ray
        waiting = deque(jobs)
        running: dict[Any, Job] = {}
        try:
            while waiting or running:
                while waiting and (not self._at_once or len(running) < self._at_once):
                    job = waiting.popleft()
                    running[self._submit(job)] = job
                ready, _ = ray.wait(list(running), timeout=1.0)
                for ref in ready:
                    yield self._outcome(ref, running.pop(ref))
        finally:
            self._cancel(list(running))

    def _submit(self, job: Job) -> Any:
        """Hand a part over as a task."""
        resources = dict(self._resources)
        if not job.uses_gpu:
            resources["num_gpus"] = 0
        task = self._ray.remote(
            **resources,
            max_retries=job.attempts - 1,
            retry_exceptions=True,  # a user's mistake is a status, not an exception
            max_calls=1,  # a process each: its memory is free at the end
        )(_do_part)
        job = replace(job, threads=self._resources["num_cpus"])
        return task.options(name=f"nut {job.name}").remote(job.to_text(), str(self._token))

    def _outcome(self, ref: Any, job: Job) -> Status:
        """Return what came of a task."""
        errors = self._ray.exceptions
        try:
            return Status.from_json(self._ray.get(ref))
        except errors.RayTaskError as error:  # whatever the part's code raised
            cause = getattr(error, "cause", error)
            reason = f"{type(cause).__name__}: {cause}"
        except errors.OutOfMemoryError:
            reason = "its worker was killed for want of memory"
        except errors.WorkerCrashedError:
            reason = "its worker was killed, perhaps for want of memory"
        except errors.RayError as error:
            reason = f"{type(error).__name__}: {error}"
        if (status := finished_status(job)) is not None:  # it died after its part was finished
            return status
        times = "" if job.attempts == 1 else f" ({job.attempts} attempts)"
        return write_failure(job, " ".join(reason.split())[:300] + times)

    def _cancel(self, refs: list[Any]) -> None:
        """Stop tasks as Ctrl-C would; the cluster kills what is slow when `ray.shutdown` ends the job."""
        if not refs:
            return
        for ref in refs:
            self._ray.cancel(ref)
        self._ray.wait(refs, num_returns=len(refs), timeout=_STOP_S)


def _do_part(line: str, token: str) -> dict[str, Any]:
    """Do one part in a worker; nothing heavy is imported before its threads are limited."""
    from nut_benchmarks.train_all.work import do_part, limit_threads

    job = Job.from_text(line)
    if not Path(token).is_file() or not job.data.is_dir():
        raise InputError(f"{platform.node()} does not see {job.data}, or not the output; share both with all nodes")
    limit_threads(job)
    return do_part(job).to_json()


def _look(token: str, root: str) -> tuple[str, bool, bool]:
    """Return a node's version of us, and whether it sees the output and the data sets."""
    end = time.monotonic() + _SEEN_S
    while not Path(token).is_file() and time.monotonic() < end:  # a network folder may show a new file a little later
        time.sleep(0.2)
    return __version__, Path(token).is_file() and os.access(Path(token).parent, os.W_OK), Path(root).is_dir()


def _nodes(ray: Any, threads: int, address: str) -> list[dict[str, Any]]:
    """Return the nodes that can take a part."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in alive if node["Resources"].get("CPU", 0) >= threads]
    if not nodes:
        most = max((int(node["Resources"].get("CPU", 0)) for node in alive), default=0)
        raise InputError(f"no node of the Ray cluster at {address} has {threads} CPUs, {most} at most; lower --threads")
    return nodes


def _check_nodes(ray: Any, nodes: Sequence[Mapping[str, Any]], root: Path, token: Path) -> None:
    """Have every node look for a file in the output, which must be a folder that all share."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=1)(_look)
    asked = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ref = look.options(scheduling_strategy=there).remote(str(token), str(root))
        asked.append((node["NodeManagerHostname"], ref))
    end = time.monotonic() + _CHECK_S
    for host, ref in asked:
        try:
            version, sees_out, sees_root = ray.get(ref, timeout=max(1.0, end - time.monotonic()))
        except ray.exceptions.RayError as error:
            reason = " ".join(str(getattr(error, "cause", None) or error).split())[-200:]
            raise InputError(
                f"node {host} cannot take parts; install nut-toolchain {__version__} there ({reason})"
            ) from error
        if version != __version__:
            raise InputError(f"node {host} has nut-toolchain {version}, here it is {__version__}; install the same")
        if not sees_out or not sees_root:
            raise InputError(
                f"node {host} does not see {root if sees_out else f'{token.parent}, or may not write there'}; "
                "it must be a folder that all nodes share, at the same path"
            )
