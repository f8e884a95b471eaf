"""A bundle folder exchanged for its next version at one instant, and what it was before kept to go back to.

Beside the folder `NAME` lie at most three hidden ones, all ours:

    .NAME.delta-next/       while `extend` works: step.json, and bundle/ with the new bundle
    .NAME.delta-previous/   after it: step.json, and bundle/ with the old bundle
    .NAME.delta-removed/    on its way out

`step.json` names the two bundles by the digests of their manifests, so that after a kill at any moment what lies there
tells by itself what it is (`settle`). Whoever calls these holds a claim on the folder.
"""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nut_runtime.atomic import sync_folder, write_json
from nut_runtime.delta.contents import BundleName
from nut_runtime.errors import BundleError, OutputError
from nut_runtime.manifest import MANIFEST
from nut_runtime.owner import give_owner

__all__ = ["Places", "Step", "go_back", "install", "manifest_digest", "new_step", "read_step", "settle"]

_STEP = "step.json"
_BUNDLE = "bundle"
_ASIDE = "aside"

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE of <linux/fs.h>
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From which bundle to which.

    Attributes:
        old: The one before.
        new: The one after.
    """

    old: BundleName
    new: BundleName


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """A bundle folder and the hidden ones beside it.

    Attributes:
        bundle: The folder itself, behind every link.
        next: Where the new bundle is made.
        previous: Where the old one is kept.
        removed: What is being removed.
    """

    bundle: Path
    next: Path
    previous: Path
    removed: Path

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return the places of a bundle folder, or of one that a kill left away."""
        bundle = folder.resolve()
        places = (bundle.with_name(f".{bundle.name}.delta-{kind}") for kind in ("next", "previous", "removed"))
        following, previous, removed = places
        return cls(bundle=bundle, next=following, previous=previous, removed=removed)

    @property
    def next_bundle(self) -> Path:
        """The new bundle, while it is made."""
        return self.next / _BUNDLE

    @property
    def previous_bundle(self) -> Path:
        """The old bundle, once the new one took its place."""
        return self.previous / _BUNDLE


def manifest_digest(bundle: Path) -> str | None:
    """Return the SHA-256 of a bundle's manifest; None where there is none.

    Raises:
        BundleError: If it is there and cannot be read.
    """
    try:
        return hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BundleError(f"cannot read {bundle / MANIFEST}: {error.strerror or error}") from error


def new_step(places: Places, step: Step) -> Path:
    """Begin a step; return the empty folder that takes the new bundle.

    What is made belongs to whom the bundle belongs, so that the service that runs on it can go back and extend it too.

    Raises:
        OutputError: If it cannot be made, or this user may not give it to the bundle's owner.
    """
    try:
        like = places.bundle.stat()
        places.next.mkdir()
        write_json(places.next / _STEP, {"from": step.old.to_json(), "to": step.new.to_json()})
        places.next_bundle.mkdir()
        for place in (places.next_bundle, places.next / _STEP, places.next):
            give_owner(place, like)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {places.next}: {error.strerror or error}") from error
    return places.next_bundle


def read_step(container: Path) -> Step | None:
    """Return what step a hidden folder is of; None where it does not say.

    Raises:
        OutputError: If it cannot be read.
    """
    try:
        data = json.loads((container / _STEP).read_bytes())
        return Step(old=BundleName.from_json(data["from"]), new=BundleName.from_json(data["to"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read {container / _STEP}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def settle(places: Places) -> None:
    """Bring order into what a killed `extend` or `revert` left: finish what was exchanged, remove what was not.

    Raises:
        OutputError: If a hidden folder is not ours or holds what it should not, or cannot be moved or removed.
        BundleError: If a manifest cannot be read.
    """
    try:
        _clear(places.removed)
        for container in (places.next, places.previous):
            if container.exists():
                _check_ours(container)
                _undo_half(places.bundle, container)
        if places.next.exists():
            step = read_step(places.next)
            # The bundle in place says nothing: its threshold may have been moved since the kill.
            if step is not None and manifest_digest(places.next_bundle) == step.old.manifest_sha256:
                _keep(places)
            else:
                _remove(places.next, places.removed)
        if places.previous.exists() and not _is_kept(places):
            _remove(places.previous, places.removed)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot clean up beside {places.bundle}: {error}") from error


def install(places: Places) -> None:
    """Put the new bundle in its place and keep the old one to go back to, instead of any older one.

    Raises:
        OutputError: If a folder cannot be moved; the old bundle is in its place then, unless the message says that the
            new one is.
    """
    sync_folder(places.next)
    try:
        _exchange(places.bundle, places.next)
    except OSError as error:
        raise _cannot_exchange(places.bundle, error) from error
    try:
        _undo_half(places.bundle, places.next)
        _keep(places)
    except OSError as error:
        raise OutputError(
            f"{places.bundle} is the new bundle now, but the old one is not where it is kept to go back to "
            f"({error.strerror or error}); the next extend or revert moves it there from {places.next}"
        ) from error


def go_back(places: Places) -> None:
    """Put the old bundle back in its place, and remove what was there.

    Raises:
        OutputError: If a folder cannot be moved; the message says which bundle is in its place then.
    """
    try:
        if places.bundle.exists():
            _exchange(places.bundle, places.previous)
        else:
            places.previous_bundle.rename(places.bundle)
            sync_folder(places.bundle.parent)
    except OSError as error:
        raise _cannot_exchange(places.bundle, error) from error
    try:
        _undo_half(places.bundle, places.previous)
        places.previous.rename(places.removed)
    except OSError as error:
        raise OutputError(
            f"{places.bundle} is the old bundle again, but the newer one cannot be removed "
            f"({error.strerror or error}); the next extend or revert removes {places.previous}"
        ) from error
    _try_to_clear(places.removed)


def _cannot_exchange(bundle: Path, error: OSError) -> OutputError:
    if error.errno == errno.EBUSY:
        return OutputError(f"cannot exchange {bundle}: it is a mount point; mount the folder above it instead")
    return OutputError(f"cannot exchange {bundle}: {error.strerror or error}")


def _exchange(bundle: Path, container: Path) -> None:
    """Exchange a bundle for that in a hidden folder: at one instant, where system and file system can do so.

    Else by two renames; a kill between them leaves no bundle in its place until `settle` puts it back. What was there
    is `aside` then, for `_undo_half`.
    """
    inner, aside = container / _BUNDLE, container / _ASIDE
    if not _exchange_at_once(inner, bundle):
        try:
            bundle.rename(aside)
            inner.rename(bundle)
        except BaseException:
            if aside.exists() and not bundle.exists():
                aside.rename(bundle)
            raise
    sync_folder(bundle.parent)
    sync_folder(container)


def _exchange_at_once(one: Path, other: Path) -> bool:
    """Exchange two folders by one call of the system; False where it cannot."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library older than the call
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:  # FAT, NFS and the like
        return False
    raise OSError(code, os.strerror(code), str(other))


def _undo_half(bundle: Path, container: Path) -> None:
    """Put right what the renames of `_exchange` left, both done or only the first."""
    inner, aside = container / _BUNDLE, container / _ASIDE
    if aside.exists():
        if not bundle.exists():
            aside.rename(bundle)
        elif not inner.exists():
            aside.rename(inner)
        else:
            raise OutputError(
                f"{aside} was the bundle when an exchange was killed, and another one is in its place now; look at it, "
                "then move it away or remove it"
            )


def _keep(places: Places) -> None:
    """Make the old bundle, which the exchange left where the new one was made, the one to go back to."""
    if places.previous.exists():
        places.previous.rename(places.removed)
    places.next.rename(places.previous)
    sync_folder(places.bundle.parent)
    _try_to_clear(places.removed)


def _is_kept(places: Places) -> bool:
    """Whether the old bundle is where it is kept; False where a killed `revert` had put it back in its place.

    Raises:
        OutputError: If neither can be told, such as of a kept bundle that was changed.
    """
    step = read_step(places.previous)
    if step is not None and manifest_digest(places.previous_bundle) == step.old.manifest_sha256:
        return True
    if not places.previous_bundle.exists() or (
        step is not None and manifest_digest(places.bundle) == step.old.manifest_sha256
    ):
        return False
    name = "the bundle from before" if step is None else step.old.bundle_id
    raise OutputError(
        f"{places.previous} does not hold {name} as it was kept, nor is that in its place again; look at what it "
        "holds, then move it away or remove it"
    )


def _remove(folder: Path, removed: Path) -> None:
    """Remove a folder; under the other name first, under which nothing else lies half removed."""
    folder.rename(removed)
    _clear(removed)


def _clear(removed: Path) -> None:
    """Remove what is on its way out.

    Raises:
        OutputError: If some of it stays; nothing else can be moved there then.
    """
    _try_to_clear(removed)
    try:
        if removed.exists():
            shutil.rmtree(removed)
    except OSError as error:
        raise OutputError(
            f"cannot remove {removed}, which an earlier extend or revert left: {error.strerror or error}; remove it, "
            "as its owner or as root"
        ) from error


def _try_to_clear(removed: Path) -> None:
    """Remove what is on its way out, as far as it goes; the next `settle` says what stays."""
    shutil.rmtree(removed, ignore_errors=True)
    if removed.exists():  # folders that their owner may not write, as those of a bundle copied from a read-only disk
        for folder, inner, _ in os.walk(removed):
            for place in (Path(folder), *(Path(folder, name) for name in inner)):
                with suppress(OSError):
                    if not place.is_symlink():
                        place.chmod(0o700)
        shutil.rmtree(removed, ignore_errors=True)


def _check_ours(container: Path) -> None:
    """Refuse to touch a folder that somebody else made under one of our names."""
    if (container / _STEP).is_file():
        return
    if any(not path.name.endswith(".tmp") for path in container.iterdir()):
        raise OutputError(f"{container} is not of nut-runtime ({_STEP} is missing); move it away")
