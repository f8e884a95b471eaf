"""Where nuts lie: alone, touching, or overlapping by no more than is allowed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nut_dataset.tray_drawing.sprite import Patch

__all__ = ["Layout", "place_nuts"]

_TRIES = 12
"""Places tried for a nut before it is given up."""
_STEP = 0.06
"""Share of a nut's side by which it is pushed towards another until they touch."""
_FAR = 1.7
"""Distance in nut sides at which no two nuts touch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How nuts are strewn.

    Attributes:
        count: As many as fit, at most.
        side_px: Side of the usual nut.
        region: Left, top, right, bottom of the places of their middles; may reach beyond the picture.
        touching: Share of nuts that are pushed against another.
        overlap: Share of a nut's area by which it may cover others, for a nut that is pushed.
        pull: Of this many ways to push a nut the one nearest to the region's middle is tried: 1 gives chains, more
            give piles.
    """

    count: int
    side_px: float
    region: tuple[float, float, float, float]
    touching: float
    overlap: float
    pull: int = 1


def place_nuts(
    rng: np.random.Generator,
    layout: Layout,
    canvas: tuple[int, int],
    draw: Callable[[float, float], Patch],
) -> list[Patch]:
    """Return nuts in the order in which they are laid down.

    Args:
        rng: Draws the places.
        layout: How many and how close.
        canvas: Rows and columns of the picture.
        draw: Gives a nut with its middle at (x, y).
    """
    margin = math.ceil(2 * layout.side_px)  # nuts beyond the edge must not overlap either
    taken = np.zeros((canvas[0] + 2 * margin, canvas[1] + 2 * margin), np.bool_)
    patches: list[Patch] = []
    middles: list[tuple[float, float]] = []
    for _ in range(layout.count):
        for _ in range(_TRIES):
            if middles and rng.random() < layout.touching:
                found = _pushed(rng, layout, taken, margin, middles, draw)
            else:
                found = _free(rng, layout, taken, margin, draw)
            if found is not None:
                patch, middle = found
                there, here = patch.moved(margin, margin).windows(taken.shape)
                taken[there] |= patch.mask[here]
                patches.append(patch)
                middles.append(middle)
                break
    return patches


def _free(
    rng: np.random.Generator,
    layout: Layout,
    taken: NDArray[np.bool_],
    margin: int,
    draw: Callable[[float, float], Patch],
) -> tuple[Patch, tuple[float, float]] | None:
    """Return a nut that touches none, somewhere; None where another is in the way."""
    left, top, right, bottom = layout.region
    x, y = float(rng.uniform(left, right)), float(rng.uniform(top, bottom))
    patch = draw(x, y)
    return None if _covered(patch, taken, margin) > 0 else (patch, (x, y))


def _pushed(
    rng: np.random.Generator,
    layout: Layout,
    taken: NDArray[np.bool_],
    margin: int,
    middles: list[tuple[float, float]],
    draw: Callable[[float, float], Patch],
) -> tuple[Patch, tuple[float, float]] | None:
    """Return a nut pushed against another one, from a random side; None where there is no room."""
    left, top, right, bottom = layout.region
    allowed = float(layout.overlap * rng.random() ** 2)  # little more often than much
    distance = _FAR * layout.side_px
    starts = []
    for _ in range(layout.pull):
        goal = middles[int(rng.integers(len(middles)))]
        bearing = float(rng.uniform(-math.pi, math.pi))
        step_x, step_y = math.cos(bearing), math.sin(bearing)
        x, y = goal[0] + step_x * distance, goal[1] + step_y * distance
        far = math.hypot(x - (left + right) / 2, y - (top + bottom) / 2)
        starts.append((far, x, y, step_x, step_y, goal))
    _, x, y, step_x, step_y, goal = min(starts)
    if not (left <= x <= right and top <= y <= bottom):
        return None
    patch = draw(x, y)
    best = None
    while distance > 0:
        off_x, off_y = goal[0] + step_x * distance - x, goal[1] + step_y * distance - y
        moved = patch.moved(round(off_y), round(off_x))
        if _covered(moved, taken, margin) > allowed:
            break
        best = moved, (x + round(off_x), y + round(off_y))
        distance -= max(_STEP * layout.side_px, 1.0)
    return best


def _covered(patch: Patch, taken: NDArray[np.bool_], margin: int) -> float:
    """Return the share of the nut that lies on others."""
    there, here = patch.moved(margin, margin).windows(taken.shape)
    return float((taken[there] & patch.mask[here]).sum()) / max(int(patch.mask.sum()), 1)
