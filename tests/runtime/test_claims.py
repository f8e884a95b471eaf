"""Claims between real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nut_runtime.claims import claim, lock_file_of
from nut_runtime.errors import InputError

_HOLDER = """
import sys
from pathlib import Path
from nut_runtime.claims import claim
held = claim(Path(sys.argv[2]) if sys.argv[1] == "path" else sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run" / "nut-runtime"


def holder(kind: str, thing: object) -> subprocess.Popen[str]:
    """Start another process that claims a thing, and wait until it has it."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, kind, str(thing)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


@pytest.mark.parametrize("kind", ["name", "path"])
def test_the_second_process_is_told_who_has_it_and_kill_9_frees_it(tmp_path, kind):
    thing = tmp_path / "verdicts.sqlite" if kind == "path" else "camera 0"
    process = holder(kind, thing)
    try:
        with pytest.raises(InputError, match=rf"is in use by process {process.pid}; stop that one first"):
            claim(thing)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        with claim(thing):  # at once, though the file is still there
            pass
    finally:
        end(process)


def test_another_process_is_refused_in_one_line(tmp_path):
    with claim(tmp_path / "verdicts.sqlite", what="the database"):
        process = holder("path", tmp_path / "verdicts.sqlite")
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert f"verdicts.sqlite is in use by process {os.getpid()}" in stderr


def test_a_child_process_does_not_inherit_a_claim(tmp_path):
    held = claim("camera 0")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        held.release()
        with claim("camera 0"):
            pass
        child.communicate(b"\n", timeout=10)


def test_one_process_cannot_claim_a_thing_twice(tmp_path):
    link = tmp_path / "link.sqlite"
    link.symlink_to(tmp_path / "verdicts.sqlite")
    with claim(tmp_path / "verdicts.sqlite"):
        with pytest.raises(InputError, match=f"is in use by process {os.getpid()}"):
            claim(link)
        with claim(tmp_path / "other.sqlite"), claim("verdicts.sqlite"):
            pass
    with claim(link) as held:
        held.release()
        held.release()


def test_names_of_all_kinds_can_be_claimed(runtime_folder):
    names = ["camera /dev/video0", "camera -dev-video0", "x" * 1000, "ä/../../etc", "\udcff", ""]
    held = [claim(name) for name in names]
    assert len(list(runtime_folder.iterdir())) == len(names)
    assert runtime_folder.stat().st_mode & 0o777 == 0o700
    for one in held:
        one.release()


def test_without_a_runtime_folder_the_temporary_one_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with claim("camera 0"):
        assert len(list((tmp_path / f"nut-runtime-{os.getuid()}").iterdir())) == 1


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match=r"cannot claim .*: No such file"):
        claim(tmp_path / "none" / "verdicts.sqlite")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_what_root_claims_can_be_claimed_by_its_owner_afterwards(tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    os.chown(folder, 65534, 65533)
    (folder / "bundle").mkdir()
    os.chown(folder / "bundle", 65532, 65531)
    for thing, owner in ((folder / "not-yet.sqlite", (65534, 65533)), (folder / "bundle", (65532, 65531))):
        with claim(thing):
            pass
        made = lock_file_of(thing).stat()
        assert (made.st_uid, made.st_gid) == owner


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_away_no_file_that_a_link_beside_the_claimed_thing_leads_to(tmp_path):
    folder = tmp_path / "line"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    (tmp_path / "of-root").touch()
    (folder / ".bundle.lock").symlink_to(tmp_path / "of-root")
    with claim(folder / "bundle"):
        pass
    assert (tmp_path / "of-root").stat().st_uid == 0
