"""What a bundle folder looks like from outside: whether it changed, and whether it is all there."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from nut_runtime.errors import BundleError
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.signature import SIGNATURE

__all__ = ["FolderState", "look_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderState:
    """A bundle folder at one moment; two that are equal hold the same files.

    Attributes:
        folder: The folder itself, behind every link.
        manifest_digest: SHA-256 of the manifest's bytes; empty without one.
        files: Manifest, signature and every file that the manifest lists: name, device, inode, size, time of change.
        lacks: Why the bundle is not all there, in words; empty where it is, as far as sizes tell.
    """

    folder: Path
    manifest_digest: str = ""
    files: tuple[tuple[str, int, int, int, int], ...] = ()
    lacks: str = ""


def look_at(path: Path) -> FolderState:
    """Look at a bundle folder without reading its models; takes some hundred microseconds.

    Args:
        path: The folder, or a link to it.
    """
    try:
        folder = path.resolve()
        text = (folder / MANIFEST).read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        reason = f"{path / MANIFEST} cannot be read: {getattr(error, 'strerror', None) or error}"
        return FolderState(folder=path, lacks=reason)
    digest = hashlib.sha256(text).hexdigest()
    own = tuple(_seen(folder, name) for name in (MANIFEST, SIGNATURE))
    try:
        listed = Manifest.parse(text).files
    except BundleError as error:
        return FolderState(folder=folder, manifest_digest=digest, files=own, lacks=str(error))
    files = tuple(_seen(folder, name) for name in sorted(listed))
    short = [name for name, _, _, size, _ in files if size != listed[name].size_bytes]
    lacks = f"{folder / short[0]} is missing or not all there" if short else ""
    return FolderState(folder=folder, manifest_digest=digest, files=(*own, *files), lacks=lacks)


def _seen(folder: Path, name: str) -> tuple[str, int, int, int, int]:
    """Return what tells a file from one that replaced it; a missing one has the size -1."""
    try:
        found = (folder / name).stat()
    except OSError:
        return name, 0, 0, -1, 0
    return name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
