"""A part's bundle that was changed after its export, as by `nut bundle`: it is somebody's work, and never lost."""

import os
from pathlib import Path

from nut_benchmarks.train_all.job import ASIDE
from nut_runtime.delta.exchange import Places, manifest_digest, read_step
from nut_runtime.errors import BundleError, OutputError
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.signature import SIGNATURE

__all__ = ["aside_of", "changed_manifest"]

_DIGITS = 8


def changed_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a bundle that has what no export of ours writes; None of one without, or of none at all.

    That is a moved operating point, a locator, a signature, or that it came from a delta.
    """
    try:
        manifest = Manifest.parse((folder / MANIFEST).read_bytes())
        is_changed = (
            bool(manifest.history)
            or manifest.locator is not None
            or (folder / SIGNATURE).exists()
            or _is_from_delta(folder)
        )
    except (OSError, BundleError, OutputError):
        return None
    return manifest if is_changed else None


def aside_of(folder: Path) -> Path | None:
    """Return where a changed bundle goes when another takes its place; None where the one there is not changed."""
    manifest = changed_manifest(folder)
    if manifest is None:
        return None
    digits = "".join(filter(str.isalnum, manifest.bundle_id.rpartition("-")[2]))[:_DIGITS]
    name = first = f"{ASIDE}{digits}"
    number = 1
    place = folder.resolve().parent
    while os.path.lexists(place / name):
        number += 1
        name = f"{first}-{number}"
    return place / name


def _is_from_delta(folder: Path) -> bool:
    """Return whether the bundle is the one that `nut bundle extend` gave; what it was before lies beside it."""
    step = read_step(Places.of(folder).previous)
    return step is not None and step.new.manifest_sha256 == manifest_digest(folder)
