"""What growing a bank by false alarms does: to them, to parts like them, to the rest of the good ones and to defects.

    python -m nut_benchmarks.false_alarms DATASET --splits 10 --rate 0.1

In each split the good pictures are divided: some fill the bank, some put the threshold, and the others come along the
line. Those of the line that are rejected are false alarms. Half of them are confirmed good and given to the bank, as
`nut train --extend` does it; the other half shows what becomes of parts like them.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from nut_benchmarks.coverage_scores import CoresetBanks, Scores, embeddings_of
from nut_dataset.layout import list_dataset
from nut_dataset.progress import Progress, no_progress, progress_bars
from nut_runtime.cli_errors import NutCommand, say
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.calibrate import different_pictures
from nut_train.config import DEFAULT_BACKBONE, parse_image_size
from nut_train.coreset import extend_coreset, select_coreset
from nut_train.projection import project
from nut_train.thresholds import threshold_at

__all__ = ["POLICIES", "Outcome", "Parts", "measure_false_alarms"]

POLICIES = {
    "share only": np.inf,
    "held-out median": 1.0,
    "half of it": 0.5,
    "every patch": 0.0,
}
"""How far a patch of the given pictures may be from the bank, in medians of the held-out scores; the share besides."""

_RATIO = 0.01
_LEAST_PICTURES = 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Judged pictures by their patches.

    Attributes:
        patches: Float32 `[N, P, D]`.
        judge: Gives scores and map peaks of the pictures of some numbers with a bank, float32 `[M, D]`.
        good: Numbers of the good pictures.
        early: Those among them that may fill the bank and put the threshold; the others only come along the line.
        defective: Numbers of the defective ones.
    """

    patches: torch.Tensor
    judge: Callable[[torch.Tensor, NDArray[np.intp]], Scores]
    good: NDArray[np.intp]
    early: NDArray[np.intp]
    defective: NDArray[np.intp]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Counts of one policy over all splits.

    Attributes:
        rows: Rows added.
        base_rows: Rows before.
        given: False alarms that were given to the bank, and how many of them pass.
        alike: False alarms that were not, and how many of them pass.
        passed: Parts of the line that passed before, and how many of them are rejected now.
        defects: Defective parts, how many were found before, and how many are found now.
        thresholds: Of each split the threshold after, as a share of that before.
    """

    rows: int
    base_rows: int
    given: list[int]
    alike: list[int]
    passed: list[int]
    defects: list[int]
    thresholds: list[float]

    def row(self, name: str) -> str:
        """Return a line of the table."""
        cells = [
            name,
            f"{self.rows / max(self.base_rows, 1):.1%}",
            f"{self.given[1]} of {self.given[0]}",
            f"{self.alike[1]} of {self.alike[0]}",
            f"{self.passed[1]} of {self.passed[0]}",
            f"{self.defects[1] / max(self.defects[0], 1):.1%} -> {self.defects[2] / max(self.defects[0], 1):.1%}",
            f"{np.mean(self.thresholds):.3f}" if self.thresholds else "-",
        ]
        return f"| {' | '.join(cells)} |"


def measure_false_alarms(
    parts: Parts, *, splits: int, rate: float, seed: int = 0, progress: Progress = no_progress
) -> dict[str, Outcome]:
    """Return what became of everything under each policy, over all splits with two false alarms at least.

    Args:
        parts: The judged pictures.
        splits: Random divisions.
        rate: False-reject rate that the threshold is put for.
        seed: Fixes the divisions.
        progress: Told of each split.

    Raises:
        InputError: If there are too few good pictures.
    """
    if len(parts.early) < _LEAST_PICTURES:
        raise InputError(f"{len(parts.early)} good pictures to train on, at least {_LEAST_PICTURES} are needed")
    random = np.random.default_rng(seed)
    found = {
        name: Outcome(rows=0, base_rows=0, given=[0, 0], alike=[0, 0], passed=[0, 0], defects=[0, 0, 0], thresholds=[])
        for name in POLICIES
    }
    late = np.setdiff1d(parts.good, parts.early)
    for split in range(splits):
        order = random.permutation(parts.early)
        cuts = [round(0.4 * len(order)), round(0.6 * len(order))] if not len(late) else [round(0.8 * len(order))] * 1
        bank, *rest = np.split(order, cuts)
        held, line = (rest[0], rest[1]) if not len(late) else (rest[0], late)
        _measure_split(parts, bank, held, line, rate, random, found)
        progress("dividing and growing", split + 1, splits)
    return found


def _measure_split(
    parts: Parts,
    bank: NDArray[np.intp],
    held: NDArray[np.intp],
    line: NDArray[np.intp],
    rate: float,
    random: np.random.Generator,
    found: dict[str, Outcome],
) -> None:
    """Add one division to the counts."""
    rows = _coreset(parts.patches[torch.from_numpy(bank)].flatten(0, 1))
    calibration, peaks = parts.judge(rows, held)
    threshold = threshold_at(calibration, rate)
    scores, _ = parts.judge(rows, line)
    alarms = random.permutation(line[scores > threshold])
    if len(alarms) < 2:  # noqa: PLR2004 - one to give and one to look at
        return
    given, alike = np.split(alarms, [len(alarms) // 2])
    passed = line[scores <= threshold]
    before = int((parts.judge(rows, parts.defective)[0] > threshold).sum())
    new = parts.patches[torch.from_numpy(given)].flatten(0, 1)
    median = float(min(np.median(calibration), np.median(peaks)))
    for name, factor in POLICIES.items():
        picked = extend_coreset(new, rows, least=int(_RATIO * len(new)), most=len(new), radius=factor * median)
        grown = torch.cat([rows, new[torch.from_numpy(picked.picks)]])
        after = threshold_at(parts.judge(grown, held)[0], rate)
        one = found[name]
        one.rows += len(picked.picks)
        one.base_rows += len(rows)
        one.thresholds.append(after / threshold)
        for counts, pictures, is_passing in (
            (one.given, given, True),
            (one.alike, alike, True),
            (one.passed, passed, False),
        ):
            counts[0] += len(pictures)
            if len(pictures):
                counts[1] += int(((parts.judge(grown, pictures)[0] <= after) == is_passing).sum())
        one.defects[0] += len(parts.defective)
        one.defects[1] += before
        one.defects[2] += int((parts.judge(grown, parts.defective)[0] > after).sum())


def _coreset(patches: torch.Tensor) -> torch.Tensor:
    """Return the bank that `nut train` would fill with these patches."""
    with tempfile.TemporaryDirectory(prefix="nut-false-alarms-") as folder:
        features, start = project([patches], rows=len(patches), width=patches.shape[1], seed=0, folder=Path(folder))
        picks = select_coreset(features, int(len(patches) * _RATIO), start=start).picks
    return patches[torch.from_numpy(picks)]


def _early(paths: Sequence[Path]) -> NDArray[np.intp]:
    """Return the pictures of the size that most have."""
    sizes = [read_picture(path).shape[:2] for path in paths]
    common = max(sorted(set(sizes)), key=sizes.count)
    return np.array([place for place, size in enumerate(sizes) if size == common], np.intp)


@click.command(cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--splits", type=int, default=10, show_default=True, help="Random divisions of the pictures.")
@click.option("--rate", type=float, default=0.1, show_default=True, help="False-reject rate of the threshold.")
@click.option("--backbone", default=DEFAULT_BACKBONE, show_default=True, help="A timm model.")
@click.option("--image-size", default="256", show_default=True, metavar="PX|HxW", help="What pictures are brought to.")
@click.option("--seed", type=int, default=0, show_default=True, help="Fixes the divisions.")
@click.option("--one-size", is_flag=True, help="Train on pictures of the most common size only; others come later.")
def main(dataset: Path, splits: int, rate: float, backbone: str, image_size: str, seed: int, **options: bool) -> None:
    r"""Measure what adding false alarms to the bank does, on the good and defective pictures of DATASET.

    \b
    python -m nut_benchmarks.false_alarms ../shared/data/magnetic-tile --splits 10 --rate 0.1
    """
    size = parse_image_size(image_size)
    data = list_dataset(dataset)
    paths, _ = different_pictures([*data.train_good, *data.test_good])
    from nut_train.backbone import describe_backbone
    from nut_train.patchcore import build_model
    from nut_train.quiet import hush_libraries
    from nut_train.weights import find_weights

    hush_libraries()
    model = build_model(
        describe_backbone(backbone, (), image_size=size), image_size=size, weights=find_weights(backbone, None)
    ).eval()
    good = np.arange(len(paths))
    with progress_bars() as progress:
        patches, grid = embeddings_of(model, [*paths, *data.defective], progress)
        parts = Parts(
            patches=patches,
            judge=CoresetBanks(model, patches, _RATIO, grid, size).with_bank,
            good=good,
            early=_early(paths) if options["one_size"] else good,
            defective=np.arange(len(paths), len(patches)),
        )
        found = measure_false_alarms(parts, splits=splits, rate=rate, seed=seed, progress=progress)
    say(
        f"{len(paths)} good pictures, {len(parts.early)} of them to train on, {len(parts.defective)} defective ones; "
        f"{splits} splits, {rate:g} asked for; {backbone} at {size[0]}x{size[1]}, banks of {_RATIO:g} of the patches"
    )
    say(
        "| covered to | rows added | given, now pass | alike, pass | passed, rejected now | defects found | threshold |"
    )
    say("|---|---|---|---|---|---|---|")
    for name, outcome in found.items():
        say(outcome.row(name))


if __name__ == "__main__":
    main()
