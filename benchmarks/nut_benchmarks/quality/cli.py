"""`python -m nut_benchmarks.quality`: tries settings on folds of the good pictures, and tells what each would give."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from nut_benchmarks.quality.features import Extractor, Maps
from nut_benchmarks.quality.spoil import spoil
from nut_benchmarks.quality.trial import AGGREGATIONS, Trial, gain, try_on_folds, try_on_test
from nut_benchmarks.quality.variant import TRIED, Variant
from nut_benchmarks.tables import markdown_table
from nut_dataset.layout import Dataset, open_dataset
from nut_dataset.progress import Progress, progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.digests import digest
from nut_train.weights import find_weights

__all__ = ["quality"]

_NEIGHBOUR = 31  # which picture foreign surface is cut from, further on in the list
_COLUMNS = (
    "setting",
    "option",
    "width",
    f"folds: {AGGREGATIONS[0]}",
    "more than the first row, 95%",
    *(f"folds: {name}" for name in AGGREGATIONS[1:]),
    "test",
)


@click.command(cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--folds", type=click.IntRange(min=2), default=2, show_default=True, help="Parts left out of the bank.")
@click.option(
    "--only", metavar="WORDS", multiple=True, help="The setting of this name, or all whose name has these words."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn defects.")
def quality(dataset: Path, folds: int, only: Sequence[str], seed: int) -> None:
    """Try settings of PatchCore on the good pictures of DATASET, and print a Markdown table of image AUROC.

    To choose by: good pictures against the same ones with a drawn defect, each judged by a bank without it; and where
    the difference from the first row lies, by a bootstrap over the pictures. The last column is the test set, with all
    good pictures in the bank; nothing is to be chosen by it. Test pictures that are in the bank too are left out.

    \b
    python -m nut_benchmarks.quality ../shared/data/magnetic-tile
    python -m nut_benchmarks.quality nuts --only whitened --folds 5
    """
    chosen = _chosen(only)
    for backbone in {one.backbone for one in chosen}:
        find_weights(backbone)  # before half an hour of work, not in its midst
    data = open_dataset(dataset)
    good = [read_picture(path) for path in data.train_good]
    if len(good) < 2 * folds:
        raise InputError(f"{len(good)} good pictures in {folds} folds leave too few; give more, or fewer folds")
    spoiled = [
        spoil(frame, good[(7 * number + _NEIGHBOUR) % len(good)], kind=number, seed=1000 * (seed + 1) + number)
        for number, frame in enumerate(good)
    ]
    test_good, defects, leaked = _without_leaked(data)
    has_test = bool(test_good and defects)
    tests = [[read_picture(path) for path in paths] for paths in (test_good, *defects.values())]
    folded: dict[str, Trial] = {}
    tested: dict[str, Trial] = {}
    with progress_bars() as progress:
        sets = [good, spoiled, *(tests if has_test else ())]
        done = 0
        for (backbone, side), group in groupby(
            sorted(chosen, key=lambda one: (one.backbone, one.side_px)), key=lambda one: (one.backbone, one.side_px)
        ):
            maps = _maps(backbone, side, sets, progress)
            for variant in group:
                turned = _maps(backbone, side, [_quarter_turns(good)], progress)[0] if variant.turns > 1 else None
                also = _maps(backbone, variant.also_px, sets, progress) if variant.also_px else []
                folded[variant.name] = try_on_folds(
                    maps[0], maps[1], variant, folds=folds, turned=turned, also=also[:2]
                )
                if has_test:
                    tested[variant.name] = try_on_test(
                        maps[0], maps[2:], variant, turned=turned, also=[*also[:1], *also[2:]]
                    )
                done += 1
                progress("settings", done, len(chosen))
    first = folded[chosen[0].name]
    rows = [_row(one, folded[one.name], first, tested.get(one.name)) for one in chosen]
    click.echo("\n".join(markdown_table(_COLUMNS, rows, words=("setting", "option"))))
    kinds = ", ".join(f"{len(paths)} {kind}" for kind, paths in defects.items()) or "no defects"
    left_out = f" ({leaked} more, which are in train/good too, left out)" if leaked else ""
    click.echo(
        f"\n{len(good)} good pictures in {folds} folds, spoiled with seed {seed}; test: {len(test_good)} good, "
        f"{kinds}{left_out}; torch {torch.__version__}"
    )


def _without_leaked(data: Dataset) -> tuple[list[Path], dict[str, list[Path]], int]:
    """Return the test pictures, good ones and by kind of defect, that are not in train/good too; and how many are."""
    seen = {digest(path) for path in data.train_good}
    kept = {kind: [path for path in paths if digest(path) not in seen] for kind, paths in data.defects.items()}
    good = [path for path in data.test_good if digest(path) not in seen]
    defects = {kind: paths for kind, paths in kept.items() if paths}
    left = len(good) + sum(map(len, defects.values()))
    return good, defects, len(data.test_good) + sum(map(len, data.defects.values())) - left


def _chosen(only: Sequence[str]) -> list[Variant]:
    """Return the settings that were asked for, all where none was.

    Raises:
        InputError: If there is none of that name.
    """
    names = [one.name for one in TRIED]
    wanted = {name for words in only for name in names if name == words or (words not in names and words in name)}
    if only and not wanted:
        raise InputError(f"no setting has {' or '.join(only)} in its name; there are {', '.join(names)}")
    return [one for one in TRIED if not only or one.name in wanted]


def _quarter_turns(frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return all pictures turned by one quarter, then by two, then by three."""
    return [np.ascontiguousarray(np.rot90(frame, turn)) for turn in (1, 2, 3) for frame in frames]


def _maps(backbone: str, side_px: int, sets: Sequence[Sequence[Any]], progress: Progress) -> list[Maps]:
    """Return the feature maps of sets of pictures at one size."""
    extractor = Extractor(backbone, side_px)
    return [extractor.maps(frames, f"{backbone} at {side_px} px", progress) for frames in sets]


def _row(variant: Variant, folds: Trial, first: Trial, test: Trial | None) -> tuple[str, ...]:
    """Return a line of the table."""
    shown = [f"{value:.3f}" for value in folds.auroc]
    more = ""
    if folds is not first:
        found = gain(folds, first)
        more = f"{folds.auroc[0] - first.auroc[0]:+.3f}"
        more += "" if found is None else f" ({found.low:+.3f} to {found.high:+.3f})"
    return (
        variant.name,
        f"`{variant.option}`" if variant.option else "not offered",
        str(folds.width),
        shown[0],
        more,
        *shown[1:],
        "" if test is None else f"{test.auroc[0]:.3f}",
    )
