"""Masks against pictures: missing, left over, of another size, empty, or marking everything."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from nut_dataset.facts import FileFacts
from nut_dataset.findings import Finding, Severity, counted
from nut_dataset.layout import Dataset, read_mask
from nut_runtime.errors import PictureError

__all__ = ["mask_findings"]

_MOST = 0.95  # a "defect" on more of the picture than this is more likely an inverted mask


def mask_findings(dataset: Dataset, facts: Mapping[Path, FileFacts]) -> list[Finding]:
    """Check the masks of `dataset`.

    Args:
        dataset: The data set as it lies on the disk.
        facts: What was read of each picture, by its path relative to the data set.
    """
    return [*_pairing(dataset), *_contents(dataset, facts)]


def _pairing(dataset: Dataset) -> list[Finding]:
    """Find pictures without masks, masks without pictures, and masks that two pictures share."""
    without = []
    bare_kinds = []
    for kind, paths in dataset.defects.items():
        missing = [path for path in paths if path not in dataset.masks]
        if len(missing) == len(paths):
            bare_kinds.append(f"test/{kind} ({counted(len(paths), 'picture')})")
        else:
            without += [_relative(dataset, path) for path in missing]
    shared = [mask for mask, users in Counter(dataset.masks.values()).items() if users > 1]
    findings = [
        _finding(
            "picture-without-mask",
            (without, "defective picture", "has no mask", "have no mask, though others of the kind have"),
            "draw the mask; pixel figures leave the picture out",
        ),
        _finding(
            "mask-without-picture",
            (
                _left_over(dataset),
                "file",
                "in ground_truth belongs to no picture",
                "in ground_truth belong to no picture",
            ),
            "name masks ground_truth/KIND/STEM_mask.png after the picture test/KIND/STEM.*, or delete them",
        ),
        _finding(
            "shared-mask",
            (
                [_relative(dataset, mask) for mask in shared],
                "mask",
                "is shared by two pictures",
                "are shared",
            ),
            "give pictures of one kind different names before the dot",
        ),
    ]
    if bare_kinds:
        findings.append(
            Finding(
                severity=Severity.NOTE,
                code="no-masks",
                what=f"no masks for {', '.join(bare_kinds)}: pixel figures leave them out",
            )
        )
    return [finding for finding in findings if finding]


def _left_over(dataset: Dataset) -> list[str]:
    """Return the files under ground_truth that are no mask of a picture."""
    used = set(dataset.masks.values())
    folder = dataset.root / "ground_truth"
    return sorted(
        _relative(dataset, path)
        for path in (folder.rglob("*") if folder.is_dir() else ())
        if path.is_file() and path not in used and not path.name.startswith(".")
    )


def _contents(dataset: Dataset, facts: Mapping[Path, FileFacts]) -> list[Finding]:
    """Read every mask and compare it with its picture."""
    unreadable, sizes, empty, full = [], [], [], []
    for path, mask_path in dataset.masks.items():
        name = _relative(dataset, mask_path)
        try:
            mask = read_mask(mask_path)
        except PictureError as error:
            unreadable.append(str(error).replace(str(mask_path), name))
            continue
        picture = facts[path.relative_to(dataset.root)].picture
        height, width = mask.shape
        if picture and (width, height) != (picture.width_px, picture.height_px):
            sizes.append(f"{name} is {width}x{height} px, its picture {picture.size} px")
        if not mask.any():
            empty.append(name)
        elif mask.mean() > _MOST:
            full.append(f"{name} marks {100 * mask.mean():.0f}% of the picture")
    findings = [
        _finding(
            "unreadable-mask",
            (unreadable, "mask", "cannot be read", "cannot be read"),
            "replace or delete it",
            severity=Severity.ERROR,
        ),
        _finding(
            "mask-size",
            (sizes, "mask", "is of another size than its picture", "are of another size than their picture"),
            "draw it on the picture itself; a stretched mask marks the wrong pixels",
        ),
        _finding(
            "empty-mask",
            (empty, "mask", "marks nothing", "mark nothing"),
            "draw the defect; pixels above 0 are defective",
        ),
        _finding(
            "full-mask",
            (full, "mask", "marks nearly everything", "mark nearly everything"),
            "look whether it is inverted; pixels above 0 are defective",
        ),
    ]
    return [finding for finding in findings if finding]


def _finding(
    code: str, hits: tuple[list[str], str, str, str], action: str, *, severity: Severity = Severity.WARNING
) -> Finding | None:
    """Return a finding about `hits` (lines, noun, predicates for one and for several); None without lines."""
    lines, noun, one, several = hits
    if not lines:
        return None
    return Finding(
        severity=severity,
        code=code,
        what=f"{counted(len(lines), noun)} {one if len(lines) == 1 else several}",
        action=action,
        details=tuple(lines),
    )


def _relative(dataset: Dataset, path: Path) -> str:
    """Return `path` as the user knows it."""
    return path.relative_to(dataset.root).as_posix()
