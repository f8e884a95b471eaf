"""What a check found, as data; `to_json()` is the format that `nut dataset check --json` prints."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nut_dataset.confounds import Confounds
from nut_dataset.duplicates import DuplicateGroup
from nut_dataset.facts import FileFacts
from nut_dataset.findings import Finding, Severity, counted
from nut_dataset.groups import Split
from nut_dataset.near_duplicates import NearDuplicates

__all__ = ["SCHEMA_VERSION", "CheckReport", "FolderSummary"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSummary:
    """The pictures of one split and kind.

    Attributes:
        split: `train` or `test`.
        kind: `good` or the kind of defect.
        n_pictures: Picture files in the folder.
        n_unusable: Those of them that cannot be read or are refused.
        n_masks: Pictures that have a mask.
        sizes: How many pictures there are of each size, `{"640x480": 12}`, the most frequent first.
        modes: The same for channel modes, in Pillow's names.
        formats: The same for file formats.
        bytes_total: Size of all files together.
    """

    split: str
    kind: str
    n_pictures: int
    n_unusable: int
    n_masks: int
    sizes: dict[str, int]
    modes: dict[str, int]
    formats: dict[str, int]
    bytes_total: int

    @classmethod
    def of(cls, files: Sequence[FileFacts], *, n_masks: int) -> "FolderSummary":
        """Summarise `files`, at least one, all of the same split and kind."""
        pictures = [file.picture for file in files if file.picture]
        return cls(
            split=files[0].split,
            kind=files[0].kind,
            n_pictures=len(files),
            n_unusable=len(files) - len(pictures),
            n_masks=n_masks,
            sizes=dict(Counter(picture.size for picture in pictures).most_common()),
            modes=dict(Counter(picture.mode for picture in pictures).most_common()),
            formats=dict(Counter(picture.format for picture in pictures).most_common()),
            bytes_total=sum(file.size_bytes for file in files),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Everything that `check` found out about a data set.

    Attributes:
        root: The data set's folder.
        folders: A summary of each split and kind that has pictures.
        findings: What there is to say, errors first.
        files: Every picture file with its properties.
        duplicates: Files with equal pixels.
        near_duplicates: Files that look the same.
        confounds: Properties against labels.
        splits: Groups within the training pictures.
        fingerprint: SHA-256 of the whole set as `nut_dataset.layout.fingerprint` gives it, to compare with a
            run's; None where a file cannot be opened.
    """

    root: Path
    folders: tuple[FolderSummary, ...]
    findings: tuple[Finding, ...]
    files: tuple[FileFacts, ...]
    duplicates: tuple[DuplicateGroup, ...]
    near_duplicates: NearDuplicates
    confounds: Confounds
    splits: tuple[Split, ...]
    fingerprint: str | None

    @property
    def is_usable(self) -> bool:
        """Whether there is no error."""
        return not self.count(Severity.ERROR)

    @property
    def conclusion(self) -> str:
        """The report in one line."""
        n_errors, n_warnings = self.count(Severity.ERROR), self.count(Severity.WARNING)
        if n_errors:
            return f"not usable yet: {counted(n_errors, 'error')} to mend first"
        codes = {finding.code for finding in self.findings}
        if codes & {"file-confound", "photo-confound"}:
            return "usable to train on, but no AUROC measured on it means much"
        if "leaked-test-files" in codes:
            return "usable to train on, but take the leaked files out before you measure on it"
        return f"usable, with {counted(n_warnings, 'warning')}" if n_warnings else "usable, nothing to complain of"

    def count(self, severity: Severity) -> int:
        """Return the number of findings of that severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain types; paths are relative to the root, with forward slashes."""
        near = self.near_duplicates
        return {
            "schema_version": SCHEMA_VERSION,
            "root": str(self.root),
            "is_usable": self.is_usable,
            "conclusion": self.conclusion,
            "fingerprint": self.fingerprint,
            "folders": [dataclasses.asdict(folder) for folder in self.folders],
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "duplicates": [
                {"files": _names(group.files), "is_same_bytes": group.is_same_bytes} for group in self.duplicates
            ],
            "near_duplicates": {
                "hash": "imagehash.phash, 256 bits",
                "limit_bits": near.limit_bits,
                "median_bits": near.median_bits,
                "n_pairs": near.n_pairs,
                "pairs": [
                    {"files": _names((pair.first, pair.second)), "distance_bits": pair.distance_bits}
                    for pair in near.pairs
                ],
            },
            "confounds": {
                **dataclasses.asdict(self.confounds),
                "separations": [
                    {**dataclasses.asdict(separation), "is_confound": separation.is_confound}
                    for separation in self.confounds.separations
                ],
            },
            "splits": [
                {"properties": list(split.properties), "groups": [_names(group) for group in split.groups]}
                for split in self.splits
            ],
            "files": [{**dataclasses.asdict(file), "path": file.path.as_posix()} for file in self.files],
        }


def _names(files: Sequence[FileFacts]) -> list[str]:
    """Return the paths as text."""
    return [file.path.as_posix() for file in files]
