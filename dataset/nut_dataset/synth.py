"""Writes a data set of drawn weld nuts: what the demo and the tests run on without real parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nut_dataset.drawing import MIN_SIDE_PX, DefectKind, draw_nut
from nut_dataset.layout import GOOD
from nut_runtime import __version__
from nut_runtime.atomic import check_output_folder, new_folder, write_json
from nut_runtime.errors import InputError
from nut_runtime.pictures import write_picture

__all__ = ["DEFAULT_SIZE_PX", "SIZE_PLAY", "synthesise"]

ARGUMENTS = "synth.json"  # tells how the folder was made

DEFAULT_SIZE_PX = 320
"""Not the model's 256, so that the data set exercises its resize."""
SIZE_PLAY = 0.06
"""Share by which each side of a picture may differ from the size asked for."""
_MIN_SIZE_PX = round(MIN_SIDE_PX / (1 - SIZE_PLAY)) + 1
_MAX_SIZE_PX = 2048
_MAX_PICTURES = 9999
"""Per split: names have four digits, and sort as they were drawn."""
_MAX_SEED = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One picture to draw.

    Attributes:
        split: 0 train/good, 1 test/good, 2 defects: part of the picture's own seed, never to be renumbered.
        index: Within the split.
        folder: Relative to the data set.
        stem: Of the file.
        defect: Kind, or None for a good nut.
    """

    split: int
    index: int
    folder: str
    stem: str
    defect: DefectKind | None = None


def synthesise(
    out: Path,
    *,
    train: int,
    good: int,
    defects: int,
    seed: int,
    size_px: int = DEFAULT_SIZE_PX,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a data set of weld nuts into the new folder `out`, laid out as `nut_dataset.layout` says.

    Each picture has its own random state, made from `seed`, its split and its number there: the same
    arguments give the same bytes (on one kind of machine), and asking for more pictures keeps the earlier
    ones. Good and defective pictures come from the same distribution of size, place, light and camera.
    `synth.json` beside the splits tells how the folder was made.

    Args:
        out: The folder; it appears whole, at the end.
        train: Pictures in `train/good`, at least 1.
        good: Pictures in `test/good`.
        defects: Defective pictures, dealt in turn to the kinds of `DefectKind`, each with its mask.
        seed: 0 to 2**64 - 1.
        size_px: Middle of the range of the pictures' sides; each side of each is within 6% of it.
        overwrite: Replace an `out` that is there already.
        progress: Called after each picture with the number done and the number in all.

    Raises:
        InputError: If an argument is out of its range.
        OutputError: If `out` exists and is not to be replaced, or cannot be written.
    """
    _check_arguments(train=train, good=good, defects=defects, seed=seed, size_px=size_px)
    out = Path(out)
    check_output_folder(out, marker=ARGUMENTS, overwrite=overwrite)
    orders = list(_orders(train=train, good=good, defects=defects))
    with new_folder(out, marker=ARGUMENTS, overwrite=overwrite) as folder:
        for done, order in enumerate(orders, start=1):
            _draw_one(folder, order, seed=seed, size_px=size_px)
            if progress is not None:
                progress(done, len(orders))
        arguments = {"train": train, "good": good, "defects": defects, "seed": seed, "size_px": size_px}
        write_json(folder / ARGUMENTS, {"made_by": "nut dataset synth", "version": __version__, **arguments})


def _check_arguments(*, train: int, good: int, defects: int, seed: int, size_px: int) -> None:
    """Refuse numbers out of range, by name."""
    for name, value, low, high in (
        ("train", train, 1, _MAX_PICTURES),
        ("good", good, 0, _MAX_PICTURES),
        ("defects", defects, 0, _MAX_PICTURES),
        ("seed", seed, 0, _MAX_SEED),
        ("size_px", size_px, _MIN_SIZE_PX, _MAX_SIZE_PX),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise InputError(f"{name} is a whole number from {low} to {high}, got {value!r}; choose one in that range")


def _orders(*, train: int, good: int, defects: int) -> Iterator[_Order]:
    """List the pictures: training, good test parts, then the defects kind by kind in turn."""
    for index in range(train):
        yield _Order(split=0, index=index, folder=f"train/{GOOD}", stem=f"{index:04d}")
    for index in range(good):
        yield _Order(split=1, index=index, folder=f"test/{GOOD}", stem=f"{index:04d}")
    kinds = list(DefectKind)
    for index in range(defects):
        kind = kinds[index % len(kinds)]
        yield _Order(split=2, index=index, folder=f"test/{kind.value}", stem=f"{index // len(kinds):04d}", defect=kind)


def _draw_one(root: Path, order: _Order, *, seed: int, size_px: int) -> None:
    """Draw and write one picture, and its mask where there is a defect."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(order.split, order.index)))
    play = int(size_px * SIZE_PLAY)
    height_px, width_px = rng.integers(size_px - play, size_px + play, 2, endpoint=True).tolist()
    nut = draw_nut(rng, height_px=height_px, width_px=width_px, defect=order.defect)
    folder = root / order.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder / f"{order.stem}.png", nut.picture)
    if order.defect is not None:
        masks = root / "ground_truth" / order.defect.value
        masks.mkdir(parents=True, exist_ok=True)
        write_picture(masks / f"{order.stem}_mask.png", nut.defect.astype(np.uint8) * np.uint8(255))
