"""Names of parts come from outside, and are harmless afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nut_runtime.triggers.names import NAME_LENGTH, clean_name


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("box 7", "box 7"),
        ("  box\t7\r\n", "box 7"),
        ("Mutter Größe 8 mm", "Mutter Größe 8 mm"),
        ("\x1b[31mred", "?[31mred"),
        ("a\u202egnp.exe", "a?gnp.exe"),
        ("half \ud800", "half ?"),
        ("a\x00b", "a?b"),
        ("", ""),
        (" \n\u2028\x85", ""),
    ],
)
def test_a_name_is_cleaned(given_, expected):
    assert clean_name(given_) == expected


@given(st.text(alphabet=st.characters(), max_size=200))
def test_a_cleaned_name_is_one_short_printable_line_and_stays_as_it_is(text):
    name = clean_name(text)
    assert len(name) <= NAME_LENGTH
    assert name.isprintable()
    name.encode()
    assert clean_name(name) == name


def test_a_name_of_a_million_letters_is_cut():
    assert clean_name("x" * 1_000_000) == "x" * NAME_LENGTH
