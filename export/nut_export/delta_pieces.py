"""The bytes of a new file as pieces of files that are known, and what of it is new."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_export.delta_index import SEGMENT_BYTES, BlockIndex

__all__ = ["Copy", "KnownFiles", "Literal"]

_FIRST_LOOK = 4096  # bytes compared at first; then twice as many each time, up to a megabyte
_LAST_LOOK = 1 << 20

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Copy:
    """Bytes of a known file.

    Attributes:
        source: Number of the file.
        offset: Where they begin in it.
        length: How many they are.
    """

    source: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes of the new file itself, from one place to before another."""

    start: int
    end: int


class KnownFiles:
    """Files from which pieces are taken.

    Args:
        files: By number; kept open as they are, such as `np.memmap`.
        block: Length of the blocks by which pieces are found; shorter ones are not.
    """

    def __init__(self, files: Sequence[Bytes], *, block: int) -> None:
        self._files = list(files)
        self._index = BlockIndex(block)
        for number, data in enumerate(self._files):
            self._index.add(number, data, [(0, len(data))])

    def add(self, data: Bytes, pieces: Sequence[Copy | Literal]) -> None:
        """Take in a file that was told in pieces: what was new in it is known from now on."""
        self._files.append(data)
        ranges = [(piece.start, piece.end) for piece in pieces if isinstance(piece, Literal)]
        self._index.add(len(self._files) - 1, data, ranges)

    def pieces(self, data: Bytes) -> Iterator[Copy | Literal]:
        """Return the pieces of a new file in their order; together they are the whole of it.

        Args:
            data: The file, uint8.
        """
        block, start, told = self._index.block, 0, 0
        while len(data) - start >= block:
            places, numbers = self._index.find(data[start : start + SEGMENT_BYTES + block - 1])
            at = 0
            while at < len(places):
                place = start + int(places[at])
                source, offset = self._index.where(int(numbers[at]))
                known = self._files[source]
                length = _common(known[offset:], data[place:])
                if length < block:  # the same hash of other bytes
                    at += 1
                    continue
                before = _common(known[:offset][::-1], data[told:place][::-1])
                if told < place - before:
                    yield Literal(told, place - before)
                yield Copy(source, offset - before, before + length)
                told = place + length
                at = int(np.searchsorted(places, told - start))
            start = max(start + SEGMENT_BYTES, told)
        if told < len(data):
            yield Literal(told, len(data))


def _common(one: Bytes, other: Bytes) -> int:
    """Return how many bytes two runs have in common at their start."""
    end = min(len(one), len(other))
    done, look = 0, _FIRST_LOOK
    while done < end:
        differ = one[done : min(done + look, end)] != other[done : min(done + look, end)]
        first = int(differ.argmax())
        if differ[first]:
            return done + first
        done += len(differ)
        look = min(2 * look, _LAST_LOOK)
    return end
