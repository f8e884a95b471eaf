"""A bundle is compared with its checksums before anything in it is used."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nut_runtime.bundle import file_entry, open_bundle
from nut_runtime.errors import BundleError


@pytest.fixture
def copy(bundle_folder, tmp_path) -> Path:
    """A copy of the bundle, to break."""
    return shutil.copytree(bundle_folder, tmp_path / "bundle")


def refuse(folder: Path, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)


def test_a_bundle_opens_wherever_it_is_copied_to(copy, bundle_folder):
    assert open_bundle(str(copy)).manifest == open_bundle(bundle_folder).manifest


def test_every_file_of_a_bundle_has_a_checksum(bundle_folder):
    there = {path.relative_to(bundle_folder).as_posix() for path in bundle_folder.rglob("*") if path.is_file()}
    assert there - set(open_bundle(bundle_folder).manifest.files) == {"manifest.json"}


def test_a_folder_that_is_not_there_says_how_to_name_one(tmp_path):
    refuse(tmp_path / "none", "is not a bundle folder; give one with --model, or set NUT_MODEL")


def test_a_file_is_not_a_bundle(tmp_path):
    (tmp_path / "file").touch()
    refuse(tmp_path / "file", "is not a bundle folder")


def test_a_folder_without_manifest_is_not_a_bundle(tmp_path):
    refuse(tmp_path, r"is not a bundle: manifest\.json is missing")


def test_a_manifest_that_is_a_folder_is_told_as_such(tmp_path):
    (tmp_path / "manifest.json").mkdir()
    refuse(tmp_path, "cannot read .*Is a directory")


FILES = ["model.onnx", "model.xml", "model.bin", "golden/00.png", "golden/00.npz", "parity.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    refuse(copy, f"{name} is missing; copy the whole bundle again")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named_with_both_sizes(copy, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[:-1])
    refuse(copy, f"{name} has {len(data) - 1} bytes, the manifest says {len(data)}")


@pytest.mark.parametrize("name", FILES)
def test_one_altered_bit_is_found(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    refuse(copy, f"{name} was altered")


def test_a_file_that_became_a_folder_is_refused(copy):
    (copy / "model.bin").unlink()
    (copy / "model.bin").mkdir()
    refuse(copy, "cannot read .*Is a directory")


def test_a_link_out_of_the_bundle_is_refused_even_to_the_right_content(copy, tmp_path):
    (copy / "model.bin").rename(tmp_path / "elsewhere.bin")
    (copy / "model.bin").symlink_to(tmp_path / "elsewhere.bin")
    refuse(copy, "link that leads out of the bundle")


def test_a_folder_that_is_a_link_out_of_the_bundle_is_refused(copy, tmp_path):
    (copy / "golden").rename(tmp_path / "elsewhere")
    (copy / "golden").symlink_to(tmp_path / "elsewhere")
    refuse(copy, "link that leads out of the bundle")


def test_links_in_a_circle_are_refused(copy):
    shutil.rmtree(copy / "golden")
    (copy / "golden").symlink_to(copy / "golden")
    refuse(copy, "link that leads out of the bundle")


def test_a_bundle_behind_a_link_opens(copy, tmp_path):
    (tmp_path / "current").symlink_to(copy)
    assert open_bundle(tmp_path / "current").manifest.name == "nuts"


def test_an_engine_without_a_model_is_refused(bundle_folder):
    with pytest.raises(BundleError, match="has no model for tensorrt, only for onnxruntime, openvino"):
        open_bundle(bundle_folder).model_path("tensorrt")


def test_the_size_and_digest_are_those_of_the_whole_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1_000_000)  # more than one block
    entry = file_entry(path)
    # What sha256sum says of the same bytes.
    assert entry.sha256 == "f4096a131e7e6ebfa7a512b5c299e13b065df34d15624ee1202ab394cc4d7e90"
    assert entry.size_bytes == 3_000_000


def replace_stages(folder: Path, content: bytes) -> None:
    """Replace the first golden frame's tensors, with a checksum that fits."""
    (folder / "golden/00.npz").write_bytes(content)
    entry = file_entry(folder / "golden/00.npz")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["golden/00.npz"] = {"sha256": entry.sha256, "size_bytes": entry.size_bytes}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, harmful=np.array([{"a": 1}], dtype=object))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(pickled(), id="pickle"),
        pytest.param(b"no zip at all", id="text"),
        pytest.param(b"PK\x03\x04 half", id="half-a-zip"),
        pytest.param(b"", id="empty"),
    ],
)
def test_golden_tensors_that_are_broken_or_pickled_are_refused(copy, content):
    replace_stages(copy, content)
    bundle = open_bundle(copy)
    with pytest.raises(BundleError, match=r"golden/00\.npz cannot be read"):
        bundle.golden_stages(bundle.manifest.golden[0])


def test_a_golden_picture_that_is_broken_is_a_bundle_error(copy):
    bundle = open_bundle(copy)
    (copy / "golden/00.png").write_bytes(b"gone since")
    with pytest.raises(BundleError, match=r"golden frame of the bundle: .*not a picture"):
        bundle.golden_frame(bundle.manifest.golden[0])
