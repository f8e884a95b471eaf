"""The pictures of a run that is to be grown, and what the new ones are to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nut_dataset.layout import GOOD, Dataset, fingerprint, open_dataset
from nut_runtime.errors import InputError
from nut_runtime.pictures import extensions_text, list_pictures
from nut_train.digests import digest
from nut_train.extension_record import digests_by_name, extension_prefix, grown_digests, locate
from nut_train.run import Run

__all__ = ["BasePictures", "NewPictures", "find_base", "find_new"]

_LEAST_HELD_OUT = 5
_FEW = 10
"""Of fewer new pictures none is held out: they would say little, and are most often picked because they score high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePictures:
    """The pictures of a run, found again. Names are those of its record.

    Attributes:
        dataset: What it was trained on, with its test pictures as they are now.
        is_changed: Whether the test pictures, or what else lies there, are not those of the training any more.
        in_bank: Name by digest of those in the bank.
        held_out: Path by name of those that calibrate; none where they are cross-fitted.
        calibrating: Name by digest of the same.
    """

    dataset: Dataset
    is_changed: bool
    in_bank: Mapping[str, str]
    held_out: Mapping[str, Path]
    calibrating: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPictures:
    """The new pictures, by what becomes of them.

    Attributes:
        root: What their names are relative to.
        bank: Those that the bank grows by.
        held_out: Those that calibrate.
        digests: SHA-256 of each of both.
        left_out: Those that add nothing, and why.
        moved: Names of the run's held-out pictures that are among `bank` and calibrate no more.
        leaked: Pictures in `test/good` of the run that are among `bank` and `held_out`.
    """

    root: Path
    bank: tuple[Path, ...]
    held_out: tuple[Path, ...]
    digests: Mapping[Path, str]
    left_out: Mapping[Path, str]
    moved: tuple[str, ...]
    leaked: tuple[Path, ...]

    def name(self, path: Path, step: int) -> str:
        """Return the name of a picture in the record of a step, from 1."""
        return extension_prefix(step) + path.relative_to(self.root).as_posix()


def find_base(run: Run, root: Path | None) -> BasePictures:
    """Find the pictures of a run, and check that they are those that it was trained on.

    Args:
        run: A finished run.
        root: Where its data set lies now; None takes the place where it was trained.

    Raises:
        InputError: If the data set is gone, or a picture of it is gone, changed or under another one's name; or the
            data set has changed and the record is from before it said which picture is which.
    """
    place = Path(run.record["dataset"]["path"]) if root is None else root
    if not place.is_dir():
        raise InputError(
            f"{place}, which {run.folder} was trained on, is not there, and its held-out pictures are needed; "
            "say where it is with --base-dataset"
        )
    dataset = open_dataset(place)
    is_changed = fingerprint(dataset) != run.record["dataset"]["fingerprint"]
    split = run.record["split"]
    grown, known = grown_digests(run.record), digests_by_name(run.record)
    named = [name for role in ("bank", "held_out") for name in split.get(role, ())]
    if is_changed and not known.keys() >= set(named):  # a record from before there were digests by name
        raise InputError(
            f"{place} has changed since {run.folder} was trained, whose record does not say which picture is which; "
            "put it back as it was, or train again"
        )
    roles: dict[str, dict[str, str]] = {"bank": {}, "held_out": {}}  # a repeat has the bytes of one of these
    for role, found in roles.items():
        for name in split.get(role, ()):
            # What an earlier growing put into the bank is not needed again, so it may be gone.
            is_needed = role == "held_out" or name not in grown
            sha256 = _checked(run, place, name, known.get(name)) if is_needed else grown[name]
            found[sha256] = name
    return BasePictures(
        dataset=dataset,
        is_changed=is_changed,
        in_bank=roles["bank"],
        held_out={name: locate(run.record, name, place) for name in split.get("held_out", ())},
        calibrating=roles["held_out"],
    )


def _checked(run: Run, root: Path, name: str, known: str | None) -> str:
    """Return the digest of one of the run's pictures; `known` is what it was, where the record says so.

    Raises:
        InputError: If it is gone, or not what it was.
    """
    path = locate(run.record, name, root)
    if not path.is_file():
        raise InputError(f"{path}, which {run.folder} was trained on, is missing; put it back, or train again")
    sha256 = digest(path)
    if known is not None and sha256 != known:
        raise InputError(f"{path} is not the picture that {run.folder} was trained on; put it back, or train again")
    return sha256


def find_new(place: Path, base: BasePictures, *, holdout: float | None, share: float, seed: int) -> NewPictures:
    """Look through the new pictures and decide what becomes of each.

    Args:
        place: A folder of good pictures, a data set with `train/good`, or one picture.
        base: The run's own pictures.
        holdout: Share that is to calibrate; None takes `share` of ten or more, and of fewer none.
        share: The run's own.
        seed: Fixes which.

    Raises:
        InputError: If there are none, one is filed as defective, all are the run's already, or too few are left to
            calibrate with.
    """
    root, paths = _list_new(place)
    if holdout and not base.held_out:
        raise InputError("the run is cross-fitted and holds no pictures out; leave out --holdout")
    digests, left_out = _different(paths, base)
    moved = {path: base.calibrating[sha256] for path, sha256 in digests.items() if sha256 in base.calibrating}
    if len(moved) == len(base.held_out):  # the run's own data set with more in it: nobody singled these out
        left_out |= {path: f"held out by the run, as {name}" for path, name in moved.items()}
        digests = {path: sha256 for path, sha256 in digests.items() if path not in moved}
        moved = {}
    if not digests:
        raise InputError(f"all {len(paths)} pictures of {place} are the run's already, so there is nothing to add")
    wanted = holdout if base.held_out else 0.0
    held_out = _choose([path for path in digests if path not in moved], wanted, share, seed)
    bank = tuple(path for path in digests if path not in held_out)
    if not bank:
        raise InputError(f"all {len(digests)} new pictures would be held out; lower --holdout, or give more pictures")
    left = len(base.held_out) - len(moved) + len(held_out)
    if base.held_out and left < _LEAST_HELD_OUT:
        raise InputError(
            f"{len(moved)} of the new pictures calibrated the run, and with them in the bank {left} are left to "
            f"calibrate with, at least {_LEAST_HELD_OUT} are needed; add good pictures and train again"
        )
    return NewPictures(
        root=root,
        bank=bank,
        held_out=tuple(sorted(held_out)),
        digests=digests,
        left_out=left_out,
        moved=tuple(moved.values()),
        leaked=tuple(path for path in base.dataset.test_good if digest(path) in digests.values()),
    )


def _different(paths: Sequence[Path], base: BasePictures) -> tuple[dict[Path, str], dict[Path, str]]:
    """Return the digests of pictures that are new to the bank, and why the others are left out.

    Raises:
        InputError: If one is filed as defective.
    """
    defective = {digest(path): path for path in base.dataset.defective}
    first: dict[str, Path] = {}
    left_out: dict[Path, str] = {}
    for path in paths:
        sha256 = digest(path)
        if sha256 in defective:
            named = defective[sha256].relative_to(base.dataset.root).as_posix()
            raise InputError(
                f"{path} has the same bytes as {named}, which is filed as defective; file it as good first"
            )
        if sha256 in base.in_bank:
            left_out[path] = f"in the bank already, as {base.in_bank[sha256]}"
        elif first.setdefault(sha256, path) is not path:
            left_out[path] = f"the same as {first[sha256].name}"
    return {path: sha256 for sha256, path in first.items()}, left_out


def _list_new(place: Path) -> tuple[Path, list[Path]]:
    """Return what the names are relative to, and the pictures.

    Raises:
        InputError: If there are none.
    """
    if place.is_file():
        return place.resolve().parent, [place.resolve()]
    if not place.is_dir():
        raise InputError(f"{place} does not exist; give a folder of good pictures")
    root = place.resolve()
    good = root / "train" / GOOD
    paths = list_pictures(good if good.is_dir() else root)
    if not paths:
        raise InputError(f"{good if good.is_dir() else place} holds no pictures ({extensions_text()})")
    return root, paths


def _choose(fresh: Sequence[Path], wanted: float | None, share: float, seed: int) -> set[Path]:
    """Return those of the pictures that are to calibrate."""
    if wanted is None:
        wanted = share if len(fresh) >= _FEW else 0.0
    chosen = np.random.default_rng(seed).permutation(len(fresh))[: round(wanted * len(fresh))]
    return {fresh[place] for place in chosen}
