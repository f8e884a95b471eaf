"""Is `train/good` one set of pictures, or several mixed?

A memory bank of two kinds of photograph judges each by the other as well, and a threshold between them fits
neither. A property splits the training pictures in two when

- Otsu's ratio (between-class variance over total variance at the best cut) is at least 0.9: a normal
  distribution gives 0.64, a uniform one 0.75, two equal clusters 12 of their standard deviations apart 0.97;
- the gap between the two groups is at least half the distance of their medians, and large enough to be seen
  (`Measure.min_gap`); and
- there are 20 pictures, and each group has at least 4 and 5% of them: an outlier is no group.

On simulated sets of 20 pictures without groups (normal, uniform, lognormal, exponential, t with 2 degrees of
freedom) that cries wolf in at most 0.2% of 1,500 cases for each property, with 40 pictures or more in none.
Sizes are compared by their logarithm. Three clusters are found as two where one is far from the others. A
property that is a word splits the pictures where those without the most frequent word are a group.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_dataset.facts import FileFacts, PictureFacts
from nut_dataset.findings import Finding, Severity
from nut_dataset.properties import CATEGORIES, MEASURES

__all__ = ["Split", "find_splits", "otsu_split", "split_findings"]

MIN_RATIO = 0.9
MIN_GAP_SHARE = 0.5
MIN_SHARE = 0.05
MIN_MEMBERS = 4
MIN_PICTURES = 20

_SAME_SPLIT = 0.9  # two properties that agree on this share of the pictures tell the same two groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Two groups of training pictures.

    Attributes:
        properties: Labels of the properties that tell the groups apart, the clearest first.
        groups: The files of each group, the larger group first.
    """

    properties: tuple[str, ...]
    groups: tuple[tuple[FileFacts, ...], tuple[FileFacts, ...]]


def otsu_split(values: NDArray[np.float64]) -> tuple[float, float, NDArray[np.bool_]] | None:
    """Cut numbers in two where the variance between the two parts is largest.

    Args:
        values: Shape (N,).

    Returns:
        Otsu's ratio (0..1), the width of the gap at the cut, and which values lie above it, shape (N,); None
        where all values are equal.

    Example:
        >>> ratio, gap, above = otsu_split(np.array([1.0, 9.0, 1.0, 9.0]))
        >>> ratio, gap, above.tolist()
        (1.0, 8.0, [False, True, False, True])
    """
    ordered = np.sort(values)
    n_values = len(ordered)
    cuts = np.flatnonzero(np.diff(ordered) > 0) + 1  # number of values below each possible cut
    if not len(cuts):
        return None
    sums = np.cumsum(ordered)
    low = sums[cuts - 1] / cuts
    high = (sums[-1] - sums[cuts - 1]) / (n_values - cuts)
    between = cuts * (n_values - cuts) / n_values * (high - low) ** 2
    best = int(np.argmax(between))
    cut = int(cuts[best])
    ratio = float(between[best] / ((ordered - ordered.mean()) ** 2).sum())
    return ratio, float(ordered[cut] - ordered[cut - 1]), values >= ordered[cut]


def find_splits(files: Sequence[FileFacts]) -> tuple[Split, ...]:
    """Find the groups that properties of file and photograph split the readable `files` into.

    Properties that tell the same two groups are one split.
    """
    readable = [file for file in files if file.picture]
    pictures = [file.picture for file in readable if file.picture]
    found = _by_word(pictures)
    if len(pictures) >= MIN_PICTURES:
        found += _by_number(pictures)
    found.sort(key=lambda split: -split[0])
    splits: list[tuple[list[str], NDArray[np.bool_]]] = []
    for _, label, above in found:
        for labels, other in splits:
            agreement = float((above == other).mean())
            if max(agreement, 1 - agreement) >= _SAME_SPLIT:
                labels.append(label)
                break
        else:
            splits.append(([label], above))
    return tuple(Split(properties=tuple(labels), groups=_groups(readable, above)) for labels, above in splits)


def _groups(
    files: Sequence[FileFacts], above: NDArray[np.bool_]
) -> tuple[tuple[FileFacts, ...], tuple[FileFacts, ...]]:
    """Return the two groups, the larger first."""
    low = tuple(file for file, is_above in zip(files, above, strict=True) if not is_above)
    high = tuple(file for file, is_above in zip(files, above, strict=True) if is_above)
    return (low, high) if len(low) >= len(high) else (high, low)


def _by_word(pictures: Sequence[PictureFacts]) -> list[tuple[float, str, NDArray[np.bool_]]]:
    """Return ratio 1, label and membership (N,) for each word that splits the pictures."""
    found = []
    for prop in CATEGORIES:
        words = prop.values(pictures)
        if prop.name == "size":
            continue  # the measures of size tell groups of sizes from sizes that merely vary
        most = Counter(words).most_common(1)
        if most and _is_group(len(words) - most[0][1], len(words)):
            found.append((1.0, prop.label, np.array(words) != most[0][0]))
    return found


def _by_number(pictures: Sequence[PictureFacts]) -> list[tuple[float, str, NDArray[np.bool_]]]:
    """Return Otsu's ratio, label and membership (N,) for each number that splits the pictures."""
    found = []
    for prop in MEASURES:
        values, min_gap = prop.values(pictures), prop.min_gap
        if prop.is_ratio:
            values, min_gap = np.log(values), float(np.log(min_gap))
        cut = otsu_split(values)
        if cut is None:
            continue
        ratio, gap, above = cut
        apart = float(np.median(values[above]) - np.median(values[~above]))
        n_smaller = int(min(above.sum(), (~above).sum()))
        is_wide = gap >= max(min_gap, MIN_GAP_SHARE * apart)
        if ratio >= MIN_RATIO and is_wide and _is_group(n_smaller, len(values)):
            found.append((ratio, prop.label, above))
    return found


def _is_group(n_members: int, n_pictures: int) -> bool:
    """Whether so many pictures are a group, and not outliers."""
    return n_members >= max(MIN_MEMBERS, MIN_SHARE * n_pictures)


def split_findings(splits: Sequence[Split]) -> list[Finding]:
    """Warn of each split."""
    return [
        Finding(
            severity=Severity.WARNING,
            code="mixed-training-set",
            what=f"train/good mixes two groups of pictures, told apart by {_listed(split.properties)}",
            action="train on one group, or make one model for each",
            details=tuple(_line(group) for group in split.groups),
        )
        for split in splits
    ]


def _listed(labels: Sequence[str]) -> str:
    """Join names in a sentence."""
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _line(group: Sequence[FileFacts]) -> str:
    """Describe a group by what is typical of it, with an example."""
    pictures = [file.picture for file in group if file.picture]
    modes = Counter(picture.mode for picture in pictures).most_common(1)[0][0]
    background = Counter(picture.background_name for picture in pictures).most_common(1)[0][0]
    width = np.array([picture.width_px for picture in pictures])
    height = np.array([picture.height_px for picture in pictures])
    brightness = np.median([picture.brightness for picture in pictures])
    return (
        f"{len(group)} pictures: {modes}, {_span(width)} x {_span(height)} px, {background}, "
        f"brightness {brightness:.0f} of 255; for example {group[0].path.as_posix()}"
    )


def _span(values: NDArray[np.int_]) -> str:
    """Return the range as text, or the one value."""
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low}-{high}"
