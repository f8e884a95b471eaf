"""What the data set check has to say beside the figures that were measured on it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nut_dataset.check import check
from nut_dataset.progress import Progress, no_progress

__all__ = ["data_findings"]

# A set that is only tested on needs no training pictures; whoever trains is refused without them.
_NOT_HERE = frozenset({"no-training-pictures"})
_MOST_DETAILS = 100


def data_findings(root: Path, *, progress: Progress = no_progress) -> list[dict[str, Any]]:
    """Return the findings of `nut_dataset.check` as plain types, the heaviest first and leakage before all.

    Args:
        root: The data set.
        progress: Told of each picture.

    Raises:
        InputError: If `root` is not a folder.
    """
    report = check(root, progress=lambda done, total: progress("checking the data set", done, total))
    findings = [asdict(finding) for finding in report.findings if finding.code not in _NOT_HERE]
    for finding in findings:
        finding["severity"] = str(finding["severity"])
        finding["details"] = list(finding["details"][:_MOST_DETAILS])
    return sorted(findings, key=lambda finding: not finding["code"].startswith("leaked"))  # stable
