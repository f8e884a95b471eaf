"""Pictures that are nearly the same to the eye, by the 256-bit DCT hash of `imagehash` (`phash`, 16 x 16).

The numbers come from measuring on the real sets (weld-nut cut-outs on white, magnetic tiles):

- A picture saved again as JPEG of quality 75, scaled to two thirds, with noise of 4 grey levels or 10%
  brighter differs by 0-6 bits in the median and by 10 at most (20 for a few brightened tiles).
- Different nuts, cut out on white and lying alike, differ by 16 bits or more; the pairs below that (0 and 4
  bits) are the same nut cut out twice. The pairs of tiles up to 16 bits show one tile at different exposures.
- The 64-bit hash, the difference hash and the average hash put many different nuts at distance 0.

So pairs up to 12 bits are reported. Parts that all lie alike under a fixed camera can be closer than that
though they differ; there the limit falls to a quarter of the median distance of all pairs: a pair has to
stand out from its own set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_dataset.facts import HASH_BITS, FileFacts
from nut_dataset.findings import Finding, Severity, counted

__all__ = [
    "MAX_DISTANCE_BITS",
    "MAX_PAIRS",
    "NearDuplicates",
    "NearPair",
    "find_near_duplicates",
    "near_duplicate_findings",
]

MAX_DISTANCE_BITS = 12
MAX_PAIRS = 1000

_SHARE_OF_MEDIAN = 0.25
_MIN_FOR_MEDIAN = 20  # pictures; fewer have no typical distance
_SAFE_BITS = 10  # below this, not every copy that was saved another way is found (see above)
_BLOCK = 512  # rows compared at a time: 512 x 10,000 distances take 10 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two files that look the same.

    Attributes:
        first: The one file; the training file where only one of the two is.
        second: The other file.
        distance_bits: Bits of 256 in which the hashes differ.
    """

    first: FileFacts
    second: FileFacts
    distance_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """The pairs of files that look the same.

    Attributes:
        limit_bits: Pairs up to this distance are counted.
        median_bits: Median distance of all pairs: how much the pictures of this set differ otherwise.
        n_pairs: Number of pairs within the limit.
        pairs: These pairs, the closest first, at most about `MAX_PAIRS` of them.
    """

    limit_bits: int
    median_bits: int
    n_pairs: int
    pairs: tuple[NearPair, ...]


def find_near_duplicates(files: Sequence[FileFacts]) -> NearDuplicates:
    """Find the pairs of readable files that look the same; files with equal pixels count as one.

    Time is O(N^2) on packed words, in blocks; memory is O(N).
    """
    distinct: dict[str, FileFacts] = {}
    for file in files:
        if file.picture:
            distinct.setdefault(file.picture.pixels_sha256, file)
    words = _hash_words(list(distinct.values()))
    histogram = np.zeros(HASH_BITS + 1, np.int64)
    for _, distances in _blocks(words):
        histogram += np.bincount(distances[distances >= 0], minlength=HASH_BITS + 1)
    n_within = np.cumsum(histogram)  # (257,): pairs up to each distance
    median = int(np.searchsorted(n_within, n_within[-1] / 2)) if n_within[-1] else 0
    limit = MAX_DISTANCE_BITS
    if len(words) >= _MIN_FOR_MEDIAN:
        limit = min(limit, int(median * _SHARE_OF_MEDIAN))
    pairs = _closest_pairs(list(distinct.values()), words, _distance_for(MAX_PAIRS, n_within[: limit + 1]))
    return NearDuplicates(limit_bits=limit, median_bits=median, n_pairs=int(n_within[limit]), pairs=tuple(pairs))


def _hash_words(files: Sequence[FileFacts]) -> NDArray[np.uint64]:
    """Return the hashes as `[N, 4]` words of 64 bits."""
    data = b"".join(bytes.fromhex(file.picture.phash) for file in files if file.picture)
    return np.frombuffer(data, np.uint64).reshape(len(files), HASH_BITS // 64)


def _blocks(words: NDArray[np.uint64]) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Yield the first row and the Hamming distances `[rows, N]` of each block; -1 where column <= row."""
    n_files = len(words)
    for start in range(0, n_files, _BLOCK):
        block = words[start : start + _BLOCK]
        distances = np.zeros((len(block), n_files), np.int16)
        for word in range(words.shape[1]):  # one word at a time, so that the temporary stays small
            distances += np.bitwise_count(block[:, None, word] ^ words[None, :, word])
        distances[np.arange(n_files)[None, :] <= np.arange(start, start + len(block))[:, None]] = -1
        yield start, distances


def _distance_for(n_pairs: int, n_within: NDArray[np.int64]) -> int:
    """Return the largest distance that yields at most `n_pairs` pairs, or 0."""
    return max(int(np.searchsorted(n_within, n_pairs, side="right")) - 1, 0)


def _closest_pairs(files: Sequence[FileFacts], words: NDArray[np.uint64], limit: int) -> list[NearPair]:
    """Return the pairs up to `limit` bits, closest first, at most `MAX_PAIRS`."""
    pairs: list[NearPair] = []
    for start, distances in _blocks(words):
        rows, columns = np.nonzero((distances >= 0) & (distances <= limit))
        for row, column in zip(rows[:MAX_PAIRS], columns[:MAX_PAIRS], strict=True):
            first, second, distance = files[start + row], files[column], int(distances[row, column])
            pairs.append(NearPair(first=first, second=second, distance_bits=distance))
    return sorted(pairs, key=lambda pair: pair.distance_bits)[:MAX_PAIRS]


def near_duplicate_findings(near: NearDuplicates) -> list[Finding]:
    """Warn of look-alikes across train and test; note those within one of them."""
    across = [pair for pair in near.pairs if pair.first.split != pair.second.split]
    within = [pair for pair in near.pairs if pair.first.split == pair.second.split]
    more = "" if near.n_pairs == len(near.pairs) else f" (of {near.n_pairs} pairs the closest were taken)"
    findings = []
    if across:
        findings.append(
            Finding(
                severity=Severity.WARNING,
                code="near-duplicates-across",
                what=f"{_pairs(across)} across train and test{more}",
                action="look at them: one part in both makes the test easier than the line will be",
                details=tuple(map(_line, across)),
            )
        )
    if within:
        findings.append(
            Finding(
                severity=Severity.NOTE,
                code="near-duplicates-within",
                what=f"{_pairs(within)} within train or within test{more}",
                details=tuple(map(_line, within)),
            )
        )
    if near.limit_bits < _SAFE_BITS:
        findings.append(
            Finding(
                severity=Severity.NOTE,
                code="near-duplicates-unseen",
                what="the pictures look so much alike that copies saved another way may go unnoticed",
            )
        )
    return findings


def _pairs(pairs: Sequence[NearPair]) -> str:
    """Return how many there are."""
    return counted(len(pairs), "pair of pictures that look the same", "pairs of pictures that look the same")


def _line(pair: NearPair) -> str:
    """Return the pair as one line."""
    first, second = pair.first.path.as_posix(), pair.second.path.as_posix()
    return f"{first} ~ {second} ({pair.distance_bits} of {HASH_BITS} bits)"
