"""The new bundle from the old one and a delta, to the bit; streaming, with the standard library alone."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nut_runtime.atomic import sync_folder
from nut_runtime.bundle import Bundle
from nut_runtime.delta.contents import (
    BLOCK_BYTES,
    COPY,
    COPY_FIELDS,
    LITERAL,
    LITERAL_FIELDS,
    files_in_order,
    size_words,
    source_names,
)
from nut_runtime.delta.reading import Delta
from nut_runtime.errors import BundleError, OutputError
from nut_runtime.manifest import MANIFEST, FileEntry
from nut_runtime.owner import give_owner
from nut_runtime.signature import SIGNATURE, verify_manifest

__all__ = ["Rebuilt", "check_is_for", "rebuild"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a bundle was rebuilt from.

    Attributes:
        files: How many files it has.
        same: How many of them are whole files of the old one.
        literal_bytes: How many bytes the delta brought; all others were there.
    """

    files: int
    same: int
    literal_bytes: int


def check_is_for(delta: Delta, bundle: Bundle, manifest_sha256: str) -> None:
    """Refuse a delta that is for another bundle.

    Args:
        delta: The delta.
        bundle: The bundle that is there.
        manifest_sha256: Digest of its manifest's bytes.

    Raises:
        BundleError: If it is; the message names both bundles.
    """
    own, old, new = bundle.manifest.bundle_id, delta.header.old, delta.header.new
    if manifest_sha256 == new.manifest_sha256:
        raise BundleError(f"{bundle.folder} is {own} already, which {delta.path} gives; nothing is to be done")
    if manifest_sha256 != old.manifest_sha256:
        if own == old.bundle_id:  # another export of the same model: its files differ
            own = f"another export of {own} (manifest {manifest_sha256[:12]}, not {old.manifest_sha256[:12]})"
        raise BundleError(
            f"{delta.path} is for {old.bundle_id}, but {bundle.folder} is {own}; take a delta that is for this bundle"
        )


def rebuild(delta: Delta, old: Bundle, folder: Path, *, verify_key: str | Path | None = None) -> Rebuilt:
    """Write the new bundle into an empty folder; every file is compared with the SHA-256 of the new manifest.

    At any moment a few megabytes are in memory. What is written is on the disk when this returns. Owners and
    modes are those of the old bundle, so that whoever could read it can read the new one.

    Args:
        delta: An opened delta, whose body was not taken yet.
        old: The bundle that it is for, opened just now.
        folder: Takes the files; it exists.
        verify_key: PEM file with public keys, one of which must have signed the new manifest. Compared first.

    Raises:
        BundleError: If no key vouches for it, or the delta names what is not there, gives more than the manifest says,
            or anything else.
        InputError: If `verify_key` cannot be used.
        OutputError: If something cannot be written, there is not the room for it, or this user may not give it to the
            owner of the old bundle.
    """
    names = files_in_order(delta.manifest)
    needed = sum(entry.size_bytes for entry in delta.manifest.files.values())
    try:
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OutputError(
                f"the new bundle needs {size_words(needed)} at {folder.parent}, {size_words(free)} are free"
            )
        _write(folder / MANIFEST, [delta.manifest_text])
        if delta.signature_text is not None:
            _write(folder / SIGNATURE, [delta.signature_text])
        if verify_key is not None:
            _verify(delta, folder, verify_key)
        with ExitStack() as stack:
            pieces = _Pieces(delta, old, folder, stack)
            for place, name in enumerate(names):
                _write_file(folder, name, delta.manifest.files[name], pieces, place)
        delta.body.check_end()
        _finish(old.folder, folder)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    return Rebuilt(files=len(names), same=pieces.same, literal_bytes=pieces.literal_bytes)


def _verify(delta: Delta, folder: Path, verify_key: str | Path) -> None:
    try:
        verify_manifest(folder, delta.manifest_text, verify_key)
    except BundleError as error:
        raise BundleError(f"{delta.path}: {error}") from error


class _Pieces:
    """The pieces of a delta, as blocks of bytes."""

    def __init__(self, delta: Delta, old: Bundle, folder: Path, stack: ExitStack) -> None:
        self._delta, self._stack = delta, stack
        self._files: dict[int, IO[bytes]] = {}
        self._old_count = len(old.manifest.files)
        self._sources = [
            ((folder if is_new else old.folder) / name, (delta.manifest if is_new else old.manifest).files[name])
            for is_new, name in source_names(old.manifest, delta.manifest)
        ]
        self.same = self.literal_bytes = 0

    def blocks(self, name: str, entry: FileEntry, place: int) -> Iterator[bytes]:
        """Return the content of a file, the `place`-th of the new bundle, block by block: exactly its size."""
        body, left = self._delta.body, entry.size_bytes
        while left:
            (kind,) = body.take(1)
            if kind == LITERAL:
                (length,) = LITERAL_FIELDS.unpack(body.take(LITERAL_FIELDS.size))
                found = body.blocks(length)
            elif kind == COPY:
                source, offset, length = COPY_FIELDS.unpack(body.take(COPY_FIELDS.size))
                found = self._copied(name, source, offset, length, place)
            else:
                raise self._broken(name, f"a piece of the unknown kind {kind}")
            if not 0 < length <= left:
                raise self._broken(name, f"{length} bytes where the manifest has {left} more")
            left -= length
            if kind == LITERAL:
                self.literal_bytes += length
            elif length == entry.size_bytes == self._sources[source][1].size_bytes and source < self._old_count:
                self.same += 1
            yield from found

    def _copied(self, name: str, source: int, offset: int, length: int, place: int) -> Iterator[bytes]:
        if source >= self._old_count + place:
            raise self._broken(name, f"a copy from file {source}, which is not there yet")
        path, entry = self._sources[source]
        if offset + length > entry.size_bytes:
            raise self._broken(name, f"a copy from beyond the end of {path.name}")
        return self._read(path, source, offset, length)

    def _read(self, path: Path, source: int, offset: int, length: int) -> Iterator[bytes]:
        while length:
            block = self._read_block(path, source, offset, min(length, BLOCK_BYTES))
            if not block:
                raise BundleError(f"{path} became shorter while it was read; copy the whole bundle again")
            length -= len(block)
            offset += len(block)
            yield block

    def _read_block(self, path: Path, source: int, offset: int, count: int) -> bytes:
        try:
            if source not in self._files:
                self._files[source] = self._stack.enter_context(path.open("rb"))
            self._files[source].seek(offset)
            return self._files[source].read(count)
        except OSError as error:
            raise BundleError(f"cannot read {path}: {error.strerror or error}; copy the whole bundle again") from error

    def _broken(self, name: str, what: str) -> BundleError:
        return BundleError(f"{self._delta.path} has for {name} {what}; make the delta again")


def _write_file(folder: Path, name: str, entry: FileEntry, pieces: _Pieces, place: int) -> None:
    """Write one file of the new bundle and compare it with the manifest."""
    digest = hashlib.sha256()

    def read_along() -> Iterator[bytes]:
        for block in pieces.blocks(name, entry, place):
            digest.update(block)
            yield block

    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    _write(folder / name, read_along())
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"the delta does not give {name} (its SHA-256 does not match the manifest); make it again")


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file that is not there yet, and wait until the disk has it."""
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _finish(old: Path, folder: Path) -> None:
    """Give files and folders the old bundle's owners and modes, and wait until the disk has the names.

    Raises:
        OutputError: If this user may not; whoever reads the old bundle could not read the new one.
    """
    like_file, like_folder = (old / MANIFEST).stat(), old.stat()
    for place in (*folder.rglob("*"), folder):
        is_folder = place.is_dir()
        give_owner(place, like_folder if is_folder else like_file)
        # A folder's owner must be able to move and remove it; the owner comes first, for that drops the set-group bit.
        place.chmod(like_folder.st_mode & 0o7777 | 0o700 if is_folder else like_file.st_mode & 0o777)
        if is_folder:
            sync_folder(place)
