"""One part, from its pictures to its bundle: what a process and a task of a cluster do alike."""

import os
import platform
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nut_benchmarks.train_all.job import BUNDLE, RUN, Job, export_config
from nut_benchmarks.train_all.status import State, Status, is_of_forced_pass, read_status, write_status
from nut_runtime.atomic import restore_folder
from nut_runtime.errors import NutError, OutputError

if TYPE_CHECKING:
    from nut_export.export import Exported
    from nut_train.run import Run

__all__ = ["do_part", "limit_threads"]


def limit_threads(job: Job) -> None:
    """Keep this process to its share of the machine; before torch is imported, which reads it once."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(job.threads)
    os.environ["TQDM_DISABLE"] = "1"
    if job.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cores)  # ONNX Runtime and OpenVINO know no variable, but keep to these


def do_part(job: Job) -> Status:
    """Train, evaluate and export one part, and write what came of it.

    A part that this pass finished already is not done twice: its worker may have died before it could say so.

    Args:
        job: The part.

    Returns:
        What came of it: done, or failed where the user has to mend something.

    Raises:
        OutputError: If its folder cannot be written.
    """
    before = read_status(job.out)
    is_again = before is not None and before.pass_id == job.pass_id
    if before is not None and is_again and before.state is State.DONE:
        return before
    started = time.monotonic()
    status = _begun(job, before)
    try:
        job.out.mkdir(parents=True, exist_ok=True)
        for name in (RUN, BUNDLE):
            _clear_up(job.out / name)
    except OSError as error:
        raise OutputError(f"cannot write {job.out}: {error.strerror or error}") from error
    if status.attempt > job.attempts:  # Ray begins what ran out of memory again and again
        reason = f"its worker died {status.attempt - 1} times, perhaps for want of memory"
        return write_status(job.out, replace(status, state=State.FAILED, attempt=job.attempts, reason=reason))
    write_status(job.out, status)
    try:
        run = _trained(job, before)
        status = write_status(job.out, replace(status, checkpoint=_checkpoint(run)))
        done = _exported(job, status, run)
    except NutError as error:
        done = replace(status, state=State.FAILED, reason=" ".join(str(error).split()))
    return write_status(job.out, replace(done, seconds=round(time.monotonic() - started, 1)))


def _clear_up(folder: Path) -> None:
    """Remove what a kill left beside a folder, as `nut_runtime.atomic` names it, but never the only one there is."""
    restore_folder(folder)
    for ending in ("part", "old") if folder.exists() else ("part",):
        for path in folder.parent.glob(f".{folder.name}.*.{ending}"):
            shutil.rmtree(path, ignore_errors=True)


def _begun(job: Job, before: Status | None) -> Status:
    """Return the status of a part that is being begun."""
    is_again = before is not None and before.pass_id == job.pass_id
    return Status(
        name=job.name,
        state=State.STARTED,
        pass_id=job.pass_id,
        attempt=before.attempt + 1 if before is not None and is_again else 1,
        arguments=job.arguments,
        host=platform.node(),
        pid=os.getpid(),
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        forced_pass=job.forced_pass,
        checkpoint=before.checkpoint if before is not None and is_of_forced_pass(job, before) else None,
    )


def _trained(job: Job, before: Status | None) -> "Run":
    """Return the part's run, trained now where there is none that will do."""
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_benchmarks.train_all.standing import reusable_run
    from nut_train.config import TrainConfig
    from nut_train.train import train

    run = reusable_run(job, before)
    if run is None:
        run = train(job.data, job.out / RUN, TrainConfig.from_json(dict(job.train)), overwrite=True)
    return run


def _checkpoint(run: "Run") -> dict[str, object]:
    from nut_benchmarks.train_all.standing import checkpoint_facts

    return checkpoint_facts(run)


def _exported(job: Job, status: Status, run: "Run") -> Status:
    """Export the part's run, and return what came of it."""
    from nut_benchmarks.train_all.changed_bundle import aside_of
    from nut_export.export import export_bundle

    aside = aside_of(job.out / BUNDLE)
    exported = export_bundle(
        run,
        job.out / BUNDLE,
        export_config(job.export, name=job.name),
        dataset_root=job.data,
        overwrite=True,
        keep_older_as=aside,
    )
    return replace(
        status,
        state=State.DONE,
        fingerprint=run.record["dataset"]["fingerprint"],
        bundle_id=exported.bundle.manifest.bundle_id,
        figures=_figures(run, exported),
        bundle_aside=None if aside is None else aside.name,
    )


def _figures(run: "Run", exported: "Exported") -> dict[str, Any]:
    """Return what the summary shows."""
    record = run.record
    calibration, dataset = record["calibration"], record["dataset"]
    evaluation = record["evaluation"] or {}
    image = evaluation.get("image", {})
    tests = dataset["test_good"] + sum(dataset["defects"].values())  # without evaluation all of them were trained on
    interval = evaluation.get("confidence", {}).get("intervals", {}).get("auroc")
    parities = exported.parity.values()
    return {
        "train_good": dataset["train_good"],
        "test_good": image.get("good", 0),
        "defective": image.get("defective", 0),
        "leaked": len(evaluation["leaked"]) if evaluation else tests,
        "auroc": image.get("auroc"),
        "auroc_interval": None if interval is None else [interval["low"], interval["high"]],
        "recall": image.get("recall"),
        "threshold": run.point.image.threshold,
        "asked_rate": calibration["false_reject_rate"],
        "promised_rate": (calibration.get("promise") or {}).get("bound"),
        "bank_rows": record["bank"]["rows"],
        "precision": exported.bundle.manifest.precision,
        "flips": sum(len(parity.flips) for parity in parities),
        "max_d_score": max((parity.max_d_score for parity in parities), default=None),
    }
