"""Cross-fitted scores: each good picture is judged by a model without it, and none is lost to the final bank."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nut_dataset.progress import Progress
from nut_runtime.errors import InputError
from nut_train.calibrate import LEAST_IN_BANK, Split, different_pictures
from nut_train.predict import Prediction, predict

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["GoodScore", "cross_fit", "score_good", "split_folds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodScore:
    """A good picture, judged by a model that was not trained on it.

    Attributes:
        path: The picture.
        raw_score: Its raw score.
        map_peak: Largest value of its raw map.
        fold: Which of the models judged it, from 0; None of a held-out picture.
    """

    path: Path
    raw_score: float
    map_peak: float
    fold: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `run.json` keeps."""
        plain: dict[str, Any] = {"path": self.path.name, "raw_score": self.raw_score, "map_peak": self.map_peak}
        return plain if self.fold is None else plain | {"fold": self.fold}


def split_folds(paths: Sequence[Path], *, folds: int, seed: int) -> Split:
    """Divide good pictures into parts of which each is judged by a model of the others.

    Pictures with the bytes of another are left out first, as in `split_good`.

    Args:
        paths: The pictures of `train/good`.
        folds: Number of parts, at least 2; their sizes differ by at most one picture.
        seed: Fixes the choice.

    Raises:
        InputError: If there are fewer pictures than folds, or too few for a bank, or one cannot be read.
    """
    different, repeated = different_pictures(paths)
    count = len(different)
    if count < folds or count - -(-count // folds) < LEAST_IN_BANK:
        raise InputError(
            f"{count} different good pictures in {folds} folds leave too few for a bank; at least "
            f"{LEAST_IN_BANK} are needed beside each fold, and no more folds than pictures"
        )
    shuffled = np.random.default_rng(seed).permutation(count)
    return Split(
        bank=tuple(different),
        held_out=(),
        repeated=repeated,
        folds=tuple(tuple(sorted(different[place] for place in shuffled[fold::folds])) for fold in range(folds)),
    )


def cross_fit(
    split: Split, fit: Callable[[tuple[Path, ...], Progress], "Patchcore"], *, device: str, progress: Progress
) -> list[GoodScore]:
    """Judge every picture of the folds with a model of the other folds.

    Args:
        split: From `split_folds`.
        fit: Trains a model on some pictures.
        device: `auto`, `cpu` or `cuda`.
        progress: Told of each step of each fold.

    Returns:
        In the order of the pictures' names.
    """
    scores: list[GoodScore] = []
    for number, fold in enumerate(split.folds):
        model = fit(
            tuple(path for path in split.bank if path not in fold),
            lambda what, done, total, number=number: progress(  # type: ignore[misc]
                f"fold {number + 1} of {len(split.folds)}: {what}", done, total
            ),
        )
        done = len(scores)
        scores += score_good(
            model,
            fold,
            device=device,
            fold=number,
            progress=lambda what, now, _, done=done: progress(what, done + now, len(split.bank)),  # type: ignore[misc]
        )
        del model  # before the next one is built
    return sorted(scores, key=lambda score: score.path)


def score_good(
    model: "Patchcore", paths: Sequence[Path], *, device: str, progress: Progress, fold: int | None = None
) -> list[GoodScore]:
    """Judge good pictures that are not in a model's bank.

    Args:
        model: A trained model, not calibrated yet.
        paths: The pictures.
        device: `auto`, `cpu` or `cuda`.
        progress: Told of each picture.
        fold: What to note as `GoodScore.fold`.

    Raises:
        InputError: If a score is not finite.
    """
    scores: list[GoodScore] = []

    def keep(prediction: Prediction) -> None:
        peak = float(prediction.raw_map.max())
        scores.append(
            GoodScore(path=prediction.path, raw_score=prediction.raw_score, map_peak=peak, fold=fold),
        )
        progress("calibrating on held-out parts", len(scores), len(paths))

    predict(model, paths, keep, device=device)
    if not np.isfinite([(score.raw_score, score.map_peak) for score in scores]).all():
        raise InputError("the features are not finite numbers; the backbone's weights are broken or do not fit it")
    return scores
