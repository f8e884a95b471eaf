"""Where the bank's rows came from: as it was written, and only of the bank it was written for."""

import numpy as np
import pytest
import torch

from nut_runtime.errors import InputError
from nut_train.bank_origin import ORIGIN, BankOrigin, bank_digest, read_origin, write_origin

BANK = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
PICTURES = ("train/good/a.png", "train/good/\u00fc \u2192.png")


@pytest.fixture
def origin() -> BankOrigin:
    """Three of the 2 x 6 patches of a grid of 2 rows and 3 columns."""
    return BankOrigin.of_picks(np.array([11, 0, 4]), PICTURES, (2, 3))


def test_a_pick_is_a_place_in_a_picture(origin):
    assert origin.picture.tolist() == [1, 0, 0]
    assert origin.row.tolist() == [1, 0, 1]
    assert origin.column.tolist() == [2, 0, 1]


def test_it_is_read_as_it_was_written(origin, tmp_path):
    write_origin(tmp_path, origin, BANK)
    read = read_origin(tmp_path, BANK)
    assert (read.pictures, read.grid) == (PICTURES, (2, 3))
    for name in ("picture", "row", "column"):
        assert np.array_equal(getattr(read, name), getattr(origin, name))


def test_the_first_rows_are_those_of_a_smaller_bank(origin, tmp_path):
    write_origin(tmp_path, origin.first(2), BANK[:2])
    assert read_origin(tmp_path, BANK[:2]).column.tolist() == [2, 0]


@pytest.mark.parametrize("bank", [BANK[:2], BANK + 1e-6], ids=["of-another-length", "of-other-numbers"])
def test_another_bank_is_refused(origin, tmp_path, bank):
    write_origin(tmp_path, origin, BANK)
    with pytest.raises(InputError, match="is not of the bank in the run's checkpoint; train again"):
        read_origin(tmp_path, bank)


def test_a_run_of_an_older_version_says_so(tmp_path):
    with pytest.raises(InputError, match=f"{ORIGIN} is missing, .*; train again"):
        read_origin(tmp_path, BANK)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"schema": np.array(2)}, "has schema 2, this version reads up to 1", id="newer"),
        pytest.param({"row": np.array([0, 2, 0])}, "names places that no picture has", id="row-outside"),
        pytest.param({"column": np.array([0, -1, 0])}, "names places that no picture has", id="column-outside"),
        pytest.param({"picture": np.array([0, 1, 2])}, "names places that no picture has", id="picture-outside"),
        pytest.param({"grid": np.array([2])}, "cannot be read", id="no-grid"),
        pytest.param({"pictures": np.array([{}], object)}, "cannot be read", id="pickled"),
    ],
)
def test_what_cannot_be_is_refused(origin, tmp_path, change, says):
    write_origin(tmp_path, origin, BANK)
    with np.load(tmp_path / ORIGIN) as content:
        np.savez(tmp_path / ORIGIN, **{**content, **change})
    with pytest.raises(InputError, match=says):
        read_origin(tmp_path, BANK)


def test_a_file_that_is_cut_off_is_refused(origin, tmp_path):
    write_origin(tmp_path, origin, BANK)
    (tmp_path / ORIGIN).write_bytes((tmp_path / ORIGIN).read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        read_origin(tmp_path, BANK)


def test_the_digest_is_of_the_numbers_whatever_their_layout():
    assert bank_digest(BANK.T.contiguous().T) == bank_digest(BANK)
