"""Whether a part is to be done, or was done already with the same arguments and pictures."""

from dataclasses import dataclass

from nut_benchmarks.train_all.changed_bundle import changed_manifest
from nut_benchmarks.train_all.job import BUNDLE, RUN, Job
from nut_benchmarks.train_all.status import State, Status, is_of_forced_pass, read_status
from nut_dataset.layout import fingerprint, open_dataset
from nut_runtime.bundle import file_entry, open_bundle
from nut_runtime.errors import NutError
from nut_train.run import CHECKPOINT, Run, open_run

__all__ = ["Standing", "checkpoint_facts", "reusable_run", "standing_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a part is to be done.

    Attributes:
        job: The part.
        why: Why it is to be done, in a few words; None where it was done.
        status: How far it was, where that is known.
        is_changed: Whether its bundle was changed after the export; it is kept, beside a new one if need be.
    """

    job: Job
    why: str | None
    status: Status | None
    is_changed: bool = False


def standing_of(job: Job) -> Standing:
    """Look at what an earlier pass left of a part; its pictures, run and bundle are read."""
    status = read_status(job.out)
    why = _why(job, status)
    changed = changed_manifest(job.out / BUNDLE)
    is_of_export = why is None and status is not None and changed is not None and changed.bundle_id == status.bundle_id
    return Standing(job=job, why=why, status=status, is_changed=changed is not None and not is_of_export)


def _why(job: Job, status: Status | None) -> str | None:
    """Return why a part is to be done."""
    why: str | None = None
    if job.forced_pass is not None and not is_of_forced_pass(job, status):
        why = "forced"
    elif status is None:
        why = "new"
    elif status.state is not State.DONE:
        why = "failed before" if status.state is State.FAILED else "was stopped"
    elif status.arguments != job.arguments:
        why = "other arguments"
    else:
        try:
            why = _what_changed(job, status)
        except (NutError, OSError) as error:
            why = f"not whole any more: {error}"
    return why


def _what_changed(job: Job, status: Status) -> str | None:
    """Return what is not as it was when a part was done."""
    if fingerprint(open_dataset(job.data)) != status.fingerprint:
        return "other pictures"
    if checkpoint_facts(open_run(job.out / RUN)) != status.checkpoint:
        return "another run"
    is_another = open_bundle(job.out / BUNDLE).manifest.bundle_id != status.bundle_id
    return "another bundle" if is_another and changed_manifest(job.out / BUNDLE) is None else None


def checkpoint_facts(run: Run) -> dict[str, object]:
    """Return SHA-256 and size of a run's checkpoint, and the operating point: a review threshold is in no checkpoint.

    Raises:
        OSError: If it cannot be read.
    """
    entry = file_entry(run.folder / CHECKPOINT)
    return {"sha256": entry.sha256, "size_bytes": entry.size_bytes, "point": run.record["calibration"]["point"]}


def reusable_run(job: Job, before: Status | None) -> Run | None:
    """Return the run of a part whose training was finished, and only the export not; None where there is none.

    With `--force` only a run that the same pass has trained is one.

    Args:
        job: The part.
        before: How far it was.

    Raises:
        InputError: If the data set cannot be read.
    """
    try:
        run = open_run(job.out / RUN)
        if run.record["arguments"] != job.train or not (run.folder / CHECKPOINT).is_file():
            return None
        if job.forced_pass is not None and not _is_trained_in_forced_pass(job, before, run):
            return None
    except (NutError, OSError):
        return None
    if job.weights_sha256 is not None and run.record["backbone"].get("weights_sha256") != job.weights_sha256:
        return None
    return run if run.record["dataset"]["fingerprint"] == fingerprint(open_dataset(job.data)) else None


def _is_trained_in_forced_pass(job: Job, before: Status | None, run: Run) -> bool:
    """Return whether the run that lies there is one that the job's pass with `--force` has trained."""
    if before is None or before.checkpoint is None or not is_of_forced_pass(job, before):
        return False
    return before.checkpoint == checkpoint_facts(run)
