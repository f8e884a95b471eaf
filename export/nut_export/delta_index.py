"""Where the blocks of some files lie, found by a hash that is rolled over other bytes.

A block of n bytes has the hash sum(byte[j] * R^(n-1-j)) mod 2^64. Of a run of bytes that of every place is worked out
at once, from running sums of byte[k] * R^-k. An equal hash is a hint; what counts are the bytes themselves.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEGMENT_BYTES", "BlockIndex", "block_size"]

SEGMENT_BYTES: Final = 1 << 18
"""Places whose hashes are worked out at once; that takes about 50 bytes each."""

_SMALLEST_BLOCK = 64  # a copy of fewer bytes would hardly be shorter than the bytes
_MOST_BLOCKS = 1 << 21
_FACTOR = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse mod 2^64
_INVERSE = pow(_FACTOR, -1, 1 << 64)
_TABLE_BITS = 24

Hashes = NDArray[np.uint64]


def block_size(size_bytes: int) -> int:
    """Return how long a block is: 64 bytes, or longer where the index would have over two million of them.

    Args:
        size_bytes: Of all files to be indexed.

    Example:
        >>> block_size(10**6), block_size(10**9)
        (64, 512)
    """
    block = _SMALLEST_BLOCK
    while size_bytes > block * _MOST_BLOCKS:
        block *= 2
    return block


class BlockIndex:
    """Blocks of files, by hash.

    Args:
        block: Length of a block, in bytes.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        exponents = SEGMENT_BYTES + block
        self._powers = _powers(_FACTOR, exponents)
        self._inverse = _powers(_INVERSE, exponents)
        self._hashes: Hashes = np.zeros(0, np.uint64)
        self._files: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._offsets: NDArray[np.int64] = np.zeros(0, np.int64)
        self._is_there = np.zeros((2, 1 << _TABLE_BITS), np.bool_)  # one for each of `_slots`

    def add(self, file: int, data: NDArray[np.uint8], ranges: Iterable[tuple[int, int]]) -> None:
        """Take in the blocks of a file; of equal blocks the first one stays.

        Args:
            file: Number of the file.
            data: Its bytes.
            ranges: Which of them, each from a place to before another.
        """
        hashes, offsets = [self._hashes], [self._offsets]
        for start, end in ranges:
            for place in range(start, end - self.block + 1, SEGMENT_BYTES):
                stop = min(place + SEGMENT_BYTES, end)
                blocks = data[place : place + (stop - place) // self.block * self.block].reshape(-1, self.block)
                hashes.append(blocks @ self._powers[: self.block][::-1])
                offsets.append(place + self.block * np.arange(len(blocks), dtype=np.int64))
        if len(hashes) == 1:
            return
        files = np.full(sum(map(len, offsets[1:])), file, np.uint32)
        self._hashes, first = np.unique(np.concatenate(hashes), return_index=True)
        self._offsets = np.concatenate(offsets)[first]
        self._files = np.concatenate([self._files, files])[first]
        for table, slots in zip(self._is_there, _slots(self._hashes), strict=True):
            table[slots] = True

    def find(self, data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places in some bytes at which a known block may begin, rising, and which block each is.

        Args:
            data: At most `SEGMENT_BYTES` places and the rest of the last block, uint8.
        """
        if len(data) < self.block or not len(self._hashes):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        sums = np.zeros(len(data) + 1, np.uint64)
        np.cumsum(data * self._inverse[: len(data)], out=sums[1:])
        hashes = (sums[self.block :] - sums[: -self.block]) * self._powers[self.block - 1 : len(data)]
        first, second = _slots(hashes)
        places = np.flatnonzero(self._is_there[0][first])
        places = places[self._is_there[1][second[places]]]
        numbers = np.searchsorted(self._hashes, hashes[places])
        numbers[numbers == len(self._hashes)] = 0
        is_equal = self._hashes[numbers] == hashes[places]
        return places[is_equal], numbers[is_equal]

    def where(self, number: int) -> tuple[int, int]:
        """Return the file of a block and its place in it."""
        return int(self._files[number]), int(self._offsets[number])


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _slots(hashes: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return two places in a table; from the high bits, since the low ones hang on the low bits of the bytes alone."""
    mixed = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(_FACTOR)
    shift = np.uint64(64 - _TABLE_BITS)
    return (hashes >> shift).view(np.int64), (mixed >> shift).view(np.int64)
