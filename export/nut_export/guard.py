"""The guard band of a cascade: how far the fast model's score may be from the exact one's, measured and not assumed.

Both models judge held-out good pictures and perturbed copies of them - lighter, darker, noisy, blurred, moved, soiled -
so that scores below, at and above the threshold are among them. The band is twice the largest difference.

That says how far the two differ at the scores that were seen, so the band may go with a threshold that is moved among
these. Beyond them nothing was measured; there `guard_at` widens it in proportion, and whoever moves the threshold is
told.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.evenly import evenly
from nut_dataset.progress import Progress, no_progress
from nut_runtime.engines.base import Engine
from nut_runtime.errors import ParityError
from nut_runtime.pictures import read_picture
from nut_runtime.scoring import OperatingPoint

__all__ = ["AS_IT_IS", "PERTURBATIONS", "SAFETY_FACTOR", "Band", "Guard", "guard_at", "guard_band", "perturbed"]

SAFETY_FACTOR = 2.0
"""Times the largest difference seen: a frame outside the band would have to differ by twice as much as any of them."""

AS_IT_IS = "as it is"
_MOST_PICTURES = 50
_LEAST_SHARE = 1e-5  # of the threshold; float32 alone differs by 1e-6

Frame = NDArray[np.uint8]


def _scaled(factor: float) -> Callable[[Frame], Frame]:
    return lambda frame: np.clip(np.round(frame.astype(np.float32) * factor), 0, 255).astype(np.uint8)


def _noisy(frame: Frame) -> Frame:
    noise = np.random.default_rng(0).normal(0.0, 6.0, frame.shape)
    return np.clip(np.round(frame + noise), 0, 255).astype(np.uint8)


def _blurred(frame: Frame) -> Frame:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 1.5), np.uint8)


def _moved(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    shift = np.array([[1, 0, width / 32], [0, 1, height / 40]], np.float32)
    return np.asarray(cv2.warpAffine(frame, shift, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _soiled(frame: Frame) -> Frame:
    """Put one dark blot of a twelfth of the width on it."""
    height, width = frame.shape[:2]
    soiled = frame.copy()
    centre = (int(width * 0.4), int(height * 0.55))
    return np.asarray(cv2.circle(soiled, centre, max(width // 24, 1), (20, 20, 20), -1), np.uint8)


PERTURBATIONS: Mapping[str, Callable[[Frame], Frame]] = {
    AS_IT_IS: lambda frame: frame,
    "10% darker": _scaled(0.9),
    "10% lighter": _scaled(1.1),
    "noise of 6 levels": _noisy,
    "blur of 1.5 px": _blurred,
    "moved by a thirtieth": _moved,
    "mirrored": lambda frame: np.ascontiguousarray(frame[:, ::-1]),
    "a dark blot": _soiled,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A guard band and how it was found.

    Attributes:
        width: Half the width of the band, in raw score.
        pictures: Good pictures outside the bank that were judged.
        largest_difference: Largest |fast - exact| in raw score, by perturbation.
        within: Share of the pictures, as they are, whose score lies in the band: these are judged twice.
        fast_ms: Median time of the fast model.
        exact_ms: Median time of the exact one.
        scores: Lowest and highest raw score of the exact model among all that was judged: the band was measured there.
    """

    width: float
    pictures: int
    largest_difference: Mapping[str, float]
    within: float
    fast_ms: float
    exact_ms: float
    scores: tuple[float, float] = (0.0, 0.0)

    @property
    def expected_ms(self) -> float:
        """What a good part takes on average in the cascade."""
        return self.fast_ms + self.within * self.exact_ms

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest keeps."""
        return asdict(self) | {
            "scores": list(self.scores),
            "expected_ms": self.expected_ms,
            "safety_factor": SAFETY_FACTOR,
        }


def perturbed(paths: Sequence[Path]) -> list[Frame]:
    """Return every perturbation of some pictures, uint8 BGR `[H, W, 3]` each."""
    return [perturb(read_picture(path)) for path in paths for perturb in PERTURBATIONS.values()]


def guard_band(
    fast: Engine, exact: Engine, pictures: Sequence[Path], *, threshold: float, progress: Progress = no_progress
) -> Guard:
    """Measure the band.

    Args:
        fast: The fast model.
        exact: The exact one, in the same engine.
        pictures: Good pictures that are not in the bank, at least one; 50 are used at most, evenly.
        threshold: The raw threshold, which the band is at least a share of.
        progress: Told of each picture.

    Raises:
        ParityError: If a score is no number.
    """
    chosen = evenly(pictures, _MOST_PICTURES)
    worst = dict.fromkeys(PERTURBATIONS, 0.0)
    scores, exact_scores, times = [], [], []
    for done, path in enumerate(chosen, start=1):
        frame = read_picture(path)
        for name, perturb in PERTURBATIONS.items():
            seen = perturb(frame)
            started = time.perf_counter()
            score = fast.infer(seen).raw_score
            between = time.perf_counter()
            exact_scores.append(exact.infer(seen).raw_score)
            difference = abs(score - exact_scores[-1])
            times.append((between - started, time.perf_counter() - between))
            if not math.isfinite(difference):  # compared with the others, NaN would be passed over
                raise ParityError(
                    f"{fast.name} gives a score that is not a number for {path} ({name}); no bundle was written"
                )
            worst[name] = max(worst[name], difference)
            if name == AS_IT_IS:
                scores.append(score)
        progress(f"guard band of {fast.name}", done, len(chosen))
    width = max(SAFETY_FACTOR * max(worst.values()), _LEAST_SHARE * threshold)
    fast_s, exact_s = np.median(times, axis=0)
    return Guard(
        width=width,
        pictures=len(chosen),
        largest_difference=worst,
        within=float(np.mean(np.abs(np.array(scores) - threshold) <= width)),
        fast_ms=float(fast_s * 1e3),
        exact_ms=float(exact_s * 1e3),
        scores=(min(exact_scores), max(exact_scores)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A guard band at a threshold that was moved.

    Attributes:
        width: Half the width of the band, in raw score.
        stretch: How much wider it is than measured; 1 where the threshold lies among the scores that were seen.
        lowest: Lowest raw score that was seen.
        highest: Highest.
    """

    width: float
    stretch: float
    lowest: float
    highest: float


def guard_at(found: Mapping[str, Any], point: OperatingPoint, *, measured_at: float) -> Band:
    """Return the guard band at another operating point.

    It depends on nothing but the measurement and the point, so that moving a threshold there and back changes nothing.

    Args:
        found: A `Guard` as a manifest keeps it.
        point: The thresholds to guard, the review's among them.
        measured_at: The threshold at the export, which stands for the scores that were seen where `found`, of a bundle
            from before they were kept, does not say.
    """
    lowest, highest = found.get("scores", (measured_at, measured_at))
    thresholds = [point.image.threshold, *([] if point.review_from is None else [point.review_from])]
    # A threshold at or below 0 rejects every part, whatever the models say.
    stretch = max(1.0, *(max(one / highest, lowest / one) for one in thresholds if one > 0 and highest > 0))
    return Band(width=float(found["width"]) * stretch, stretch=stretch, lowest=lowest, highest=highest)
