"""The parts as processes of this machine, each started anew: its memory is free when it ends, its crash is its own."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nut_benchmarks.train_all.job import Job
from nut_benchmarks.train_all.status import State, Status, finished_status, write_failure
from nut_runtime.errors import InputError, OutputError
from nut_runtime.machine import this_machine
from nut_train.free_memory import free_memory_bytes

__all__ = ["LOG", "PART_BYTES", "Processes", "Share", "Workers", "share_machine", "visible_gpus"]

LOG = "worker.log"
"""What a part's process said; kept in the part's folder where it failed."""
PART_BYTES = 2_500_000_000
"""Memory to reckon with for a part: torch, anomalib and both engines take 1.5 GB with tiny pictures (measured)."""
_CORES = 2  # of a part, where nothing else is said
_LOOK_S = 0.1
_STOP_S = 10.0
_GPUS = "CUDA_VISIBLE_DEVICES"
_CANNOT_SAY = 2  # exit code of `worker` where a status cannot be written


class Workers(Protocol):
    """Does parts, several at a time."""

    def finished(self, jobs: Sequence[Job]) -> Generator[Status, None, None]:
        """Do all parts and give each as it is finished; what is at work is stopped when the caller stops."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How a machine is divided.

    Attributes:
        jobs: Parts at a time.
        threads: Threads of each.
    """

    jobs: int
    threads: int


def share_machine(
    parts: int,
    *,
    jobs: int | None = None,
    threads: int | None = None,
    cores: int | None = None,
    memory_bytes: int | None = None,
    gpus: int = 0,
) -> Share:
    """Return how many parts are done at a time, and with how many threads each.

    By default two cores a part, as far as the memory goes; with a GPU that the parts use, one part a GPU.

    Args:
        parts: How many there are.
        jobs: How many at a time; None chooses.
        threads: Of each; None gives each its share of the cores.
        cores: Cores to divide; None takes those of this process.
        memory_bytes: Memory to divide; None takes what is free.
        gpus: GPUs that the parts use.

    Raises:
        InputError: If `jobs` or `threads` is under one.

    Example:
        >>> share_machine(300, cores=16, memory_bytes=64 * 10**9)
        Share(jobs=8, threads=2)
        >>> share_machine(300, cores=16, memory_bytes=8 * 10**9)
        Share(jobs=3, threads=5)
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{value} {name}, expected at least 1")
    cores = this_machine().cores if cores is None else cores
    if jobs is None:
        memory_bytes = free_memory_bytes() if memory_bytes is None else memory_bytes
        by_memory = cores if memory_bytes is None else memory_bytes // PART_BYTES
        jobs = max(1, min(gpus or cores // (threads or _CORES), by_memory))
    jobs = max(1, min(jobs, parts))
    return Share(jobs=jobs, threads=threads or max(1, cores // jobs))


def visible_gpus(count: int) -> tuple[str, ...]:
    """Return the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them: by number or id.

    Args:
        count: How many torch sees. Of several parts of GPUs (MIG) it sees one, as any process does.
    """
    given = tuple(name for entry in os.environ.get(_GPUS, "").split(",") if (name := entry.strip()))
    if not given or not count:
        return tuple(str(number) for number in range(count))
    return given if given[0].startswith("MIG-") else given[:count]


@dataclass(slots=True, kw_only=True)
class _Running:
    job: Job
    process: "subprocess.Popen[bytes]"
    attempt: int


class Processes:
    """Does parts in processes of this machine; a `Workers`.

    Args:
        share: How the machine is divided.
        gpus: From `visible_gpus`, those that the parts take turns with; of one or none the choice is left to torch.
    """

    def __init__(self, share: Share, *, gpus: Sequence[str] = ()) -> None:
        self._share = share
        self._gpus = tuple(gpus)
        affinity = getattr(os, "sched_getaffinity", None)
        cores = sorted(affinity(0)) if affinity is not None else []
        threads = share.threads
        self._slots = [tuple(cores[n * threads : (n + 1) * threads]) for n in range(share.jobs)]
        if not all(len(slot) == threads for slot in self._slots):  # more parts than cores: let the system divide
            self._slots = [()] * share.jobs

    def finished(self, jobs: Sequence[Job]) -> Generator[Status, None, None]:
        """Do all parts, each in a process, and give each as it is finished.

        A process that dies is started again, as often as its job allows. A part whose process cannot be started, such
        as one whose folder cannot be written, has failed. What is at work is stopped when the caller stops, by Ctrl-C
        or otherwise.
        """
        waiting = deque((job, 1) for job in jobs)
        running: dict[int, _Running] = {}
        try:
            while waiting or running:
                for slot in range(self._share.jobs):
                    if slot not in running and waiting:
                        job, attempt = waiting.popleft()
                        try:
                            running[slot] = self._start(job, attempt, slot)
                        except OutputError as error:
                            yield write_failure(job, str(error))
                        except OSError as error:
                            yield write_failure(job, f"cannot start its process: {error.strerror or error}")
                ended = [slot for slot, one in running.items() if one.process.poll() is not None]
                for slot in ended:
                    one = running.pop(slot)
                    status = _outcome(one)
                    if status is None:
                        waiting.appendleft((one.job, one.attempt + 1))
                    else:
                        yield status
                if not ended:
                    time.sleep(_LOOK_S)
        finally:
            _stop([one.process for one in running.values()])

    def _start(self, job: Job, attempt: int, slot: int) -> _Running:
        """Start a process; it is given its part on a pipe whose end tells it that we are gone.

        Raises:
            OutputError: If the part's folder cannot be written.
            OSError: If the system starts no process.
        """
        job = replace(job, threads=self._share.threads, cores=self._slots[slot])
        environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads)}
        if len(self._gpus) > 1:
            environment[_GPUS] = self._gpus[slot % len(self._gpus)]
        try:
            job.out.mkdir(parents=True, exist_ok=True)
            log = (job.out / LOG).open("wb")
        except OSError as error:
            raise OutputError(f"cannot write {job.out}: {error.strerror or error}") from error
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "nut_benchmarks.train_all.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
            )
        if process.stdin is not None:
            with suppress(OSError):  # it died already, which its exit code tells
                process.stdin.write(job.to_text().encode() + b"\n")
                process.stdin.flush()
        return _Running(job=job, process=process, attempt=attempt)


def _outcome(one: _Running) -> Status | None:
    """Return what came of a process that has ended; None where it is to be begun again."""
    _close(one.process)
    code, job = one.process.returncode, one.job
    if (status := finished_status(job)) is not None:
        if status.state is State.DONE:
            with suppress(OSError):
                (job.out / LOG).unlink(missing_ok=True)
        return status
    if one.attempt < job.attempts and code != _CANNOT_SAY:
        return None
    times = "" if one.attempt == 1 else f", {one.attempt} times"
    if code == _CANNOT_SAY:
        reason = _last_words(job.out / LOG) or f"its process ended with code {code}"
    elif code == -getattr(signal, "SIGKILL", 9):
        reason = f"its process was killed{times}, perhaps for want of memory: fewer --jobs need less"
    elif code < 0:
        reason = f"its process died of signal {-code}{times}; see {job.out / LOG}"
    else:
        reason = f"its process ended with code {code}{times}: {_last_words(job.out / LOG)}; see {job.out / LOG}"
    return write_failure(job, reason)


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:300] if lines else ""


def _stop(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Stop processes as Ctrl-C would, so that they clear away what is half made; then hard."""
    try:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)
        end = time.monotonic() + _STOP_S
        while time.monotonic() < end and any(process.poll() is None for process in processes):
            time.sleep(_LOOK_S)
    finally:  # after the wait, or at a second Ctrl-C
        for process in processes:
            if process.poll() is None:
                if sys.platform == "win32":
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)  # its readers of pictures too
            process.wait()
            _close(process)


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with suppress(OSError):  # what was still to be written has no reader
            process.stdin.close()
