"""A judged test set as arrays, and its figures over any resample of the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nut_dataset.layout import GOOD
from nut_train.statistics import counts
from nut_train.statistics.pixel_counts import PixelCounts

__all__ = ["Scored"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What was judged.

    Attributes:
        kinds: `good` or the kind of defect of each picture.
        scores: Raw image scores, shape (N,), float64.
        rejected: The verdicts, shape (N,), bool.
        pixels: The maps of the pictures whose marked pixels are known; None without any.
        false_reject_rate: The rate that `recall_at_rate` is for; None leaves it out.
    """

    kinds: tuple[str, ...]
    scores: NDArray[np.float64]
    rejected: NDArray[np.bool_]
    pixels: PixelCounts | None = None
    false_reject_rate: float | None = None

    @cached_property
    def defect_kinds(self) -> tuple[str, ...]:
        """The kinds of defect, sorted."""
        return tuple(sorted(set(self.kinds) - {GOOD}))

    @cached_property
    def strata(self) -> NDArray[np.int64]:
        """The class of each picture, shape (N,): 0 is defective, 1 is good.

        What `figures` are resampled within. Not the kinds of defect: one with a single picture would be in every
        resample just as it is, and twenty such kinds would have intervals that hold four times out of ten.
        """
        return (~self.defective).astype(np.int64)

    @cached_property
    def kind_strata(self) -> NDArray[np.int64]:
        """The kind of each picture as a number, shape (N,); what `kind_figures` are resampled within."""
        return np.unique(np.array(self.kinds), return_inverse=True)[1].reshape(-1)

    @cached_property
    def defective(self) -> NDArray[np.bool_]:
        """The truth, shape (N,)."""
        return np.array(self.kinds) != GOOD

    def figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return every figure where each picture counts as often as its weight says.

        Args:
            weights: Shape (B, N).

        Returns:
            Each `(B,)`: `auroc`, `average_precision`, `f1`, `recall_at_rate`; `recall` and `false_reject_rate`;
            `pixel.auroc` and `pixel.pro`. What lacks a class or a mask is absent.
        """
        good, defective = weights * ~self.defective, weights * self.defective
        found: dict[str, NDArray[np.float64]] = {}
        if not self.defective.all():
            found["false_reject_rate"] = good @ self.rejected / good.sum(axis=1)
        if self.defective.any():
            found["recall"] = defective @ self.rejected / defective.sum(axis=1)
        if len(found) == 2:  # noqa: PLR2004 - both classes are there
            levels = self._by_score(good), self._by_score(defective)
            found["auroc"] = counts.auroc(*levels)
            found["average_precision"] = counts.average_precision(*levels)
            if self.false_reject_rate is not None:
                found["recall_at_rate"] = counts.recall_at_rate(*levels, self.false_reject_rate)
            found["f1"] = counts.f1(good @ self.rejected, defective @ self.rejected, defective.sum(axis=1))
        if self.pixels is not None:
            maps = self.pixels.figures(weights[:, self.pixels.places])
            found |= {f"pixel.{name}": values for name, values in maps.items()}
        return found

    def kind_figures(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return the figures of each kind of defect with all good pictures.

        Args:
            weights: As of `figures`.

        Returns:
            Each `(B,)`: `KIND/auroc`, `KIND/pixel.auroc` and `KIND/pixel.pro`. What lacks a class or a mask is absent.
        """
        found: dict[str, NDArray[np.float64]] = {}
        if not self.defective.all():
            good = self._by_score(weights * ~self.defective)
            for kind in self.defect_kinds:
                found[f"{kind}/auroc"] = counts.auroc(good, self._by_score(weights * self._is(kind)))
        if self.pixels is None:
            return found
        places = self.pixels.places
        marked = self.pixels.marked.any(axis=1)
        for kind in self.defect_kinds:
            if (marked & self._is(kind)[places]).any():
                chosen = (self._is(kind) | ~self.defective)[places]
                for name, values in self.pixels.figures(weights[:, places] * chosen).items():
                    found[f"{kind}/pixel.{name}"] = values
        return found

    def chosen(self, places: Sequence[int], *, has_map: Sequence[bool] | None = None) -> Self:
        """Return some of the pictures, in another order.

        Args:
            places: Which.
            has_map: Whether the map of each takes part; None takes all that there are.
        """
        wanted = [True] * len(places) if has_map is None else has_map
        maps = [place if is_wanted else None for place, is_wanted in zip(places, wanted, strict=True)]
        pixels = None if self.pixels is None else self.pixels.chosen(maps)
        return type(self)(
            kinds=tuple(self.kinds[place] for place in places),
            scores=self.scores[list(places)],
            rejected=self.rejected[list(places)],
            pixels=pixels,
            false_reject_rate=self.false_reject_rate,
        )

    def _is(self, kind: str) -> NDArray[np.bool_]:
        return np.array(self.kinds) == kind

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.scores, kind="stable")

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where each new score begins among the sorted ones."""
        ordered = self.scores[self._order]
        return np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))

    def _by_score(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum weights `(B, N)` over equal scores, from the lowest score up, `(B, K)`."""
        return np.asarray(np.add.reduceat(weights[:, self._order], self._starts, axis=1))
