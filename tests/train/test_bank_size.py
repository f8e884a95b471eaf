"""How many rows the bank gets."""

import pytest

from nut_runtime.errors import InputError
from nut_train.bank_size import bank_rows, check_bank_fits
from nut_train.config import TrainConfig


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        pytest.param({"coreset_ratio": 0.1}, 199, id="ratio-is-rounded-down"),
        pytest.param({"bank_size": 50}, 50, id="rows"),
        pytest.param({"bank_size": 5000}, 1999, id="no-more-rows-than-there-are"),
        pytest.param({"bank_mb": 0.01}, 25, id="megabytes"),
        pytest.param({"bank_mb": 100.0}, 1999, id="no-more-megabytes-than-there-are"),
    ],
)
def test_the_rows_are_what_was_asked_for(limits, rows):
    assert bank_rows(TrainConfig(**limits), patches=1999, width=100) == rows


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        pytest.param({"coreset_ratio": 0.0005}, "coreset ratio 0.0005 keeps 0 .*raise --coreset-ratio", id="ratio"),
        pytest.param({"bank_size": 1}, "bank size 1 keeps 1 .*raise --bank-size", id="rows"),
        pytest.param({"bank_mb": 1e-4}, "bank of 0.0001 MB keeps 0 .*raise --bank-mb", id="megabytes"),
    ],
)
def test_fewer_than_two_rows_are_refused_with_the_option_to_change(limits, says):
    with pytest.raises(InputError, match=says):
        bank_rows(TrainConfig(**limits), patches=1000, width=100)


def test_a_bank_that_memory_cannot_hold_is_refused(monkeypatch):
    monkeypatch.setattr("nut_train.bank_size.free_memory_bytes", lambda: 7_900_000_000)
    with pytest.raises(InputError, match=r"bank of 1000000 x 1000 takes 4\.0 GB, .* 7\.9 GB of memory are free"):
        check_bank_fits(1_000_000, 1000)
    check_bank_fits(900_000, 1000)


def test_a_system_that_does_not_say_how_much_memory_is_free_is_trusted(monkeypatch):
    monkeypatch.setattr("nut_train.bank_size.free_memory_bytes", lambda: None)
    check_bank_fits(10**12, 1000)
