"""A delta: what of a new bundle is not in an old one, in a file that brings a deployed bundle to the new one."""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_dataset.progress import Progress, no_progress
from nut_export.delta_index import block_size
from nut_export.delta_pieces import Copy, KnownFiles, Literal
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.delta.contents import (
    BLOCK_BYTES,
    COPY,
    COPY_FIELDS,
    KIND,
    LITERAL,
    LITERAL_FIELDS,
    MAGIC,
    BundleName,
    DeltaHeader,
    files_in_order,
)
from nut_runtime.delta.gate import check_alike
from nut_runtime.delta.reading import open_delta
from nut_runtime.delta.rebuild import check_is_for, rebuild
from nut_runtime.errors import InputError, OutputError
from nut_runtime.manifest import MANIFEST
from nut_runtime.signature import SIGNATURE

__all__ = ["DeltaFacts", "write_delta"]

_LEVEL = 9
_PIECE = "comparing files"

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaFacts:
    """What a delta is.

    Attributes:
        old: The bundle that it is for.
        new: The bundle that it gives.
        size_bytes: Its length.
        bundle_bytes: What the files of the new bundle take.
        files: How many files that has.
        same: How many of them are whole files of the old one.
        literal_bytes: How many bytes of it were not found, before they are packed.
    """

    old: Bundle
    new: Bundle
    size_bytes: int
    bundle_bytes: int
    files: int
    same: int
    literal_bytes: int


def write_delta(
    old_folder: str | Path,
    new_folder: str | Path,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> DeltaFacts:
    """Write what brings one bundle to another.

    Pieces of any file of the old bundle are found wherever they lie in the new one. The delta is kept only once the
    device's own code has rebuilt the new bundle from it, in a temporary folder beside it. The same two bundles give the
    same delta.

    Args:
        old_folder: The bundle that is in use.
        new_folder: The one that is to take its place; signed where the old one is.
        out: The delta, `NAME.nutdelta`.
        overwrite: Replace an older delta.
        progress: Told of each file.

    Raises:
        BundleError: If a bundle is not usable, or they judge different kinds of frames.
        InputError: If they are the same, or the new one is not signed and the old one is.
        OutputError: If the delta exists, lies in a bundle, or cannot be written.
    """
    old, new = open_bundle(old_folder), open_bundle(new_folder)
    _check_output(out, overwrite=overwrite, inputs=(old.folder, new.folder))
    check_alike(old.manifest, new.manifest)
    header, opening = _header(old, new)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
            made = Path(place) / out.name
            _write(made, header, opening, _content(old, new, progress))
            facts = _proven(old, new, header, made)
            made.replace(out)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    return facts


def _check_output(out: Path, *, overwrite: bool, inputs: tuple[Path, ...]) -> None:
    """Refuse a place where a delta cannot be; only an older delta is replaced."""
    if not out.parent.is_dir():
        raise OutputError(f"the folder {out.parent} does not exist; make it, or choose another place for the delta")
    for folder in inputs:
        if out.resolve().is_relative_to(folder.resolve()):
            raise OutputError(f"{out} lies in the bundle {folder}; choose another place for the delta")
    if not out.exists():
        return
    if not overwrite:
        raise OutputError(f"{out} exists already; choose another file or give --force to replace it")
    try:
        with out.open("rb") as file:
            is_ours = file.read(len(KIND)) == KIND
    except OSError as error:
        raise OutputError(f"cannot replace {out}: {error.strerror or error}") from error
    if not is_ours:
        raise OutputError(f"{out} is not an older delta, so it is not replaced; move it")


def _header(old: Bundle, new: Bundle) -> tuple[DeltaHeader, bytes]:
    """Return the header, and what the packed part begins with: the new manifest and its signature."""
    texts = [(bundle.folder / MANIFEST).read_bytes() for bundle in (old, new)]
    names = [
        BundleName(bundle_id=bundle.manifest.bundle_id, manifest_sha256=hashlib.sha256(text).hexdigest())
        for bundle, text in zip((old, new), texts, strict=True)
    ]
    if texts[0] == texts[1]:
        raise InputError(
            f"{old.folder} and {new.folder} are the same bundle, {names[0].bundle_id}; nothing is to be done"
        )
    signature = new.folder / SIGNATURE
    signed = signature.read_bytes() if signature.exists() else None
    if signed is None and (old.folder / SIGNATURE).exists():
        raise InputError(
            f"{old.folder} is signed and {new.folder} is not, so that its delta would be refused; "
            "run nut bundle sign first"
        )
    header = DeltaHeader(
        old=names[0],
        new=names[1],
        manifest_bytes=len(texts[1]),
        signature_bytes=None if signed is None else len(signed),
    )
    return header, texts[1] + (signed or b"")


def _write(path: Path, header: DeltaHeader, opening: bytes, content: Iterator[bytes]) -> None:
    """Write a delta."""
    total = hashlib.sha256()
    packer = zlib.compressobj(_LEVEL)

    def blocks() -> Iterator[bytes]:
        yield MAGIC + header.to_line()
        yield packer.compress(opening)
        for block in content:
            yield packer.compress(block)
        yield packer.flush()

    with path.open("wb") as file:
        for block in blocks():
            total.update(block)
            file.write(block)
        file.write(total.digest())
        file.flush()
        os.fsync(file.fileno())


def _content(old: Bundle, new: Bundle, progress: Progress) -> Iterator[bytes]:
    """Return the files of the new bundle as pieces, spelt as `nut_runtime.delta.contents` says."""
    sources = [old.folder / name for name in files_in_order(old.manifest)]
    whole = {old.manifest.files[name].sha256: number for number, name in enumerate(files_in_order(old.manifest))}
    block = block_size(sum(entry.size_bytes for entry in old.manifest.files.values()))
    known = KnownFiles([_mapped(path) for path in sources], block=block)
    names = files_in_order(new.manifest)
    for number, name in enumerate(names):
        progress(_PIECE, number, len(names))
        data, sha256 = _mapped(new.folder / name), new.manifest.files[name].sha256
        is_known = sha256 in whole and len(data) > 0
        pieces = [Copy(whole[sha256], 0, len(data))] if is_known else list(known.pieces(data))
        for piece in pieces:
            yield from _spelt(piece, data)
        known.add(data, pieces)
        whole.setdefault(sha256, len(sources) + number)
    progress(_PIECE, len(names), len(names))


def _spelt(piece: Copy | Literal, data: Bytes) -> Iterator[bytes]:
    if isinstance(piece, Copy):
        yield bytes([COPY]) + COPY_FIELDS.pack(piece.source, piece.offset, piece.length)
        return
    yield bytes([LITERAL]) + LITERAL_FIELDS.pack(piece.end - piece.start)
    for place in range(piece.start, piece.end, BLOCK_BYTES):
        yield data[place : min(place + BLOCK_BYTES, piece.end)].tobytes()


def _mapped(path: Path) -> Bytes:
    """Return the bytes of a file, which stays on the disk."""
    if path.stat().st_size == 0:  # nothing that could be mapped
        return np.zeros(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, "r"))


def _proven(old: Bundle, new: Bundle, header: DeltaHeader, path: Path) -> DeltaFacts:
    """Rebuild the new bundle from a delta, as a device does, and return what the delta is."""
    folder = path.with_name("bundle")
    folder.mkdir()
    with open_delta(path) as delta:
        check_is_for(delta, old, header.old.manifest_sha256)
        rebuilt = rebuild(delta, old, folder)
        open_bundle(folder)
        return DeltaFacts(
            old=old,
            new=new,
            size_bytes=delta.size_bytes,
            bundle_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            files=rebuilt.files,
            same=rebuilt.same,
            literal_bytes=rebuilt.literal_bytes,
        )
