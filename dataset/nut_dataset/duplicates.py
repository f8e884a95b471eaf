"""Pictures that are there twice: the same file, or the same pixels in another file."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nut_dataset.facts import FileFacts
from nut_dataset.findings import Finding, Severity, counted
from nut_dataset.layout import GOOD

__all__ = ["DuplicateGroup", "duplicate_findings", "find_duplicates", "leaked_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Two or more files with the same pixels.

    Attributes:
        files: The files, in the order of the data set: training files first.
        is_same_bytes: Whether the files are the same to the byte, and not only their pixels.
    """

    files: tuple[FileFacts, ...]
    is_same_bytes: bool

    @property
    def kinds(self) -> frozenset[str]:
        """`good` or kinds of defect that the files are filed under."""
        return frozenset(file.kind for file in self.files)

    def count(self, split: str) -> int:
        """Return how many of the files belong to `split`, `train` or `test`."""
        return sum(file.split == split for file in self.files)


def find_duplicates(files: Sequence[FileFacts]) -> tuple[DuplicateGroup, ...]:
    """Group the readable files that have the same pixels."""
    groups: dict[str, list[FileFacts]] = defaultdict(list)
    for file in files:
        if file.picture:
            groups[file.picture.pixels_sha256].append(file)
    return tuple(
        DuplicateGroup(files=tuple(group), is_same_bytes=len({file.sha256 for file in group}) == 1)
        for group in groups.values()
        if len(group) > 1
    )


def leaked_files(groups: Sequence[DuplicateGroup]) -> dict[Path, FileFacts]:
    """Return, by path, each test file that repeats a training file, and the training file."""
    leaked = {}
    for group in groups:
        training = [file for file in group.files if file.split == "train"]
        for file in group.files if training else ():
            if file.split == "test":
                same_bytes = [other for other in training if other.sha256 == file.sha256]
                leaked[file.path] = (same_bytes or training)[0]
    return leaked


def duplicate_findings(files: Sequence[FileFacts], groups: Sequence[DuplicateGroup]) -> list[Finding]:
    """Say what the duplicates mean: leakage, contradiction, or mere repetition."""
    contradictory = [group for group in groups if GOOD in group.kinds and len(group.kinds) > 1]
    in_train = [group for group in groups if group.count("train") > 1]
    in_test = [group for group in groups if group.count("test") > 1 and group not in contradictory]
    return [
        *_leaks(files, groups),
        *_repeats(
            "good-and-defective",
            "both among the good and among the defective pictures",
            "decide which it is and delete the other",
            contradictory,
        ),
        *_repeats(
            "repeated-in-train",
            "more than once in train/good, so that parts held out for calibration are known already",
            "keep one of each",
            in_train,
        ),
        *_repeats(
            "repeated-in-test",
            "more than once among the test files and counted as often",
            "keep one of each",
            in_test,
        ),
    ]


def _leaks(files: Sequence[FileFacts], groups: Sequence[DuplicateGroup]) -> list[Finding]:
    """Warn of good test files that repeat training files."""
    leaked = leaked_files(groups)
    members = [file for file in files if file.split == "test" and file.kind == GOOD]
    hits = [file for file in members if file.path in leaked]
    if not hits:
        return []
    is_same = all(file.sha256 == leaked[file.path].sha256 for file in hits)
    how = "are byte-identical to training files" if is_same else "repeat training files to the byte or to the pixel"
    return [
        Finding(
            severity=Severity.WARNING,
            code="leaked-test-files",
            what=f"{len(hits)} of {len(members)} test/good files {how}: the model knows them by heart",
            action="delete them from test/good or from train/good",
            details=tuple(f"{file.path.as_posix()} = {leaked[file.path].path.as_posix()}" for file in hits),
        )
    ]


def _repeats(code: str, where: str, action: str, groups: Sequence[DuplicateGroup]) -> list[Finding]:
    """Warn of pictures that lie in several places; nothing where there are none."""
    if not groups:
        return []
    return [
        Finding(
            severity=Severity.WARNING,
            code=code,
            what=f"{counted(len(groups), 'picture')} {'is' if len(groups) == 1 else 'are'} {where}",
            action=action,
            details=tuple(" = ".join(file.path.as_posix() for file in group.files) for group in groups),
        )
    ]
