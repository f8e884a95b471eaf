"""Pieces of known files are found wherever they lie, and what they are made of is the file itself."""

import numpy as np
import pytest

from nut_export import delta_index
from nut_export.delta_index import SEGMENT_BYTES, BlockIndex, block_size
from nut_export.delta_pieces import Copy, KnownFiles, Literal

BLOCK = 64
Pieces = list[Copy | Literal]


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8)


KNOWN = noise(3 * SEGMENT_BYTES + 1000, 0)


def put_together(pieces: Pieces, known: list[np.ndarray], data: np.ndarray) -> np.ndarray:
    parts = [
        known[one.source][one.offset : one.offset + one.length] if isinstance(one, Copy) else data[one.start : one.end]
        for one in pieces
    ]
    return np.concatenate([np.zeros(0, np.uint8), *parts])


def new_bytes(pieces: Pieces) -> int:
    return sum(one.end - one.start for one in pieces if isinstance(one, Literal))


def pieces_of(data: np.ndarray, *known: np.ndarray) -> Pieces:
    pieces = list(KnownFiles(known, block=BLOCK).pieces(data))
    assert (put_together(pieces, list(known), data) == data).all()
    return pieces


@pytest.mark.parametrize("shift", [0, 1, BLOCK - 1, BLOCK, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 63])
def test_a_file_that_was_shifted_is_one_copy(shift):
    pieces = pieces_of(np.concatenate([noise(shift, 1), KNOWN]), KNOWN)
    assert pieces[-1] == Copy(0, 0, len(KNOWN))
    assert new_bytes(pieces) == shift


def test_rows_that_were_appended_in_the_middle_are_all_that_is_new():
    data = np.concatenate([KNOWN[:100_001], noise(5000, 2), KNOWN[100_001:]])
    pieces = pieces_of(data, KNOWN)
    assert pieces == [Copy(0, 0, 100_001), Literal(100_001, 105_001), Copy(0, 100_001, len(KNOWN) - 100_001)]


def test_single_bytes_that_changed_cost_hardly_more_than_themselves():
    data = KNOWN.copy()
    data[::10_007] ^= 1
    pieces = pieces_of(data, KNOWN)
    assert new_bytes(pieces) == len(data[::10_007])


def test_pieces_come_from_any_file_in_any_order():
    other = noise(50_000, 3)
    data = np.concatenate([other[20_000:], KNOWN[:30_000], other[:20_000]])
    pieces = pieces_of(data, KNOWN, other)
    assert [one.source for one in pieces if isinstance(one, Copy)] == [1, 0, 1]
    assert new_bytes(pieces) == 0


def test_a_piece_is_found_where_it_lies_across_the_end_of_a_segment():
    for place in (SEGMENT_BYTES - 200, SEGMENT_BYTES - 64, SEGMENT_BYTES - 1, SEGMENT_BYTES):
        data = np.concatenate([noise(place, 4), KNOWN[640:840], noise(500, 5)])
        assert Copy(0, 640, 200) in pieces_of(data, KNOWN)


@pytest.mark.parametrize("length", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_short_files_are_told_too(length):
    data = KNOWN[:length]
    pieces = pieces_of(data, KNOWN)
    assert new_bytes(pieces) == (length if length < BLOCK else 0)


def test_nothing_is_known_of_an_empty_or_a_short_file():
    assert pieces_of(KNOWN[:1000], np.zeros(0, np.uint8), KNOWN[: BLOCK - 1]) == [Literal(0, 1000)]


def test_zeros_and_other_runs_do_not_cost_a_piece_for_each_byte():
    data = np.zeros(2 * SEGMENT_BYTES, np.uint8)
    assert pieces_of(data, np.zeros(3 * SEGMENT_BYTES, np.uint8)) == [Copy(0, 0, len(data))]


def test_what_was_new_in_a_file_is_known_to_the_next():
    fresh = noise(5000, 6)
    known = KnownFiles([KNOWN], block=BLOCK)
    first = np.concatenate([KNOWN[:999], fresh])
    pieces = list(known.pieces(first))
    known.add(first, pieces)
    assert list(known.pieces(fresh)) == [Copy(1, 999, len(fresh))]


def test_equal_hashes_of_other_bytes_are_not_taken_for_the_same(monkeypatch):
    monkeypatch.setattr(delta_index, "_FACTOR", 1)  # the hash is then the sum of the bytes, whatever their order
    monkeypatch.setattr(delta_index, "_INVERSE", 1)
    known = np.tile(np.arange(256, dtype=np.uint8), 64)
    turned = known[::-1].copy()
    index = BlockIndex(BLOCK)
    index.add(0, known, [(0, len(known))])
    assert len(index.find(turned)[0]), "no hashes are equal, so that this shows nothing"
    assert new_bytes(pieces_of(turned, known)) == len(turned)


def test_the_index_of_a_large_bundle_is_bounded():
    assert block_size(100 << 20) == BLOCK
    assert (8 << 30) // block_size(8 << 30) <= 1 << 21
