"""A deployed bundle taken to its next version by a delta, and back."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.claims import claim
from nut_runtime.delta.exchange import Places, Step, go_back, install, manifest_digest, new_step, read_step, settle
from nut_runtime.delta.gate import Gated, check_alike, gate
from nut_runtime.delta.reading import Delta, open_delta
from nut_runtime.delta.rebuild import Rebuilt, check_is_for, rebuild
from nut_runtime.errors import BundleError, InputError, NutError, OutputError
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.signature import SIGNATURE

__all__ = ["Extended", "Reverted", "extend_bundle", "revert_bundle"]


_NAMED = 4  # files that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended:
    """A bundle that took a delta.

    Attributes:
        before: Id of the bundle that was there.
        bundle: The bundle that is there now.
        delta_bytes: Length of the delta.
        rebuilt: What it was made of.
        gated: What it has shown.
        kept: The folder of the bundle from before.
        kept_bytes: What that takes.
        left_behind: Files of the old folder that its manifest does not list, as paths below it; they stay with it.
    """

    before: str
    bundle: Bundle
    delta_bytes: int
    rebuilt: Rebuilt
    gated: Gated
    kept: Path
    kept_bytes: int
    left_behind: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """A bundle that was taken back.

    Attributes:
        before: Id of the bundle that was there, as the step says; it is removed.
        bundle: The bundle that is there again.
    """

    before: str
    bundle: Bundle


def extend_bundle(
    folder: str | Path,
    delta_path: str | Path,
    *,
    verify_key: str | Path | None = None,
    engine: str | None = None,
    threads: int | None = None,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> Extended:
    """Take a bundle to the next version that a delta gives: rebuilt beside it, tested here, then exchanged.

    Whatever fails before the exchange, or whenever the process is killed, the folder holds the old bundle or the new
    one, whole; on file systems without an exchange of folders (FAT, NFS, Windows) there is an instant without either,
    which the next call puts right. A running station takes the new one between two frames.

    Args:
        folder: The bundle, or a link to it.
        delta_path: The delta.
        verify_key: PEM file with public keys, one of which must have signed the new bundle; None takes what is as
            signed as the old one.
        engine: As in `gate`; so is the next one.
        threads: Threads to compute with.
        force: Take a new bundle that changes verdicts. Nothing else is let pass.
        on_step: Told what is being done, in words.

    Raises:
        BundleError: If bundle or delta is not usable, they do not belong together, or nobody vouches for the new one.
        EngineError: If the new one does not judge here as its reference did.
        ParityError: If it changes verdicts.
        InputError: If the bundle is in use by another `extend`, or `verify_key` cannot be used.
        OutputError: If something cannot be written, or the older bundle that was kept so far, and is removed now, holds
            files that its manifest does not list.
    """
    folder = Path(folder)
    places = Places.of(folder)
    _check_is_there(folder, places)
    _check_key_place(verify_key, places)
    with open_delta(delta_path) as delta, claim(places.bundle, what=f"the bundle {folder}"):
        settle(places)
        old = open_bundle(folder)
        digest = manifest_digest(folder) or ""
        check_is_for(delta, old, digest)
        check_alike(old.manifest, delta.manifest)
        _check_signed(old, delta, is_verified=verify_key is not None)
        _check_kept(places)
        try:
            on_step("rebuilding")
            place = new_step(places, _step(old.manifest, delta))
            rebuilt = rebuild(delta, old, place, verify_key=verify_key)
            new = open_bundle(place, verify_key=verify_key)
            on_step("testing")
            gated = gate(old, new, engine=engine, threads=threads, allows_changes=force)
            _check_same(folder, digest)
            unlisted = tuple(old.unlisted_files())
            install(places)
        except BaseException:
            with suppress(NutError):  # the first error is the one to tell; the next call cleans up again
                settle(places)
            raise
        return Extended(
            before=old.manifest.bundle_id,
            bundle=Bundle(folder=folder, manifest=new.manifest, verified_by=new.verified_by),
            delta_bytes=delta.size_bytes,
            rebuilt=rebuilt,
            gated=gated,
            kept=places.previous,
            kept_bytes=sum(path.stat().st_size for path in places.previous.rglob("*") if path.is_file()),
            left_behind=unlisted,
        )


def revert_bundle(folder: str | Path, *, verify_key: str | Path | None = None, force: bool = False) -> Reverted:
    """Take a bundle back to what it was before the last `extend_bundle`; the one that is there now is removed.

    Only hashes and signature of the old bundle are compared: it judged here before.

    Args:
        folder: The bundle, or a link to it.
        verify_key: PEM file with public keys, one of which must have signed the old bundle.
        force: Go back even where the bundle that is there is not the one that the extension gave, or holds files that
            its manifest does not list, which are removed with it.

    Raises:
        BundleError: If there is nothing to go back to, what there is was altered or is not vouched for, or the bundle
            was changed since or holds other files.
        InputError: If the bundle is in use by another `extend`, or `verify_key` cannot be used.
        OutputError: If a folder cannot be moved.
    """
    folder = Path(folder)
    places = Places.of(folder)
    _check_is_there(folder, places)
    with claim(places.bundle, what=f"the bundle {folder}"):
        settle(places)
        step = read_step(places.previous)
        if step is None:
            raise BundleError(f"{folder} has nothing to go back to: it was not extended, or was taken back already")
        old = open_bundle(places.previous_bundle, verify_key=verify_key)
        if not force and manifest_digest(folder) not in (None, step.new.manifest_sha256):
            raise BundleError(
                f"{folder} was changed since it was extended to {step.new.bundle_id}: it is {_name_of(folder)}; give "
                f"--force to replace it by {step.old.bundle_id} all the same"
            )
        unlisted = [] if force else _unlisted(places.bundle)
        if unlisted:
            raise BundleError(
                f"{folder} holds {_listed(unlisted)}, which its manifest does not list and which would be removed with "
                f"{step.new.bundle_id}; move what you need away, or give --force"
            )
        go_back(places)
        return Reverted(
            before=step.new.bundle_id,
            bundle=Bundle(folder=folder, manifest=old.manifest, verified_by=old.verified_by),
        )


def _check_is_there(folder: Path, places: Places) -> None:
    """Refuse what is no bundle, before anything is written beside it."""
    if not folder.is_dir() and not places.previous.exists() and not places.next.exists():
        raise BundleError(f"{folder} is not a bundle folder")


def _check_key_place(verify_key: str | Path | None, places: Places) -> None:
    """Refuse a key that lies in the bundle which it is to protect."""
    if verify_key is not None and Path(verify_key).resolve().is_relative_to(places.bundle):
        raise InputError(
            f"{verify_key} lies in the bundle that is to be replaced, so it proves nothing; keep it elsewhere"
        )


def _check_signed(old: Bundle, delta: Delta, *, is_verified: bool) -> None:
    """Refuse a bundle that is less signed than it must be.

    Raises:
        BundleError: If it is.
    """
    if delta.signature_text is not None:
        return
    new = delta.header.new.bundle_id
    if is_verified:
        raise BundleError(
            f"{delta.path} gives {new}, which is not signed, and a key to verify it was given; get one of a signed one"
        )
    if (old.folder / SIGNATURE).exists():
        raise BundleError(
            f"{old.folder} is signed and {delta.path} gives {new}, which is not; sign that and make the delta again"
        )


def _check_kept(places: Places) -> None:
    """Refuse to replace a kept bundle that holds files of somebody's: they would be removed with it.

    Raises:
        OutputError: If it does.
    """
    unlisted = _unlisted(places.previous_bundle)
    if unlisted:
        raise OutputError(
            f"{places.previous_bundle} holds {_listed(unlisted)}, which its manifest does not list and which would be "
            "removed with that older bundle; move what you need away and remove the rest, then extend again"
        )


def _unlisted(folder: Path) -> list[str]:
    """Return the files in a bundle folder that no manifest vouches for, so that nobody else may have them.

    All of them where there is no manifest; none where there is no folder.

    Raises:
        BundleError: If the manifest cannot be read.
    """
    try:
        manifest = Manifest.parse((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    except OSError as error:
        raise BundleError(f"cannot read {folder / MANIFEST}: {error.strerror or error}") from error
    return Bundle(folder=folder, manifest=manifest).unlisted_files()


def _listed(names: Sequence[str]) -> str:
    """Return names in words, the first few of many."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _step(old: Manifest, delta: Delta) -> Step:
    """Return what is about to be done; of the delta's header only the digests count, which were compared."""
    return Step(
        old=replace(delta.header.old, bundle_id=old.bundle_id),
        new=replace(delta.header.new, bundle_id=delta.manifest.bundle_id),
    )


def _check_same(folder: Path, digest: str) -> None:
    """Refuse to replace a bundle that is not the one that was compared with."""
    if manifest_digest(folder) != digest:
        raise BundleError(f"{folder} was replaced meanwhile; look at it, then extend it again")


def _name_of(folder: Path) -> str:
    """Return the id of a bundle whose files may not be sound."""
    try:
        return Manifest.parse((folder / MANIFEST).read_bytes()).bundle_id
    except (OSError, BundleError):
        return "no bundle"
