"""A bundle on disk: all that the edge needs, checked before anything in it is used."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import BundleError, PictureError
from nut_runtime.locate.entry import GoldenTray, LocatorEntry
from nut_runtime.manifest import MANIFEST, FileEntry, GoldenFrame, Manifest
from nut_runtime.pictures import read_picture
from nut_runtime.signature import SIGNATURE, verify_manifest

__all__ = ["Bundle", "ModelFiles", "file_entry", "open_bundle"]

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files of one model for one engine: one of ONNX, two of an IR.

    Attributes:
        folder: The bundle.
        name: The one that the engine is given, as a path below the bundle.
        entries: What the manifest says of each; empty while a bundle is being made.
    """

    folder: Path
    name: str
    entries: Mapping[str, FileEntry]

    @property
    def path(self) -> Path:
        """The file that the engine is given."""
        return self.folder / self.name

    @property
    def digest(self) -> str:
        """A digest of their content, from their SHA-256 in the manifest; hex."""
        return hashlib.sha256("".join(entry.sha256 for entry in self.entries.values()).encode()).hexdigest()

    def check(self) -> None:
        """Compare them with their SHA-256 once more, before they are read once more.

        Raises:
            BundleError: If one was altered, or the whole bundle replaced, since it was opened.
        """
        for name, entry in self.entries.items():
            _check_file(self.folder, name, entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An opened bundle.

    Attributes:
        folder: Where it lies.
        manifest: What it says of itself.
        verified_by: Fingerprint of the key that vouches for it; None where no key was given to verify it with.
    """

    folder: Path
    manifest: Manifest
    verified_by: str | None = None

    def model_path(self, engine: str, *, is_fast: bool = False, is_batch: bool = False) -> Path:
        """Return the model file for an engine.

        Args:
            engine: Name of the engine.
            is_fast: Take the fast model of a cascade instead of the exact one.
            is_batch: Take the one for several frames at once.

        Raises:
            BundleError: If the bundle has none for it.
        """
        return self.model_files(engine, is_fast=is_fast, is_batch=is_batch).path

    def model_digest(self, engine: str, *, is_fast: bool = False, is_batch: bool = False) -> str:
        """Return a digest of an engine's model files, from their SHA-256 in the manifest; hex.

        Args:
            engine: Name of the engine.
            is_fast: Take the fast model of a cascade instead of the exact one.
            is_batch: Take the one for several frames at once.

        Raises:
            BundleError: If the bundle has no model for it.
        """
        return self.model_files(engine, is_fast=is_fast, is_batch=is_batch).digest

    def model_files(self, engine: str, *, is_fast: bool = False, is_batch: bool = False) -> ModelFiles:
        """Return the judge's model files for an engine.

        Args:
            engine: Name of the engine.
            is_fast: Take the fast model of a cascade instead of the exact one.
            is_batch: Take the one for several frames at once.

        Raises:
            BundleError: If the bundle has none for it.
        """
        cascade, batch = self.manifest.cascade, self.manifest.batch
        if is_batch:
            path = None if batch is None else batch.models.get(engine)
            if path is None:
                raise BundleError(
                    f"{self.folder} has no model of {engine} for several frames at once; export it with --batch N"
                )
            return self._files(path)
        models = cascade.models if is_fast and cascade is not None else self.manifest.models
        path = models.get(engine)
        if path is None:
            raise BundleError(f"{self.folder} has no model for {engine}, only for {', '.join(self.manifest.models)}")
        return self._files(path)

    def locator_entry(self) -> LocatorEntry:
        """Return what the manifest says of the locator.

        Raises:
            BundleError: If the bundle has none.
        """
        if self.manifest.locator is None:
            raise BundleError(f"{self.folder} has no locator; export it with one, or judge whole frames (--no-locate)")
        return self.manifest.locator

    def locator_files(self, engine: str) -> ModelFiles:
        """Return the locator's model files for an engine.

        Raises:
            BundleError: If the bundle has no locator, or none for it.
        """
        models = self.locator_entry().models
        if engine not in models:
            raise BundleError(f"{self.folder} has no locator for {engine}, only for {', '.join(models)}")
        return self._files(models[engine])

    def _files(self, path: str) -> ModelFiles:
        names = [name for name in (path, f"{path.removesuffix('.xml')}.bin") if name in self.manifest.files]
        return ModelFiles(folder=self.folder, name=path, entries={name: self.manifest.files[name] for name in names})

    def unlisted_files(self) -> list[str]:
        """Return the files in the folder that the manifest does not vouch for, as paths below it; none is ever used."""
        known = {*self.manifest.files, MANIFEST, SIGNATURE}
        there = (path for path in self.folder.rglob("*") if path.is_symlink() or not path.is_dir())
        return sorted({path.relative_to(self.folder).as_posix() for path in there} - known)

    def golden_frame(self, frame: GoldenFrame | GoldenTray) -> NDArray[np.uint8]:
        """Return a golden frame's picture, uint8 BGR `[H, W, 3]`.

        Raises:
            BundleError: If it cannot be read.
        """
        try:
            return read_picture(self.folder / frame.picture)
        except PictureError as error:
            raise BundleError(f"golden frame of the bundle: {error}") from error

    def golden_stages(self, frame: GoldenFrame) -> dict[str, NDArray[np.generic]]:
        """Return the reference's intermediate tensors of a golden frame, by array name.

        Raises:
            BundleError: If the file is broken; pickled content is refused.
        """
        return self._arrays(frame.stages)

    def golden_map(self, tray: GoldenTray) -> NDArray[np.float32]:
        """Return the reference's distance map of a golden tray, float32 `[h, w]`.

        Raises:
            BundleError: If the file is broken; pickled content is refused.
        """
        distance_map = self._arrays(tray.map).get("distance_map", np.zeros(0))
        if distance_map.ndim != 2 or not np.issubdtype(distance_map.dtype, np.floating):  # noqa: PLR2004 - [h, w]
            raise BundleError(f"{self.folder / tray.map} holds no distance_map; export the bundle again")
        return distance_map.astype(np.float32)

    def _arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        path = self.folder / name
        try:
            content = io.BytesIO(path.read_bytes())
            with np.load(content, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"{path} cannot be read: {error}") from error


def open_bundle(folder: str | Path, *, verify_key: str | Path | None = None) -> Bundle:
    """Open a bundle: read its manifest and compare every file with its SHA-256.

    Files that the manifest does not list are never used.

    Args:
        folder: The bundle.
        verify_key: PEM file with one or more Ed25519 public keys, one of which must have signed the bundle
            (`nut_runtime.signature`); None takes signed and unsigned bundles alike.

    Raises:
        BundleError: If the folder or a file is missing, truncated or altered, the manifest is not one this
            version reads, or no key in `verify_key` vouches for it.
        InputError: If `verify_key` cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a bundle folder; give one with --model, or set NUT_MODEL")
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{folder} is not a bundle: {MANIFEST} is missing") from error
    except OSError as error:
        raise BundleError(f"cannot read {folder / MANIFEST}: {error.strerror or error}") from error
    # Before anything else is believed, and of the very bytes that are parsed: the file could be replaced meanwhile.
    verified_by = None if verify_key is None else verify_manifest(folder, text, verify_key)
    manifest = Manifest.parse(text)
    for path, entry in manifest.files.items():
        _check_file(folder, path, entry)
    return Bundle(folder=folder, manifest=manifest, verified_by=verified_by)


def file_entry(path: Path) -> FileEntry:
    """Return the digest and size of a file.

    Raises:
        OSError: If it cannot be read.
    """
    total = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            total.update(block)
            size += len(block)
    return FileEntry(sha256=total.hexdigest(), size_bytes=size)


def _check_file(folder: Path, path: str, expected: FileEntry) -> None:
    """Compare one file with what the manifest says of it."""
    full = folder / path
    # The manifest's names are plain, but a link in the folder could still lead elsewhere.
    try:
        leads_out = full.is_symlink() or not full.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        leads_out = True
    if leads_out:
        raise BundleError(f"{full} is a link that leads out of the bundle; copy the file itself")
    try:
        found = file_entry(full)
    except FileNotFoundError as error:
        raise BundleError(f"{full} is missing; copy the whole bundle again") from error
    except OSError as error:
        raise BundleError(f"cannot read {full}: {error.strerror or error}") from error
    if found.size_bytes != expected.size_bytes:
        raise BundleError(
            f"{full} has {found.size_bytes} bytes, the manifest says {expected.size_bytes}; copy the bundle again"
        )
    if found.sha256 != expected.sha256:
        raise BundleError(f"{full} was altered (its SHA-256 does not match the manifest); copy the bundle again")
