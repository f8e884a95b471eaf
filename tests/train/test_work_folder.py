"""The folder of an unfinished training: when it stays, when it goes, and whose it is."""

from pathlib import Path

import pytest

from nut_runtime.errors import InputError, OutputError
from nut_train.work_folder import WORK, unfinished, work_folder


def _stop(place: Path, error: BaseException, content: str | None = "done so far") -> None:
    """Do a part of the work and end it by an error."""
    with work_folder(place) as folder:
        (folder / "features.npy").touch()
        if content is not None:
            (folder / WORK).write_text(content)
        raise error


def test_it_lies_beside_the_run(tmp_path):
    assert unfinished(tmp_path / "a/run") == (tmp_path / "a/run.unfinished").resolve()


def test_it_is_gone_when_the_work_is_done(tmp_path):
    with work_folder(tmp_path / "work") as folder:
        (folder / WORK).touch()
        (folder / "features.npy").touch()
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_when_the_user_must_mend_something(tmp_path):
    with pytest.raises(InputError):
        _stop(tmp_path / "work", InputError("x"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_it_stays_when_the_work_is_stopped_and_is_found_again(tmp_path, error):
    with pytest.raises(error):
        _stop(tmp_path / "work", error())
    with work_folder(tmp_path / "work") as folder:
        assert (folder / WORK).read_text() == "done so far"


def test_nothing_stays_of_work_that_had_not_got_anywhere(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _stop(tmp_path / "work", KeyboardInterrupt(), None)
    assert list(tmp_path.iterdir()) == []


def test_a_second_training_to_the_same_place_is_refused_and_disturbs_nothing(tmp_path):
    with work_folder(tmp_path / "work") as folder:
        (folder / WORK).touch()
        with pytest.raises(InputError, match="another training is at work"), work_folder(tmp_path / "work"):
            pass
        assert (folder / WORK).exists()


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/thesis.txt").touch()
    with pytest.raises(OutputError, match="in the way"), work_folder(tmp_path / "work"):
        pass
    assert (tmp_path / "work/thesis.txt").exists()


def test_a_file_in_its_place_is_named(tmp_path):
    (tmp_path / "work").touch()
    with pytest.raises(OutputError, match=r"cannot write .*work"), work_folder(tmp_path / "work"):
        pass
