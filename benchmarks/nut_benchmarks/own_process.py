"""Runs a measurement in a process of its own: libraries that share one share thread pools and memory."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nut_runtime.errors import NutError

__all__ = ["run_in_process"]


def run_in_process(module: str, job: Mapping[str, Any], folder: Path, *, engine: str, threads: int) -> None:
    """Run `python -m MODULE JOB.json` to its end.

    Args:
        module: The module; it writes what it found into `folder`.
        job: What it reads as JSON.
        folder: An existing folder, for the job.
        engine: What is measured, for messages.
        threads: Threads to compute with.

    Raises:
        NutError: If that process ends with one.
        RuntimeError: If it fails in any other way; its last words are told.
    """
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder / "job.json")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if last.startswith("nut_runtime.errors."):
            raise NutError(f"measuring {engine} failed: {last.partition(': ')[2]}")
        raise RuntimeError(f"measuring {engine} failed with code {done.returncode}:\n{done.stderr}")
