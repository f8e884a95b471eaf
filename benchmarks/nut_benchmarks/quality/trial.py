"""One variant, tried: how well it tells spoiled pictures from good ones that its bank has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from nut_benchmarks.quality.features import Maps, embed
from nut_benchmarks.quality.variant import Variant
from nut_train.coreset import select_coreset
from nut_train.statistics.bootstrap import Interval, bootstrap
from nut_train.whitening import Whitening, find_whitening

__all__ = ["AGGREGATIONS", "Trial", "gain", "try_on_folds", "try_on_test"]

AGGREGATIONS = ("farthest patch", "mean of the farthest 1%", "farthest 3x3 patches")
"""How patch distances become a picture's score; the first is PatchCore's, whose weighing (eq. 7) hardly moves it."""
_ROWS = 4096  # patches compared with the bank at a time
_EVERY = 3  # patches that scales are found from


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Image AUROC of a variant by aggregation, and the width of what it compares.

    Attributes:
        auroc: By aggregation, in their order.
        width: D.
        wins: Of a trial on folds, by the first aggregation: for each fold, float32 `[N, N]`, 1 where the spoiled
            picture of a column scores above the good one of a row, 0.5 where they are equal; the mean is its AUROC.
    """

    auroc: tuple[float, ...]
    width: int
    wins: tuple[NDArray[np.float32], ...] = ()


def try_on_folds(
    good: Maps,
    spoiled: Maps,
    variant: Variant,
    *,
    folds: int,
    turned: Maps | None = None,
    also: Sequence[Maps] = (),
) -> Trial:
    """Judge each good and spoiled picture by a bank without it, in folds; return the mean AUROC.

    Args:
        good: Maps of good pictures.
        spoiled: Of the same pictures with a defect each.
        variant: What is tried.
        folds: How many times a part of the pictures is left out of the bank.
        turned: Maps of the good pictures turned by one to three quarters, in this order, where the variant wants them.
        also: `good` and `spoiled` at the variant's second size, where it has one.
    """
    count = len(good[0])
    fold = np.arange(count) % folds
    found, wins = [], []
    for number in range(folds):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        judge = _Judge([good, *([] if turned is None else [turned])], inside, count, variant)
        scores = tuple(judge.score(_some(maps, outside)) for maps in (good, spoiled))
        if also:
            second = _Judge([also[0]], inside, count, variant)
            scores = _added(scores, tuple(second.score(_some(maps, outside)) for maps in also))
        found.append(_auroc(*scores))
        row, column = scores[0][0][:, None], scores[1][0][None, :]
        wins.append(((column > row).float() + 0.5 * (column == row)).numpy())
    return Trial(auroc=tuple(float(value) for value in np.mean(found, axis=0)), width=judge.width, wins=tuple(wins))


def gain(trial: Trial, first: Trial) -> Interval | None:
    """Return where the difference of two trials on the same folds lies, by the first aggregation.

    A good picture and its spoiled one are drawn together, within their fold, and both trials judge what was drawn: what
    is hard for both cancels out.

    Args:
        trial: The one.
        first: The other, which is subtracted.

    Returns:
        The 95% percentile interval (`nut_train.statistics.bootstrap`); None where no resample tells them apart.
    """
    differences = [a.astype(np.float64) - b for a, b in zip(trial.wins, first.wins, strict=True)]
    fold = np.repeat(np.arange(len(differences)), [len(one) for one in differences])

    def gains(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        parts = [counts[:, fold == number] for number in range(len(differences))]
        means = [
            ((part @ one) * part).sum(axis=1) / len(one) ** 2 for part, one in zip(parts, differences, strict=True)
        ]
        return {"gain": np.mean(means, axis=0)}

    return bootstrap(gains, fold).get("gain")


def try_on_test(
    good: Maps,
    tests: Sequence[Maps],
    variant: Variant,
    *,
    turned: Maps | None = None,
    also: Sequence[Maps] = (),
) -> Trial:
    """Judge test pictures by a bank of all good ones.

    Args:
        good: As of `try_on_folds`.
        tests: Maps of good test pictures, then of each kind of defect.
        variant: What is tried.
        turned: As of `try_on_folds`.
        also: `good` and `tests` at the variant's second size, where it has one.
    """
    everything, count = np.arange(len(good[0])), len(good[0])
    judge = _Judge([good, *([] if turned is None else [turned])], everything, count, variant)
    scores = _good_and_bad(judge, tests)
    if also:
        scores = _added(scores, _good_and_bad(_Judge([also[0]], everything, count, variant), also[1:]))
    return Trial(auroc=_auroc(*scores), width=judge.width)


def _good_and_bad(judge: "_Judge", tests: Sequence[Maps]) -> tuple[Tensor, ...]:
    return judge.score(tests[0]), torch.cat([judge.score(maps) for maps in tests[1:]], dim=1)


def _added(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Add the scores of two sizes, good and bad ones, each in units of what good pictures usually score."""
    usual = [scores[0].median(dim=1, keepdim=True).values for scores in (first, second)]
    return tuple(a / usual[0] + b / usual[1] for a, b in zip(first, second, strict=True))


class _Judge:
    """A memory bank and what is done with features before they are compared with it."""

    def __init__(self, banks: Sequence[Maps], inside: np.ndarray, count: int, variant: Variant) -> None:
        self.variant = variant
        rows: list[Tensor] = []
        widths: tuple[int, ...] = ()
        for maps in banks:
            places = np.concatenate([inside + start for start in range(0, len(maps[0]), count)])
            features, widths = embed(_some(maps, places), variant)
            rows.append(features.flatten(0, 2))
        features = torch.cat(rows)
        self.width = features.shape[1]
        self._scaling = _scaling(features[::_EVERY], variant, widths)
        features = self._scaled(features)
        picks = select_coreset(features, max(2, int(variant.ratio * len(features))), start=0).picks
        self._bank = features[torch.from_numpy(picks)]
        self._norms = self._bank.square().sum(dim=1)

    def score(self, maps: Maps) -> Tensor:
        """Return the scores of pictures by each aggregation, float32 `[aggregations, N]`."""
        features, _ = embed(maps, self.variant)
        shape = features.shape[:3]
        rows = self._scaled(features.flatten(0, 2))
        nearest = torch.cat(
            [
                torch.addmm(self._norms, block, self._bank.T, alpha=-2).amin(dim=1) + block.square().sum(dim=1)
                for block in rows.split(_ROWS)
            ]
        )
        distances = nearest.clamp_min(0).sqrt().reshape(shape)  # (N, h, w)
        flat = distances.flatten(1)
        farthest = flat.topk(max(1, round(0.01 * flat.shape[1])), dim=1).values
        smooth = torch.nn.functional.avg_pool2d(distances[:, None], 3, 1, 1).flatten(1)
        return torch.stack([farthest[:, 0], farthest.mean(dim=1), smooth.amax(dim=1)])

    def _scaled(self, features: Tensor) -> Tensor:
        return features if self._scaling is None else self._scaling.apply(features)


def _scaling(features: Tensor, variant: Variant, widths: tuple[int, ...]) -> Whitening | None:
    """Return the linear map that a variant brings features to."""
    if variant.scale == "none":
        return None
    width = features.shape[1]
    if variant.scale == "whiten":
        return find_whitening([features], width=width, shrinkage=variant.shrinkage)
    mean = features.mean(dim=0)
    if variant.scale == "standardise":
        return Whitening(mean=mean, matrix=torch.diag(1 / (features.std(dim=0) + 1e-3 * features.std())))
    blocks = []
    for layer in features.split(widths, dim=1):
        if variant.scale == "balance":
            blocks.append(torch.eye(layer.shape[1]) * layer.var(dim=0).sum().rsqrt())
        else:
            blocks.append(find_whitening([layer], width=layer.shape[1], shrinkage=variant.shrinkage).matrix)
    return Whitening(mean=mean, matrix=torch.block_diag(*blocks))


def _some(maps: Maps, places: np.ndarray) -> Maps:
    return [layer[torch.from_numpy(places)] for layer in maps]


def _auroc(good: Tensor, bad: Tensor) -> tuple[float, ...]:
    """Return the image AUROC by each aggregation."""
    labels = [0] * good.shape[1] + [1] * bad.shape[1]
    return tuple(float(roc_auc_score(labels, torch.cat(pair))) for pair in zip(good, bad, strict=True))
