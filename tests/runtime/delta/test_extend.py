"""A deployed bundle is extended and taken back: tested on the device first, and never left in halves."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nut_export.delta import write_delta
from nut_runtime.bundle import open_bundle
from nut_runtime.claims import claim
from nut_runtime.delta import extend as extend_module
from nut_runtime.delta import rebuild as rebuild_module
from nut_runtime.delta.extend import extend_bundle, revert_bundle
from nut_runtime.delta.gate import Gated
from nut_runtime.engines import available_engines
from nut_runtime.errors import BundleError, EngineError, InputError, OutputError, ParityError
from nut_runtime.health import Health
from nut_runtime.model_slot import ModelSlot
from nut_runtime.signature import Signature, fingerprint, signed_message

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))


def alter(folder: Path, name: str, *, threshold: float = 1.0, review: float | None = None, **files: bytes) -> Path:
    """Make a bundle another one: thresholds moved, `review` a raw score, and files replaced, such as `parity_json`."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    data["bundle_id"] = name
    data["operating_point"]["image"]["threshold"] *= threshold
    if review is not None:
        data["operating_point"]["review_from"] = review
    for key, content in files.items():
        file = {"parity_json": "parity.json", "stages": data["golden"]["frames"][0]["stages"]}[key]
        (folder / file).write_bytes(content)
        data["files"][file] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    path.write_text(json.dumps(data))
    return folder


def sign(folder: Path, key: Ed25519PrivateKey = KEY) -> None:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    value = key.sign(signed_message((folder / "manifest.json").read_bytes()))
    (folder / "manifest.sig").write_text(Signature(key=fingerprint(public), value=value).to_text())


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def beside(folder: Path) -> set[str]:
    """What lies hidden beside a bundle, but for the file that a claim leaves."""
    return {path.name for path in folder.parent.iterdir() if path.name.startswith(".")} - {f".{folder.name}.lock"}


@pytest.fixture
def line(bundle_folder, tmp_path) -> Path:
    """The bundle on the line PC, `nuts-old`."""
    (tmp_path / "line").mkdir()
    return alter(Path(shutil.copytree(bundle_folder, tmp_path / "line" / "bundle")), "nuts-old")


@pytest.fixture
def next_version(line, tmp_path) -> Callable[..., Path]:
    """A function that makes the delta from the bundle on the line to an altered copy: arguments of `alter`."""

    def make(*, key: Ed25519PrivateKey | None = None, old: Path = line, name: str = "nuts-new", **changes: Any) -> Path:
        new = alter(Path(shutil.copytree(old, tmp_path / name)), name, **changes)
        (new / "manifest.sig").unlink(missing_ok=True)
        if key is not None:
            sign(new, key)
        out = tmp_path / f"{name}.nutdelta"
        write_delta(old, new, out)
        return out

    return make


@pytest.fixture
def trusted(tmp_path) -> Path:
    path = tmp_path / "plant.pub.pem"
    path.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_a_bundle_is_extended_to_the_bit_and_taken_back_to_the_bit(line, next_version, tmp_path):
    before = content(line)
    delta = next_version(parity_json=b'{"longer": "than before"}')
    done = extend_bundle(line, delta)
    assert content(line) == content(tmp_path / "nuts-new")
    assert (done.before, done.bundle.manifest.bundle_id) == ("nuts-old", "nuts-new")
    assert done.gated.engines == available_engines()
    assert done.gated.own_frames == done.gated.good + done.gated.defective == 3
    assert done.gated.defective >= 1
    assert done.gated.changed == ()
    assert done.rebuilt.same == done.rebuilt.files - 1
    assert done.kept_bytes >= sum(map(len, before.values()))
    assert beside(line) == {".bundle.delta-previous"}
    back = revert_bundle(line)
    assert content(line) == before
    assert (back.before, back.bundle.manifest.bundle_id) == ("nuts-new", "nuts-old")
    assert beside(line) == set()


def test_a_delta_is_taken_again_after_going_back_but_not_twice(line, next_version):
    delta = next_version()
    extend_bundle(line, delta, engine="onnxruntime")
    with pytest.raises(BundleError, match=r"bundle is nuts-new already, which .*nuts-new\.nutdelta gives"):
        extend_bundle(line, delta)
    revert_bundle(line)
    extend_bundle(line, delta, engine="onnxruntime")
    assert open_bundle(line).manifest.bundle_id == "nuts-new"


def test_there_is_one_way_back_and_only_one(line, next_version):
    with pytest.raises(BundleError, match="has nothing to go back to: it was not extended, or was taken back already"):
        revert_bundle(line)
    extend_bundle(line, next_version(), engine="onnxruntime")
    revert_bundle(line)
    with pytest.raises(BundleError, match="has nothing to go back to"):
        revert_bundle(line)


def test_a_bundle_that_was_changed_since_is_taken_back_only_by_force(line, next_version):
    extend_bundle(line, next_version(), engine="onnxruntime")
    alter(line, "nuts-moved", threshold=1.1)
    with pytest.raises(
        BundleError, match="was changed since it was extended to nuts-new: it is nuts-moved; give --force"
    ):
        revert_bundle(line)
    assert open_bundle(line).manifest.bundle_id == "nuts-moved"
    assert revert_bundle(line, force=True).bundle.manifest.bundle_id == "nuts-old"


def test_an_old_bundle_that_was_altered_where_it_is_kept_is_not_gone_back_to(line, next_version):
    done = extend_bundle(line, next_version(), engine="onnxruntime")
    (done.kept / "bundle" / "model.bin").write_bytes(b"scribble")
    with pytest.raises(BundleError, match=r"model\.bin has 8 bytes, the manifest says"):
        revert_bundle(line)
    assert open_bundle(line).manifest.bundle_id == "nuts-new"


def test_a_delta_for_another_bundle_changes_nothing(line, next_version):
    delta = next_version()
    alter(line, "nuts-other")
    before = content(line)
    with pytest.raises(BundleError, match=r"is for nuts-old, but .*bundle is nuts-other"):
        extend_bundle(line, delta)
    assert content(line) == before
    assert beside(line) == set()


def test_a_bundle_that_is_altered_on_the_line_is_not_extended(line, next_version):
    delta = next_version()
    (line / "model.onnx").write_bytes(b"scribble")
    with pytest.raises(BundleError, match=r"model\.onnx has 8 bytes"):
        extend_bundle(line, delta)


def test_a_new_bundle_that_lets_a_defect_pass_is_refused_and_the_frame_named(line, next_version):
    defective = next(frame.picture for frame in open_bundle(line).manifest.golden if frame.is_defective)
    before = content(line)
    delta = next_version(threshold=50.0)
    with pytest.raises(
        ParityError,
        match=rf"changes verdicts on golden frames of nuts-old: .*{defective} was rejected, now accepted \(openvino\)",
    ):
        extend_bundle(line, delta)
    assert content(line) == before
    assert beside(line) == set()
    done = extend_bundle(line, delta, engine="onnxruntime", force=True)
    assert {(one.was, one.now) for one in done.gated.changed} == {("rejected", "accepted")}


def test_a_new_bundle_that_rejects_a_good_part_is_refused(line, next_version):
    with pytest.raises(ParityError, match="was accepted, now rejected"):
        extend_bundle(line, next_version(threshold=0.05), engine="onnxruntime")


def test_a_new_bundle_that_puts_a_good_part_up_for_review_is_refused(line, next_version):
    frames = open_bundle(line).manifest.golden
    good = [frame for frame in frames if not frame.is_defective]
    lowest = min(frame.raw_score for frame in frames)
    delta = next_version(review=lowest / 2)
    with pytest.raises(ParityError, match=r"was accepted, now for review \(onnxruntime\)"):
        extend_bundle(line, delta, engine="onnxruntime")
    done = extend_bundle(line, delta, engine="onnxruntime", force=True)
    assert [(one.was, one.now) for one in done.gated.changed] == [("accepted", "for review")] * len(good)
    after = next_version(old=line, name="nuts-b", review=lowest / 3)
    gated = extend_bundle(line, after, engine="onnxruntime").gated
    assert (gated.good, gated.review, gated.defective) == (0, len(good), len(frames) - len(good))
    assert gated.changed == ()


def test_a_new_bundle_that_does_not_judge_here_as_its_reference_did_is_refused_even_by_force(line, next_version):
    bundle = open_bundle(line)
    stages = bundle.golden_stages(bundle.manifest.golden[0])
    stages["stage/embedding"] = stages["stage/embedding"] * 1.1
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **stages)
    delta = next_version(stages=buffer.getvalue())
    with pytest.raises(EngineError, match=r"nuts-new does not judge here .*stage/embedding is off by .*keep nuts-old"):
        extend_bundle(line, delta, force=True)
    assert open_bundle(line).manifest.bundle_id == "nuts-old"
    assert beside(line) == set()


def test_a_key_takes_what_it_signed_and_nothing_else(line, next_version, trusted):
    sign(line)
    done = extend_bundle(line, next_version(key=KEY), verify_key=trusted, engine="onnxruntime")
    assert done.bundle.verified_by is not None
    assert open_bundle(line, verify_key=trusted).manifest.bundle_id == "nuts-new"
    assert revert_bundle(line, verify_key=trusted).bundle.verified_by == done.bundle.verified_by
    by_another = next_version(key=OTHER_KEY, name="nuts-b")
    with pytest.raises(BundleError, match=r"nuts-b\.nutdelta: .* is signed by the key sha256:.*do not use it"):
        extend_bundle(line, by_another, verify_key=trusted)
    with pytest.raises(InputError, match="lies in the bundle that is to be replaced"):
        extend_bundle(line, by_another, verify_key=shutil.copy(trusted, line / "plant.pub.pem"))


def test_a_signature_is_compared_before_anything_else_of_the_new_bundle_is_made(
    line, next_version, trusted, monkeypatch
):
    sign(line)
    delta = next_version(key=OTHER_KEY)
    monkeypatch.setattr(rebuild_module, "_write_file", lambda *_: pytest.fail("a file was written"))
    with pytest.raises(BundleError, match="is signed by the key"):
        extend_bundle(line, delta, verify_key=trusted)


def test_an_unsigned_delta_is_refused_with_a_key(line, next_version, trusted):
    with pytest.raises(BundleError, match="gives nuts-new, which is not signed, and a key to verify it was given"):
        extend_bundle(line, next_version(), verify_key=trusted)


def test_a_signed_bundle_takes_no_unsigned_delta_though_nobody_gave_a_key(line, next_version):
    delta = next_version()
    sign(line)  # the manifest, and with it the bundle that the delta is for, stays the same
    with pytest.raises(
        BundleError, match=r"is signed and .* gives nuts-new, which is not; sign that and make the delta again"
    ):
        extend_bundle(line, delta, force=True)


def test_going_back_to_a_bundle_that_the_key_did_not_sign_is_refused(line, next_version, trusted):
    extend_bundle(line, next_version(key=KEY), verify_key=trusted, engine="onnxruntime")
    with pytest.raises(BundleError, match="is not signed"):
        revert_bundle(line, verify_key=trusted)
    assert open_bundle(line).manifest.bundle_id == "nuts-new"


def test_two_at_a_time_are_refused(line, next_version):
    delta = next_version()
    with claim(line.resolve()):
        with pytest.raises(InputError, match=r"the bundle .* is in use by process"):
            extend_bundle(line, delta)
        with pytest.raises(InputError, match=r"the bundle .* is in use by process"):
            revert_bundle(line)


def test_what_is_no_bundle_is_refused_and_nothing_written_beside_it(tmp_path, next_version):
    delta = next_version()
    (tmp_path / "empty").mkdir()
    for call in (lambda: extend_bundle(tmp_path / "empty/none", delta), lambda: revert_bundle(tmp_path / "empty/none")):
        with pytest.raises(BundleError, match="none is not a bundle folder"):
            call()
    assert list((tmp_path / "empty").iterdir()) == []


def test_files_that_the_manifest_does_not_list_stay_with_the_old_bundle_and_are_named(line, next_version):
    delta = next_version()
    (line / "notes.txt").write_text("changed the lamp")
    done = extend_bundle(line, delta, engine="onnxruntime")
    assert done.left_behind == ("notes.txt",)
    assert not (line / "notes.txt").exists()
    revert_bundle(line)
    assert (line / "notes.txt").read_text() == "changed the lamp"


def test_files_beside_a_kept_bundle_stop_the_extension_that_would_remove_them(line, next_version):
    delta = next_version()
    (line / "golden" / "notes.txt").write_text("changed the lamp")
    kept = extend_bundle(line, delta, engine="onnxruntime").kept / "bundle"
    second = next_version(name="nuts-newer")
    with pytest.raises(
        OutputError, match=r"delta-previous/bundle holds golden/notes\.txt, which its manifest does not"
    ):
        extend_bundle(line, second, engine="onnxruntime", force=True)
    assert (kept / "golden" / "notes.txt").read_text() == "changed the lamp"
    assert open_bundle(line).manifest.bundle_id == "nuts-new"
    (kept / "golden" / "notes.txt").unlink()
    assert extend_bundle(line, second, engine="onnxruntime").before == "nuts-new"


def test_files_beside_the_newer_bundle_are_removed_with_it_only_by_force(line, next_version):
    extend_bundle(line, next_version(), engine="onnxruntime")
    for number in range(6):
        (line / f"notes-{number}.txt").touch()
    with pytest.raises(
        BundleError, match=r"bundle holds notes-0\.txt, .* and 2 more, which .* removed with nuts-new; .*--force"
    ):
        revert_bundle(line)
    assert (line / "notes-5.txt").exists()
    revert_bundle(line, force=True)
    assert open_bundle(line).manifest.bundle_id == "nuts-old"


def test_a_newer_bundle_that_lost_its_manifest_is_replaced_only_by_force(line, next_version):
    extend_bundle(line, next_version(), engine="onnxruntime")
    (line / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"bundle holds .*, which its manifest does not list"):
        revert_bundle(line)
    assert revert_bundle(line, force=True).bundle.manifest.bundle_id == "nuts-old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_whoever_owned_the_bundle_owns_all_that_root_leaves_of_an_extension(line, next_version):
    delta = next_version()
    for place in (line.parent, line, *line.rglob("*")):
        os.chown(place, 65534, 65533)
    extend_bundle(line, delta, engine="onnxruntime")
    assert beside(line) == {".bundle.delta-previous"}
    assert {(place.stat().st_uid, place.stat().st_gid) for place in line.parent.rglob("*")} == {(65534, 65533)}


@pytest.mark.parametrize("place", ["fsync", "gate", "install"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_at_any_step_leaves_the_old_bundle_and_nothing_beside_it(
    line, next_version, monkeypatch, place, error
):
    delta, before = next_version(), content(line)

    def fails(*_: object, **__: object) -> None:
        raise error(28, "No space left on device")

    monkeypatch.setattr(
        *{"fsync": (os, place), "gate": (extend_module, place), "install": (extend_module, place)}[place], fails
    )
    with pytest.raises((error, OutputError)):
        extend_bundle(line, delta, engine="onnxruntime")
    assert content(line) == before
    assert beside(line) == set()


def test_a_bundle_that_is_replaced_while_its_next_version_is_tested_is_left_alone(line, next_version, monkeypatch):
    delta, gate = next_version(), extend_module.gate

    def replaced_meanwhile(*arguments: Any, **options: Any) -> Gated:
        found = gate(*arguments, **options)
        alter(line, "nuts-by-somebody")
        return found

    monkeypatch.setattr(extend_module, "gate", replaced_meanwhile)
    with pytest.raises(BundleError, match="was replaced meanwhile"):
        extend_bundle(line, delta, engine="onnxruntime")
    assert open_bundle(line).manifest.bundle_id == "nuts-by-somebody"


def test_what_a_killed_extension_left_is_cleaned_up_by_the_next(line, next_version):
    delta = next_version()
    left = line.with_name(".bundle.delta-next")
    (left / "bundle").mkdir(parents=True)
    (left / "step.json").write_text('{"from": {"bundle_id": "a", "manifest_sha256": "b"}, "to": {}}')
    (left / "bundle" / "model.bin").write_bytes(b"half")
    extend_bundle(line, delta, engine="onnxruntime")
    assert beside(line) == {".bundle.delta-previous"}


def test_a_running_station_takes_the_extended_bundle_and_the_old_one_again(line, next_version):
    frame = np.full((96, 80, 3), 90, np.uint8)
    slot = ModelSlot(line, engine="onnxruntime", threads=1, health=Health(), settle_s=0, patience_s=0)
    first = slot.inspector.inspect(frame)
    delta = next_version(threshold=1.01)
    extend_bundle(line, delta, engine="onnxruntime")
    assert slot.check()
    second = slot.inspector.inspect(frame)
    assert (first.bundle_id, second.bundle_id) == ("nuts-old", "nuts-new")
    assert second.pred_score < first.pred_score
    revert_bundle(line)
    assert slot.check()
    assert slot.inspector.inspect(frame).bundle_id == "nuts-old"
    slot.close()


def test_a_link_to_a_bundle_is_followed(line, next_version, tmp_path):
    (tmp_path / "current").symlink_to(line)
    extend_bundle(tmp_path / "current", next_version(), engine="onnxruntime")
    assert (tmp_path / "current").is_symlink()
    assert open_bundle(tmp_path / "current").manifest.bundle_id == "nuts-new"
    assert beside(line) == {".bundle.delta-previous"}
