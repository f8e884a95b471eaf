"""Whether the stated rate of false rejects holds, over many random divisions of real good pictures.

    python -m nut_benchmarks.coverage DATASET --splits 100 --rate 0.1 --rate 0.05

In each split a share of the good pictures is set aside to test with; the others are what a user has. They calibrate by
each method, and the share of the test pictures above the threshold is what is counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from nut_benchmarks.coverage_scores import CoresetBanks, FullBanks, Scorer, Scores, embeddings_of
from nut_dataset.layout import list_dataset
from nut_dataset.progress import Progress, no_progress, progress_bars
from nut_runtime.cli_errors import NutCommand, say
from nut_runtime.errors import InputError
from nut_train.calibrate import different_pictures
from nut_train.config import DEFAULT_BACKBONE, parse_image_size
from nut_train.promise import promise
from nut_train.thresholds import Rule, place_of, quantile_threshold, threshold_at

__all__ = ["METHODS", "Coverage", "CoverageConfig", "measure_coverage"]

METHODS = ("split conformal", "plain quantile", "cross-fitted")
"""Held out with the conformal threshold; held out with the plain quantile; cross-fitted with the conformal one."""

_LEAST_PICTURES = 20
_SURE = 1.96  # standard errors on either side, for 95%


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageConfig:
    """What is tried.

    Attributes:
        splits: Random divisions.
        rates: False-reject rates asked for, each in (0, 0.5].
        test: Share of the pictures set aside to test with, in (0, 1).
        holdout: Share of the others that is held out of the bank, in (0, 1).
        folds: Folds of the cross-fitting, at least 2.
        seed: Fixes the divisions.
    """

    splits: int = 100
    rates: tuple[float, ...] = (0.1, 0.05)
    test: float = 1 / 3
    holdout: float = 0.5
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range.
        """
        for name, share, most in (
            *(("rate", rate, 0.5) for rate in self.rates),
            ("test share", self.test, 1),
            ("holdout", self.holdout, 1),
        ):
            if not 0 < share <= most or share == 1:
                raise InputError(f"{name} {share:g}, expected above 0 and at most {most}")
        if self.splits < 2 or self.folds < 2:  # noqa: PLR2004 - an interval and a division need two
            raise InputError(f"{self.splits} splits and {self.folds} folds, expected at least 2 of each")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What became of one method at one rate.

    Attributes:
        what: `image` or `pixel`: pictures above the image threshold, or with a pixel above the pixel threshold.
        method: One of `METHODS`.
        rate: The rate asked for.
        pictures: Calibration pictures.
        bound: Rate that is proven for so many, on average; None where none is.
        rejected: Share of the test pictures rejected, one for each split.
    """

    what: str
    method: str
    rate: float
    pictures: int
    bound: float | None
    rejected: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean rate over the splits."""
        return float(np.mean(self.rejected))

    @property
    def error(self) -> float:
        """Half of its 95% interval, as if the splits were independent; they share the same pictures."""
        return _SURE * float(np.std(self.rejected, ddof=1)) / len(self.rejected) ** 0.5

    @property
    def above(self) -> float:
        """Share of the splits in which more were rejected than asked for."""
        return float(np.mean(np.array(self.rejected) > self.rate + 1e-12))

    def row(self) -> str:
        """Return a line of the table."""
        bound = "-" if self.bound is None else f"{self.bound:.1%}"
        cells = (
            self.what,
            self.method,
            f"{self.rate:.3g}",
            str(self.pictures),
            bound,
            f"{self.mean:.2%} ± {self.error:.2%}",
            f"{self.above:.0%}",
            f"up to {np.percentile(self.rejected, 95):.1%}",
        )
        return f"| {' | '.join(cells)} |"


def measure_coverage(
    scorer: Scorer, count: int, config: CoverageConfig, progress: Progress = no_progress
) -> list[Coverage]:
    """Return what became of every method at every rate.

    Args:
        scorer: Judges pictures, by their numbers from 0.
        count: Number of pictures.
        config: What is tried.
        progress: Told of each split.

    Raises:
        InputError: If there are too few pictures.
    """
    if count < _LEAST_PICTURES:
        raise InputError(f"{count} different good pictures, at least {_LEAST_PICTURES} are needed")
    random = np.random.default_rng(config.seed)
    rejected: dict[tuple[str, str, float], list[float]] = {}
    sizes: dict[str, int] = {}
    for split in range(config.splits):
        order = random.permutation(count)
        tested = max(1, round(config.test * count))
        test, given = order[:tested], order[tested:]
        for method, calibration, judged in _judged(scorer, test, given, config):
            sizes[method] = len(calibration[0])
            put = quantile_threshold if method == METHODS[1] else threshold_at
            for rate in config.rates:
                for what, ours, theirs in zip(("image", "pixel"), calibration, judged, strict=True):
                    share = float((theirs > put(ours, rate)).mean())
                    rejected.setdefault((what, method, rate), []).append(share)
        progress("dividing and calibrating", split + 1, config.splits)
    return [
        Coverage(
            what=what,
            method=method,
            rate=rate,
            pictures=sizes[method],
            bound=_bound(method, sizes[method], rate, config.folds),
            rejected=tuple(shares),
        )
        for (what, method, rate), shares in sorted(
            rejected.items(), key=lambda item: (item[0][0], config.rates.index(item[0][2]), METHODS.index(item[0][1]))
        )
    ]


def _judged(
    scorer: Scorer, test: NDArray[np.intp], given: NDArray[np.intp], config: CoverageConfig
) -> Iterator[tuple[str, Scores, Scores]]:
    """Yield each method with the scores that it calibrates on and those of the test pictures."""
    held = min(max(1, round(config.holdout * len(given))), len(given) - 1)
    held_out, bank = given[:held], np.sort(given[held:])
    calibration, judged = scorer.scores(bank, held_out), scorer.scores(bank, test)
    yield METHODS[0], calibration, judged
    yield METHODS[1], calibration, judged
    parts = [given[fold :: config.folds] for fold in range(config.folds)]
    found = [scorer.scores(np.sort(np.setdiff1d(given, part)), part) for part in parts]
    raw, peaks = (np.concatenate([scores[place] for scores in found]) for place in (0, 1))
    yield METHODS[2], (raw, peaks), scorer.scores(np.sort(given), test)


def _bound(method: str, pictures: int, rate: float, folds: int) -> float | None:
    rule = Rule.QUANTILE if method == METHODS[1] else Rule.CONFORMAL
    above = pictures - min(place_of(pictures, rate, rule), pictures)
    is_crossfit = method == METHODS[2]
    return promise(pictures=pictures, above=above, folds=folds if is_crossfit else 1, is_by_good=True).bound


def _table(found: Sequence[Coverage]) -> list[str]:
    return [
        "| for | method | asked | pictures | proven at most | mean of rejected | splits above | 95% of splits |",
        "|---|---|---|---|---|---|---|---|",
        *(one.row() for one in found),
    ]


@click.command(cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--splits", type=int, default=100, show_default=True, help="Random divisions of the pictures.")
@click.option("--rate", "rates", type=float, multiple=True, default=(0.1, 0.05), show_default=True, help="Rate to ask.")
@click.option("--test", type=float, default=1 / 3, show_default="a third", help="Share of the pictures to test with.")
@click.option("--holdout", type=float, default=0.5, show_default=True, help="Share of the others held out of the bank.")
@click.option("--folds", type=int, default=5, show_default=True, help="Folds of the cross-fitting.")
@click.option("--backbone", default=DEFAULT_BACKBONE, show_default=True, help="A timm model.")
@click.option("--image-size", default="256", show_default=True, metavar="PX|HxW", help="What pictures are brought to.")
@click.option(
    "--coreset",
    type=float,
    metavar="RATIO",
    help="Thin each bank and weigh the scores, as nut train does; much slower.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Fixes the divisions.")
def main(dataset: Path, backbone: str, image_size: str, coreset: float | None, **options: object) -> None:
    r"""Measure false rejects against the stated rate on the good pictures of DATASET, and print a table.

    \b
    python -m nut_benchmarks.coverage ../shared/data/magnetic-tile --splits 100 --rate 0.1 --rate 0.05
    """
    config = CoverageConfig(**options)  # type: ignore[arg-type]
    size = parse_image_size(image_size)
    data = list_dataset(dataset)
    paths, repeated = different_pictures([*data.train_good, *data.test_good])
    if len(paths) < _LEAST_PICTURES:
        raise InputError(f"{len(paths)} different good pictures, at least {_LEAST_PICTURES} are needed")
    from nut_train.backbone import describe_backbone
    from nut_train.patchcore import build_model
    from nut_train.quiet import hush_libraries
    from nut_train.weights import find_weights

    hush_libraries()
    model = build_model(
        describe_backbone(backbone, (), image_size=size), image_size=size, weights=find_weights(backbone, None)
    ).eval()
    with progress_bars() as progress:
        embeddings, grid = embeddings_of(model, paths, progress)
        scorer: Scorer
        if coreset is None:
            scorer = FullBanks(embeddings, grid, size, progress)
        else:
            scorer = CoresetBanks(model, embeddings, coreset, grid, size)
        found = measure_coverage(scorer, len(paths), config, progress)
    banks = "full banks, scores not weighed" if coreset is None else f"banks of {coreset:g} of the patches, weighed"
    say(
        f"{len(paths)} different good pictures ({len(repeated)} repeats left out), {round(config.test * len(paths))} "
        f"of them tested in each of {config.splits} splits; {backbone} at {size[0]}x{size[1]}, {banks}"
    )
    for line in _table(found):
        say(line)


if __name__ == "__main__":
    main()
