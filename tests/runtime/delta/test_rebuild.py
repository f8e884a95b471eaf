"""A new bundle is rebuilt from an old one and a delta to the bit; a delta that would give anything else is refused."""

import errno
import io
import os
import shutil
import stat
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nut_export.delta import write_delta
from nut_runtime.bundle import open_bundle
from nut_runtime.delta.contents import BLOCK_BYTES, MAGIC
from nut_runtime.delta.exchange import manifest_digest
from nut_runtime.delta.reading import DeltaBody, open_delta
from nut_runtime.delta.rebuild import Rebuilt, check_is_for, rebuild
from nut_runtime.errors import BundleError, OutputError

RANDOM = np.random.default_rng(5).integers(0, 256, 4000, np.uint8).tobytes()


def apply(delta_path: Path, old: Path, folder: Path) -> Rebuilt:
    folder.mkdir()
    bundle = open_bundle(old)
    with open_delta(delta_path) as delta:
        check_is_for(delta, bundle, manifest_digest(old) or "")
        return rebuild(delta, bundle, folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def old(tiny_bundle, tmp_path) -> Path:
    return tiny_bundle(tmp_path / "old", {"model.onnx": RANDOM, "golden/00.png": b"picture"}, "nuts-1")


@pytest.fixture
def new(tiny_bundle, tmp_path) -> Path:
    files = {"model.onnx": RANDOM[:3000] + b"new rows" + RANDOM[3000:], "deep/er/empty": b"", "a.bin": RANDOM}
    return tiny_bundle(tmp_path / "new", files, "nuts-2", b"signed by somebody")


# Sources are model.onnx after golden/00.png, as their names sort.
PICTURE, MODEL = 0, 1


# Files that repeat themselves and each other, cut at any place: what finds matches must not trip over its own ends.
_RUNS = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.integers(0, 3000).map(lambda place: RANDOM[place : place + 700]),
        st.integers(1, 400).map(bytes),
        st.integers(1, 30).map(lambda count: b"abcdefg" * count),
    ),
    max_size=8,
).map(b"".join)
_FILES = st.dictionaries(st.sampled_from(["model.onnx", "model.bin", "golden/00.png", "x"]), _RUNS, min_size=1)


@given(before=_FILES, after=_FILES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_two_bundles_hold_the_second_comes_back_to_the_bit(tiny_bundle, tmp_path_factory, before, after):
    place = tmp_path_factory.mktemp("two")
    old, new = tiny_bundle(place / "old", before, "nuts-1"), tiny_bundle(place / "new", after, "nuts-2")
    write_delta(old, new, place / "d.nutdelta")
    apply(place / "d.nutdelta", old, place / "again")
    assert content(place / "again") == content(new)
    shutil.rmtree(place)


def test_manifest_signature_folders_and_empty_files_come_along(old, new, tmp_path):
    facts = write_delta(old, new, tmp_path / "d.nutdelta")
    rebuilt = apply(tmp_path / "d.nutdelta", old, tmp_path / "again")
    assert content(tmp_path / "again") == content(new)
    assert (tmp_path / "again" / "manifest.sig").read_bytes() == b"signed by somebody"
    assert (rebuilt.files, rebuilt.same, rebuilt.literal_bytes) == (3, 1, len("new rows"))
    assert (facts.files, facts.same, facts.literal_bytes) == (3, 1, len("new rows"))


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_who_could_read_the_old_bundle_can_read_the_new_one(old, new, tmp_path):
    old.chmod(0o750)
    (old / "manifest.json").chmod(0o640)
    write_delta(old, new, tmp_path / "d.nutdelta")
    before = os.umask(0o077)
    try:
        apply(tmp_path / "d.nutdelta", old, tmp_path / "again")
    finally:
        os.umask(before)
    modes = {
        name: stat.S_IMODE((tmp_path / "again" / name).stat().st_mode)
        for name in ("", "deep/er", "a.bin", "deep/er/empty")
    }
    assert modes == {"": 0o750, "deep/er": 0o750, "a.bin": 0o640, "deep/er/empty": 0o640}


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    places = (folder, *folder.rglob("*"))
    return {place.relative_to(folder).as_posix(): (place.stat().st_uid, place.stat().st_gid) for place in places}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_what_root_rebuilds_belongs_to_whom_the_old_bundle_belonged(old, new, tmp_path):
    for place in (old, *old.rglob("*")):
        os.chown(place, 65534, 65533 if place.is_dir() else 65532)
    old.chmod(0o2750)
    (old / "manifest.json").chmod(0o640)
    write_delta(old, new, tmp_path / "d.nutdelta")
    again = tmp_path / "again"
    apply(tmp_path / "d.nutdelta", old, again)
    folders = {".", "deep", "deep/er"}
    assert owners(again) == {name: (65534, 65533 if name in folders else 65532) for name in owners(again)}
    assert {stat.S_IMODE((again / name).stat().st_mode) for name in folders} == {0o2750}


@pytest.mark.skipif(os.name != "posix", reason="owners are POSIX")
def test_a_bundle_that_this_user_cannot_give_to_its_owner_is_refused(old, new, tmp_path, monkeypatch):
    write_delta(old, new, tmp_path / "d.nutdelta")
    same, entry = Path.lstat, Path.lstat(old)
    foreign = os.stat_result((*entry[:4], entry.st_uid + 1, *entry[5:]))
    monkeypatch.setattr(Path, "lstat", lambda self: foreign if self.name == "a.bin" else same(self))

    def denied(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "lchown", denied)
    with pytest.raises(
        OutputError, match=r"cannot give .*a\.bin to user \d+ .*not permitted; do this as that user, or as"
    ):
        apply(tmp_path / "d.nutdelta", old, tmp_path / "again")


def test_what_is_new_in_two_files_travels_once(tiny_bundle, tmp_path):
    fresh = np.random.default_rng(6).integers(0, 256, 50_000, np.uint8).tobytes()
    old = tiny_bundle(tmp_path / "old", {"model.bin": RANDOM}, "nuts-1")
    new = tiny_bundle(
        tmp_path / "new", {"model.bin": RANDOM + fresh, "model.onnx": b"head" + fresh + b"foot"}, "nuts-2"
    )
    facts = write_delta(old, new, tmp_path / "d.nutdelta")
    assert facts.literal_bytes == len(fresh) + len("headfoot")


def test_a_delta_may_copy_only_what_is_there_already(old, new, forged, copy_piece, tmp_path):
    path = forged(
        tmp_path / "d", old, new, [copy_piece(4, 0, 4000)]
    )  # a.bin, the first file, from model.onnx, the last
    with pytest.raises(BundleError, match=r"d has for a\.bin a copy from file 4, which is not there yet"):
        apply(path, old, tmp_path / "again")


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        pytest.param([("copy", MODEL, 1, 4000)], "a copy from beyond the end of model.onnx", id="range"),
        pytest.param([("copy", MODEL, 2**63, 2**63)], "a copy from beyond the end of model.onnx", id="huge-range"),
        pytest.param([("copy", 2**32 - 1, 0, 1)], "a copy from file 4294967295", id="no-such-file"),
        pytest.param([("copy", MODEL, 0, 0)], "0 bytes where the manifest has 4000 more", id="nothing"),
        pytest.param([("literal", bytes(4001))], "4001 bytes where the manifest has 4000 more", id="too-long"),
        pytest.param([("raw", b"\x01" + (2**62).to_bytes(8, "little"))], "where the manifest has 4000 more", id="bomb"),
        pytest.param([("raw", b"\x07")], "a piece of the unknown kind 7", id="unknown-kind"),
        pytest.param([("copy", MODEL, 0, 2000)], "ends before the bundle is whole", id="too-short"),
        pytest.param(
            [("literal", bytes(4000))], r"does not give a\.bin \(its SHA-256 does not match", id="other-bytes"
        ),
    ],
)
def test_a_delta_that_gives_something_else_is_refused(
    old, new, forged, copy_piece, literal_piece, tmp_path, pieces, says
):
    spell = {"copy": copy_piece, "literal": literal_piece, "raw": lambda data: data}
    path = forged(tmp_path / "d", old, new, [spell[kind](*fields) for kind, *fields in pieces])
    with pytest.raises(BundleError, match=says):
        apply(path, old, tmp_path / "again")


def whole(copy_piece, literal_piece) -> list[bytes]:
    """Pieces that do give the new bundle."""
    return [
        copy_piece(MODEL, 0, 4000),
        copy_piece(2, 0, 3000),
        literal_piece(b"new rows"),
        copy_piece(MODEL, 3000, 1000),
    ]


def test_a_delta_by_hand_is_taken_where_it_gives_the_bundle(old, new, forged, copy_piece, literal_piece, tmp_path):
    path = forged(tmp_path / "d", old, new, whole(copy_piece, literal_piece))
    apply(path, old, tmp_path / "again")
    assert (tmp_path / "again/model.onnx").read_bytes() == (new / "model.onnx").read_bytes()


@pytest.mark.parametrize("where", ["packed", "behind"])
def test_a_delta_that_holds_more_than_the_bundle_is_refused(
    old, new, forged, copy_piece, literal_piece, tmp_path, where
):
    pieces = whole(copy_piece, literal_piece)
    more = {"packed": {"pieces": [*pieces, b"x"]}, "behind": {"pieces": pieces, "after": zlib.compress(b"x")}}[where]
    path = forged(tmp_path / "d", old, new, **more)
    with pytest.raises(BundleError, match="holds more than the bundle"):
        apply(path, old, tmp_path / "again")


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a\\b", ".hidden", "manifest.json", "MANIFEST.sig"])
def test_a_name_that_leaves_the_bundle_or_hides_its_manifest_is_refused(
    old, new, forged, literal_piece, tmp_path, name
):
    manifest = (new / "manifest.json").read_text()
    (new / "manifest.json").write_text(manifest.replace('"a.bin"', f'"{name}"'.replace("\\", "\\\\")))
    path = forged(tmp_path / "d", old, new, [literal_piece(RANDOM)])
    with pytest.raises(BundleError, match=r"not a plain path inside the bundle|which no bundle has"):
        apply(path, old, tmp_path / "again")
    assert not (tmp_path / "out").exists()


def test_a_delta_for_another_bundle_is_refused_naming_both(old, new, tiny_bundle, tmp_path):
    other = tiny_bundle(tmp_path / "other", {"model.onnx": b"x"}, "bolts-9")
    write_delta(old, new, tmp_path / "d.nutdelta")
    with pytest.raises(BundleError, match=r"is for nuts-1, but .*other is bolts-9"):
        apply(tmp_path / "d.nutdelta", other, tmp_path / "again")
    with pytest.raises(BundleError, match="new is nuts-2 already"):
        apply(tmp_path / "d.nutdelta", new, tmp_path / "again-2")
    same_id = tiny_bundle(tmp_path / "same", {"model.onnx": b"x"}, "nuts-1")
    with pytest.raises(BundleError, match=r"is for nuts-1, but .*same is another export of nuts-1 \(manifest"):
        apply(tmp_path / "d.nutdelta", same_id, tmp_path / "again-3")


def test_every_byte_that_is_altered_or_cut_off_is_found(old, new, tmp_path):
    path = tmp_path / "d.nutdelta"
    write_delta(old, new, path)
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with (
            pytest.raises(BundleError, match=r"cut off or was altered|is no delta|a delta of version"),
            open_delta(path),
        ):
            pass
    for length in (0, 5, len(MAGIC), len(MAGIC) + 10, len(sound) // 2, len(sound) - 1):
        path.write_bytes(sound[:length])
        with pytest.raises(BundleError, match=r"cut off or was altered|is no delta"), open_delta(path):
            pass
    path.write_bytes(sound + b"x")
    with pytest.raises(BundleError, match="cut off or was altered"), open_delta(path):
        pass


def test_what_is_no_delta_or_a_newer_one_is_told_apart(tmp_path):
    with pytest.raises(BundleError, match=r"the delta .*none does not exist"), open_delta(tmp_path / "none"):
        pass
    with pytest.raises(BundleError, match="cannot read the delta"), open_delta(tmp_path):
        pass
    (tmp_path / "zip").write_bytes(b"PK\3\4 something")
    with pytest.raises(BundleError, match="is no delta; make one with nut bundle delta"), open_delta(tmp_path / "zip"):
        pass
    (tmp_path / "newer").write_bytes(MAGIC.replace(b"1", b"2") + b"{}\n")
    with pytest.raises(BundleError, match="version 2, this one reads 1; update"), open_delta(tmp_path / "newer"):
        pass


@pytest.mark.parametrize(
    ("header", "says"),
    [
        pytest.param({"manifest_bytes": -1}, "states sizes that no bundle has", id="negative"),
        pytest.param({"manifest_bytes": 10**12}, "states sizes that no bundle has", id="bomb"),
        pytest.param({"signature_bytes": 10**9}, "states sizes that no bundle has", id="signature"),
        pytest.param({"signature_bytes": "many"}, "its header is broken", id="no-number"),
        pytest.param({"from": "nuts"}, "its header is broken", id="no-name"),
        pytest.param({"manifest_bytes": 10}, "does not hold the manifest that it names", id="other-manifest"),
    ],
)
def test_a_header_that_states_nonsense_is_refused(old, new, forged, tmp_path, header, says):
    path = forged(tmp_path / "d", old, new, [], **header)
    with pytest.raises(BundleError, match=says), open_delta(path):
        pass


def test_a_megabyte_of_zeros_packed_a_thousandfold_does_not_fill_the_memory(
    tiny_bundle, forged, literal_piece, tmp_path
):
    size = 40 * BLOCK_BYTES
    old = tiny_bundle(tmp_path / "old", {"model.onnx": b"x"}, "nuts-1")
    new = tiny_bundle(tmp_path / "new", {"model.onnx": bytes(size)}, "nuts-2")
    path = forged(tmp_path / "d", old, new, [literal_piece(bytes(size))])
    assert path.stat().st_size < size / 500
    tracemalloc.start()
    apply(path, old, tmp_path / "again")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A block as it is unpacked, joined to what was left, cut and written are four, and the interpreter's own a fifth.
    assert peak < 8 * BLOCK_BYTES


class Failing(io.BytesIO):
    """A file on a disk that fails."""

    def read(self, _count: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


def test_a_delta_that_cannot_be_read_is_not_said_to_be_something_that_cannot_be_written(old, new, tmp_path):
    write_delta(old, new, tmp_path / "d.nutdelta")
    (tmp_path / "again").mkdir()
    with open_delta(tmp_path / "d.nutdelta") as delta:
        body = DeltaBody(delta.path, Failing(), delta.size_bytes)
        with pytest.raises(BundleError, match=r"^cannot read the delta .*d\.nutdelta: Input/output error$"):
            rebuild(replace(delta, body=body), open_bundle(old), tmp_path / "again")


def test_an_old_file_that_cannot_be_read_is_not_said_to_be_one_that_cannot_be_written(old, new, tmp_path, monkeypatch):
    write_delta(old, new, tmp_path / "d.nutdelta")
    sound = Path.open
    (tmp_path / "again").mkdir()
    bundle = open_bundle(old)
    with open_delta(tmp_path / "d.nutdelta") as delta:
        monkeypatch.setattr(
            Path, "open", lambda self, mode="r", **more: Failing() if mode == "rb" else sound(self, mode, **more)
        )
        with pytest.raises(BundleError, match=r"^cannot read .*old/model\.onnx: Input/output error; copy the whole"):
            rebuild(delta, bundle, tmp_path / "again")


def test_a_disk_without_the_room_is_told_before_anything_is_written(old, new, tmp_path, monkeypatch):
    write_delta(old, new, tmp_path / "d.nutdelta")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5000))
    with pytest.raises(OutputError, match=r"needs 8\.0 KB at .*, 5\.0 KB are free"):
        apply(tmp_path / "d.nutdelta", old, tmp_path / "again")
    assert content(tmp_path / "again") == {}
