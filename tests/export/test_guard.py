"""The guard band: wider than whatever difference was seen, and found on frames that are frames."""

import json
from pathlib import Path

import numpy as np
import pytest

from nut_export.guard import AS_IT_IS, PERTURBATIONS, SAFETY_FACTOR, guard_band
from nut_runtime.engines.base import EngineResult
from nut_runtime.errors import ParityError
from nut_runtime.pictures import write_picture

SIZES = [(8, 8), (9, 31), (128, 96), (300, 200)]


def _frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbed_frame_is_a_frame_of_the_same_size(name, size):
    frame = _frame(*size)
    kept = frame.copy()
    seen = PERTURBATIONS[name](frame)
    assert (seen.shape, seen.dtype) == (frame.shape, np.uint8)
    assert seen.flags.c_contiguous
    assert np.array_equal(frame, kept), "the next perturbation would be one of this one"
    assert np.array_equal(seen, frame) == (name == AS_IT_IS)
    assert np.array_equal(seen, PERTURBATIONS[name](frame)), "a band must be found again"


def test_lighter_and_darker_do_not_wrap_around():
    white, black = np.full((8, 8, 3), 255, np.uint8), np.zeros((8, 8, 3), np.uint8)
    for perturb in PERTURBATIONS.values():
        assert perturb(white).mean() > 200
        assert perturb(black).mean() < 55


class _Judge:
    """An engine whose raw score is a frame's mean level, off by what it is told."""

    name, version, precision = "fake", "1.0", "float32"

    def __init__(self, off: dict[str, float] | float = 0.0, frames: list[np.ndarray] | None = None) -> None:
        self.off, self.frames, self.judged = off, frames or [], 0

    def infer(self, frame: np.ndarray) -> EngineResult:
        self.judged += 1
        off = self.off if isinstance(self.off, float) else self.off[self._perturbation(frame)]
        empty = np.zeros((1, 1), np.float32)
        return EngineResult(
            raw_score=float(frame.mean()) + off,
            pred_score=0.0,
            pred_label=False,
            anomaly_map=empty,
            pred_mask=empty > 0,
        )

    def stages(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        raise AssertionError

    def _perturbation(self, frame: np.ndarray) -> str:
        return next(
            name
            for name, perturb in PERTURBATIONS.items()
            if any(np.array_equal(perturb(one), frame) for one in self.frames)
        )


@pytest.fixture
def frames() -> list[np.ndarray]:
    return [np.full((12, 16, 3), level, np.uint8) + _frame(12, 16) // 8 for level in (90, 100, 110, 120)]


@pytest.fixture
def paths(frames, tmp_path) -> list[Path]:
    for number, frame in enumerate(frames):
        write_picture(tmp_path / f"{number}.png", frame)
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize("largest", PERTURBATIONS)
def test_the_band_is_twice_the_largest_difference_wherever_it_was_seen_and_whichever_way(frames, paths, largest):
    off = {name: -0.5 + 0.1 * number for number, name in enumerate(PERTURBATIONS)} | {largest: -3.0}
    guard = guard_band(_Judge(off, frames), _Judge(), paths, threshold=100.0)
    assert guard.width == pytest.approx(6.0) == pytest.approx(SAFETY_FACTOR * 3)
    assert guard.largest_difference == pytest.approx({name: abs(value) for name, value in off.items()})


def test_every_picture_is_judged_by_both_as_it_is_and_perturbed(paths):
    fast, exact = _Judge(), _Judge()
    steps: list[tuple[str, int, int]] = []
    guard = guard_band(fast, exact, paths, threshold=100.0, progress=lambda *step: steps.append(step))
    assert guard.pictures == 4
    assert fast.judged == exact.judged == 4 * len(PERTURBATIONS)
    assert steps == [("guard band of fake", done, 4) for done in (1, 2, 3, 4)]


def test_of_many_pictures_fifty_are_judged(paths):
    assert guard_band(_Judge(), _Judge(), paths * 20, threshold=100.0).pictures == 50


def test_two_models_that_agree_have_a_narrow_band_all_the_same(paths):
    """Float32 sums in another order on another machine: a millionth, of which this is ten times as much."""
    assert guard_band(_Judge(), _Judge(), paths, threshold=100.0).width == pytest.approx(1e-3)


def test_the_share_that_is_judged_twice_is_that_of_the_pictures_as_they_are(frames, paths):
    means = sorted(float(frame.mean()) for frame in frames)
    # the band reaches from the threshold to the two pictures beside it, not to the outer ones
    threshold = (means[1] + means[2]) / 2
    guard = guard_band(_Judge(3.0), _Judge(), paths, threshold=threshold + 3)
    assert guard.width == pytest.approx(6.0)
    assert guard.within == 0.5
    assert guard.expected_ms == pytest.approx(guard.fast_ms + guard.exact_ms / 2)
    assert min(guard.fast_ms, guard.exact_ms) > 0


@pytest.mark.parametrize("who", ["fast", "exact"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_ends_it_and_is_named(frames, paths, who, value):
    """Compared, NaN would be passed over, and the band be that of the other frames."""
    broken = _Judge(dict.fromkeys(PERTURBATIONS, 0.0) | {"mirrored": value}, frames)
    pair = (broken, _Judge()) if who == "fast" else (_Judge(), broken)
    with pytest.raises(ParityError, match=r"fake gives a score that is not a number for .*0\.png \(mirrored\)"):
        guard_band(*pair, paths, threshold=100.0)


def test_what_a_manifest_keeps_is_plain_and_says_how_the_band_was_found(paths):
    guard = guard_band(_Judge(0.25), _Judge(), paths, threshold=100.0)
    facts = guard.to_json()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["safety_factor"] == SAFETY_FACTOR
    assert set(facts["largest_difference"]) == set(PERTURBATIONS)
    assert facts["width"] == facts["safety_factor"] * max(facts["largest_difference"].values())
    assert facts["expected_ms"] == guard.expected_ms
