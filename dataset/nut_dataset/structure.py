"""What lies where: folders that are missing, empty or not read, and files that are no pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

from nut_dataset.findings import Finding, Severity, counted
from nut_dataset.layout import GOOD, Dataset
from nut_runtime.pictures import EXTENSIONS, extensions_text

__all__ = ["MIN_TRAIN_PICTURES", "structure_findings"]

MIN_TRAIN_PICTURES = 20
"""Fewer leave nothing to hold out: a 5% false-reject rate needs 20 good parts to be seen once."""

_MAX_DEPTH = 3
_MAX_SHOWN = 3
_LITTER = frozenset({"thumbs.db", "desktop.ini"})  # operating systems leave these; hidden files are left out too
_LIKE_GOOD = frozenset({"good", "ok", "okay", "normal"})


def structure_findings(dataset: Dataset) -> list[Finding]:
    """Compare the folders of `dataset` with the layout that is read (see `nut_dataset.layout`)."""
    unread: dict[str, int] = {}
    not_pictures: list[str] = []
    empty: list[str] = []
    for folder, names in _walk(dataset.root):
        pictures = [name for name in names if Path(name).suffix.lower() in EXTENSIONS]
        if _holds_pictures(folder):
            not_pictures += [f"{folder}/{name}" for name in names if name not in pictures]
            if not pictures and not folder.endswith(f"/{GOOD}"):  # those have findings of their own
                empty.append(folder)
        elif pictures and folder.split("/")[0] != "ground_truth":  # nut_dataset.masks has those
            unread[folder] = len(pictures)
    return [
        *_training(dataset, unread),
        *_testing(dataset, empty),
        *_unexpected(unread if dataset.train_good else {}, not_pictures),
    ]


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each visible folder down to the third level, relative to `root`, with its visible files."""
    for place, folders, names in os.walk(root):
        folder = Path(place).relative_to(root)
        depth = len(folder.parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and depth < _MAX_DEPTH)
        visible = (name for name in names if not name.startswith(".") and name.lower() not in _LITTER)
        yield folder.as_posix(), sorted(visible)


def _holds_pictures(folder: str) -> bool:
    """Whether pictures in `folder` are read."""
    return folder == f"train/{GOOD}" or (folder.startswith("test/") and folder.count("/") == 1)


def _training(dataset: Dataset, unread: dict[str, int]) -> list[Finding]:
    """Say that training pictures are missing or few."""
    if not dataset.train_good:
        is_there = (dataset.root / "train" / GOOD).is_dir()
        found = [f"{'this folder itself' if name == '.' else name} ({n})" for name, n in unread.items()]
        seen = f"; pictures are in {', '.join(found[:_MAX_SHOWN])}" if found else ""
        return [
            Finding(
                severity=Severity.ERROR,
                code="no-training-pictures",
                what=f"train/good {'holds no pictures' if is_there else 'is missing'}{seen}",
                action=f"put pictures of good parts ({extensions_text()}) into train/good",
            )
        ]
    if len(dataset.train_good) < MIN_TRAIN_PICTURES:
        return [
            Finding(
                severity=Severity.WARNING,
                code="few-training-pictures",
                what=f"train/good holds {counted(len(dataset.train_good), 'picture')} only",
                action=f"take {MIN_TRAIN_PICTURES} or more, so that some can be held out for the threshold",
            )
        ]
    return []


def _testing(dataset: Dataset, empty: list[str]) -> list[Finding]:
    """Say what cannot be measured, and which kinds look misnamed."""
    findings = [
        Finding(
            severity=Severity.WARNING,
            code="good-named-otherwise",
            what=f"test/{kind} counts as a kind of defect",
            action=f"rename it to test/{GOOD} if its parts are good",
        )
        for kind in dataset.defects
        if kind.lower() in _LIKE_GOOD
    ]
    for code, is_missing, what in (
        (
            "no-good-test-pictures",
            not dataset.test_good,
            "no pictures in test/good: AUROC cannot be measured",
        ),
        (
            "no-defects",
            not dataset.defects,
            "no pictures of defects: only the false-reject rate can be measured",
        ),
    ):
        if is_missing and dataset.train_good:
            findings.append(Finding(severity=Severity.NOTE, code=code, what=what))
    if empty:
        findings.append(
            Finding(
                severity=Severity.NOTE,
                code="empty-folder",
                what=f"no pictures in {', '.join(empty)}",
            )
        )
    return findings


def _unexpected(unread: dict[str, int], not_pictures: list[str]) -> list[Finding]:
    """Say which folders and files are passed over."""
    findings = []
    if unread:
        where = "folder whose pictures are" if len(unread) == 1 else "folders whose pictures are"
        findings.append(
            Finding(
                severity=Severity.WARNING,
                code="unread-folder",
                what=f"{len(unread)} {where} not read",
                action="only train/good, test/KIND and ground_truth/KIND are read, not folders inside them",
                details=tuple(f"{name} ({counted(n, 'picture')})" for name, n in unread.items()),
            )
        )
    if not_pictures:
        findings.append(
            Finding(
                severity=Severity.WARNING,
                code="not-a-picture",
                what=f"{counted(len(not_pictures), 'file')} among the pictures will not be read",
                action=f"pictures end in {extensions_text()}; move the others elsewhere",
                details=tuple(not_pictures),
            )
        )
    return findings
