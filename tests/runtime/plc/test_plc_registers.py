"""The register map holds together, and every reason has a code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nut_runtime.plc.registers import (
    COMMAND_BITS,
    COMMAND_WORDS,
    MIRROR_AT,
    REASON_CODES,
    STATUS_BITS,
    STATUS_WORDS,
    Command,
    Status,
    pack,
    size,
)
from nut_runtime.verdict import Reason


@pytest.mark.parametrize("words", [COMMAND_WORDS, STATUS_WORDS], ids=["command", "status"])
def test_words_follow_one_another_without_gap_or_overlap(words):
    address = 0
    for word in words:
        assert word.address == address
        address += word.words
    assert size(words) == address


def test_the_map_is_read_in_one_request_and_its_mirror_is_clear_of_the_commands():
    assert size(STATUS_WORDS) <= 125
    assert size(COMMAND_WORDS) <= MIRROR_AT


@pytest.mark.parametrize(("bits", "kinds"), [(COMMAND_BITS, Command), (STATUS_BITS, Status)])
def test_every_bit_is_described_once(bits, kinds):
    assert [bit.number for bit in bits] == list(kinds)
    assert len({bit.name for bit in bits}) == len(bits)


def test_every_reason_has_a_code_of_its_own():
    assert {str(reason) for reason in Reason} <= set(REASON_CODES)
    assert len(set(REASON_CODES.values())) == len(REASON_CODES)


@given(value=st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_a_number_of_32_bits_has_its_high_word_first(value):
    packed = pack(STATUS_WORDS, {"Sequence": value})
    assert packed[2] * 65536 + packed[3] == value
    assert not any(packed[:2] + packed[4:])


def test_too_large_a_number_wraps_and_disturbs_no_neighbour():
    assert pack(STATUS_WORDS, {"Reason": 2**16 + 7, "Sequence": 2**32 + 9})[:5] == [0, 7, 0, 9, 0]
