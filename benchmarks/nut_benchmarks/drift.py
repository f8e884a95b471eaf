"""How soon a bundle's runtime notices that a view has changed, and how often it says so of one that has not.

    python -m nut_benchmarks.drift DATASET BUNDLE

Good test pictures, which took no part in training or calibration, come in random order, each as often as chance has it.
After two hundred of them all that follow are changed in one way; then they are as before again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.layout import Dataset, open_dataset
from nut_runtime.bundle import open_bundle
from nut_runtime.cli_errors import NutCommand, say
from nut_runtime.drift import WARNINGS, WINDOWS, DriftWatch
from nut_runtime.errors import InputError
from nut_runtime.inspector import Inspector
from nut_runtime.manifest import Manifest
from nut_runtime.pictures import read_picture
from nut_runtime.view_calibration import view_figures

__all__ = ["CHANGES", "Look", "Noticed", "false_warnings", "looks_of", "notice"]

_BEFORE, _CHANGED, _AFTER = 200, 400, 400  # parts
_SEQUENCES, _UNCHANGED = 200, 1_000
_DEFECTS = 0.05

Picture = NDArray[np.uint8]


def _dimmed(share: float) -> Callable[[Picture], Picture]:
    return lambda frame: np.asarray(cv2.convertScaleAbs(frame, alpha=share), np.uint8)


def _blurred(sigma_px: float) -> Callable[[Picture], Picture]:
    return lambda frame: np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma_px), np.uint8)


def _shifted(share: float) -> Callable[[Picture], Picture]:
    def shift(frame: Picture) -> Picture:
        height, width = frame.shape[:2]
        move = np.array([[1, 0, round(width * share)], [0, 1, round(height * share)]], np.float32)
        moved = cv2.warpAffine(frame, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    return shift


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "light x 0.8": _dimmed(0.8),
    "light x 0.6": _dimmed(0.6),
    "light x 1.25": _dimmed(1.25),
    "blurred, sigma 1 px": _blurred(1.0),
    "blurred, sigma 1.5 px": _blurred(1.5),
    "shifted by 10%": _shifted(0.1),
    "shifted by 25%": _shifted(0.25),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the watch is told of one picture.

    Attributes:
        brightness: As in `DriftWatch.note`.
        sharpness: The same.
        raw_score: The same.
        is_rejected: The same.
    """

    brightness: float
    sharpness: float
    raw_score: float
    is_rejected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """What became of one change.

    Attributes:
        after: Parts from the change to the first warning, one for each order that it was noticed in, shuffled orders.
        over_after: Parts from the change's end to the end of the last warning, where it ended.
        orders: Orders that were tried.
        warnings: How often each warning was among the first ones.
    """

    after: tuple[int, ...]
    over_after: tuple[int, ...]
    orders: int
    warnings: Counter[str]


def looks_of(
    inspector: Inspector, paths: Sequence[Path], change: Callable[[Picture], Picture] | None = None
) -> list[Look]:
    """Judge pictures, changed or as they are.

    Args:
        inspector: Judges them.
        paths: Picture files.
        change: What to do to each; None leaves it.
    """
    looks = []
    for path in paths:
        frame = read_picture(path)
        frame = frame if change is None else change(frame)
        brightness, sharpness = view_figures(frame)
        verdict = inspector.inspect(frame)
        looks.append(
            Look(
                brightness=brightness,
                sharpness=sharpness,
                raw_score=verdict.raw_score,
                is_rejected=verdict.is_defective,
            )
        )
    return looks


def false_warnings(
    manifest: Manifest, good: Sequence[Look], defective: Sequence[Look], share: float, generator: np.random.Generator
) -> tuple[int, int]:
    """Return how many warnings began, and at how many parts, though nothing had changed.

    Args:
        manifest: The bundle's.
        good: Good parts.
        defective: Defective ones, that are mixed in.
        share: Their share.
        generator: Chance.
    """
    begun = 0
    for _ in range(_SEQUENCES):
        watch, before = DriftWatch.of(manifest), frozenset[str]()
        for _ in range(_UNCHANGED):
            pool = defective if defective and generator.random() < share else good
            current = frozenset(_note(watch, _any(pool, generator)))
            begun += len(current - before)
            before = current
    return begun, _SEQUENCES * _UNCHANGED


def notice(
    manifest: Manifest, good: Sequence[Look], changed: Sequence[Look], generator: np.random.Generator
) -> Noticed:
    """Return how soon a change is noticed, and its end.

    Args:
        manifest: The bundle's.
        good: Parts as they are.
        changed: The same ones, changed.
        generator: Chance.
    """
    after, over, first = [], [], Counter[str]()
    for _ in range(_SEQUENCES):
        watch = DriftWatch.of(manifest)
        for _ in range(_BEFORE):
            before = _note(watch, _any(good, generator))
        begun = 0
        for part in range(1, _CHANGED + 1):
            current = _note(watch, _any(changed, generator))
            news = set(current) - set(before)
            if news and not begun:
                begun = part
                first.update(news)
        if not begun:
            continue
        after.append(begun)
        for part in range(1, _AFTER + 1):
            if not _note(watch, _any(good, generator)):
                over.append(part)
                break
    return Noticed(after=tuple(after), over_after=tuple(over), orders=_SEQUENCES, warnings=first)


def _any(looks: Sequence[Look], generator: np.random.Generator) -> Look:
    return looks[int(generator.integers(len(looks)))]


def _note(watch: DriftWatch, look: Look) -> tuple[str, ...]:
    return watch.note("view", look.brightness, look.sharpness, look.raw_score, is_rejected=look.is_rejected)


def _percentiles(parts: Sequence[int]) -> str:
    if not parts:
        return "-"
    return f"{np.percentile(parts, 50):.0f} / {np.percentile(parts, 95):.0f}"


def _row(name: str, found: Noticed) -> str:
    noticed = f"{len(found.after) / found.orders:.0%}"
    words = ", ".join(warning.partition(":")[0] for warning in WARNINGS if found.warnings[warning])
    cells = (name, noticed, _percentiles(found.after), _percentiles(found.over_after), words or "nothing")
    return f"| {' | '.join(cells)} |"


@click.command(cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
def main(dataset: Path, bundle: Path) -> None:
    """Measure false and true warnings on the test pictures of DATASET, and print them as a table."""
    data: Dataset = open_dataset(dataset)
    opened = open_bundle(bundle)
    manifest = opened.manifest
    if manifest.calibration is None:
        raise InputError(f"{bundle} does not say what its views were like; export it again")
    if len(data.test_good) < 10:  # noqa: PLR2004 (fewer show little)
        raise InputError(f"{dataset} has {len(data.test_good)} good test pictures, expected at least 10")
    inspector = Inspector(opened)
    generator = np.random.default_rng(0)
    good = looks_of(inspector, data.test_good)
    defective = looks_of(inspector, data.defective)
    say(
        f"{manifest.bundle_id}: calibrated with {manifest.calibration.brightness.count} views and "
        f"{manifest.calibration.raw_score.count} scores; {len(good)} good pictures, windows of "
        f"{' and '.join(map(str, WINDOWS))} parts"
    )
    for share in (0.0, _DEFECTS):
        begun, parts = false_warnings(manifest, good, defective, share, generator)
        say(f"unchanged, {share:.0%} defects: {begun} warnings began at {parts} parts in {_SEQUENCES} orders")
    say("| change | noticed | after parts (median / 95%) | over after parts | as |")
    say("|---|---|---|---|---|")
    for name, change in CHANGES.items():
        say(_row(name, notice(manifest, good, looks_of(inspector, data.test_good, change), generator)))


if __name__ == "__main__":
    main()
