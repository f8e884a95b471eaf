"""Wherever a process that exchanges a bundle is killed, a whole bundle is in its place, and the next one cleans up."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nut_runtime.bundle import open_bundle
from nut_runtime.delta import exchange
from nut_runtime.delta.contents import BundleName
from nut_runtime.delta.exchange import Places, Step, go_back, install, manifest_digest, new_step, read_step, settle
from nut_runtime.errors import OutputError

# Copies a folder again and again, and in each copy has a process of its own killed, as by `kill -9`, before one more of
# the things that Python does to files; ends with the first that is not killed.
_PROGRAM = """
import ctypes, itertools, os, shutil, sys
from pathlib import Path
from nut_runtime.delta import exchange

action, template, out, at_once = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "True"
if not at_once:
    exchange._exchange_at_once = lambda *_: False

def run(folder, end):
    places, count = exchange.Places.of(folder / "bundle"), 0

    def watch(event, arguments):
        nonlocal count
        if event.startswith(("os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.", "open", "os.scandir")):
            count += 1
            if count == end:
                os._exit(9)

    sys.addaudithook(watch)
    getattr(exchange, action)(places)
    os._exit(0)

for number in itertools.count(1):
    shutil.copytree(template, out / str(number))
    child = os.fork()
    if not child:
        try:
            run(out / str(number), number)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 9:
        sys.exit(code)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, to be killed")
needs_exchange = pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two folders at once")
WAYS = [pytest.param(True, id="at-once", marks=needs_exchange), pytest.param(False, id="by-renames")]


def kill_everywhere(action: str, template: Path, *, at_once: bool) -> list[Places]:
    """Kill what exchanges a bundle at each of its steps; return the places it was killed at, the last one whole."""
    out = template.with_name("killed")
    out.mkdir()
    command = [sys.executable, "-c", _PROGRAM, action, str(template), str(out), str(at_once)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [Places.of(out / str(number) / "bundle") for number in range(1, 1 + len(list(out.iterdir())))]


def bundle_id(folder: Path) -> str:
    return open_bundle(folder).manifest.bundle_id


def name_of(folder: Path) -> BundleName:
    return BundleName(bundle_id=bundle_id(folder), manifest_sha256=manifest_digest(folder) or "")


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}.")}


@pytest.fixture
def staged(tiny_bundle, tmp_path):
    """A function that makes a bundle `nuts-1` with `nuts-2` beside it, ready to take its place."""

    def stage() -> Places:
        parent = tmp_path / "line"
        parent.mkdir()
        tiny_bundle(parent / "bundle", {"model.onnx": b"one", "golden/00.png": b"picture"}, "nuts-1")
        return stage_next(tiny_bundle, parent, "nuts-2")

    return stage


def stage_next(tiny_bundle, parent: Path, name: str) -> Places:
    new = tiny_bundle(parent / "new", {"model.onnx": name.encode()}, name)
    places = Places.of(parent / "bundle")
    place = new_step(places, Step(old=name_of(places.bundle), new=name_of(new)))
    place.rmdir()
    new.rename(place)
    return places


def test_the_new_bundle_takes_the_place_and_the_old_one_is_kept(staged):
    places = staged()
    install(places)
    assert bundle_id(places.bundle) == "nuts-2"
    assert bundle_id(places.previous_bundle) == "nuts-1"
    step = read_step(places.previous)
    assert step is not None
    assert (step.old.bundle_id, step.new.bundle_id) == ("nuts-1", "nuts-2")
    assert hidden(places.bundle) == {".bundle.delta-previous"}


def test_only_the_bundle_before_the_last_step_is_kept(staged, tiny_bundle):
    places = staged()
    install(places)
    install(stage_next(tiny_bundle, places.bundle.parent, "nuts-3"))
    assert bundle_id(places.bundle) == "nuts-3"
    assert bundle_id(places.previous_bundle) == "nuts-2"
    assert hidden(places.bundle) == {".bundle.delta-previous"}


def test_going_back_leaves_the_old_bundle_and_nothing_beside_it(staged):
    places = staged()
    install(places)
    go_back(places)
    assert bundle_id(places.bundle) == "nuts-1"
    assert hidden(places.bundle) == set()


def test_going_back_works_where_the_bundle_is_gone(staged):
    places = staged()
    install(places)
    places.bundle.rename(places.bundle.with_name("elsewhere"))
    settle(places)
    go_back(places)
    assert bundle_id(places.bundle) == "nuts-1"


@pytest.mark.parametrize("at_once", WAYS)
def test_a_kill_at_any_step_of_an_extension_leaves_a_whole_bundle_and_the_next_run_cleans_up(staged, at_once):
    seen = set()
    for places in kill_everywhere("install", staged().bundle.parent, at_once=at_once):
        if at_once:  # at every moment, even before anybody cleaned up
            assert bundle_id(places.bundle) in {"nuts-1", "nuts-2"}
        settle(places)
        now = bundle_id(places.bundle)
        seen.add(now)
        if now == "nuts-2":
            assert bundle_id(places.previous_bundle) == "nuts-1"
        assert hidden(places.bundle) == ({".bundle.delta-previous"} if now == "nuts-2" else set())
    assert seen == {"nuts-1", "nuts-2"}


@pytest.mark.parametrize("at_once", WAYS)
def test_a_kill_at_any_step_of_a_second_extension_never_loses_the_way_back(staged, tiny_bundle, at_once):
    places = staged()
    install(places)
    stage_next(tiny_bundle, places.bundle.parent, "nuts-3")
    seen = set()
    for found in kill_everywhere("install", places.bundle.parent, at_once=at_once):
        settle(found)
        seen.add((bundle_id(found.bundle), bundle_id(found.previous_bundle)))
        assert hidden(found.bundle) == {".bundle.delta-previous"}
    assert seen == {("nuts-2", "nuts-1"), ("nuts-3", "nuts-2")}


@pytest.mark.parametrize("at_once", WAYS)
def test_a_kill_at_any_step_of_going_back_leaves_a_whole_bundle_and_can_be_done_again(staged, at_once):
    places = staged()
    install(places)
    seen = set()
    for found in kill_everywhere("go_back", places.bundle.parent, at_once=at_once):
        if at_once:
            assert bundle_id(found.bundle) in {"nuts-1", "nuts-2"}
        settle(found)
        now = bundle_id(found.bundle)
        seen.add(now)
        if now == "nuts-2":
            go_back(found)
            assert bundle_id(found.bundle) == "nuts-1"
        assert hidden(found.bundle) == set()
    assert seen == {"nuts-1", "nuts-2"}


@pytest.mark.parametrize("at_once", WAYS)
def test_a_kill_while_cleaning_up_can_be_cleaned_up_in_turn(staged, at_once):
    killed = kill_everywhere(
        "settle", staged().bundle.parent, at_once=at_once
    )  # a new bundle that was not put in place
    assert len(killed) > 3
    for places in killed:
        settle(places)
        assert bundle_id(places.bundle) == "nuts-1"
        assert hidden(places.bundle) == set()


def move_threshold(folder: Path) -> None:
    """Change a bundle's manifest, as `nut bundle set-threshold` does."""
    data = json.loads((folder / "manifest.json").read_text())
    data["operating_point"]["image"]["threshold"] *= 1.01
    (folder / "manifest.json").write_text(json.dumps(data))


@pytest.mark.parametrize("at_once", WAYS)
def test_the_old_bundle_is_kept_though_the_new_ones_threshold_was_moved_after_a_kill(staged, at_once):
    seen = set()
    for places in kill_everywhere("install", staged().bundle.parent, at_once=at_once):
        if not places.bundle.exists():  # between two renames; nobody can move a threshold there
            continue
        move_threshold(places.bundle)
        was = bundle_id(places.bundle)
        settle(places)
        assert bundle_id(places.bundle) == was
        if was == "nuts-2":
            assert bundle_id(places.previous_bundle) == "nuts-1"
        seen.add(was)
    assert seen == {"nuts-1", "nuts-2"}


def test_a_kept_bundle_whose_manifest_changed_is_named_and_not_removed(staged):
    places = staged()
    install(places)
    move_threshold(places.previous_bundle)
    with pytest.raises(OutputError, match=r"\.bundle\.delta-previous does not hold nuts-1 as it was kept"):
        settle(places)
    assert bundle_id(places.previous_bundle) == "nuts-1"


def test_a_kept_bundle_of_which_nothing_is_said_is_named_and_not_removed(staged):
    places = staged()
    install(places)
    (places.previous / "step.json").write_text("torn")
    with pytest.raises(OutputError, match=r"\.bundle\.delta-previous does not hold the bundle from before"):
        settle(places)
    assert bundle_id(places.previous_bundle) == "nuts-1"


def test_a_bundle_put_where_a_killed_exchange_left_none_costs_nobody_the_old_one(staged, tiny_bundle):
    places = staged()
    places.bundle.rename(places.next / "aside")  # and killed
    tiny_bundle(places.bundle, {"model.onnx": b"by hand"}, "nuts-3")
    with pytest.raises(OutputError, match=r"delta-next/aside was the bundle when an exchange was killed"):
        settle(places)
    assert bundle_id(places.next / "aside") == "nuts-1"


@pytest.mark.parametrize("step", ["first", "second"])
def test_a_rename_that_fails_leaves_the_old_bundle_in_its_place(staged, monkeypatch, step):
    places = staged()
    monkeypatch.setattr(exchange, "_exchange_at_once", lambda *_: False)
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self == (places.bundle if step == "first" else places.next_bundle):
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OutputError, match=r"cannot exchange .*bundle: Permission denied"):
        install(places)
    assert bundle_id(places.bundle) == "nuts-1"
    monkeypatch.undo()
    settle(places)
    assert hidden(places.bundle) == set()


def test_a_mount_point_is_named_as_such(staged, monkeypatch):
    places = staged()

    def busy(*_: object) -> bool:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(exchange, "_exchange_at_once", busy)
    with pytest.raises(OutputError, match="it is a mount point; mount the folder above it instead"):
        install(places)
    assert bundle_id(places.bundle) == "nuts-1"


def test_a_folder_of_somebody_else_under_our_name_is_not_touched(staged):
    places = staged()
    settle(places)
    places.next.mkdir()
    (places.next / "holiday.jpg").touch()
    with pytest.raises(OutputError, match=r"\.bundle\.delta-next is not of nut-runtime .*move it away"):
        settle(places)
    assert (places.next / "holiday.jpg").exists()


def test_a_bundle_that_is_a_link_keeps_its_link(staged, tmp_path):
    places = staged()
    link = tmp_path / "current"
    link.symlink_to(places.bundle)
    assert Places.of(link) == places
    install(Places.of(link))
    assert link.is_symlink()
    assert bundle_id(link) == "nuts-2"


@pytest.fixture
def line_of_a_service(tiny_bundle):
    """A bundle `nuts-1` with `nuts-2` beside it, and no root who may remove whatever he likes."""
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name) / "line"
        parent.mkdir()
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(name, 65534, 65534)
            os.chown(parent, 65534, 65534)
            os.seteuid(65534)
        try:
            tiny_bundle(parent / "bundle", {"model.onnx": b"one", "golden/00.png": b"picture"}, "nuts-1")
            yield stage_next(tiny_bundle, parent, "nuts-2")
        finally:
            if is_root:
                os.seteuid(0)


def test_an_old_bundle_with_folders_that_its_owner_may_not_write_is_removed_all_the_same(
    line_of_a_service, tiny_bundle
):
    places = line_of_a_service
    (places.bundle / "golden").chmod(0o555)
    install(places)
    for number in (3, 4):
        settle(places)
        install(stage_next(tiny_bundle, places.bundle.parent, f"nuts-{number}"))
        assert hidden(places.bundle) == {".bundle.delta-previous"}
    assert (bundle_id(places.bundle), bundle_id(places.previous_bundle)) == ("nuts-4", "nuts-3")


def test_leftovers_that_cannot_be_removed_are_named_before_anything_is_exchanged(staged, monkeypatch):
    places = staged()
    places.removed.mkdir()
    (places.removed / "stays").touch()
    remove = os.unlink

    def stays(path: str, *arguments: object, **options: object) -> None:
        if path.endswith("stays"):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        remove(path, *arguments, **options)

    monkeypatch.setattr(os, "unlink", stays)
    with pytest.raises(OutputError, match=r"cannot remove .*\.bundle\.delta-removed, .* left: Operation not permitted"):
        settle(places)
    assert bundle_id(places.bundle) == "nuts-1"
    monkeypatch.undo()
    settle(places)
    assert hidden(places.bundle) == set()


def fail_to_rename(monkeypatch, *from_: Path) -> None:
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self in from_:
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)


@pytest.mark.parametrize("at_once", WAYS)
def test_an_old_bundle_that_cannot_be_kept_is_told_as_such_since_the_new_one_is_in_place(staged, monkeypatch, at_once):
    places = staged()
    if not at_once:
        monkeypatch.setattr(exchange, "_exchange_at_once", lambda *_: False)
    fail_to_rename(monkeypatch, places.next if at_once else places.next / "aside")
    with pytest.raises(OutputError, match=r"bundle is the new bundle now, but the old one is not .*Permission denied"):
        install(places)
    assert bundle_id(places.bundle) == "nuts-2"
    monkeypatch.undo()
    settle(places)
    assert bundle_id(places.previous_bundle) == "nuts-1"


def test_a_newer_bundle_that_cannot_be_removed_is_told_as_such_since_the_old_one_is_in_place(staged, monkeypatch):
    places = staged()
    install(places)
    fail_to_rename(monkeypatch, places.previous)
    with pytest.raises(OutputError, match=r"bundle is the old bundle again, but the newer one cannot be removed"):
        go_back(places)
    assert bundle_id(places.bundle) == "nuts-1"
    monkeypatch.undo()
    settle(places)
    assert hidden(places.bundle) == set()
