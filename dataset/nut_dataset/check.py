"""Reads every picture of a data set once and says what is wrong with it, or with figures measured on it."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nut_dataset.check_report import CheckReport, FolderSummary
from nut_dataset.confounds import Confounds, confound_findings, find_confounds
from nut_dataset.duplicates import DuplicateGroup, duplicate_findings, find_duplicates, leaked_files
from nut_dataset.facts import FileFacts, read_facts
from nut_dataset.findings import Finding, Severity, counted
from nut_dataset.groups import find_splits, split_findings
from nut_dataset.layout import GOOD, Dataset, fingerprint, list_dataset
from nut_dataset.masks import mask_findings
from nut_dataset.near_duplicates import find_near_duplicates, near_duplicate_findings
from nut_dataset.structure import structure_findings

__all__ = ["check"]

_MAX_THREADS = 8  # decoding leaves the interpreter lock; more threads than that wait for the disk


def check(root: Path, *, progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Check the data set in `root`.

    Files that cannot be used do not stop the check: they are findings of the report.

    Args:
        root: The folder that holds `train/good`.
        progress: Called in the caller's thread after each picture with the number done and the total.

    Returns:
        The report; `report.is_usable` is false where `train/good` is missing or a file cannot be used.

    Raises:
        InputError: If `root` is not a folder.

    Example:
        >>> check(Path("../shared/data/nuts")).conclusion  # doctest: +SKIP
        'usable to train on, but no AUROC measured on it means much'
    """
    root = Path(root)
    dataset = list_dataset(root)
    files = _read_all(dataset, progress)
    facts = {file.path: file for file in files}
    duplicates = find_duplicates(files)
    near = find_near_duplicates(files)
    confounds = _confounds(files, duplicates)
    splits = find_splits([file for file in files if file.split == "train"])
    findings = [
        *structure_findings(dataset),
        *_unusable(files),
        *mask_findings(dataset, facts),
        *duplicate_findings(files, duplicates),
        *confound_findings(confounds),
        *split_findings(splits),
        *near_duplicate_findings(near),
    ]
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))  # stable: within one weight as above
    return CheckReport(
        root=root,
        folders=_summaries(dataset, files),
        findings=tuple(findings),
        files=files,
        duplicates=duplicates,
        near_duplicates=near,
        confounds=confounds,
        splits=splits,
        fingerprint=_fingerprint(dataset, files),
    )


def _read_all(dataset: Dataset, progress: Callable[[int, int], None] | None) -> tuple[FileFacts, ...]:
    """Read every picture, training first, on a few threads."""
    jobs = [
        *((path, "train", GOOD) for path in dataset.train_good),
        *((path, "test", GOOD) for path in dataset.test_good),
        *((path, "test", kind) for kind, paths in dataset.defects.items() for path in paths),
    ]
    files: list[FileFacts] = []
    executor = ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS))
    try:
        for facts in executor.map(lambda job: read_facts(dataset.root, job[0], split=job[1], kind=job[2]), jobs):
            files.append(facts)
            if progress:
                progress(len(files), len(jobs))
    finally:
        executor.shutdown(cancel_futures=True)  # Ctrl-C stops after the pictures that are being read
    return tuple(files)


def _confounds(files: Sequence[FileFacts], duplicates: Sequence[DuplicateGroup]) -> Confounds:
    """Compare the good pictures that are new to the model with the defective ones."""
    leaked = leaked_files(duplicates)
    usable = [file for file in files if file.picture and file.path not in leaked]
    good = [file for file in usable if file.folder == f"test/{GOOD}"]
    good_from = f"test/{GOOD}"
    if not good:
        good = [file for file in usable if file.split == "train"]
        good_from = f"train/{GOOD}"
    return find_confounds(
        [file.picture for file in good if file.picture],
        [file.picture for file in usable if file.picture and file.kind != GOOD],
        good_from=good_from,
        n_left_out=len(leaked),
    )


def _unusable(files: Sequence[FileFacts]) -> list[Finding]:
    """Say which files cannot be used, and where none of the training pictures can."""
    empty = [file for file in files if file.problem and file.sha256 and not file.size_bytes]
    others = [file for file in files if file.problem and file not in empty]
    training = [file for file in files if file.split == "train"]
    findings = []
    if training and not any(file.picture for file in training):
        findings.append(
            Finding(
                severity=Severity.ERROR,
                code="no-usable-training-picture",
                what="none of the pictures in train/good can be used",
                action="put pictures of good parts there",
            )
        )
    for code, hits, what, action in (
        ("empty-file", empty, "empty (0 bytes)", "copy it again or delete it"),
        ("unusable-picture", others, "not usable", "replace, convert or delete it"),
    ):
        if hits:
            findings.append(
                Finding(
                    severity=Severity.ERROR,
                    code=code,
                    what=f"{counted(len(hits), 'picture')} {'is' if len(hits) == 1 else 'are'} {what}",
                    action=action if len(hits) == 1 else action.replace(" it", " them"),
                    details=tuple(file.problem for file in hits if file.problem),
                )
            )
    return findings


def _summaries(dataset: Dataset, files: Sequence[FileFacts]) -> tuple[FolderSummary, ...]:
    """Summarise each split and kind."""
    by_folder: dict[str, list[FileFacts]] = {}
    for file in files:
        by_folder.setdefault(file.folder, []).append(file)
    return tuple(
        FolderSummary.of(members, n_masks=sum(dataset.root / file.path in dataset.masks for file in members))
        for members in by_folder.values()
    )


def _fingerprint(dataset: Dataset, files: Sequence[FileFacts]) -> str | None:
    """Return the data set's fingerprint from the digests at hand."""
    digests = {dataset.root / file.path: file.sha256 for file in files if file.sha256}
    if len(digests) < len(files):
        return None
    return fingerprint(dataset, digests=digests)
