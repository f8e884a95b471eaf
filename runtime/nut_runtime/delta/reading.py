"""A delta file, opened: whole and unaltered, its manifest read; the rest comes piece by piece."""

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nut_runtime.delta.contents import BLOCK_BYTES, DIGEST_BYTES, KIND, LARGEST_HEADER, MAGIC, DeltaHeader
from nut_runtime.errors import BundleError
from nut_runtime.manifest import Manifest

__all__ = ["Delta", "DeltaBody", "open_delta"]


class DeltaBody:
    """The packed part of a delta, unpacked as it is asked for; never more than a few blocks of it are in memory.

    Args:
        path: The delta, for messages.
        file: The same, open where the packed part begins.
        size_bytes: Length of that part.
    """

    def __init__(self, path: Path, file: IO[bytes], size_bytes: int) -> None:
        self._path, self._file, self._left = path, file, size_bytes
        self._inflater = zlib.decompressobj()
        self._ready, self._place = b"", 0

    def take(self, count: int) -> bytes:
        """Return the next bytes, exactly as many.

        Raises:
            BundleError: If there are not as many, or they are broken or cannot be read.
        """
        found = self._ready[self._place : self._place + count]
        self._place += len(found)
        while len(found) < count:
            self._ready = self._unpack()
            if not self._ready:
                raise BundleError(f"{self._path} ends before the bundle is whole; make the delta again")
            self._place = min(count - len(found), len(self._ready))
            found += self._ready[: self._place]
        return found

    def blocks(self, count: int) -> Iterator[bytes]:
        """Return the next bytes, exactly as many, a block at a time.

        Raises:
            BundleError: As `take`.
        """
        while count:
            block = self.take(min(count, BLOCK_BYTES))
            count -= len(block)
            yield block

    def check_end(self) -> None:
        """Check that everything was taken.

        Raises:
            BundleError: If something is left.
        """
        is_over = self._place == len(self._ready) and not self._unpack()
        if not is_over or self._left or self._inflater.unused_data:
            raise BundleError(f"{self._path} holds more than the bundle; make the delta again")

    def _unpack(self) -> bytes:
        """Return the next unpacked bytes, a block at most; none at the end."""
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail
            if not packed:
                packed = self._read(min(self._left, BLOCK_BYTES))
                self._left -= len(packed)
            try:
                found = self._inflater.decompress(packed, BLOCK_BYTES)
            except zlib.error as error:
                raise BundleError(f"{self._path} does not unpack ({error}); make the delta again") from error
            if found or not packed:
                return found
        return b""

    def _read(self, count: int) -> bytes:
        try:
            return self._file.read(count)
        except OSError as error:  # whoever takes the bytes writes files, and would lay it to those
            raise _unreadable(self._path, error) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """An opened delta. Nothing it says is believed for itself: what it gives must be what its new manifest lists.

    Attributes:
        path: The file.
        size_bytes: Its length.
        header: What it is for and what it gives.
        manifest_text: The new manifest's very bytes.
        signature_text: Those of its signature; None where it has none.
        manifest: The new manifest.
        body: The files, to be taken once.
    """

    path: Path
    size_bytes: int
    header: DeltaHeader
    manifest_text: bytes
    signature_text: bytes | None
    manifest: Manifest
    body: DeltaBody


@contextmanager
def open_delta(path: str | Path) -> Iterator[Delta]:
    """Open a delta for a block, after comparing the file with its own digest.

    Args:
        path: The file.

    Raises:
        BundleError: If it is missing, no delta, of a newer version, cut off or altered, or the bundle that it gives is
            not one that this version reads.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise BundleError(f"the delta {path} does not exist") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        try:
            delta = _open(path, file)
        except OSError as error:
            raise _unreadable(path, error) from error
        yield delta


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError(f"cannot read the delta {path}: {error.strerror or error}")


def _open(path: Path, file: IO[bytes]) -> Delta:
    size = os.fstat(file.fileno()).st_size
    start = file.readline(LARGEST_HEADER)
    if start != MAGIC:
        if start.startswith(KIND):
            version = start[len(KIND) :].decode("ascii", "replace").strip()
            raise BundleError(f"{path} is a delta of version {version}, this one reads 1; update nut-runtime")
        raise BundleError(f"{path} is no delta; make one with nut bundle delta OLD NEW")
    _check_digest(path, file, size)
    file.seek(len(MAGIC))
    line = file.readline(LARGEST_HEADER)
    try:
        header = DeltaHeader.parse(line)
    except BundleError as error:
        raise BundleError(f"{path}: {error}; make the delta again") from error
    body = DeltaBody(path, file, size - len(MAGIC) - len(line) - DIGEST_BYTES)
    text = body.take(header.manifest_bytes)
    signature = None if header.signature_bytes is None else body.take(header.signature_bytes)
    if hashlib.sha256(text).hexdigest() != header.new.manifest_sha256:
        raise BundleError(f"{path} does not hold the manifest that it names; make the delta again")
    try:
        manifest = Manifest.parse(text)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    return Delta(
        path=path,
        size_bytes=size,
        header=header,
        manifest_text=text,
        signature_text=signature,
        manifest=manifest,
        body=body,
    )


def _check_digest(path: Path, file: IO[bytes], size: int) -> None:
    """Compare the file with the digest at its end, which finds a bad copy before anything is done."""
    total = hashlib.sha256()
    left = size - DIGEST_BYTES
    file.seek(0)
    while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
        total.update(block)
        left -= len(block)
    if left or file.read(DIGEST_BYTES) != total.digest():
        raise BundleError(f"{path} is cut off or was altered (its own SHA-256 does not match); copy it again")
