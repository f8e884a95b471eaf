"""Files and folders appear whole or not at all."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nut_runtime.atomic import check_output_folder, new_folder, restore_folder, write_bytes, write_json, write_text
from nut_runtime.errors import OutputError

# Nothing, root included, can make a folder here.
UNWRITABLE = Path("/proc/nowhere")
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, where even root cannot write")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(out: Path, error: type[BaseException]) -> None:
    with new_folder(out, overwrite=True, marker="old") as folder:
        (folder / "half").touch()
        raise error


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_file_replaces_the_older_one_and_leaves_nothing_beside_it(tmp_path, is_durable):
    path = tmp_path / "a.bin"
    path.write_bytes(b"older and longer")
    write_bytes(path, b"new", is_durable=is_durable)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_private_file_is_never_readable_to_others_not_even_through_what_a_killed_process_left(tmp_path):
    left = tmp_path / f".key.pem.{os.getpid()}.tmp"  # what write_bytes of this very process number would leave
    left.write_bytes(b"")
    left.chmod(0o666)
    before = os.umask(0)
    try:
        with left.open("rb") as watcher:
            write_bytes(tmp_path / "key.pem", b"secret", is_private=True)
            assert watcher.read() == b""
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert (tmp_path / "key.pem").read_bytes() == b"secret"
    assert names(tmp_path) == ["key.pem"]


def test_text_is_utf8_whatever_the_locale(tmp_path):
    write_text(tmp_path / "a.txt", "größe")
    assert (tmp_path / "a.txt").read_bytes() == "größe".encode()


def test_json_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, 2.5]})
    text = (tmp_path / "a.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {"a": [1, 2.5]}


def test_nan_is_refused_and_the_older_file_stays(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == "1\n"


def test_a_full_disk_keeps_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"older")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*a\.bin: No space left on device"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"older"
    assert names(tmp_path) == ["a.bin"]


def test_a_disk_that_became_read_only_is_told_as_such(tmp_path, monkeypatch):
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OutputError, match=r"cannot write .*: Read-only file system"):
        write_bytes(tmp_path / "a.bin", b"new")


def test_a_file_into_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*: No such file or directory"):
        write_bytes(tmp_path / "none" / "a.bin", b"")


def test_a_folder_appears_when_the_block_ends(tmp_path):
    with new_folder(tmp_path / "deep" / "out", marker="old") as folder:
        (folder / "a").touch()
        assert not (tmp_path / "deep" / "out").exists()
    assert names(tmp_path / "deep" / "out") == ["a"]
    assert names(tmp_path / "deep") == ["out"]


def test_a_folder_can_be_read_by_others(tmp_path):
    with new_folder(tmp_path / "out", marker="old"):
        pass
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_midway_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        write_half(tmp_path / "out", error)
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_midway_keeps_the_older_folder(tmp_path, error):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(error):
        write_half(tmp_path / "out", error)
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old"]


def test_overwriting_replaces_the_older_folder_whole(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with new_folder(tmp_path / "out", overwrite=True, marker="old") as folder:
        (folder / "new").touch()
    assert names(tmp_path / "out") == ["new"]
    assert names(tmp_path) == ["out"]


def test_an_older_folder_is_not_replaced_unasked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with (
        pytest.raises(OutputError, match=r"exists already; .* give --force"),
        new_folder(tmp_path / "out", marker="old"),
    ):
        pytest.fail("the work must not begin")
    assert names(tmp_path / "out") == ["old"]


def test_a_folder_that_is_no_older_output_is_not_replaced_even_by_force(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").touch()
    with pytest.raises(OutputError, match="is not an older output"):
        check_output_folder(tmp_path / "thesis", marker="run.json", overwrite=True)


def test_an_output_that_holds_an_input_or_the_working_directory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "old").touch()
    with pytest.raises(OutputError, match="which is in use"):
        check_output_folder(tmp_path / "out", marker="old", overwrite=True, inputs=[tmp_path / "out" / "data"])
    monkeypatch.chdir(tmp_path / "out" / "data")
    with pytest.raises(OutputError, match="which is in use"):
        check_output_folder(tmp_path / "out", marker="old", overwrite=True)


def test_a_folder_that_appears_during_the_work_is_not_replaced(tmp_path):
    def somebody_is_quicker() -> None:
        with new_folder(tmp_path / "out", marker="old"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "somebody's").touch()

    with pytest.raises(OutputError, match="exists already"):
        somebody_is_quicker()
    assert names(tmp_path / "out") == ["somebody's"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with new_folder(tmp_path / "link", marker="old") as folder:
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["new"]


def test_an_empty_folder_is_not_in_the_way(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out", marker="old") as folder:
        (folder / "new").touch()
    assert names(tmp_path / "out") == ["new"]


@pytest.mark.parametrize("kept", [None, "kept"])
def test_a_rename_that_fails_puts_the_older_folder_back(tmp_path, monkeypatch, kept):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    rename = Path.rename

    def fails_at_the_last_step(path: Path, target: Path) -> Path:
        if path.name.endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_at_the_last_step)
    with (
        pytest.raises(OutputError, match="Input/output error"),
        new_folder(tmp_path / "out", overwrite=True, marker="old", keep_older_as=kept and tmp_path / kept),
    ):
        pass
    assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path) == ["out"]


def test_an_older_folder_is_kept_under_another_name(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    for _ in range(2):
        with new_folder(tmp_path / "new", overwrite=True, marker="old", keep_older_as=tmp_path / "kept") as folder:
            (folder / "old").touch()  # there is none to keep the first time
    assert names(tmp_path) == ["kept", "new", "out"]
    with (
        pytest.raises(OutputError, match="which exists already"),
        new_folder(tmp_path / "out", overwrite=True, marker="old", keep_older_as=tmp_path / "kept") as folder,
    ):
        (folder / "new").touch()
    assert names(tmp_path / "out") == ["old"]
    assert names(tmp_path) == ["kept", "new", "out"]


def test_a_file_in_the_way_is_refused_even_when_overwriting(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        check_output_folder(tmp_path / "out", marker="old", overwrite=True)


@needs_proc
def test_a_parent_that_cannot_be_written_is_refused():
    with pytest.raises(OutputError, match="cannot write"), new_folder(UNWRITABLE / "out", marker="old"):
        pytest.fail("the work must not begin")


def test_a_file_as_parent_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*file"):
        check_output_folder(tmp_path / "file" / "out", marker="old", overwrite=False)


_KILLED = """
import os, signal, sys
from pathlib import Path
from nut_runtime import atomic
kind, target = sys.argv[1], Path(sys.argv[2])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "file":
    os.fsync = die                       # after the bytes, before the rename
    atomic.write_bytes(target / "a", b"new")
with atomic.new_folder(target, overwrite=True, marker="a") as folder:
    (folder / "new").write_text("half")
    die()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_process_killed_midway_leaves_the_older_content(tmp_path, kind):
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_text("old")
    killed = subprocess.run([sys.executable, "-c", _KILLED, kind, str(target)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (target / "a").read_text() == "old"
    assert not (target / "new").exists()


_KILLED_BETWEEN = """
import os, signal, sys
from pathlib import Path
from nut_runtime import atomic
rename = Path.rename
def dies_at_the_last_step(path, target):
    if path.name.endswith(".part"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
Path.rename = dies_at_the_last_step
with atomic.new_folder(Path(sys.argv[1]), overwrite=True, marker="a"):
    pass
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_folder_that_a_kill_between_the_renames_left_aside_is_put_back(tmp_path):
    target = tmp_path / "out[1]"
    target.mkdir()
    (target / "a").write_text("old")
    killed = subprocess.run([sys.executable, "-c", _KILLED_BETWEEN, str(target)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert restore_folder(target)
    assert (target / "a").read_text() == "old"
    assert not restore_folder(target)


@pytest.mark.parametrize("there", [[".out.1.old", ".out.2.old"], [".out.1.old", "out"], [".other.1.old"], []])
def test_nothing_is_put_back_where_it_is_not_known_to_be_missing(tmp_path, there):
    for name in there:
        (tmp_path / name).mkdir()
    assert not restore_folder(tmp_path / "out")
    assert names(tmp_path) == sorted(there)
