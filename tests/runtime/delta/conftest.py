"""Bundles of a few bytes, whose manifests hold but whose models no engine would load, and deltas written by hand."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from nut_runtime.delta.contents import (
    COPY,
    COPY_FIELDS,
    LITERAL,
    LITERAL_FIELDS,
    MAGIC,
    BundleName,
    DeltaHeader,
)
from nut_runtime.manifest import MANIFEST, FileEntry, Manifest
from nut_runtime.scoring import OperatingPoint, Scale
from nut_runtime.signature import SIGNATURE

SCALE = Scale(threshold=10.0, minimum=0.0, maximum=20.0)


def _tiny_bundle(folder: Path, files: Mapping[str, bytes], name: str, signature: bytes | None = None) -> Path:
    """Write a bundle of these files; the first one is its model."""
    folder.mkdir()
    entries = {}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        entries[path] = FileEntry(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    manifest = Manifest(
        bundle_id=name,
        name="nuts",
        created="2026-11-30T12:00:00+00:00",
        precision="fp32",
        input_height_px=32,
        input_width_px=32,
        point=OperatingPoint(image=SCALE, pixel=SCALE),
        model_point=OperatingPoint(image=SCALE, pixel=SCALE),
        files=entries,
        models={"onnxruntime": next(iter(files))},
        golden=(),
        tolerances={},
        parity={},
    )
    (folder / MANIFEST).write_text(json.dumps(manifest.to_json()))
    if signature is not None:
        (folder / SIGNATURE).write_bytes(signature)
    return folder


def _copy_piece(source: int, offset: int, length: int) -> bytes:
    return bytes([COPY]) + COPY_FIELDS.pack(source, offset, length)


def _literal_piece(data: bytes) -> bytes:
    return bytes([LITERAL]) + LITERAL_FIELDS.pack(len(data)) + data


def _forged(path: Path, old: Path, new: Path, pieces: Iterable[bytes], *, after: bytes = b"", **header: object) -> Path:
    """Write a delta from one bundle to another that holds these pieces, whatever they give."""
    texts = [(folder / MANIFEST).read_bytes() for folder in (old, new)]
    names = [
        BundleName(bundle_id=json.loads(text)["bundle_id"], manifest_sha256=hashlib.sha256(text).hexdigest())
        for text in texts
    ]
    facts = DeltaHeader(old=names[0], new=names[1], manifest_bytes=len(texts[1]), signature_bytes=None)
    line = json.dumps(json.loads(facts.to_line()) | header).encode() + b"\n"
    data = MAGIC + line + zlib.compress(texts[1] + b"".join(pieces)) + after
    path.write_bytes(data + hashlib.sha256(data).digest())
    return path


@pytest.fixture
def tiny_bundle() -> Callable[..., Path]:
    """A function that writes a bundle: `tiny_bundle(folder, files, name, signature=None)`."""
    return _tiny_bundle


@pytest.fixture
def forged() -> Callable[..., Path]:
    """A function that writes a delta by hand: `forged(path, old, new, pieces, after=b"", **header)`."""
    return _forged


@pytest.fixture
def copy_piece() -> Callable[[int, int, int], bytes]:
    return _copy_piece


@pytest.fixture
def literal_piece() -> Callable[[bytes], bytes]:
    return _literal_piece
