"""A model is exchanged while the station runs: between two frames, tested before, and only for a sound one."""

import gc
import json
import re
import shutil
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nut_runtime.bundle_watch import look_at
from nut_runtime.errors import BundleError
from nut_runtime.health import Health
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.model_slot import ModelSlot

FRAME = np.full((96, 80, 3), 90, np.uint8)


def moved(folder: Path, threshold: float, name: str) -> None:
    """Make a bundle another one: its threshold moved and its name changed, which its manifest alone says."""
    path = folder / MANIFEST
    data = json.loads(path.read_text())
    data["operating_point"]["image"]["threshold"] *= threshold
    data["bundle_id"] = name
    path.write_text(json.dumps(data))


@pytest.fixture
def folder(bundle_folder, tmp_path) -> Path:
    """The bundle folder of the station."""
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


@pytest.fixture
def other(bundle_folder, tmp_path) -> Path:
    """Another bundle beside it, `new-1`."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "other"))
    moved(folder, 1.5, "new-1")
    return folder


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def slot(folder, health):
    slot = ModelSlot(folder, engine="onnxruntime", threads=1, health=health, every_s=0.01, settle_s=0, patience_s=0)
    yield slot
    slot.close()


def replace_folder(folder: Path, new: Path) -> None:
    """Replace a folder by renames, as `nut export --force` does."""
    folder.rename(folder.with_name("old"))
    new.rename(folder)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited for 20 s"
        time.sleep(0.01)


def test_a_folder_that_nobody_touched_is_not_loaded_again(slot):
    before = slot.inspector
    assert not slot.check()
    assert slot.inspector is before


def test_a_bundle_that_replaces_the_folder_judges_the_next_frame(slot, folder, other, health):
    before = slot.inspector.inspect(FRAME)
    replace_folder(folder, other)
    assert slot.check()
    after = slot.inspector.inspect(FRAME)
    assert (before.bundle_id, after.bundle_id) == (
        Manifest.parse((folder.with_name("old") / MANIFEST).read_text()).bundle_id,
        "new-1",
    )
    assert after.pred_score < before.pred_score
    assert health.components()["model"].message.startswith("new-1")
    assert health.counters() == {"model_switches": 1}


def test_a_link_that_is_switched_changes_the_model_and_back(bundle_folder, other, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(bundle_folder)
    slot = ModelSlot(link, engine="onnxruntime", threads=1, settle_s=0)
    first = slot.inspector.bundle.manifest.bundle_id
    assert slot.inspector.bundle.folder == bundle_folder.resolve()  # what is read later does not go through the link
    for target, expected in ((other, "new-1"), (bundle_folder, first)):
        new = tmp_path / "new"
        new.symlink_to(target)
        new.replace(link)
        assert slot.check()
        assert slot.inspector.bundle.manifest.bundle_id == expected


def test_a_change_is_taken_in_by_itself_and_told(folder, other, health):
    switched = threading.Event()
    slot = ModelSlot(
        folder,
        engine="onnxruntime",
        threads=1,
        health=health,
        every_s=0.01,
        settle_s=0.02,
        on_switch=lambda inspector: switched.set() if inspector.bundle.manifest.bundle_id == "new-1" else None,
    )
    slot.start()
    replace_folder(folder, other)
    assert switched.wait(20)
    assert slot.inspector.bundle.manifest.bundle_id == "new-1"
    slot.close()
    slot.close()


def test_frames_are_judged_without_a_gap_while_models_change(slot, folder, bundle_folder, tmp_path):
    """Every verdict is wholly of one model: its score divided by its threshold is that model's and no mixture."""
    ratios = {}
    for number in range(3):
        new = Path(shutil.copytree(bundle_folder, tmp_path / f"new-{number}"))
        moved(new, 1.0 + number, f"new-{number}")
        ratios[f"new-{number}"] = Manifest.parse((new / MANIFEST).read_text()).point.image.threshold
    ratios[slot.inspector.bundle.manifest.bundle_id] = slot.inspector.bundle.manifest.point.image.threshold
    stop, failures, judged = threading.Event(), [], []

    def judge() -> None:
        while not stop.is_set():
            verdict = slot.inspector.inspect(FRAME)
            judged.append(verdict.bundle_id)
            if verdict.is_defective != (verdict.raw_score >= ratios[verdict.bundle_id]):
                failures.append(verdict)

    threads = [threading.Thread(target=judge) for _ in range(2)]
    for thread in threads:
        thread.start()
    slot.start()
    for number in range(3):
        folder.rename(tmp_path / f"old-{number}")
        (tmp_path / f"new-{number}").rename(folder)
        wait_for(lambda number=number: judged[-1:] == [f"new-{number}"])
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(judged) == set(ratios)


def broken_file(folder: Path) -> None:
    path = folder / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncated_file(folder: Path) -> None:
    path = folder / "model.bin"
    path.write_bytes(path.read_bytes()[:-1])


def no_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def half_a_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text()[:100])


def of_a_newer_schema(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))


def that_judges_otherwise(folder: Path) -> None:
    path = folder / MANIFEST
    data = json.loads(path.read_text())
    for golden in data["golden"]["frames"]:
        golden["raw_score"] *= 1.1
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(broken_file, "was altered", id="altered"),
        pytest.param(truncated_file, "not all there|has .* bytes", id="truncated"),
        pytest.param(no_manifest, "is missing", id="no-manifest"),
        pytest.param(half_a_manifest, "is not JSON", id="half-a-manifest"),
        pytest.param(of_a_newer_schema, "update nut-runtime", id="newer"),
        pytest.param(that_judges_otherwise, "does not judge here as the reference did: raw_score", id="self-test"),
    ],
)
def test_a_bad_bundle_is_refused_reported_and_not_tried_again_until_it_changes(
    slot, folder, other, health, bundle_folder, spoil, message
):
    before = slot.inspector
    spoil(other)
    replace_folder(folder, other)
    assert not slot.check()
    assert slot.inspector is before
    component = health.components()["model"]
    assert not component.is_well
    assert component.message.startswith(f"{before.bundle.manifest.bundle_id} goes on; refused the new one: ")
    assert re.search(message, component.message)
    assert not any(slot.check() for _ in range(3))
    assert health.counters() == {"model_refusals": 1}

    assert not slot.check(is_requested=True)  # whoever asks has it tried again
    assert slot.inspector is before
    shutil.rmtree(folder)
    shutil.copytree(bundle_folder, folder)
    moved(folder, 2.0, "mended")
    assert slot.check()
    assert slot.inspector.bundle.manifest.bundle_id == "mended"
    assert health.components()["model"].is_well


def test_putting_the_old_bundle_back_makes_the_model_well_again(slot, folder, other, health):
    before = slot.inspector
    broken_file(other)
    replace_folder(folder, other)
    slot.check()
    assert not health.is_well
    folder.rename(other)
    folder.with_name("old").rename(folder)
    assert not slot.check()
    assert slot.inspector is before
    assert health.is_well


def test_a_folder_that_is_gone_is_reported_and_the_model_goes_on(slot, folder, health):
    shutil.rmtree(folder)
    assert not slot.check()
    assert (
        "cannot be read" in health.components()["model"].message
        or "not a bundle" in health.components()["model"].message
    )
    assert slot.inspector.inspect(FRAME).bundle_id


def test_files_of_the_running_bundle_that_were_altered_are_reported_before_the_next_start(slot, folder, health):
    before = slot.inspector
    broken_file(folder)
    assert not slot.check()
    assert "was altered" in health.components()["model"].message
    assert slot.inspector is before


def test_the_same_bundle_written_again_is_not_loaded_again(slot, folder, bundle_folder, health):
    before = slot.inspector
    shutil.rmtree(folder)
    shutil.copytree(bundle_folder, folder)
    assert not slot.check()
    assert slot.inspector is before
    assert health.is_well
    assert not slot.check()


@pytest.mark.parametrize("is_last", [True, False], ids=["manifest-last", "manifest-first"])
def test_a_bundle_that_is_being_copied_is_left_until_it_is_all_there(folder, other, health, is_last):
    slot = ModelSlot(folder, engine="onnxruntime", threads=1, health=health, settle_s=0, patience_s=60)
    target = folder.with_name("slow")
    names = sorted(path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file())
    names.sort(key=lambda name: (name == MANIFEST) == is_last)
    shutil.rmtree(folder)
    assert not slot.check()
    target.mkdir()
    target.rename(folder)
    for name in names:
        assert not slot.check()
        assert not slot.check(is_requested=True)
        data = (other / name).read_bytes()
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data[: len(data) // 2])
        assert not slot.check()
        (folder / name).write_bytes(data)
    assert health.is_well
    assert slot.check()
    assert slot.inspector.bundle.manifest.bundle_id == "new-1"


def test_a_change_is_left_to_settle(folder, other):
    slot = ModelSlot(folder, engine="onnxruntime", threads=1, settle_s=3600)
    replace_folder(folder, other)
    assert not slot.check()
    assert not slot.check()
    assert slot.check(is_requested=True)


def test_what_changes_while_it_is_read_is_neither_used_nor_refused(slot, folder, other, health, monkeypatch):
    replace_folder(folder, other)
    load = slot._load

    def load_and_change(path: Path):
        inspector = load(path)
        moved(folder, 2.0, "newer-still")
        return inspector

    monkeypatch.setattr(slot, "_load", load_and_change)
    assert not slot.check()
    assert slot.inspector.bundle.manifest.bundle_id != "new-1"
    assert health.is_well
    monkeypatch.setattr(slot, "_load", load)
    assert slot.check()
    assert slot.inspector.bundle.manifest.bundle_id == "newer-still"


def test_the_old_models_memory_is_given_back_once_its_last_frame_is_judged(slot, folder, other):
    in_flight = slot.inspector  # a frame that is being judged
    engine, session = weakref.ref(slot.inspector.engine), weakref.ref(slot.inspector.engine._session)
    replace_folder(folder, other)
    assert slot.check()
    gc.collect()
    assert in_flight.inspect(FRAME).bundle_id != "new-1"
    assert engine() is not None
    del in_flight
    gc.collect()
    assert engine() is None
    assert session() is None


def test_a_new_model_is_warmed_up_with_the_frames_that_come(slot, folder, other, monkeypatch):
    from nut_runtime.inspector import Inspector

    warmed = []
    monkeypatch.setattr(Inspector, "warm_up", lambda _self, height, width: warmed.append((height, width)))
    slot.saw(96, 80)
    slot.saw(96, 80)
    slot.saw(64, 64)
    replace_folder(folder, other)
    assert slot.check()
    assert warmed == [(96, 80), (64, 64)]


def test_a_bundle_for_frames_of_another_size_is_refused(slot, folder, other, health):
    path = other / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"frame_px": [48, 64]}))
    slot.saw(96, 80)
    replace_folder(folder, other)
    assert not slot.check()
    assert "takes only 64x48 px" in health.components()["model"].message


def test_an_unsigned_bundle_is_refused_where_a_key_is_asked_for(folder, other, health, tmp_path):
    from nut_export.signing import generate_key, sign_bundle

    key = generate_key(tmp_path / "plant.pem")
    sign_bundle(folder, key)
    public = tmp_path / "plant.pub.pem"
    slot = ModelSlot(folder, engine="onnxruntime", health=health, verify_key=public, settle_s=0, patience_s=0)
    before = slot.inspector
    replace_folder(folder, other)
    assert not slot.check()
    assert "is not signed" in health.components()["model"].message
    sign_bundle(folder, key)
    assert slot.check()
    assert slot.inspector is not before
    assert slot.inspector.bundle.verified_by == key.fingerprint


def test_a_bundle_that_is_bad_from_the_start_is_an_error(folder):
    broken_file(folder)
    with pytest.raises(BundleError, match="was altered"):
        ModelSlot(folder)


def test_request_wakes_the_watcher_up(folder, other):
    slot = ModelSlot(folder, engine="onnxruntime", threads=1, every_s=3600)
    slot.start()
    replace_folder(folder, other)
    slot.request()
    wait_for(lambda: slot.inspector.bundle.manifest.bundle_id == "new-1")
    started = time.monotonic()
    slot.close()
    assert time.monotonic() - started < 1


def test_a_look_at_a_folder_reads_no_model(bundle_folder):
    state = look_at(bundle_folder)
    assert state.lacks == ""
    assert state == look_at(bundle_folder)
    started = time.perf_counter()
    for _ in range(20):
        look_at(bundle_folder)
    assert (time.perf_counter() - started) / 20 < 0.02
