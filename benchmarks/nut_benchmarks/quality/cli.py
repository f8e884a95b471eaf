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
from nut_benchmarks.quality.trial import AGGREGATIONS, Trial, try_on_folds, try_on_test
from nut_benchmarks.quality.variant import TRIED, Variant
from nut_benchmarks.tables import markdown_table
from nut_dataset.layout import open_dataset
from nut_dataset.progress import Progress, progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture

__all__ = ["quality"]

_NEIGHBOUR = 31  # which picture foreign surface is cut from, further on in the list
_COLUMNS = ("setting", "option", "width", *(f"folds: {name}" for name in AGGREGATIONS), "test")


@click.command(cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--folds", type=click.IntRange(min=2), default=2, show_default=True, help="Parts left out of the bank.")
@click.option(
    "--only", metavar="WORDS", multiple=True, help="The setting of this name, or all whose name has these words."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn defects.")
def quality(dataset: Path, folds: int, only: Sequence[str], seed: int) -> None:
    """Try settings of PatchCore on the good pictures of DATASET, and print a Markdown table of image AUROC.

    To choose by: good pictures against the same ones with a drawn defect, each judged by a bank without it. The last
    column is the test set, with all good pictures in the bank; nothing is to be chosen by it.

    \b
    python -m nut_benchmarks.quality ../shared/data/magnetic-tile
    python -m nut_benchmarks.quality nuts --only whitened --folds 5
    """
    chosen = _chosen(only)
    data = open_dataset(dataset)
    good = [read_picture(path) for path in data.train_good]
    if len(good) < 2 * folds:
        raise InputError(f"{len(good)} good pictures in {folds} folds leave too few; give more, or fewer folds")
    spoiled = [
        spoil(frame, good[(7 * number + _NEIGHBOUR) % len(good)], kind=number, seed=1000 * (seed + 1) + number)
        for number, frame in enumerate(good)
    ]
    has_test = bool(data.test_good and data.defects)
    tests = [[read_picture(path) for path in paths] for paths in (data.test_good, *data.defects.values())]
    rows: dict[str, tuple[str, ...]] = {}
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
                rows[variant.name] = _row(variant, maps, folds, turned, also)
                done += 1
                progress("settings", done, len(chosen))
    click.echo("\n".join(markdown_table(_COLUMNS, [rows[one.name] for one in chosen], words=("setting", "option"))))
    kinds = ", ".join(f"{len(paths)} {kind}" for kind, paths in data.defects.items()) or "no defects"
    click.echo(
        f"\n{len(good)} good pictures in {folds} folds, spoiled with seed {seed}; test: {len(data.test_good)} good, "
        f"{kinds}; torch {torch.__version__}"
    )


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


def _row(
    variant: Variant, maps: Sequence[Maps], folds: int, turned: Maps | None, also: Sequence[Maps]
) -> tuple[str, ...]:
    """Return a line of the table; pictures come as good, spoiled, and those to test with, if any."""
    good, spoiled, *tests = maps
    found = try_on_folds(good, spoiled, variant, folds=folds, turned=turned, also=also[:2])
    test: Trial | None = None
    if tests:
        test = try_on_test(good, tests, variant, turned=turned, also=[*also[:1], *also[2:]])
    return (
        variant.name,
        f"`{variant.option}`" if variant.option else "not offered",
        str(found.width),
        *(f"{value:.3f}" for value in found.auroc),
        "" if test is None else f"{test.auroc[0]:.3f}",
    )
