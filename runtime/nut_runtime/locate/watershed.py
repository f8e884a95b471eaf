"""A watershed by steepest ascent, and the joining of basins that are one part."""

import numpy as np
from numpy.typing import NDArray

from nut_runtime.opencv import quiet_opencv

__all__ = ["basins_of", "join_basins"]

_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
_HALF_OF_THEM = (
    (np.s_[:, :-1], np.s_[:, 1:]),
    (np.s_[:-1, :], np.s_[1:, :]),
    (np.s_[:-1, :-1], np.s_[1:, 1:]),
    (np.s_[:-1, 1:], np.s_[1:, :-1]),
)


def basins_of(heights: NDArray[np.float32], level: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return which peak each pixel comes to that always climbs to its highest neighbour, of eight.

    That is the watershed of the heights turned over, in its topographic definition: F. Meyer, "Topographic distance and
    watershed lines", Signal Processing 38, 1994. cv2.watershed floods in the order of differences in colour, not of
    heights, so that its lines are not the valleys of a map.

    Args:
        heights: float32 `[h, w]`, 0 to 1.
        level: Lower pixels belong to no basin.

    Returns:
        Numbers of basins from 1, int32 `[h, w]`, 0 where there is none; and the peak of each, float32 `[basins]`.
    """
    cv2 = quiet_opencv()
    height, width = heights.shape
    # A margin below everything, so that pixels at the edge need nothing special.
    padded = cv2.copyMakeBorder(heights, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=-1.0)
    highest = np.ascontiguousarray(cv2.dilate(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1])
    # The last of equals counts: all pixels of a plateau climb the same way, and none goes in a circle.
    choice = np.zeros((height, width), np.uint8)
    for place, (dy, dx) in enumerate(_NEIGHBOURS):
        is_highest = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] == highest
        np.maximum(choice, is_highest.view(np.uint8) * np.uint8(place), out=choice)
    steps = np.array([dy * width + dx for dy, dx in _NEIGHBOURS])
    above = np.flatnonzero(heights >= level)
    rank = np.zeros(height * width, np.intp)  # from here on only pixels above the level, by their place in `above`
    rank[above] = np.arange(len(above))
    target = rank[above + steps[choice.ravel()[above]]]
    tops = np.flatnonzero(target == np.arange(len(above)))
    while True:  # each round doubles how far all have climbed
        further = target[target]
        if np.array_equal(further, target):
            break
        target = further
    numbers = np.zeros(len(above), np.int32)
    numbers[tops] = np.arange(1, len(tops) + 1)
    basins = np.zeros((height, width), np.int32)
    basins.ravel()[above] = numbers[target]
    return basins, heights.ravel()[above[tops]]


def join_basins(
    basins: NDArray[np.int32],
    peaks: NDArray[np.float32],
    heights: NDArray[np.float32],
    *,
    least_peak: float,
    valley: float,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Join the basins that are one part, over the highest pass first.

    The basin of the lower peak joins where that peak is under `least_peak`, or the pass is above `valley` times that
    peak. Basins that stay alone under `least_peak` are dropped.

    Args:
        basins: As `basins_of` gives them; so are the next two.
        peaks: The peak of each.
        heights: What they were found in.
        least_peak: What the peak of a part reaches.
        valley: Share of the lower peak, 0 to 1.

    Returns:
        Numbers of parts from 1, int32 `[h, w]`, 0 where there is none; and the peak of each, float32 `[parts]`.
    """
    parent = list(range(len(peaks) + 1))
    highest = [0.0, *peaks.tolist()]

    def top(basin: int) -> int:
        while parent[basin] != basin:
            parent[basin] = parent[parent[basin]]
            basin = parent[basin]
        return basin

    for one, other, over in _passes(basins, heights, len(peaks)):
        upper, lower = top(one), top(other)
        if (highest[upper], -upper) < (highest[lower], -lower):
            upper, lower = lower, upper
        if upper != lower and (highest[lower] < least_peak or over > valley * highest[lower]):
            parent[lower] = upper
    tops = [top(basin) for basin in range(len(parent))]
    parts = [basin for basin in range(1, len(parent)) if tops[basin] == basin and highest[basin] >= least_peak]
    numbers = np.zeros(len(parent), np.int32)
    numbers[parts] = np.arange(1, len(parts) + 1)
    return numbers[tops][basins], np.array([highest[part] for part in parts], np.float32)


def _passes(basins: NDArray[np.int32], heights: NDArray[np.float32], count: int) -> list[tuple[int, int, float]]:
    """Return which basins touch and how high the highest pass between them is, the highest of all first."""
    pairs, overs = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for here, there in _HALF_OF_THEM:
        one, other = basins[here], basins[there]
        is_border = one != other
        is_border &= one > 0
        is_border &= other > 0
        places = np.divmod(np.flatnonzero(is_border), one.shape[1])
        first, second = one[places].astype(np.int64), other[places].astype(np.int64)
        pairs.append(np.minimum(first, second) * (count + 1) + np.maximum(first, second))
        overs.append(np.minimum(heights[here][places], heights[there][places]))
    pair, over = np.concatenate(pairs), np.concatenate(overs)
    order = np.lexsort((-over, pair))
    pair, over = pair[order], over[order]
    is_highest = np.diff(pair, prepend=-1) != 0
    pair, over = pair[is_highest], over[is_highest]
    order = np.lexsort((pair, -over))
    one, other = np.divmod(pair[order], count + 1)
    return list(zip(one.tolist(), other.tolist(), over[order].tolist(), strict=True))
