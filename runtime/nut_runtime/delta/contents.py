r"""What a delta file is: one bundle told as pieces of another one. Makers and readers share this.

    nut-bundle-delta 1\n
    {"from": {"bundle_id": ..., "manifest_sha256": ...}, "to": {...}, "manifest_bytes": ..., "signature_bytes": ...}\n
    <zlib: manifest.json and manifest.sig of the new bundle, then its files in the order of their names>
    <SHA-256 of everything before, 32 bytes>

A file is a row of pieces that ends where its size in the manifest is reached. A piece begins with one byte: `COPY`,
then the number of a source, an offset and a length; or `LITERAL`, then a length and as many bytes. All numbers are
little-endian. Sources are the old bundle's files in the order of their names, then those of the new one that are
finished: a bundle holds the same numbers as ONNX and as IR, and what is new need not travel twice.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from nut_runtime.errors import BundleError
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.signature import SIGNATURE

__all__ = [
    "BLOCK_BYTES",
    "COPY",
    "COPY_FIELDS",
    "DIGEST_BYTES",
    "KIND",
    "LARGEST_HEADER",
    "LITERAL",
    "LITERAL_FIELDS",
    "MAGIC",
    "SUFFIX",
    "BundleName",
    "DeltaHeader",
    "files_in_order",
    "size_words",
    "source_names",
]

MAGIC: Final = b"nut-bundle-delta 1\n"
KIND: Final = b"nut-bundle-delta "
"""How a delta of any version begins."""
SUFFIX: Final = ".nutdelta"
COPY: Final = 0
LITERAL: Final = 1
COPY_FIELDS: Final = struct.Struct("<IQQ")  # source, offset, length
LITERAL_FIELDS: Final = struct.Struct("<Q")  # length
DIGEST_BYTES: Final = 32
BLOCK_BYTES: Final = 1 << 20
"""As much is held in memory of a file at a time."""
LARGEST_HEADER: Final = 64 * 1024

_LARGEST_MANIFEST = 64 << 20
_LARGEST_SIGNATURE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleName:
    """One of the two bundles.

    Attributes:
        bundle_id: As in its manifest.
        manifest_sha256: Digest of its manifest's bytes, lower-case hex: it names every byte of the bundle.
    """

    bundle_id: str
    manifest_sha256: str

    def to_json(self) -> dict[str, str]:
        """Return plain types."""
        return {"bundle_id": self.bundle_id, "manifest_sha256": self.manifest_sha256}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            KeyError: If something is missing.
        """
        return cls(bundle_id=str(data["bundle_id"]), manifest_sha256=str(data["manifest_sha256"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaHeader:
    """What stands before the packed part.

    Attributes:
        old: The bundle that the delta is for; `from` in the file.
        new: The one that it gives; `to` in the file.
        manifest_bytes: Length of the new manifest.
        signature_bytes: Length of its signature; None where the new bundle is not signed.
    """

    old: BundleName
    new: BundleName
    manifest_bytes: int
    signature_bytes: int | None

    def to_line(self) -> bytes:
        """Return the header's line."""
        data = {
            "from": self.old.to_json(),
            "to": self.new.to_json(),
            "manifest_bytes": self.manifest_bytes,
            "signature_bytes": self.signature_bytes,
        }
        return json.dumps(data).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the header's line.

        Raises:
            BundleError: If it is none.
        """
        try:
            data = json.loads(line)
            signature = data["signature_bytes"]
            header = cls(
                old=BundleName.from_json(data["from"]),
                new=BundleName.from_json(data["to"]),
                manifest_bytes=int(data["manifest_bytes"]),
                signature_bytes=None if signature is None else int(signature),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BundleError(f"its header is broken ({error})") from error
        if not (
            0 < header.manifest_bytes <= _LARGEST_MANIFEST and 0 <= (header.signature_bytes or 0) <= _LARGEST_SIGNATURE
        ):
            raise BundleError("its header states sizes that no bundle has")
        return header


def files_in_order(manifest: Manifest) -> list[str]:
    """Return the names of a bundle's files in the order in which a delta counts and gives them.

    Raises:
        BundleError: If one is the manifest or its signature, which vouch for the others, or is of less than no bytes.
    """
    for name, entry in manifest.files.items():
        if name.lower() in {MANIFEST, SIGNATURE} or entry.size_bytes < 0:
            raise BundleError(f"{MANIFEST} lists {name!r} of {entry.size_bytes} bytes, which no bundle has")
    return sorted(manifest.files)


def source_names(old: Manifest, new: Manifest) -> Sequence[tuple[bool, str]]:
    """Return what may be copied from, by number: whether it is of the new bundle, and its name."""
    return [*((False, name) for name in files_in_order(old)), *((True, name) for name in files_in_order(new))]


def size_words(size_bytes: int) -> str:
    """Return a size in words.

    Example:
        >>> size_words(940), size_words(45_210), size_words(14_900_000)
        ('940 bytes', '45.2 KB', '14.9 MB')
    """
    for unit, name in ((1_000_000, "MB"), (1_000, "KB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"
