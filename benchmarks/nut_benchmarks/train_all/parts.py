"""The parts of a plant: the data sets below a folder, each with a name that can stand as folders of the output."""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nut_benchmarks.train_all.job import ASIDE
from nut_dataset.layout import GOOD
from nut_runtime.errors import InputError

__all__ = ["Part", "find_parts"]

_NAME = re.compile(r"\w(?:[\w .,+()@=-]{0,62}[\w+()@=-])?")
_WINDOWS = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
_OURS = frozenset({"run", "bundle", "run.unfinished", "part.json", "worker.log"})  # what lies in a part's folder
_TOP = frozenset({"summary.json", "summary.csv", "summary.html", "train-all.json"})
_ROLES = frozenset({"train", "test", "ground_truth"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A data set and its name.

    Attributes:
        name: Its path below the root, with `/`.
        data: Its folder.
    """

    name: str
    data: Path


def find_parts(root: Path, *, out: Path | None = None) -> tuple[Part, ...]:
    """Find every data set below a folder: each folder with `train/good` in it, however deep, sorted by name.

    Hidden folders are passed over, and so are a data set's own folders of pictures (`train`, `test`, `ground_truth`).
    Links to folders are followed.

    Args:
        root: The folder.
        out: The output; passed over where it lies below.

    Raises:
        InputError: If there are none, one cannot be read, a name could not be a folder's on every machine, two names
            differ by capitals alone, or one data set is there twice.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the folder that holds the data sets")
    passed_over = None if out is None else out.resolve()
    parts = sorted(_below(root, "", passed_over, ()), key=lambda part: part.name)
    if not parts:
        if (root / "train" / GOOD).is_dir():
            raise InputError(f"{root} is a data set itself; use nut train, or give the folder that holds it")
        raise InputError(f"no folder below {root} holds train/good; give the folder that holds the data sets")
    _check_names(root, parts)
    return tuple(parts)


def _below(folder: Path, name: str, out: Path | None, above: tuple[Path, ...]) -> Iterator[Part]:
    """Give the data sets below a folder; `above` are the folders that led here, for links that lead back."""
    here = folder.resolve()
    if here in above or here == out:
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        is_dataset = (folder / "train" / GOOD).is_dir()
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    if is_dataset and name:
        yield Part(name=name, data=folder)
    for child in names:
        if not (is_dataset and child in _ROLES):
            yield from _below(folder / child, f"{name}/{child}" if name else child, out, (*above, here))


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(ASIDE)


def _check_names(root: Path, parts: list[Part]) -> None:
    """Refuse names that another machine could not have as folders, or would take for the same."""
    seen: dict[str, Part] = {}
    places: dict[Path, Part] = {}
    for part in parts:
        pieces = part.name.split("/")
        for piece in pieces:
            if not _NAME.fullmatch(piece) or piece.partition(".")[0].casefold() in _WINDOWS:
                raise InputError(
                    f"{str(root / part.name)!r}: {piece!r} cannot name a part; use letters, digits, blanks and "
                    "_ . , + ( ) @ = - with a letter or digit first, at most 64"
                )
        if any(_is_ours(piece.casefold()) for piece in pieces) or pieces[0].casefold() in _TOP:
            raise InputError(f"{root / part.name}: that is the name of a folder or file of the output; rename it")
        key = unicodedata.normalize("NFKC", part.name).casefold()
        if key in seen:
            raise InputError(f"{root} holds {seen[key].name} and {part.name}, one name to some machines; rename one")
        seen[key] = part
        place = part.data.resolve()
        if place in places:
            raise InputError(f"{root / part.name} and {places[place].name} are the same data set; remove the link")
        places[place] = part
